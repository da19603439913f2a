# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Surfaces before a camera and a light: which of them is seen in which sample of a picture, and what the light
sees."""

from dataclasses import dataclass

import numpy as np
import torch

from .cameras import Camera
from .rasterizer import Fragments, rasterize, rasterize_depth
from .shadows import LightView
from .surfaces import Surface


# Every pixel is the mean of this many samples in either direction.
SUPERSAMPLING = 2


@dataclass(frozen=True)
class Assembly:
    """All surfaces of a picture in one list of vertices and faces.

    Attributes:
        surfaces: what is drawn.
        vertices, normals: (V, 3) float32.
        colours: (V, 3) float32, zeros for cloth.
        screen: (V, 3) float32: place in samples of the picture, and depth less the priority.
        labels: (V,) uint8.
        faces: (F, 3) int64.
        surface_of_face: (F,) int64.
        first_vertex, first_face: where the surfaces start.
        closed: (F,) bool.
        priority: (F,) float32.
    """

    surfaces: list[Surface]
    vertices: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    screen: np.ndarray
    labels: np.ndarray
    faces: np.ndarray
    surface_of_face: np.ndarray
    first_vertex: np.ndarray
    first_face: np.ndarray
    closed: np.ndarray
    priority: np.ndarray

    def per_surface(self, name: str) -> np.ndarray:
        """What every surface has under this name."""
        return np.array([getattr(surface, name) for surface in self.surfaces])


def assemble(surfaces: list[Surface], camera: Camera, size: int) -> Assembly:
    """Put surfaces before the camera of a picture of `size` pixels in height and width."""
    fine = size * SUPERSAMPLING
    num_vertices, num_faces = ([len(getattr(surface, name)) for surface in surfaces] for name in ("vertices", "faces"))
    first_vertex, first_face = np.cumsum([0] + num_vertices), np.cumsum([0] + num_faces)
    vertices = np.concatenate([surface.vertices for surface in surfaces])
    priority = np.array([surface.priority for surface in surfaces])
    screen = camera.project(vertices) * (fine, fine, 1)
    screen[:, 2] -= np.repeat(priority, num_vertices)
    return Assembly(
        surfaces=surfaces,
        vertices=vertices,
        normals=np.concatenate([surface.normals for surface in surfaces]),
        colours=np.concatenate(
            [np.zeros_like(surface.vertices) if surface.cloth is not None else surface.colours for surface in surfaces]
        ),
        screen=screen.astype(np.float32),
        labels=np.concatenate([surface.labels for surface in surfaces]),
        faces=np.concatenate([surface.faces + first for surface, first in zip(surfaces, first_vertex)]),
        surface_of_face=np.repeat(np.arange(len(surfaces)), num_faces),
        first_vertex=first_vertex,
        first_face=first_face,
        closed=np.repeat([surface.closed for surface in surfaces], num_faces),
        priority=np.repeat(priority, num_faces).astype(np.float32),
    )


@dataclass(frozen=True)
class Seen:
    """The N samples of a picture in which a surface is seen.

    Attributes:
        sample: (N,) int64, row * width + column in the picture of samples.
        pixel: (N,) int64, row * width + column in the picture.
        surface: (N,) int64.
        face: (N,) int64.
        corners: three arrays (N,), vertices of the faces.
        weights: (3, N) float32, barycentric coordinates.
        depth: (N,) float32 metres.
    """

    sample: np.ndarray
    pixel: np.ndarray
    surface: np.ndarray
    face: np.ndarray
    corners: tuple[np.ndarray, ...]
    weights: np.ndarray
    depth: np.ndarray

    def take(self, index: np.ndarray) -> "Seen":
        """Some of the samples."""
        return Seen(
            *(values.take(index) for values in (self.sample, self.pixel, self.surface, self.face)),
            tuple(corner.take(index) for corner in self.corners),
            self.weights.take(index, axis=1),
            self.depth.take(index),
        )

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Values (V, C) of vertices in the samples (N, C)."""
        return interpolate(values, self.corners, self.weights)


def interpolate(values: np.ndarray, corners: tuple[np.ndarray, ...], weights: np.ndarray) -> np.ndarray:
    """Values (V, C) in N samples with three corners (N,) and weights (3, N): (N, C)."""
    first, second, third = (values.take(corner, axis=0) for corner in corners)
    # In place: this is where most bytes are moved.
    first *= weights[0][:, None]
    second *= weights[1][:, None]
    third *= weights[2][:, None]
    first += second
    first += third
    return first


def _tensors(assemblies: list[Assembly], vertices: list[np.ndarray], device: torch.device) -> tuple[torch.Tensor, ...]:
    """The first arguments of `rasterize` for several pictures; `vertices` as the rasteriser expects them."""
    first_vertex = np.cumsum([0] + [len(values) for values in vertices])
    arrays = (
        np.concatenate(vertices),
        np.concatenate([assembly.faces + first for assembly, first in zip(assemblies, first_vertex)]),
        np.concatenate([assembly.closed for assembly in assemblies]),
        np.repeat(np.arange(len(assemblies)), [len(assembly.faces) for assembly in assemblies]),
    )
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


def _seen(
    assembly: Assembly, size: int, sample: np.ndarray, face: np.ndarray, barycentric: np.ndarray, depth: np.ndarray
) -> Seen:
    row, column = np.divmod(sample, size * SUPERSAMPLING)
    return Seen(
        sample=sample,
        pixel=row // SUPERSAMPLING * size + column // SUPERSAMPLING,
        surface=assembly.surface_of_face.take(face),
        face=face,
        corners=tuple(np.ascontiguousarray(assembly.faces.take(face, axis=0).T)),
        weights=np.ascontiguousarray(barycentric.T),
        depth=depth + assembly.priority.take(face),
    )


def look(assemblies: list[Assembly], size: int, device: torch.device) -> list[Seen]:
    """What is seen in each picture of `size` pixels in height and width; rasterised in one go on `device`."""
    fine = size * SUPERSAMPLING
    arguments = _tensors(assemblies, [assembly.screen for assembly in assemblies], device)
    fragments = Fragments(*(values.cpu().numpy() for values in rasterize(*arguments, (len(assemblies), fine, fine))))
    first = np.searchsorted(fragments.pixel, np.arange(len(assemblies) + 1) * fine * fine)
    first_face = np.cumsum([0] + [len(assembly.faces) for assembly in assemblies])
    seen = []
    for number, assembly in enumerate(assemblies):
        sample, face, barycentric, depth = (values[first[number] : first[number + 1]] for values in fragments)
        seen.append(
            _seen(assembly, size, sample - number * fine * fine, face - first_face[number], barycentric, depth)
        )
    return seen


def shadow_maps(assemblies: list[Assembly], views: list[LightView], device: torch.device) -> np.ndarray:
    """What the key light sees of each assembly: depths (B, S, S) float32; the views are of one size S."""
    screens = [view.project(assembly.vertices) for assembly, view in zip(assemblies, views)]
    shape = (len(assemblies), views[0].size, views[0].size)
    return rasterize_depth(*_tensors(assemblies, screens, device), shape).cpu().numpy()
