# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Ranges, sizes and refusals of the image processor."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_tryon.image_processor import TryOnImageProcessor


@pytest.fixture
def processor() -> TryOnImageProcessor:
    return TryOnImageProcessor()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)


def forms(pixels: np.ndarray) -> dict:
    unit = pixels.astype(np.float32) / 255
    return {
        "pil": Image.fromarray(pixels),
        "array uint8": pixels,
        "array float": unit,
        "array double": unit.astype(np.float64),
        "batched array": unit[None],
        "tensor uint8": torch.from_numpy(pixels).permute(2, 0, 1),
        "tensor float": torch.from_numpy(unit).permute(2, 0, 1),
        "batched tensor": torch.from_numpy(unit).permute(2, 0, 1)[None],
        "list of pil": [Image.fromarray(pixels)],
        "list of batched tensors": [torch.from_numpy(unit).permute(2, 0, 1)[None]],
    }


@pytest.mark.parametrize("form", forms(np.zeros((2, 2, 3), np.uint8)))
@pytest.mark.parametrize("size", [(24, 16), (12, 8), (48, 32), (9, 6)])
def test_the_same_picture_in_any_form_gives_the_same_pixels(processor, pixels, form, size):
    expected = processor.preprocess(pixels, *size)
    got = processor.preprocess(forms(pixels)[form], *size)
    assert got.shape == (1, 3, *size) and got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert got.min() >= -1 and got.max() <= 1


def test_values_are_mapped_to_minus_one_and_one(processor):
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0], image[1, 1] = (255, 0, 51), (0, 255, 0)
    got = processor.preprocess(image, 2, 2)
    torch.testing.assert_close(got[0, :, 0, 0], torch.tensor([1.0, -1.0, -0.6]))
    torch.testing.assert_close(got[0, :, 1, 1], torch.tensor([-1.0, 1.0, -1.0]))


def test_shrinking_averages_instead_of_picking_pixels(processor):
    stripes = np.zeros((32, 32, 3), np.float32)
    stripes[:, ::2] = 1.0
    got = processor.preprocess(stripes, 8, 8)
    assert got[..., 1:-1].abs().max() < 0.05
    again = processor.downsample(processor.preprocess(stripes, 32, 32), 8, 8)
    torch.testing.assert_close(got, again, rtol=0, atol=1e-6)


def test_images_of_a_list_may_have_different_sizes(processor, pixels):
    got = processor.preprocess([Image.fromarray(pixels), Image.fromarray(pixels[::2, ::2].copy())], 24, 16)
    assert got.shape == (2, 3, 24, 16)
    assert torch.equal(got[:1], processor.preprocess(pixels, 24, 16))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr"])
def test_pil_modes_without_transparency(processor, pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert torch.equal(processor.preprocess(image, 24, 16), processor.preprocess(expected, 24, 16))


@pytest.mark.parametrize("background", [255, 128])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_show_the_background(processor, mode, background):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 2, 4))
    image = image.convert("LA").convert(mode) if mode == "LA" else image
    if mode == "P":
        image = Image.new("P", (4, 4), 1)
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.paste(0, (0, 0, 2, 4))
        image.info["transparency"] = 1
    got = processor.preprocess(image, 4, 4, background=background)
    assert (got[..., :2] == 1).all()
    torch.testing.assert_close(got[..., 2:], torch.full((1, 3, 4, 2), background / 127.5 - 1))


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.rand(3, 8, 8) * 2 - 1, r"`garment_image`.*\[0, 1\], got values from -.*\[-1, 1\]"),
        (np.random.rand(8, 8, 3) * 255, r"`garment_image`.*got values from .*Divide"),
        (np.zeros((8, 8, 4), np.uint8), r"`garment_image` must be an array .*got shape \(8, 8, 4\)"),
        (np.zeros((3, 8, 8), np.uint8), r"got shape \(3, 8, 8\)"),
        (np.zeros((8, 8), np.uint8), r"got shape \(8, 8\)"),
        (torch.zeros(8, 8, 3), r"`garment_image` must be a tensor .*got shape \(8, 8, 3\)"),
        (torch.zeros(1, 1, 3, 8, 8), "got shape"),
        (torch.zeros(0, 3, 8, 8), "got shape"),
        (np.zeros((8, 8, 3), np.int64), "uint8 in 0..255 or floating point.*int64"),
        (np.full((8, 8, 3), np.nan, np.float32), "NaN"),
        (torch.full((3, 8, 8), float("inf")), "NaN or infinite"),
        (Image.new("I;16", (8, 8)), "mode 'I;16'"),
        (Image.new("F", (8, 8)), "mode 'F'"),
        ("photo.png", "must be a PIL image.*str"),
        ([], "empty list"),
        (np.zeros((8, 16, 3), np.uint8), "height 8 and width 16 would be distorted"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(processor, image, message):
    with pytest.raises(ValueError, match=message):
        processor.preprocess(image, 8, 8, name="garment_image")


def test_a_pixel_of_rounding_is_no_distortion(processor):
    assert processor.preprocess(np.zeros((33, 17, 3), np.uint8), 64, 32).shape == (1, 3, 64, 32)
    assert processor.preprocess(np.zeros((1024, 768, 3), np.uint8), 64, 48).shape == (1, 3, 64, 48)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt", "latent"])
def test_outputs_of_all_types_agree(processor, output_type):
    images = torch.rand(2, 3, 6, 4) * 2.4 - 1.2
    got = processor.postprocess(images, output_type)
    unit = (images.clamp(-1, 1) + 1) / 2
    if output_type == "latent":
        assert got is images
    elif output_type == "pt":
        torch.testing.assert_close(got, unit)
    elif output_type == "np":
        assert got.shape == (2, 6, 4, 3) and got.dtype == np.float32
        np.testing.assert_allclose(got, unit.permute(0, 2, 3, 1).numpy(), atol=1e-6)
    else:
        assert [image.size for image in got] == [(4, 6), (4, 6)] and got[0].mode == "RGB"
        expected = (unit.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
        assert np.array_equal(np.stack([np.asarray(image) for image in got]), expected)


def test_eight_bit_images_survive_the_way_there_and_back(processor):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    (back,) = processor.postprocess(processor.preprocess(values, 16, 16), "pil")
    assert np.array_equal(np.asarray(back), values)


def test_unknown_output_type(processor):
    with pytest.raises(ValueError, match="`output_type` must be one of pil, np, pt, latent, got 'pdf'"):
        processor.postprocess(torch.zeros(1, 3, 2, 2), "pdf")


@pytest.mark.parametrize(
    "convert",
    [
        lambda mask: Image.fromarray(mask.astype(np.uint8) * 255),
        lambda mask: mask,
        lambda mask: mask[..., None].astype(np.float32),
        lambda mask: mask[None].astype(np.uint8) * 255,
        lambda mask: torch.from_numpy(mask),
        lambda mask: torch.from_numpy(mask)[None, None].float(),
        lambda mask: [Image.fromarray(mask)],
    ],
)
def test_masks_in_any_form(processor, convert):
    mask = np.zeros((12, 8), bool)
    mask[3:7, 2:5] = True
    got = processor.preprocess_mask(convert(mask), 12, 8)
    assert got.dtype == torch.bool and got.shape == (1, 1, 12, 8)
    assert torch.equal(got[0, 0], torch.from_numpy(mask))


@pytest.mark.parametrize("size", [(8, 8), (11, 11), (16, 16), (64, 64), (50, 50)])
def test_the_resized_mask_covers_every_pixel_that_the_fill_colour_reached(processor, size):
    person = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[5:19, 9:22] = True
    filled = person.copy()
    filled[mask] = 128
    resized_mask = processor.preprocess_mask(mask, *size)
    untouched = (processor.preprocess(person, *size) == processor.preprocess(filled, *size)).all(1, keepdim=True)
    assert untouched[~resized_mask].all()
    assert resized_mask.float().mean() < 0.5


@pytest.mark.parametrize(
    "mask, message",
    [
        (np.zeros((1, 8, 8, 3), np.uint8), r"one channel.*\(1, 8, 8, 3\)"),
        (np.full((8, 8), 7.0), r"`agnostic_mask`.*\[0, 1\]"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.zeros((8, 8), np.int32), "int32"),
        ("mask.png", "must be a PIL image"),
    ],
)
def test_masks_that_do_not_fit_are_refused(processor, mask, message):
    with pytest.raises(ValueError, match=message):
        processor.preprocess_mask(mask, 8, 8)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_low_resolution_path_keeps_range_and_mean(processor, mode):
    image = torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    low = processor.downsample(image, 16, 12)
    up = processor.upsample_low_res(low, 32, 24, mode)
    assert low.shape == (2, 3, 16, 12) and up.shape == image.shape
    assert up.min() >= -1 and up.max() <= 1
    torch.testing.assert_close(up.mean((2, 3)), image.mean((2, 3)), rtol=0, atol=0.02)
    flat = torch.full((1, 3, 32, 24), -0.37)
    torch.testing.assert_close(processor.upsample_low_res(processor.downsample(flat, 16, 12), 32, 24, mode), flat)


def test_a_mask_that_marks_nothing_is_refused(processor):
    masks = np.zeros((2, 16, 16), dtype=np.uint8)
    masks[0, 4:8] = 255
    with pytest.raises(ValueError, match="`agnostic_mask` marks no pixel"):
        processor.preprocess_mask(masks, 8, 8)
    assert processor.preprocess_mask(masks[:1], 8, 8).any()
