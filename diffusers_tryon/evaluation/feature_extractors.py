# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Features of pictures, and FID and KID by the libraries whose figures people know.

A library's own network, resizing and arithmetic are called; only the loop over the files is ours, so that features are
kept and neither computed twice nor by every process.
"""

import http.client
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from ..files import written_beside
from .distances import frechet_distance, kernel_distance
from .errors import UnavailableError
from .folders import PICTURE_SUFFIXES, files_sha256
from .libraries import imported
from .protocols import DistanceSettings, Protocol


_EXTRA = "perceptual"
# Of KID, which tables print so.
KID_SCALE = 1000.0
_CLEAN_FID_WEIGHTS = "inception-2015-12-05.pt"
_TORCH_FIDELITY_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
_DOWNLOAD_ERRORS = (OSError, http.client.HTTPException)


class FeatureExtractor(typing.Protocol):
    """What turns pictures into features.

    Attributes:
        name: of the network, its weights and its resizing: features of one name can be compared.
    """

    name: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features, float64 (B, D), of pictures, uint8 (B, H, W, 3)."""
        ...


class CleanFidFeatures:
    """The Inception network of clean-fid in its mode "clean": 299 pixels by PIL's bicubic filter, in floats.

    Args:
        device (`str`): Where the network runs.
        folder (`Path`, *optional*): Where its weights are looked for and downloaded to; else torch's cache (clean-fid
            itself takes the folder for temporary files, where they do not stay).

    Raises:
        UnavailableError: clean-fid is not installed, or cannot be imported, or its weights can be neither found nor
            fetched nor read.
    """

    name = "clean-fid, mode clean, inception-2015-12-05"

    def __init__(self, device: str = "cpu", folder: Path | None = None):
        networks = imported("cleanfid.inception_torchscript", "clean-fid", _EXTRA)
        self._resize = imported("cleanfid.resize", "clean-fid", _EXTRA).build_resizer("clean")
        url = imported("cleanfid.downloads_helper", "clean-fid", _EXTRA).inception_url
        folder = folder or _torch_cache()
        folder.mkdir(parents=True, exist_ok=True)
        with _weights_explained(url, folder / _CLEAN_FID_WEIGHTS):
            network = networks.InceptionV3W(str(folder), download=True)
        self._network, self._device = network.to(device).eval(), device

    def __call__(self, images: np.ndarray) -> np.ndarray:
        resized = np.stack([self._resize(image) for image in images])
        with torch.no_grad():
            features = self._network(torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous().to(self._device))
        return features.cpu().double().numpy()


class TorchFidelityFeatures:
    """The Inception network of torch-fidelity, "inception-v3-compat", layer 2048: 299 pixels as TensorFlow 1 resized.

    Args:
        device (`str`): Where the network runs.
        weights (`Path`, *optional*): Their file; else torch's cache, where they are downloaded to.

    Raises:
        UnavailableError: as `CleanFidFeatures`, of torch-fidelity.
    """

    name = "torch-fidelity, inception-v3-compat, layer 2048"

    def __init__(self, device: str = "cpu", weights: Path | None = None):
        module = imported("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity", _EXTRA)
        place = weights or _torch_cache() / _TORCH_FIDELITY_WEIGHTS
        path = None if weights is None else str(weights)
        with _weights_explained(module.URL_INCEPTION_V3, place):
            network = module.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=path, verbose=False
            )
        self._network, self._device = network.to(device), device

    def __call__(self, images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            (features,) = self._network(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(self._device))
        return features.cpu().double().numpy()


def load_extractor(library: str, device: str | None = None) -> FeatureExtractor:
    """The network of a library: "clean-fid" or "torch-fidelity", on the GPU where there is one.

    Raises:
        UnavailableError: there is no such network here, and why.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return {"clean-fid": CleanFidFeatures, "torch-fidelity": TorchFidelityFeatures}[library](device)


def folder_features(
    extractor: FeatureExtractor,
    folder: str | Path,
    batch_size: int = 32,
    cache: str | Path | None = None,
    show_progress: bool = True,
) -> np.ndarray:
    """Features of all pictures of a folder, in the order of their names.

    Args:
        extractor (`FeatureExtractor`): The network.
        folder (`str` or `Path`): RGB pictures as PNG or JPEG; for batches of more than one all of one size.
        batch_size (`int`): Pictures at once.
        cache (`str` or `Path`, *optional*): A file (.npz) that keeps the features. It is used if it holds features of
            the same extractor and the very same files, else written anew.
        show_progress (`bool`): Draw a bar.

    Returns:
        `np.ndarray`: float32 (N, D).

    Raises:
        ValueError: the folder has no pictures.
    """
    paths = [path for path in sorted(Path(folder).glob("[!.]*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        raise ValueError(f"`folder` must hold pictures ({', '.join(PICTURE_SUFFIXES)}), there are none in {folder}.")
    digest = files_sha256(paths)
    if cache is not None:
        features = load_features(cache, extractor.name, digest)
        if features is not None:
            return features
    batches = []
    with tqdm(total=len(paths), desc=f"features of {Path(folder).name}", disable=not show_progress) as bar:
        for images in _batches_of_one_size(paths, batch_size):
            batches.append(extractor(images))
            bar.update(len(images))
    features = np.concatenate(batches).astype(np.float32)
    if cache is not None:
        save_features(cache, extractor.name, digest, features)
    return features


def save_features(path: str | Path, extractor_name: str, files_digest: str, features: np.ndarray) -> None:
    """Write features with what they are of, whole or not at all."""
    with written_beside(Path(path)) as partial, open(partial, "wb") as file:
        np.savez(file, extractor=extractor_name, files=files_digest, features=features)


def load_features(path: str | Path, extractor_name: str, files_digest: str) -> np.ndarray | None:
    """Features that `save_features` wrote; None if there are none of this extractor and these files."""
    if not Path(path).is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if str(stored["extractor"]) != extractor_name or str(stored["files"]) != files_digest:
            return None
        return stored["features"]


def compute_distances(
    protocol: Protocol,
    generated: str | Path,
    reference: str | Path,
    extractor: FeatureExtractor | None = None,
    batch_size: int = 32,
    cache: str | Path | None = None,
    show_progress: bool = True,
) -> dict[str, float]:
    """FID and KID x1000 of a folder against another, by the protocol's library.

    Args:
        protocol (`Protocol`): One with `distances`.
        generated, reference (`str` or `Path`): Folders of pictures as the protocol's FID sees them: what
            `folders.import_folders` stores.
        extractor (`FeatureExtractor`, *optional*): The library's network, loaded before; else it is loaded.
        batch_size (`int`): Pictures at once.
        cache (`str` or `Path`, *optional*): A folder that keeps features, see [`folder_features`].
        show_progress (`bool`): Draw a bar over the pictures.

    Returns:
        `dict`: "fid" and "kid"; without those that `too_few_pictures` names.

    Raises:
        UnavailableError: there are fewer than two pictures, or the library, its weights or its arithmetic do not work
            here; the message says what is missing and what to do.
    """
    settings = protocol.distances
    extractor = extractor or load_extractor(settings.library)
    features = []
    for folder in (Path(generated), Path(reference)):
        file = None if cache is None else Path(cache) / settings.library / f"{folder.name}.npz"
        features.append(folder_features(extractor, folder, batch_size, file, show_progress))
    missing = too_few_pictures(protocol, min(map(len, features)))
    if "fid" in missing:
        raise UnavailableError(missing["fid"])
    with _arithmetic_explained(settings.library):
        return _distances_by_library(settings, *features, with_kid="kid" not in missing)


def too_few_pictures(protocol: Protocol, count: int) -> dict[str, str]:
    """Which of the protocol's distances cannot be computed from so many pictures, and why."""
    if protocol.distances is None:
        return {}
    if count < 2:
        return dict.fromkeys(("fid", "kid"), f"a distance of sets needs two pictures at least, there is {count}")
    needed = protocol.distances.kid_subset_size
    if protocol.distances.library == "torch-fidelity" and count < needed:
        return {"kid": f"torch-fidelity draws subsets of {needed:,} pictures, there are {count:,}"}
    return {}


def feature_distances(
    extractor: FeatureExtractor,
    generated: str | Path,
    reference: str | Path,
    subset_size: int = 1000,
    num_subsets: int = 100,
    seed: int = 0,
    batch_size: int = 32,
    show_progress: bool = True,
) -> dict[str, float]:
    """Frechet and kernel distance, by `distances.py`, of the features that any extractor sees in two folders.

    No published figure: for features of one's own choice. See `distances.kernel_distance` for the subsets.

    Returns:
        `dict`: "frechet", "kernel" (not x1000) and "kernel_deviation" over the subsets.
    """
    features = [
        folder_features(extractor, folder, batch_size, show_progress=show_progress)
        for folder in (generated, reference)
    ]
    kernel, deviation = kernel_distance(*features, subset_size, num_subsets, seed)
    return {"frechet": frechet_distance(*features), "kernel": kernel, "kernel_deviation": deviation}


def _distances_by_library(
    settings: DistanceSettings, generated: np.ndarray, reference: np.ndarray, with_kid: bool
) -> dict[str, float]:
    by_library = {"clean-fid": _distances_of_clean_fid, "torch-fidelity": _distances_of_torch_fidelity}
    distances = by_library[settings.library](settings, generated, reference, with_kid)
    return {name: float(value) for name, value in distances.items()}


def _distances_of_clean_fid(
    settings: DistanceSettings, generated: np.ndarray, reference: np.ndarray, with_kid: bool
) -> dict[str, float]:
    library = imported("cleanfid.fid", "clean-fid", _EXTRA)
    distances = {"fid": library.fid_from_feats(reference, generated)}
    if with_kid:
        with _numpy_seed(settings.kid_seed or 0):
            kid = library.kernel_distance(reference, generated, settings.kid_subsets, settings.kid_subset_size)
        distances["kid"] = KID_SCALE * kid
    return distances


def _distances_of_torch_fidelity(
    settings: DistanceSettings, generated: np.ndarray, reference: np.ndarray, with_kid: bool
) -> dict[str, float]:
    fid, kid = (imported(f"torch_fidelity.metric_{name}", "torch-fidelity", _EXTRA) for name in ("fid", "kid"))
    features = [torch.from_numpy(features) for features in (generated, reference)]
    statistics = [fid.fid_features_to_statistics(each) for each in features]
    distances = {"fid": fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]}
    if with_kid:
        found = kid.kid_features_to_metric(
            *features,
            kid_subsets=settings.kid_subsets,
            kid_subset_size=settings.kid_subset_size,
            kid_kernel_poly_degree=settings.kid_degree,
            rng_seed=settings.kid_seed,
            verbose=False,
        )
        distances["kid"] = KID_SCALE * found[kid.KEY_METRIC_KID_MEAN]
    return distances


def _batches_of_one_size(paths: list[Path], batch_size: int) -> Iterator[np.ndarray]:
    """Pictures, uint8 (B, H, W, 3), in order; another size begins another batch."""
    batch = []
    for path in paths:
        with Image.open(path) as file:
            image = np.asarray(file.convert("RGB"))
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(image)
    yield np.stack(batch)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """NumPy's global state, which clean-fid draws from, for the block."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


@contextmanager
def _weights_explained(url: str, place: Path) -> Iterator[None]:
    """Turn what loading a network stumbles on into an `UnavailableError`; what a broken download left is removed."""
    known = place.exists()
    try:
        yield
    except _DOWNLOAD_ERRORS as error:
        if not known:
            place.unlink(missing_ok=True)
        raise UnavailableError(
            f"the network's weights could not be fetched from {url} ({error}): put that file at {place}, or allow the "
            "download"
        ) from error
    # torch's readers raise RuntimeError or one of their own errors for a file that is cut short.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        if not known:
            place.unlink(missing_ok=True)
            raise UnavailableError(
                f"what was fetched from {url} for the network's weights cannot be read ({reason}): put the true file "
                f"at {place}, or try again"
            ) from error
        raise UnavailableError(f"the network's weights {place} cannot be read ({reason}): remove that file") from error


@contextmanager
def _arithmetic_explained(library: str) -> Iterator[None]:
    """Turn what a library's arithmetic stumbles on into an `UnavailableError`.

    clean-fid's matrix root refuses some covariances of few pictures, and calls SciPy in a way that SciPy 1.18 ends.
    """
    try:
        yield
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UnavailableError(f"{library} cannot compute this distance: {error}") from error
