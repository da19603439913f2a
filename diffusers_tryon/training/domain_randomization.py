# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Changes what rendered people look like, not what they are: other backgrounds, cloths, skins, things before them,
light and cameras.

The exact labels say which pixels are skin, hair or a garment, so each gets another colour or texture while its light
and shade stay (domain randomisation, arXiv 1703.06907). What then still tells a sleeve from an arm is what photographs
share with renders: shapes, edges and places.
"""

import io
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from diffusers_tryon.composition import PARSE_IDS, PARSE_LABELS
from diffusers_tryon.poses import OCCLUDED_VISIBILITY
from diffusers_tryon.training.labelled_views import LabelledBatch


_CLOTHES = ("top", "dress", "skirt", "pants", "belt", "hat", "feet")
_SKIN = ("face", "arms", "hands", "legs", "torso")
# Shares of the samples, or of the regions of a sample, to which something is done.
_NEW_BACKGROUND = 0.7
_NOBODY = 0.02
_OCCLUDED = 0.25
_NEW_CLOTH = 0.5
_TEXTURED = 0.35
_NEW_SKIN = 0.3
_NEW_HAIR = 0.4
_SHADED = 0.35
_GREY = 0.07
_BLURRED = 0.25
_COARSE = 0.2
_NOISY = 0.35
_COMPRESSED = 0.3
# Behind a person who is not cut out, outside of the photograph: the mean of ImageNet, white, grey, black.
_PADDINGS = ((0.485, 0.456, 0.406), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0))
_LUMINANCE = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
# From very light to very dark.
_LIGHTEST_SKIN, _DARKEST_SKIN = np.array((0.95, 0.78, 0.69)), np.array((0.28, 0.18, 0.13))
_NUM_LABELS = len(PARSE_LABELS)


def _backdrop_crops(rng: np.random.Generator, backdrops: torch.Tensor, count: int, size: int) -> torch.Tensor:
    """Random parts (count, 3, size, size) in [0, 1] of random backdrops, mirrored, in other colours."""
    side = backdrops.shape[-1]
    crops = []
    for _ in range(count):
        width = int(side * rng.uniform(0.25, 1.0))
        row, column = rng.integers(0, side - width + 1, 2)
        crop = backdrops[int(rng.integers(len(backdrops))), :, row : row + width, column : column + width]
        crop = crop.flip(-1) if rng.random() < 0.5 else crop
        crop = F.interpolate(crop[None].float() / 255, (size, size), mode="bilinear", antialias=width > 1.5 * size)
        gain = torch.from_numpy(np.exp(rng.normal(0, 0.25, 3)).astype(np.float32)).view(1, 3, 1, 1)
        crops.append((crop * gain).clamp(0, 1))
    return torch.cat(crops)


def _random_colour(rng: np.random.Generator) -> np.ndarray:
    """Any colour in [0, 1]; dark and pale ones, and those without hue, as often as among clothes."""
    saturation = rng.choice((0.0, 0.1, 0.3, 0.8))
    return np.clip(rng.uniform(0.03, 1.0) + saturation * rng.uniform(-0.6, 0.6, 3), 0.02, 1)


def _skin_colour(rng: np.random.Generator) -> np.ndarray:
    share = rng.random()
    return np.clip((1 - share) * _LIGHTEST_SKIN + share * _DARKEST_SKIN + rng.normal(0, 0.03, 3), 0.05, 1)


def _draw_recolouring(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each label a colour (L, 3), how much of it replaces the own colour (L,), and how much is texture (L,)."""
    colours, shares, textures = np.ones((_NUM_LABELS, 3)), np.zeros(_NUM_LABELS), np.zeros(_NUM_LABELS)
    last = _random_colour(rng)
    skin = _skin_colour(rng)
    for name in _CLOTHES:
        if rng.random() < _NEW_CLOTH:
            # Garments of one colour, and of the colour of skin, can only be told apart by their shapes.
            kind = rng.random()
            last = skin if kind < 0.08 else last if kind < 0.25 else _random_colour(rng)
            colours[PARSE_IDS[name]], shares[PARSE_IDS[name]] = last, rng.uniform(0.6, 1.0)
            textures[PARSE_IDS[name]] = rng.uniform(0.3, 1.0) if rng.random() < _TEXTURED else 0.0
    if rng.random() < _NEW_SKIN:
        for name in _SKIN:
            colours[PARSE_IDS[name]], shares[PARSE_IDS[name]] = skin, 0.9
    if rng.random() < _NEW_HAIR:
        colours[PARSE_IDS["hair"]], shares[PARSE_IDS["hair"]] = _random_colour(rng) * rng.uniform(0.2, 1), 0.9
    return colours, shares, textures


def recolour(rng: np.random.Generator, batch: LabelledBatch, backdrops: torch.Tensor) -> LabelledBatch:
    """Give clothes, skin and hair other colours and textures; light and shade stay, and so does every label."""
    images, labels = batch.images, batch.labels
    count, size = len(images), images.shape[-1]
    drawn = [_draw_recolouring(rng) for _ in range(count)]
    colours, shares, textures = (torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*drawn))
    luminance = (images * _LUMINANCE).sum(dim=1)
    flat = labels + _NUM_LABELS * torch.arange(count).view(-1, 1, 1)
    sums = torch.zeros(count * _NUM_LABELS).index_add_(0, flat.reshape(-1), luminance.reshape(-1))
    areas = torch.bincount(flat.reshape(-1), minlength=count * _NUM_LABELS)
    means = sums / areas.clamp(min=1)
    shade = (luminance / means[flat].clamp(min=0.02)).clamp(0.15, 2.2)
    weave = _backdrop_crops(rng, backdrops, count, size)
    weave = weave / weave.mean(dim=(2, 3), keepdim=True).clamp(min=0.05)

    def per_pixel(table: torch.Tensor) -> torch.Tensor:
        return table.reshape(count * _NUM_LABELS, -1)[flat].permute(0, 3, 1, 2)

    target = per_pixel(colours) * torch.lerp(torch.ones_like(weave), weave, per_pixel(textures)) * shade[:, None]
    # Where a pixel is shared with the background its own colour stays in part, so that edges stay smooth.
    return replace(batch, images=torch.lerp(images, target.clamp(0, 1), per_pixel(shares) * batch.coverage))


def exchange_background(rng: np.random.Generator, batch: LabelledBatch, backdrops: torch.Tensor) -> LabelledBatch:
    """Put most people before other backgrounds, fill what lies outside of the photograph, and leave some backgrounds
    without anybody."""
    count, size = len(batch.images), batch.images.shape[-1]
    exchanged = torch.from_numpy(rng.random(count) < _NEW_BACKGROUND).view(-1, 1, 1, 1)
    nobody = torch.from_numpy(rng.random(count) < _NOBODY).view(-1, 1, 1, 1)
    paddings = [
        _PADDINGS[rng.integers(len(_PADDINGS))] if rng.random() < 0.7 else tuple(_random_colour(rng))
        for _ in range(count)
    ]
    padding = torch.tensor(paddings, dtype=torch.float32).view(-1, 3, 1, 1)
    # The pixels along the outline hold colour of the old background: they go with it.
    alpha = (2 * batch.coverage - 1).clamp(0, 1)
    backdrop = _backdrop_crops(rng, backdrops, count, size)
    images = torch.where(batch.inside, batch.images, padding)
    images = torch.where(exchanged, torch.lerp(backdrop, images, alpha), images)
    images = torch.where(nobody, backdrop, images)
    present = ~nobody.view(-1, 1, 1)
    return replace(batch, images=images, labels=batch.labels * present, keypoints=batch.keypoints * present)


def add_strangers(batch: LabelledBatch, numbers: np.ndarray, strangers: LabelledBatch) -> LabelledBatch:
    """Let `strangers` (N people) stand behind the people with the `numbers` (N,): they count as background, so that
    the one in front is labelled alone."""
    images, chosen = batch.images.clone(), torch.from_numpy(numbers)
    somebody = (batch.labels[chosen] > 0).flatten(1).any(dim=1).view(-1, 1, 1, 1)
    shown = strangers.coverage * (1 - batch.coverage[chosen]) * somebody
    images[chosen] = torch.lerp(images[chosen], strangers.images, shown)
    return replace(batch, images=images)


def occlude(rng: np.random.Generator, batch: LabelledBatch, backdrops: torch.Tensor) -> LabelledBatch:
    """Put something before some of the people: its pixels are background, keypoints behind it hidden."""
    size = batch.images.shape[-1]
    images, labels, keypoints = batch.images.clone(), batch.labels.clone(), batch.keypoints.clone()
    middles = (torch.arange(size) + 0.5) / size
    for number in np.flatnonzero(rng.random(len(images)) < _OCCLUDED):
        centre, half = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.22, 2)
        power = float(rng.choice((2, 8)))

        def covers(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return ((x - centre[0]).abs() / half[0]) ** power + ((y - centre[1]).abs() / half[1]) ** power < 1

        mask = covers(middles[None, :], middles[:, None])
        images[number] = torch.where(mask, _backdrop_crops(rng, backdrops, 1, size)[0], images[number])
        labels[number][mask] = 0
        hidden = covers(keypoints[number, :, 0], keypoints[number, :, 1])
        keypoints[number, hidden, 2] = keypoints[number, hidden, 2].clamp(max=OCCLUDED_VISIBILITY)
    return replace(batch, images=images, labels=labels, keypoints=keypoints)


def _compressed(image: torch.Tensor, quality: int) -> torch.Tensor:
    """A picture (3, S, S) in [0, 1] after JPEG."""
    pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """A picture (3, S, S) after a Gaussian blur of `sigma` pixels."""
    reach = max(1, int(2.5 * sigma + 0.5))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[:, :, None], groups=3), kernel[..., None], groups=3)[0]


def develop(rng: np.random.Generator, batch: LabelledBatch) -> LabelledBatch:
    """Change light, colours and camera of every picture: uneven light, exposure, contrast, gamma, saturation, white
    balance, blur, coarse pixels, noise, JPEG."""
    images = batch.images
    count, size = len(images), images.shape[-1]

    def draw(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).view(count, -1, 1, 1)

    shading = draw(rng.normal(0, 0.35, (count, 9)) * (rng.random((count, 1)) < _SHADED)).view(count, 1, 3, 3)
    images = images * torch.exp(F.interpolate(shading, (size, size), mode="bicubic", align_corners=True))
    images = images * draw(np.exp(rng.normal(0, 0.15, count))) * draw(np.exp(rng.normal(0, 0.07, (count, 3))))
    images = images.clamp(1e-4, 1) ** draw(np.exp(rng.normal(0, 0.2, count)))
    grey = (images * _LUMINANCE).sum(dim=1, keepdim=True)
    saturation = np.where(rng.random(count) < _GREY, 0.0, np.maximum(rng.normal(1, 0.3, count), 0))
    images = torch.lerp(grey.expand_as(images), images, draw(saturation))
    middle = draw(rng.uniform(0.3, 0.6, count))
    images = ((images - middle) * draw(np.exp(rng.normal(0, 0.2, count))) + middle).clamp(0, 1)
    finished = []
    for image in images:
        if rng.random() < _BLURRED:
            image = _blurred(image, rng.uniform(0.4, 1.6) * size / 128)
        if rng.random() < _COARSE:
            small = int(size * rng.uniform(0.35, 0.9))
            coarse = F.interpolate(image[None], (small, small), mode="bilinear", antialias=True)
            image = F.interpolate(coarse, (size, size), mode="bilinear")[0]
        if rng.random() < _NOISY:
            noise = rng.standard_normal((3 if rng.random() < 0.7 else 1, size, size), dtype=np.float32)
            image = (image + rng.uniform(0.005, 0.06) * torch.from_numpy(noise)).clamp(0, 1)
        if rng.random() < _COMPRESSED:
            image = _compressed(image, int(rng.integers(25, 92)))
        finished.append(image)
    return replace(batch, images=torch.stack(finished))
