# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From posed surfaces to a picture: shading, label map, depth."""

from dataclasses import dataclass

import numpy as np
import torch

from .cameras import Camera
from .lighting import Light
from .mesh import normalize
from .prints import smooth_noise
from .rasterizer import rasterize
from .surfaces import Surface


# Every pixel is the mean of this many samples in either direction.
SUPERSAMPLING = 2
_SHADOW_MAP_SIZE = 256
# The shadow map covers this many metres around the origin, which is inside the body.
_SHADOW_MAP_EXTENT = 2.2
_SHADOW_MAP_DEPTH = 2.5
# Points are lifted off their surface by this before they are looked up, so that it does not shadow itself.
_SHADOW_LIFT = 0.015
_SHADOW_TOLERANCE = 0.01
_WRINKLE_CELLS_PER_METRE = ((10.0, 5.8), (20.0, 11.6), (41.0, 23.6))
_WRINKLE_STRENGTHS = (0.10, 0.08, 0.05)
_GAMMA = 1.05


@dataclass(frozen=True)
class Setting:
    """What surrounds the surfaces of a picture.

    Attributes:
        light: the light.
        background: (3,) or (S, S, 3) colours in [0, 1] of what is behind them, S the size of the picture.
        wrinkles: (3, 16, 16) noise from `draw_wrinkles`.
    """

    light: Light
    background: np.ndarray
    wrinkles: np.ndarray


def draw_wrinkles(rng: np.random.Generator) -> np.ndarray:
    """Draw the folds of the clothes."""
    return rng.standard_normal((len(_WRINKLE_STRENGTHS), 16, 16))


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

    @property
    def parse(self) -> np.ndarray:
        """The label map (S, S) uint8: the most frequent label of each pixel, the first of equally frequent ones."""
        votes = np.stack([(self.label_samples == sample).sum(axis=0) for sample in self.label_samples])
        return np.take_along_axis(self.label_samples, votes.argmax(axis=0)[None], axis=0)[0]

    def touches(self, label: int) -> np.ndarray:
        """Where (S, S) a label has any share in the pixel's colour."""
        return (self.label_samples == label).any(axis=0)


@dataclass(frozen=True)
class _Mesh:
    """All surfaces in one list of vertices and faces."""

    vertices: np.ndarray
    normals: np.ndarray
    labels: np.ndarray
    faces: np.ndarray
    surface_of_face: np.ndarray
    first_face: np.ndarray
    closed: np.ndarray
    priority: np.ndarray


def _join(surfaces: list[Surface]) -> _Mesh:
    first_vertex = np.cumsum([0] + [len(surface.vertices) for surface in surfaces])
    first_face = np.cumsum([0] + [len(surface.faces) for surface in surfaces])
    surface_of_face = np.repeat(np.arange(len(surfaces)), np.diff(first_face))
    return _Mesh(
        vertices=np.concatenate([surface.vertices for surface in surfaces]),
        normals=np.concatenate([surface.normals for surface in surfaces]),
        labels=np.concatenate([surface.labels for surface in surfaces]),
        faces=np.concatenate([surface.faces + first for surface, first in zip(surfaces, first_vertex)]),
        surface_of_face=surface_of_face,
        first_face=first_face,
        closed=np.array([surface.closed for surface in surfaces])[surface_of_face],
        priority=np.repeat([surface.priority for surface in surfaces], np.diff(first_vertex)).astype(np.float32),
    )


def _rasterize_seen(mesh: _Mesh, screen: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Face number (size * size,), -1 for none, and barycentric coordinates (size * size, 3); `screen` (V, 3) holds
    pixels and depth. Faces of closed surfaces that are turned away are skipped."""
    # Corner by corner: reductions along short axes are slow.
    first, second, third = (screen[mesh.faces[:, corner], :2] for corner in range(3))
    low, high = np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)
    in_frame = (low[:, 0] < size) & (low[:, 1] < size) & (high[:, 0] > 0) & (high[:, 1] > 0)
    to_second, to_third = second - first, third - first
    doubled_area = to_second[:, 0] * to_third[:, 1] - to_third[:, 0] * to_second[:, 1]
    seen = np.nonzero(in_frame & ~(mesh.closed & (doubled_area > 0)))[0]
    face, barycentric = rasterize(
        torch.from_numpy(screen.astype(np.float32)), torch.from_numpy(mesh.faces[seen]), size, size
    )
    face = face.numpy().reshape(-1)
    # The last entry is where the -1 of an empty pixel points.
    return np.append(seen, -1)[face], barycentric.numpy().reshape(-1, 3)


def _interpolate(values: np.ndarray, triangles: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """Values (V, ...) at fragments with corner indices `triangles` (N, 3)."""
    return np.einsum("nk,nk...->n...", barycentric, values[triangles])


def _shadow(mesh: _Mesh, positions: np.ndarray, light: np.ndarray) -> np.ndarray:
    """How much (0 to 1) of the key light is blocked at `positions` (N, 3): a shadow map, averaged over 3 x 3."""
    right = normalize(np.cross([0.0, 0.0, 1.0], light))
    axes = np.stack([right, np.cross(light, right), light])
    scale = _SHADOW_MAP_SIZE / _SHADOW_MAP_EXTENT

    def to_light(points: np.ndarray) -> np.ndarray:
        turned = points @ axes.T
        centre = _SHADOW_MAP_SIZE / 2
        return np.stack(
            [centre + turned[:, 0] * scale, centre - turned[:, 1] * scale, _SHADOW_MAP_DEPTH - turned[:, 2]], axis=1
        )

    screen = to_light(mesh.vertices)
    face, barycentric = _rasterize_seen(mesh, screen, _SHADOW_MAP_SIZE)
    depth = np.full(_SHADOW_MAP_SIZE**2, np.inf, dtype=np.float32)
    hit = face >= 0
    depth[hit] = _interpolate(screen[:, 2], mesh.faces[face[hit]], barycentric[hit])

    seen = to_light(positions)
    column, row = seen[:, 0].astype(int), seen[:, 1].astype(int)
    blocked = np.zeros(len(positions))
    for right_step in (-1, 0, 1):
        for down_step in (-1, 0, 1):
            columns = np.clip(column + right_step, 0, _SHADOW_MAP_SIZE - 1)
            rows = np.clip(row + down_step, 0, _SHADOW_MAP_SIZE - 1)
            blocked += depth[rows * _SHADOW_MAP_SIZE + columns] < seen[:, 2] - _SHADOW_TOLERANCE
    return blocked / 9


def _wrinkle(grids: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Height of the cloth (N,), arbitrary units, at texture coordinates (N, 2)."""
    return sum(
        strength * smooth_noise(grid, points[:, 0] * across, points[:, 1] * along)
        for strength, grid, (across, along) in zip(_WRINKLE_STRENGTHS, grids, _WRINKLE_CELLS_PER_METRE)
    )


def _cloth_per_sample(surface: Surface, screen: np.ndarray) -> np.ndarray:
    """Metres of cloth (F,) that one sample of the picture spans on each face; `screen` (V, 2) is in samples."""

    def area(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
        across, up = second - first, third - first
        return np.abs(across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0])

    cloth = area(*(surface.texture_coordinates[:, corner] for corner in range(3)))
    seen = area(*(screen[surface.faces[:, corner]] for corner in range(3)))
    return np.sqrt(cloth / np.maximum(seen, 1e-3))


def _paint_cloth(
    surface: Surface, face: np.ndarray, barycentric: np.ndarray, screen: np.ndarray, wrinkles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (N, 3) and change of the normal (N, 3) at fragments of a garment, `face` counted within it."""
    points = np.einsum("nk,nkc->nc", barycentric, surface.texture_coordinates[face])
    edge_distance = _interpolate(surface.edge_distance, surface.faces[face], barycentric)
    colour = surface.cloth.colour_at(points, edge_distance, _cloth_per_sample(surface, screen)[face])
    tilt = np.zeros((len(face), 3))
    tilt[:, 0] = 0.9 * _wrinkle(wrinkles, points)
    tilt[:, 2] = 0.9 * _wrinkle(wrinkles, points + 0.33)
    return colour, tilt


def _shade(
    surfaces: list[Surface],
    mesh: _Mesh,
    face: np.ndarray,
    barycentric: np.ndarray,
    screen: np.ndarray,
    camera: Camera,
    setting: Setting,
) -> np.ndarray:
    """Colours (N, 3) in [0, 1] of the fragments; `screen` (V, 2) is the mesh in samples of the picture."""
    first_vertex = np.cumsum([0] + [len(surface.vertices) for surface in surfaces])
    triangles = mesh.faces[face]
    normals = _interpolate(mesh.normals, triangles, barycentric).astype(np.float64)
    positions = _interpolate(mesh.vertices, triangles, barycentric)
    to_camera = normalize(camera.position - positions)
    # The inside of a sleeve or a hem is seen from behind.
    normals[np.einsum("nc,nc->n", normals, to_camera) < 0] *= -1
    colours = np.zeros((len(face), 3))
    surface_of_fragment = mesh.surface_of_face[face]
    gloss = np.array([surface.gloss for surface in surfaces])[surface_of_fragment]
    for number, surface in enumerate(surfaces):
        fragments = np.nonzero(surface_of_fragment == number)[0]
        local_face = face[fragments] - mesh.first_face[number]
        if surface.cloth is not None:
            colours[fragments], tilt = _paint_cloth(
                surface, local_face, barycentric[fragments], screen[first_vertex[number] :], setting.wrinkles
            )
            normals[fragments] += tilt
        else:
            colours[fragments] = _interpolate(surface.colours, surface.faces[local_face], barycentric[fragments])
    blocked = _shadow(mesh, positions + _SHADOW_LIFT * normals, setting.light.key_direction)
    normals = normalize(normals)
    facing_camera = np.einsum("nc,nc->n", normals, to_camera)
    highlight = gloss * np.clip(0.5 + 0.5 * facing_camera, 0, 1) ** 30
    return np.clip(colours * setting.light.at(normals, blocked) + highlight[:, None], 0, 1)


def _pixel_samples(fine: np.ndarray) -> np.ndarray:
    """Split a supersampled picture (S * n, S * n, ...) into its n * n samples per pixel (n * n, S, S, ...)."""
    steps = range(SUPERSAMPLING)
    return np.stack([fine[row::SUPERSAMPLING, column::SUPERSAMPLING] for row in steps for column in steps])


def render(surfaces: list[Surface], camera: Camera, setting: Setting, size: int) -> Picture:
    """Draw surfaces.

    Args:
        surfaces (`list[Surface]`): posed surfaces.
        camera (`Camera`): the view.
        setting (`Setting`): light, background and wrinkles.
        size (`int`): height and width in pixels.

    Returns:
        `Picture`: image, labels and depth.
    """
    fine = size * SUPERSAMPLING
    mesh = _join(surfaces)
    screen = camera.project(mesh.vertices) * (fine, fine, 1)
    screen[:, 2] -= mesh.priority
    face, barycentric = _rasterize_seen(mesh, screen, fine)
    hit = np.nonzero(face >= 0)[0]
    face, barycentric = face[hit], barycentric[hit]
    colours = _shade(surfaces, mesh, face, barycentric, screen[:, :2], camera, setting)
    labels = mesh.labels[mesh.faces[face, barycentric.argmax(axis=1)]]

    depth_samples = np.full(fine * fine, np.inf, np.float32)
    depth_samples[hit] = _interpolate(screen[:, 2] + mesh.priority, mesh.faces[face], barycentric)
    background = np.broadcast_to(setting.background, (size, size, 3))
    colour_samples = np.repeat(np.repeat(background, SUPERSAMPLING, axis=0), SUPERSAMPLING, axis=1)
    colour_samples.reshape(-1, 3)[hit] = colours
    label_samples = np.zeros((fine, fine), np.uint8)
    label_samples.reshape(-1)[hit] = labels
    image = np.clip(_pixel_samples(colour_samples).mean(axis=0), 0, 1) ** (1 / _GAMMA)
    return Picture(
        image=np.round(image * 255).astype(np.uint8),
        label_samples=_pixel_samples(label_samples),
        depth=_pixel_samples(depth_samples.reshape(fine, fine)).min(axis=0),
    )
