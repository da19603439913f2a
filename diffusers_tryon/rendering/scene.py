# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From posed surfaces to a picture: shading, label map, depth."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

from .assembly import SUPERSAMPLING, Assembly, Seen, assemble, look, shadow_maps
from .cameras import Camera
from .lighting import Light
from .mesh import sum_by_index
from .shading import find_patches, shade
from .shadows import crevices, light_view, shadow_map_size
from .surfaces import Surface


# How much darker the deepest crevice is than open ground, in a light that takes all of the key light from shadows.
_CREVICE_SHADE = 1.0


@dataclass(frozen=True)
class Setting:
    """What surrounds the surfaces of a picture.

    Attributes:
        light: the light.
        background: (3,) or (S, S, 3) colours in [0, 1] of what is behind them, S the size of the picture.
        wrinkles: (2,) from `folds.draw_wrinkles`.
    """

    light: Light
    background: np.ndarray
    wrinkles: np.ndarray


@dataclass(frozen=True)
class Request:
    """A picture that shall be drawn: the arguments of `render`."""

    surfaces: list[Surface]
    camera: Camera
    setting: Setting
    size: int


@dataclass(frozen=True)
class Picture:
    """A rendered picture.

    Attributes:
        image: (S, S, 3) uint8.
        label_samples: (K, S, S) uint8 label ids of the K samples whose mean is a pixel's colour.
        depth: (S, S) float32 metres from the camera, measured as the camera's `project` does, of the nearest sample
            in the pixel; infinite where there is only background.
    """

    image: np.ndarray
    label_samples: np.ndarray
    depth: np.ndarray

    @cached_property
    def parse(self) -> np.ndarray:
        """The label map (S, S) uint8: the most frequent label of each pixel, the first of equally frequent ones."""
        votes = np.stack([(self.label_samples == sample).sum(axis=0) for sample in self.label_samples])
        return np.take_along_axis(self.label_samples, votes.argmax(axis=0)[None], axis=0)[0]


def _pixel_samples(fine: np.ndarray) -> np.ndarray:
    """Split a supersampled picture (S * n, S * n, ...) into its n * n samples per pixel (n * n, S, S, ...)."""
    steps = range(SUPERSAMPLING)
    return np.stack([fine[row::SUPERSAMPLING, column::SUPERSAMPLING] for row in steps for column in steps])


def _labels(assembly: Assembly, seen: Seen) -> np.ndarray:
    """The label (N,) of the nearest corner of every sample's face."""
    first, second, third = seen.weights
    labels = [assembly.labels.take(corner) for corner in seen.corners]
    nearest = np.where(second > first, labels[1], labels[0])
    return np.where(third > np.maximum(first, second), labels[2], nearest)


def _compose(
    assembly: Assembly, seen: Seen, colours: np.ndarray, camera: Camera, setting: Setting, size: int
) -> Picture:
    """Put shaded samples over the background."""
    fine = size * SUPERSAMPLING
    label_samples, depth_samples = np.zeros(fine * fine, np.uint8), np.full(fine * fine, np.inf, np.float32)
    label_samples[seen.sample] = _labels(assembly, seen)
    depth_samples[seen.sample] = seen.depth
    depth = _pixel_samples(depth_samples.reshape(fine, fine)).min(axis=0)

    crevice_shade = _CREVICE_SHADE * setting.light.shadow * crevices(depth, size / camera.extent)
    colours *= ((1 - crevice_shade).reshape(-1) / SUPERSAMPLING**2).take(seen.pixel)[:, None]
    foreground = sum_by_index(seen.pixel, colours, size * size).reshape(size, size, 3)
    covered = np.bincount(seen.pixel, minlength=size * size).reshape(size, size, 1) / SUPERSAMPLING**2
    image = foreground + (1 - covered) * setting.background
    return Picture(
        image=np.round(np.clip(image, 0, 1) * 255).astype(np.uint8),
        label_samples=_pixel_samples(label_samples.reshape(fine, fine)),
        depth=depth,
    )


def render_batch(requests: Sequence[Request], device: torch.device | str = "cpu") -> list[Picture]:
    """Draw several pictures of one size at once, each of surfaces of its own.

    Every picture is what `render` makes of it, bit for bit, see `rasterizer`.

    Args:
        requests (`Sequence[Request]`): at least one.
        device (`torch.device` or `str`): where triangles are rasterised; shading stays on the CPU.

    Returns:
        `list[Picture]`: images, labels and depths.
    """
    device, size = torch.device(device), requests[0].size
    assemblies = [assemble(request.surfaces, request.camera, size) for request in requests]
    all_seen = look(assemblies, size, device)
    all_patches = [
        find_patches(assembly, seen, request.camera) for assembly, seen, request in zip(assemblies, all_seen, requests)
    ]
    views = [
        light_view(
            request.setting.light.key_direction,
            patches.positions if len(patches.positions) else assembly.vertices,
            assembly.vertices,
            shadow_map_size(size),
        )
        for assembly, patches, request in zip(assemblies, all_patches, requests)
    ]
    maps = shadow_maps(assemblies, views, device)
    pictures = []
    for assembly, seen, patches, request, view, shadow_map in zip(
        assemblies, all_seen, all_patches, requests, views, maps
    ):
        setting = request.setting
        colours = shade(assembly, seen, patches, setting.light, setting.wrinkles, view, shadow_map)
        pictures.append(_compose(assembly, seen, colours, request.camera, setting, size))
    return pictures


def render(surfaces: list[Surface], camera: Camera, setting: Setting, size: int) -> Picture:
    """Draw a picture.

    Args:
        surfaces (`list[Surface]`): posed surfaces.
        camera (`Camera`): the view.
        setting (`Setting`): light, background and wrinkles.
        size (`int`): height and width in pixels.
    """
    return render_batch([Request(surfaces, camera, setting, size)])[0]


Result = TypeVar("Result")
# Something that asks for pictures one after the other, goes on with each, and ends with a result.
Steps = Generator[Request, Picture, Result]


def run_steps(steps: Sequence[Steps[Result]], device: torch.device | str = "cpu") -> list[Result]:
    """Run several generators side by side: what they ask for at the same time is drawn as one batch.

    Args:
        steps (`Sequence[Steps]`): generators that yield a `Request` and are sent its `Picture`, all of one size.
        device (`torch.device` or `str`): see `render_batch`.

    Returns:
        `list`: what each of them returned.
    """
    results: list[Result | None] = [None] * len(steps)
    answers: dict[int, Picture | None] = dict.fromkeys(range(len(steps)))
    while answers:
        requests = {}
        for number, picture in answers.items():
            try:
                requests[number] = steps[number].send(picture)
            except StopIteration as end:
                results[number] = end.value
        answers = dict(zip(requests, render_batch(list(requests.values()), device))) if requests else {}
    return results
