# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What seen surfaces look like: their own colour in every sample, the light on them once per pixel."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .assembly import Assembly, Seen, interpolate
from .cameras import Camera
from .folds import cloth_directions, fold_cloth, pushed_share
from .lighting import Light, develop
from .mesh import normalize
from .shadows import LightView, blocked_share
from .surfaces import Surface


# Faces that turn away from the camera by less than this (cosine) are the rim of what is seen from the front: lit like
# an inside, they would draw a thin line along the outline.
_OUTLINE = 0.25


@dataclass(frozen=True)
class Patches:
    """The parts of a surface seen in one pixel are lit alike: P patches.

    Attributes:
        of_sample: (N,) the patch of each sample.
        sample: (P,) the sample that stands for each patch.
        seen: those P samples.
        positions, normals: (P, 3) float32; unit normals, turned to the camera.
        to_camera: (P, 3) float32 unit vectors.
    """

    of_sample: np.ndarray
    sample: np.ndarray
    seen: Seen
    positions: np.ndarray
    normals: np.ndarray
    to_camera: np.ndarray


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nc,nc->n", first, second)


def find_patches(assembly: Assembly, seen: Seen, camera: Camera) -> Patches:
    """Group the samples of a picture by pixel and surface."""
    key = seen.pixel * len(assembly.surfaces) + seen.surface
    numbers = np.arange(len(key), dtype=np.int32)
    # Of the samples with the same key the last one stays in the table.
    table = np.empty(int(key.max(initial=0)) + 1, np.int32)
    table[key] = numbers
    last = table.take(key)
    stands = last == numbers
    sample = np.nonzero(stands)[0]
    chosen = seen.take(sample)
    positions = chosen.interpolate(assembly.vertices)
    normals = normalize(chosen.interpolate(assembly.normals))
    to_camera = normalize(camera.position.astype(np.float32) - positions)
    # The inside of a sleeve or a hem is seen from behind. The face decides, not the normal alone: along outlines the
    # smooth normals of faces seen from the front may point away from the camera.
    face_normals = _face_normals(assembly, chosen)
    behind = _dot(face_normals, to_camera) * _dot(face_normals, normals) < 0
    normals[behind & (_dot(normals, to_camera) < -_OUTLINE)] *= -1
    return Patches((np.cumsum(stands) - 1).take(last), sample, chosen, positions, normals, to_camera)


def _face_normals(assembly: Assembly, seen: Seen) -> np.ndarray:
    """Normals (N, 3) of the flat faces, of any length, on one side or the other."""
    first, second, third = (assembly.vertices.take(corner, axis=0) for corner in seen.corners)
    across, up = (second - first).T, (third - first).T
    return np.stack([across[axis - 2] * up[axis - 1] - across[axis - 1] * up[axis - 2] for axis in range(3)], axis=1)


def _cloth_per_sample(surface: Surface, screen: np.ndarray) -> np.ndarray:
    """Metres of cloth (F,) that one sample of the picture spans on each face; `screen` (V, 3) is in samples."""

    def area(x: list[np.ndarray], y: list[np.ndarray]) -> np.ndarray:
        return np.abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]))

    corners = np.ascontiguousarray(surface.faces.T)
    seen = area(*([screen[:, axis].take(corner) for corner in corners] for axis in range(2)))
    cloth = area(*surface.texture_coordinates[..., :2].transpose(2, 1, 0))
    return np.sqrt(cloth / np.maximum(seen, 1e-3))


class _Cloth(NamedTuple):
    """How a garment looks: colours (N, 3) of the `samples` (N,) that show it; change of the normals (P, 3) and
    brightness (P,) of its `patches` (P,)."""

    samples: np.ndarray
    colours: np.ndarray
    patches: np.ndarray
    tilt: np.ndarray
    brightness: np.ndarray


def _paint_cloth(assembly: Assembly, seen: Seen, patches: Patches, number: int, wrinkles: np.ndarray) -> _Cloth:
    """Paint the garment that is surface `number`."""
    surface = assembly.surfaces[number]
    samples = np.nonzero(seen.surface == number)[0]
    own = seen.take(samples)
    face = own.face - assembly.first_face[number]
    cloth_corners = surface.texture_coordinates.reshape(-1, surface.texture_coordinates.shape[2])
    points = interpolate(cloth_corners, (3 * face, 3 * face + 1, 3 * face + 2), own.weights)
    along_u, along_v = cloth_directions(surface)
    at_vertices = np.stack([surface.edge_distance, pushed_share(surface, along_v)], axis=1)
    corners = tuple(corner - assembly.first_vertex[number] for corner in own.corners)
    edge_distance, pushed = np.ascontiguousarray(interpolate(at_vertices, corners, own.weights).T)
    width = _cloth_per_sample(surface, assembly.screen[assembly.first_vertex[number] :]).take(face)
    colours = surface.cloth.colour_at(points, edge_distance, width)

    own_patches = np.nonzero(patches.seen.surface == number)[0]
    standing = np.searchsorted(samples, patches.sample[own_patches])
    face = face[standing]
    tilt, brightness = fold_cloth(
        points[standing, :2], pushed[standing], normalize(along_u)[face], normalize(along_v)[face], wrinkles
    )
    return _Cloth(samples, colours, own_patches, tilt, brightness)


def shade(
    assembly: Assembly,
    seen: Seen,
    patches: Patches,
    light: Light,
    wrinkles: np.ndarray,
    view: LightView,
    shadow_map: np.ndarray,
) -> np.ndarray:
    """The colours (N, 3) in [0, 1] of the samples.

    Args:
        assembly (`Assembly`): the surfaces.
        seen (`Seen`): where they are seen.
        patches (`Patches`): what is lit alike.
        light (`Light`): the light.
        wrinkles (`np.ndarray`): (2,), see `draw_wrinkles`.
        view (`LightView`), shadow_map (`np.ndarray`): what the key light sees.
    """
    colours = np.empty((len(seen.sample), 3), np.float32)
    is_bare = np.array([surface.cloth is None for surface in assembly.surfaces])
    bare = np.nonzero(is_bare.take(seen.surface))[0]
    bare_corners = tuple(corner.take(bare) for corner in seen.corners)
    colours[bare] = interpolate(assembly.colours, bare_corners, seen.weights.take(bare, axis=1))
    normals, brightness = patches.normals.copy(), np.ones(len(patches.sample), np.float32)
    for number, surface in enumerate(assembly.surfaces):
        if surface.cloth is not None:
            cloth = _paint_cloth(assembly, seen, patches, number, wrinkles)
            colours[cloth.samples] = cloth.colours
            normals[cloth.patches] += cloth.tilt
            brightness[cloth.patches] = cloth.brightness
    normals = normalize(normals)
    # Folds do not move the surface: shadows fall on the smooth one.
    blocked = blocked_share(view, shadow_map, patches.positions, patches.normals)
    half_way = normalize(patches.to_camera + light.key_direction.astype(np.float32))
    highlight = np.maximum(_dot(normals, half_way), 0)
    # The power 32 by squaring: much faster than by a logarithm.
    for _ in range(5):
        highlight *= highlight
    gloss = assembly.per_surface("gloss").astype(np.float32).take(patches.seen.surface)
    highlight *= gloss * (1 - light.shadow * blocked)
    lit = (light.at(normals, blocked) * brightness[:, None]).astype(np.float32)
    return develop(colours * lit.take(patches.of_sample, axis=0) + highlight.take(patches.of_sample)[:, None])
