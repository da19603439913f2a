# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Features of folders, FID and KID by the libraries where they can be imported, and what is said where they cannot."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from library_functions import clean_fid_function, torch_fidelity_module
from PIL import Image

from diffusers_tryon.evaluation.distances import frechet_distance, unbiased_kernel_distance
from diffusers_tryon.evaluation.errors import UnavailableError
from diffusers_tryon.evaluation.feature_extractors import (
    CleanFidFeatures,
    TorchFidelityFeatures,
    compute_distances,
    feature_distances,
    folder_features,
    load_extractor,
    too_few_pictures,
)
from diffusers_tryon.evaluation.protocols import PROTOCOLS


CATVTON, TORCH_FIDELITY = PROTOCOLS["catvton"], PROTOCOLS["torch-fidelity"]


class Corners:
    """Means of the four quarters of a picture; counts what it was asked."""

    name = "corners"

    def __init__(self):
        self.batches = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        height, width = images.shape[1] // 2, images.shape[2] // 2
        quarters = images.reshape(len(images), 2, height, 2, width, 3).astype(np.float64).mean(axis=(2, 4))
        return quarters.reshape(len(images), -1) / 255


def pictures(folder: Path, count: int, seed: int, size: tuple[int, int] = (12, 16)) -> Path:
    """PNG and JPEG files in turns."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        colours = generator.integers(0, 256, size=(4, 3, 3), dtype=np.uint8)
        image = Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)
        image.save(folder / f"{index:03}.{'jpg' if index % 2 else 'png'}")
    return folder


# Folders


def test_features_come_in_the_order_of_names(tmp_path):
    folder = pictures(tmp_path / "a", 5, seed=0)
    (folder / ".hidden.png").write_text("")
    (folder / "notes.txt").write_text("")
    extractor = Corners()
    features = folder_features(extractor, folder, batch_size=2, show_progress=False)
    assert extractor.batches == [2, 2, 1] and features.dtype == np.float32
    for path, row in zip(sorted(folder.glob("0*")), features, strict=True):
        assert np.allclose(row, Corners()(np.asarray(Image.open(path))[None])[0], atol=1e-6)


def test_pictures_of_several_sizes_go_in_batches_of_their_own(tmp_path):
    folder = pictures(tmp_path / "a", 2, seed=0)
    Image.new("RGB", (24, 32)).save(folder / "010.png")
    extractor = Corners()
    assert len(folder_features(extractor, folder, show_progress=False)) == 3
    assert extractor.batches == [2, 1]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`folder` must hold pictures"):
        folder_features(Corners(), tmp_path, show_progress=False)


def test_kept_features_are_used_for_the_same_files_and_network_only(tmp_path):
    folder, cache = pictures(tmp_path / "a", 4, seed=0), tmp_path / "features" / "a.npz"

    def features(name: str) -> tuple[np.ndarray, bool]:
        extractor = Corners()
        extractor.name = name
        found = folder_features(extractor, folder, cache=cache, show_progress=False)
        return found, bool(extractor.batches)

    first, computed = features("corners")
    assert computed
    again, computed = features("corners")
    assert not computed and np.array_equal(first, again) and again.dtype == np.float32
    assert features("another network")[1]
    assert not features("another network")[1]
    Image.new("RGB", (12, 16)).save(folder / "000.png")
    changed, computed = features("another network")
    assert computed and not np.array_equal(changed, first)
    # Of the same size in bytes.
    for colour in (1, 2):
        Image.new("RGB", (12, 16), (colour, 0, 0)).save(folder / "000.png", compress_level=0)
        assert features("another network")[1]
    (folder / "003.jpg").rename(folder / "004.jpg")
    assert features("another network")[1]
    assert not features("another network")[1]


def test_any_extractor_gives_our_distances(tmp_path):
    generated, reference = pictures(tmp_path / "g", 9, seed=1), pictures(tmp_path / "r", 9, seed=2)
    found = feature_distances(Corners(), generated, reference, subset_size=9, num_subsets=2, show_progress=False)
    features = [folder_features(Corners(), folder, show_progress=False) for folder in (generated, reference)]
    assert found["frechet"] == pytest.approx(frechet_distance(*features), rel=1e-12) and found["frechet"] > 0
    assert found["kernel"] == pytest.approx(unbiased_kernel_distance(*features), rel=1e-9)
    assert found["kernel_deviation"] == pytest.approx(0, abs=1e-12)


# What is missing


@pytest.mark.parametrize(
    ("protocol", "count", "missing"),
    [
        (CATVTON, 1, {"fid", "kid"}),
        (CATVTON, 2, set()),
        (TORCH_FIDELITY, 999, {"kid"}),
        (TORCH_FIDELITY, 1000, set()),
        (PROTOCOLS["rendered"], 1, set()),
    ],
)
def test_too_few_pictures_are_told(protocol, count, missing):
    assert set(too_few_pictures(protocol, count)) == missing


def test_one_picture_has_no_distance(tmp_path):
    generated, reference = pictures(tmp_path / "g", 1, seed=1), pictures(tmp_path / "r", 3, seed=2)
    with pytest.raises(UnavailableError, match="needs two pictures at least, there is 1"):
        compute_distances(CATVTON, generated, reference, Corners(), show_progress=False)


LIBRARIES = {"clean-fid": "cleanfid", "torch-fidelity": "torch_fidelity"}


def forget(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let the next import look at `sys.path`."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_not_installed_names_the_extra(monkeypatch, library):
    forget(monkeypatch, LIBRARIES[library])
    monkeypatch.setitem(sys.modules, LIBRARIES[library], None)
    with pytest.raises(
        UnavailableError, match=rf'{library} is not installed: pip install "diffusers-tryon\[perceptual\]"'
    ):
        load_extractor(library)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("torchvision", "message"),
    [
        (None, "needs torchvision, which is not installed: pip install"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "cannot be loaded beside torch .*nms"),
        ("raise OSError('libcudart.so: cannot open')", "cannot be loaded beside torch .*libcudart"),
    ],
)
def test_a_torchvision_that_does_not_load_is_the_reason(tmp_path, monkeypatch, library, torchvision, message):
    package = tmp_path / LIBRARIES[library]
    package.mkdir()
    (package / "__init__.py").write_text("import torchvision\n")
    for name in (LIBRARIES[library], "torchvision"):
        forget(monkeypatch, name)
    if torchvision is None:
        monkeypatch.setitem(sys.modules, "torchvision", None)
    else:
        (tmp_path / "torchvision.py").write_text(torchvision)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnavailableError, match=f"{library} .*{message}"):
        load_extractor(library)


# Asks for its weights as clean-fid does, from a port where nobody listens.
STAND_IN = {
    "__init__.py": "",
    "resize.py": "def build_resizer(mode): return lambda image: image",
    "downloads_helper.py": "inception_url = 'http://127.0.0.1:9/inception-2015-12-05.pt'",
    "inception_torchscript.py": """
import os, urllib.request, torch
from cleanfid.downloads_helper import inception_url
class InceptionV3W(torch.nn.Module):
    def __init__(self, path, download):
        super().__init__()
        path = os.path.join(path, "inception-2015-12-05.pt")
        if not os.path.exists(path):
            open(path, "wb").write(b"the first bytes")
            urllib.request.urlopen(inception_url)
        self.base = torch.jit.load(path)
""",
}


@pytest.fixture
def library_without_weights(tmp_path, monkeypatch) -> Iterator[None]:
    package = tmp_path / "packages" / "cleanfid"
    package.mkdir(parents=True)
    for name, text in STAND_IN.items():
        (package / name).write_text(text)
    forget(monkeypatch, "cleanfid")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "cleanfid"]:
        del sys.modules[name]


def test_weights_that_cannot_be_fetched_are_the_reason(library_without_weights, tmp_path):
    place = tmp_path / "hub" / "checkpoints" / "inception-2015-12-05.pt"
    with pytest.raises(UnavailableError) as raised:
        compute_distances(CATVTON, tmp_path, tmp_path)
    message = str(raised.value)
    assert "could not be fetched from http://127.0.0.1:9/inception-2015-12-05.pt" in message
    assert f"put that file at {place}" in message
    # Half a file would be taken for a whole one the next time.
    assert not place.exists()


def test_weights_that_are_broken_are_the_reason_and_stay(library_without_weights, tmp_path):
    place = tmp_path / "inception-2015-12-05.pt"
    place.write_bytes(b"half a file")
    with pytest.raises(UnavailableError, match=f"weights {place} cannot be read .*: remove that file"):
        CleanFidFeatures(folder=tmp_path)
    assert place.read_bytes() == b"half a file"


def test_weights_that_came_broken_are_the_reason_and_go(library_without_weights, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda url: None)
    with pytest.raises(UnavailableError, match="what was fetched from http://127.0.0.1:9/.* cannot be read"):
        CleanFidFeatures(folder=tmp_path)
    assert not (tmp_path / "inception-2015-12-05.pt").exists()


# The libraries themselves, with networks of random weights in place of theirs


class RandomNetwork(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 2048, 32, stride=32)

    def forward(self, x):
        return self.convolution(x).relu().mean((2, 3))


class ScriptedNetwork(torch.nn.Module):
    """Built like the file that clean-fid reads."""

    def __init__(self):
        super().__init__()
        self.layers = RandomNetwork()

    def forward(self, x):
        return self.layers(x)


class FirstFeatures:
    """Few of an extractor's features, since the root of a matrix of 2048 x 2048 takes half a minute."""

    def __init__(self, extractor):
        self.name, self.extractor = extractor.name, extractor

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.extractor(images)[:, :32]


def test_clean_fid_gives_the_same_itself(tmp_path):
    from_files, distance = clean_fid_function("get_folder_features"), clean_fid_function("kernel_distance")
    generated = pictures(tmp_path / "g", 12, seed=3, size=(96, 128))
    reference = pictures(tmp_path / "r", 14, seed=4, size=(96, 128))
    torch.manual_seed(0)
    torch.jit.script(ScriptedNetwork()).save(str(tmp_path / "inception-2015-12-05.pt"))
    ours = FirstFeatures(CleanFidFeatures(folder=tmp_path))
    its = torch.jit.load(str(tmp_path / "inception-2015-12-05.pt")).layers

    def network(images):
        return its((images - 128) / 128)[:, :32]

    options = {"num_workers": 0, "device": torch.device("cpu"), "verbose": False}
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    found = compute_distances(CATVTON, generated, reference, ours, show_progress=False)
    assert np.array_equal(state, np.random.get_state()[1])
    fid = clean_fid_function("compute_fid")(str(reference), str(generated), custom_feat_extractor=network, **options)
    assert found["fid"] == pytest.approx(fid, rel=1e-6)
    features = [from_files(str(folder), network, **options) for folder in (reference, generated)]
    np.random.seed(0)
    assert found["kid"] == pytest.approx(1000 * distance(*features), rel=1e-6)


@pytest.mark.slow
def test_torch_fidelity_gives_the_same_itself(tmp_path):
    library = torch_fidelity_module("metrics")
    network = torch_fidelity_module("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    generated = pictures(tmp_path / "g", 12, seed=3, size=(96, 128))
    reference = pictures(tmp_path / "r", 14, seed=4, size=(96, 128))

    class Untrained(network):
        def load_state_dict(self, state):
            for module in self.modules():
                if isinstance(module, torch.nn.Conv2d):
                    torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    torch.save({}, tmp_path / "empty.pth")
    torch.manual_seed(0)
    untrained = Untrained("any", ["2048"], feature_extractor_weights_path=str(tmp_path / "empty.pth"))
    torch.save(untrained.state_dict(), tmp_path / "weights.pth")
    protocol = replace(TORCH_FIDELITY, distances=replace(TORCH_FIDELITY.distances, kid_subset_size=10))
    extractor = TorchFidelityFeatures(weights=tmp_path / "weights.pth")
    found = compute_distances(protocol, generated, reference, extractor, show_progress=False)
    expected = library.calculate_metrics(
        input1=str(generated),
        input2=str(reference),
        cuda=False,
        fid=True,
        kid=True,
        kid_subset_size=10,
        feature_extractor_weights_path=str(tmp_path / "weights.pth"),
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    assert found["fid"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-6) and found["fid"] > 0.1
    assert found["kid"] == pytest.approx(1000 * expected["kernel_inception_distance_mean"], rel=1e-6)
    few = compute_distances(TORCH_FIDELITY, generated, reference, extractor, show_progress=False)
    assert few == {"fid": found["fid"]}
