# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""LPIPS, where torchvision loads, against the formula written out; what is said where it does not."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_tryon.evaluation.errors import UnavailableError
from diffusers_tryon.evaluation.perceptual import LpipsMetric
from diffusers_tryon.evaluation.protocols import LpipsSettings


HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None
# Channel means and deviations that LPIPS brings pictures in [-1, 1] to.
SHIFT, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])


def pictures(side: int = 80) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(2)]


@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed")
def test_without_torchvision_the_extra_is_named():
    with pytest.raises(UnavailableError, match=r"torchvision, which LPIPS needs, .*diffusers-tryon\[perceptual\]"):
        LpipsMetric(LpipsSettings("alex"))


def test_a_torchvision_that_does_not_load_is_named_with_its_reason(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = "torchvision, which LPIPS needs, cannot be loaded beside torch .*nms does not exist.*same release"
    with pytest.raises(UnavailableError, match=message):
        LpipsMetric(LpipsSettings("alex"))


@pytest.fixture
def torchvision(monkeypatch):
    """The library with networks of random weights, so that nothing is downloaded."""
    library = pytest.importorskip("torchvision", reason="torchvision does not go with this torch", exc_type=Exception)
    for name in ("alexnet", "squeezenet1_1", "vgg16"):
        create = getattr(library.models, name)
        monkeypatch.setattr(library.models, name, lambda weights=None, create=create: create(weights=None))
    torch.manual_seed(0)
    return library


def plain_lpips(metric: torch.nn.Module, image: np.ndarray, reference: np.ndarray, depths: list[int]) -> float:
    """The formula, with the layers of the network that the metric holds."""
    network = metric.net.net
    # Of AlexNet and VGG the slices are numbered, of SqueezeNet listed.
    slices = getattr(network, "slices", None) or [getattr(network, f"slice{i + 1}") for i in range(len(depths))]
    features = []
    for array in (image, reference):
        values = ((array.astype(np.float64) / 127.5 - 1) - SHIFT) / SCALE
        hidden_states = torch.from_numpy(values).float().permute(2, 0, 1)[None]
        maps = []
        for layers in slices:
            hidden_states = layers(hidden_states)
            maps.append(hidden_states[0].double().numpy())
        features.append([array / np.sqrt((array**2).sum(axis=0)) for array in maps])
    assert [len(array) for array in features[0]] == depths
    total = 0.0
    for number, (first, second) in enumerate(zip(*features)):
        weights = getattr(metric.net, f"lin{number}").model[-1].weight.detach().double().numpy()[0, :, 0, 0]
        total += (weights[:, None, None] * (first - second) ** 2).sum(axis=0).mean()
    return total


@pytest.mark.parametrize(
    "backbone, depths",
    [
        ("alex", [64, 192, 384, 256, 256]),
        ("squeeze", [64, 128, 256, 384, 384, 512, 512]),
        ("vgg", [64, 128, 256, 512, 512]),
    ],
)
def test_the_distance_is_that_of_the_formula(torchvision, backbone, depths):
    lpips = LpipsMetric(LpipsSettings(backbone))
    image, reference = pictures()
    with torch.no_grad():
        expected = plain_lpips(lpips._metric, image, reference, depths)
    assert expected > 0
    assert lpips(image, reference) == pytest.approx(expected, rel=1e-4)
    assert lpips(image, reference) == lpips(image, reference)
    assert lpips(image, image) == 0


def test_pictures_are_brought_to_the_size_of_the_settings(torchvision):
    sized, plain = LpipsMetric(LpipsSettings("squeeze", size=(64, 96))), LpipsMetric(LpipsSettings("squeeze"))
    plain._metric.load_state_dict(sized._metric.state_dict())
    plain._metric.net.load_state_dict(sized._metric.net.state_dict())
    image, reference = pictures()
    small = [
        np.asarray(Image.fromarray(array).resize((96, 64), Image.Resampling.BILINEAR)) for array in (image, reference)
    ]
    assert sized(image, reference) == plain(*small) != plain(image, reference)


def test_weights_that_cannot_be_fetched_are_named(torchvision, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "alexnet", refuse)
    with pytest.raises(UnavailableError, match="weights of LPIPS' network .alex. cannot be fetched: no route to host"):
        LpipsMetric(LpipsSettings("alex"))
