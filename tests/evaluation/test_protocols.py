# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The named protocols against what the published evaluation codes set, written out by hand."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from diffusers_tryon.evaluation.protocols import PROTOCOLS, count_warning, describe, get_protocol


# (size, filter of the generated side, of the reference's side, reference saved again, what FID sees)
PICTURES = {
    "catvton": (None, None, "lanczos", "jpeg", "compared"),
    "ladi": ((512, 384), "bilinear", "bilinear", None, "files"),
    "hr-viton": (None, None, "bilinear", None, "compared"),
    "torch-fidelity": (None, None, "bilinear", None, "compared"),
    "tryondiffusion": (None, None, "bicubic", None, "compared"),
    "rendered": (None, None, None, None, "compared"),
}
# torchmetrics before 1.4.2, which the codes were published with, cut the half window off before it took the mean.
OLD_TORCHMETRICS_SSIM = {"colour": "rgb", "border": "left out"}
TORCHMETRICS_SSIM = {"colour": "rgb", "border": "reflected"}
GREY_SSIM = {"colour": "grey", "border": "left out"}
SSIM = {
    "catvton": OLD_TORCHMETRICS_SSIM,
    "ladi": OLD_TORCHMETRICS_SSIM,
    "hr-viton": GREY_SSIM,
    "torch-fidelity": GREY_SSIM,
    "tryondiffusion": None,
    "rendered": TORCHMETRICS_SSIM,
}
LPIPS = {
    "catvton": ("squeeze", None),
    "ladi": ("alex", None),
    "hr-viton": ("alex", (128, 128)),
    "torch-fidelity": ("alex", (128, 128)),
    "tryondiffusion": None,
    "rendered": ("alex", None),
}
# Library, subsets, pictures in each, degree, seed.
DISTANCES = {
    "catvton": ("clean-fid", 100, 1000, 3, None),
    "ladi": ("clean-fid", 100, 1000, 3, None),
    "hr-viton": None,
    "torch-fidelity": ("torch-fidelity", 100, 1000, 3, 2020),
    "tryondiffusion": ("clean-fid", 100, 1000, 3, None),
    "rendered": None,
}
PUBLISHED = {
    "catvton": {"fid", "kid", "ssim", "lpips"},
    "ladi": {"fid", "kid", "ssim", "lpips"},
    "hr-viton": {"ssim", "mse", "lpips"},
    "torch-fidelity": {"fid", "kid", "ssim", "lpips"},
    "tryondiffusion": {"fid", "kid"},
    "rendered": set(),
}
COUNTS = {
    "catvton": {2032, 1800, 5400},
    "ladi": {2032, 1800, 5400},
    "hr-viton": {2032},
    "torch-fidelity": {2032},
    "tryondiffusion": {6000, 2032},
    "rendered": set(),
}
NAME_RULES = {
    "catvton": "catvton",
    "ladi": "stem",
    "hr-viton": "hr-viton",
    "torch-fidelity": "hr-viton",
    "tryondiffusion": "stem",
    "rendered": "stem",
}


def values(settings) -> tuple | None:
    return None if settings is None else tuple(asdict(settings).values())


def test_these_protocols_and_no_others():
    assert set(PROTOCOLS) == set(PICTURES)
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize("name", PICTURES)
def test_settings_are_those_of_the_source(name):
    protocol = get_protocol(name)
    pictures = (protocol.size, protocol.resize_generated, protocol.resize_reference, protocol.reencode_reference)
    assert (*pictures, protocol.distances_see) == PICTURES[name]
    assert (protocol.ssim and asdict(protocol.ssim)) == SSIM[name]
    assert values(protocol.lpips) == LPIPS[name]
    assert values(protocol.distances) == DISTANCES[name]
    assert set(protocol.published_metrics) == PUBLISHED[name]
    assert {count for _, count in protocol.expected_counts} == COUNTS[name]
    assert protocol.name_rule == NAME_RULES[name]


@pytest.mark.parametrize("name", PICTURES)
def test_every_metric_has_its_settings(name):
    protocol = PROTOCOLS[name]
    assert ("ssim" in protocol.paired_metrics) == (protocol.ssim is not None)
    assert ("lpips" in protocol.paired_metrics) == (protocol.lpips is not None)
    assert bool(protocol.unpaired_metrics) == (protocol.distances is not None)
    assert set(protocol.published_metrics) <= {*protocol.paired_metrics, *protocol.unpaired_metrics}
    if protocol.paired_metrics:
        assert {"psnr", "ssim", "ms_ssim", "lpips"} <= set(protocol.paired_metrics) and protocol.regions


@pytest.mark.parametrize("name", PICTURES)
def test_every_setting_is_described(name):
    lines = describe(PROTOCOLS[name])
    names = [name for name, _ in lines]
    assert len(set(names)) == len(names) and all(value for _, value in lines)
    text = " ".join(value for _, value in lines)
    assert all(note in text for note in PROTOCOLS[name].notes)
    assert all(f"{count:,}" in text for count in COUNTS[name])


def test_no_two_protocols_that_differ_read_the_same():
    described = {name: tuple(describe(protocol)[2:]) for name, protocol in PROTOCOLS.items()}
    assert len(set(described.values())) == len(described)


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("catvton", "size", "brought to the generated picture's size where they differ, lanczos"),
        ("catvton", "compression", "quality 75"),
        ("catvton", "LPIPS", "SqueezeNet, version 0.1"),
        (
            "catvton",
            "KID",
            "x1000; unbiased, kernel (x.y / D + 1)^3, mean over 100 subsets of 1000 pictures each, or all",
        ),
        ("catvton", "paired metrics", "ssim, lpips; added by us, not in the source: psnr, ms_ssim"),
        ("catvton", "SSIM", "of RGB, mean of the channels; Gaussian window of 11 pixels, sigma 1.5, covariances not"),
        ("catvton", "SSIM", "without the half window along the border"),
        ("ladi", "size", "compared at 512x384 (height x width); generated bilinear, reference bilinear"),
        ("ladi", "FID", "of the files at their own sizes"),
        ("hr-viton", "SSIM", "of grey pictures (PIL's 8-bit luma); Gaussian window of 11 pixels, sigma 1.5"),
        ("hr-viton", "LPIPS", "brought to 128x128 before, bilinear"),
        ("hr-viton", "FID", "not computed"),
        ("torch-fidelity", "FID", "bilinear without antialiasing"),
        ("torch-fidelity", "KID", "seed 2020"),
        ("tryondiffusion", "note 1", "leaves unstated: the implementation of FID"),
        ("tryondiffusion", "note 2", "Our choices: clean-fid"),
        ("tryondiffusion", "paired metrics", "none"),
        ("rendered", "size", "must have one size"),
        ("rendered", "SSIM", "pictures reflected at their borders"),
        ("rendered", "PSNR", "at most 100"),
        ("rendered", "MS-SSIM", "five scales from 176 pixels a side on, four from 99, three from 44, two from 12"),
        ("rendered", "MSE", "not computed"),
        ("hr-viton", "MSE", "of RGB values in [0, 1]"),
        ("tryondiffusion", "PSNR", "not computed"),
    ],
)
def test_what_is_read_is_what_is_set(name, setting, words):
    assert words in dict(describe(PROTOCOLS[name]))[setting]


@pytest.mark.parametrize("name", ["catvton", "ladi", "torch-fidelity", "tryondiffusion"])
def test_the_traps_of_distances_are_told(name):
    notes = " ".join(PROTOCOLS[name].notes)
    assert "below about 2,000 it is biased" in notes and "x1000" in notes


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="`protocol` must be one of catvton, ladi, hr-viton, .*, got 'catvto'"):
        get_protocol("catvto")


@pytest.mark.parametrize(("count", "warned"), [(2032, False), (1800, False), (5400, False), (2031, True), (10, True)])
def test_counts_that_nobody_publishes_are_told(count, warned):
    warning = count_warning(PROTOCOLS["catvton"], count)
    assert (warning is not None) == warned
    if warned:
        assert f"These are {count:,} pictures" in warning and "2,032 (VITON-HD test)" in warning


def test_ours_takes_any_count():
    assert count_warning(PROTOCOLS["rendered"], 3) is None


def test_protocols_can_not_be_changed():
    protocol = PROTOCOLS["catvton"]
    for field in fields(protocol):
        with pytest.raises(AttributeError):
            setattr(protocol, field.name, None)


def test_the_page_says_the_same():
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in page.splitlines()
        if line.startswith("| `") and len(cells := line.strip("| ").split(" | ")) == 7
    }
    assert set(rows) == set(PROTOCOLS)
    networks = {"alex": "AlexNet", "squeeze": "SqueezeNet", "vgg": "VGG16"}
    for name, (_, size, reference, ssim, lpips, distances) in rows.items():
        protocol = PROTOCOLS[name]
        assert size.startswith("512 x 384" if protocol.size else "generated" if protocol.resize_reference else "equal")
        assert reference.lower().startswith(protocol.resize_reference or "as it is")
        assert ("JPEG" in reference) == (protocol.reencode_reference is not None)
        assert ssim.lower() == (protocol.ssim.colour if protocol.ssim else "none")
        assert lpips.startswith(networks[protocol.lpips.backbone] if protocol.lpips else "none")
        assert ("128 x 128" in lpips) == bool(protocol.lpips and protocol.lpips.size)
        assert distances == (protocol.distances.library if protocol.distances else "none")
