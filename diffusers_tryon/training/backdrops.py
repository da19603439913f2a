# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pictures without people: what is put behind people, on their clothes and before them, so that a network cannot rely
on the renderer's own backgrounds and cloths."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw

from diffusers_tryon.rendering.backgrounds import Shadow, draw_background
from diffusers_tryon.rendering.body import rotation
from diffusers_tryon.rendering.cameras import Camera
from diffusers_tryon.rendering.lighting import draw_light


# Drawn from rendered rooms, streets and parks in focus, objects before them, stripes and checks, clouds of noise, and
# photographs so close that nobody would know what they show.
_KIND_SHARES = {"scene": 0.38, "clutter": 0.22, "stripes": 0.12, "noise": 0.14, "close": 0.14}
_BACKDROP_PURPOSE = 11


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A colour in [0, 1], often a muted one."""
    grey = rng.random()
    return np.clip(grey + rng.normal(0, rng.choice((0.03, 0.12, 0.4)), 3), 0, 1)


def _scene(rng: np.random.Generator, size: int) -> np.ndarray:
    """A background of the renderer, mostly sharper than behind its people."""
    background = draw_background(rng)
    background = replace(background, blur=background.blur * float(rng.choice((0.0, 0.0, 0.5, 1.0))))
    turn = rotation((0, 0, 1), rng.uniform(-20, 20)) @ rotation((1, 0, 0), rng.uniform(-12, 6))
    camera = Camera(np.array((0.0, 0.0, rng.uniform(0.5, 1.5))), rng.uniform(0.8, 3.0), rng.uniform(2, 6), turn.T)
    nobody = Shadow(0.0, np.zeros(2), np.zeros((72, 72), np.uint8))
    return background.paint(camera, draw_light(rng), nobody, size)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Clouds: noise of several scales, the same in all colours or not."""
    roughness, colourful = rng.uniform(0.3, 1.0), rng.random() < 0.5
    total = np.zeros((size, size, 3))
    for octave in range(1, 7):
        cells = rng.standard_normal((2**octave, 2**octave, 3 if colourful else 1)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(cells[..., channel % cells.shape[2]])
            total[..., channel] += roughness**octave * np.asarray(layer.resize((size, size), Image.Resampling.BICUBIC))
    total /= total.std() + 1e-6
    return np.clip(_colour(rng) + rng.uniform(0.05, 0.25) * total, 0, 1)


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Stripes or checks at any angle, hard or soft."""
    middles = (np.arange(size) + 0.5) / size
    across, down = np.meshgrid(middles, middles)
    angle = rng.uniform(0, np.pi)
    waves = rng.uniform(2, 30)
    pattern = np.sin(2 * np.pi * waves * (np.cos(angle) * across + np.sin(angle) * down) + rng.uniform(0, 6))
    if rng.random() < 0.5:
        pattern = pattern * np.sin(2 * np.pi * waves * (np.cos(angle) * down - np.sin(angle) * across))
    share = 0.5 + 0.5 * np.clip(pattern * rng.choice((1.0, 10.0)), -1, 1)
    return _colour(rng) + share[..., None] * (_colour(rng) - _colour(rng))


def _clutter(rng: np.random.Generator, size: int) -> np.ndarray:
    """Many things of one colour each before a scene or clouds."""
    ground = (_scene if rng.random() < 0.5 else _noise)(rng, size)
    picture = Image.fromarray((255 * np.clip(ground, 0, 1)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(4, 40)):
        colour = tuple(int(value) for value in 255 * _colour(rng))
        centre, half = rng.uniform(0, size, 2), size * rng.uniform(0.01, 0.2, 2)
        box = [*(centre - half), *(centre + half)]
        kind = rng.integers(4)
        if kind == 0:
            draw.rectangle(box, fill=colour)
        elif kind == 1:
            draw.ellipse(box, fill=colour)
        elif kind == 2:
            draw.line([*centre, *rng.uniform(0, size, 2)], fill=colour, width=int(rng.integers(1, 12)))
        else:
            draw.polygon([tuple(centre + size * rng.uniform(-0.2, 0.2, 2)) for _ in range(4)], fill=colour)
    return np.asarray(picture) / 255


def _close(rng: np.random.Generator, size: int, photographs: Sequence[np.void]) -> np.ndarray:
    """A small part of a photograph, turned, mirrored and in other colours."""
    image = photographs[int(rng.integers(len(photographs)))]["image"]
    side = int(len(image) * rng.uniform(0.1, 0.25))
    row, column = rng.integers(0, len(image) - side, 2)
    part = Image.fromarray(np.rot90(image[row : row + side, column : column + side], rng.integers(4)).copy())
    enlarged = np.asarray(part.resize((size, size), Image.Resampling.BICUBIC)) / 255
    return enlarged[..., rng.permutation(3)]


def draw_backdrops(photographs: Sequence[np.void], count: int, size: int, seed: int) -> torch.Tensor:
    """Draw pictures without people.

    Args:
        photographs (`Sequence`): records of `rendering.labelled`, for parts of them.
        count (`int`): how many.
        size (`int`): height and width in pixels.
        seed (`int`): with the other arguments it determines every byte.

    Returns:
        `torch.Tensor`: (count, 3, size, size) uint8.
    """
    backdrops = np.empty((count, size, size, 3), np.uint8)
    draws = {"scene": _scene, "clutter": _clutter, "stripes": _stripes, "noise": _noise}
    for number in range(count):
        rng = np.random.default_rng([seed, number, 0, _BACKDROP_PURPOSE])
        kind = str(rng.choice(list(_KIND_SHARES), p=list(_KIND_SHARES.values())))
        picture = _close(rng, size, photographs) if kind == "close" else draws[kind](rng, size)
        backdrops[number] = (255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return torch.from_numpy(backdrops).permute(0, 3, 1, 2).contiguous()
