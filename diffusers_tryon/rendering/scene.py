# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From posed surfaces to a picture: shading, label map, depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .cameras import Camera
from .folds import cloth_directions, fold_cloth, pushed_share
from .lighting import Light, develop
from .mesh import normalize, sum_by_index
from .rasterizer import Fragments, rasterize, rasterize_depth
from .shadows import SHADOW_MAP_SIZE, LightView, blocked_share, crevices, light_view
from .surfaces import Surface


# Every pixel is the mean of this many samples in either direction.
SUPERSAMPLING = 2
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


@dataclass(frozen=True)
class _Scene:
    """All surfaces of a picture in one list of vertices and faces.

    Attributes:
        surfaces, camera, setting: what is drawn.
        points: (V, 9) float32: position, normal and colour of the vertices.
        screen: (V, 3) float32: place in samples of the picture, and depth less the priority.
        labels: (V,) uint8.
        faces: (F, 3) int64.
        surface_of_face: (F,) int64.
        first_vertex, first_face: where the surfaces start.
        closed: (F,) bool.
    """

    surfaces: list[Surface]
    camera: Camera
    setting: Setting
    points: np.ndarray
    screen: np.ndarray
    labels: np.ndarray
    faces: np.ndarray
    surface_of_face: np.ndarray
    first_vertex: np.ndarray
    first_face: np.ndarray
    closed: np.ndarray

    def of_surfaces(self, name: str) -> np.ndarray:
        """A number that every surface has, as float32."""
        return np.array([getattr(surface, name) for surface in self.surfaces], np.float32)


def _join(surfaces: list[Surface], camera: Camera, setting: Setting, fine: int) -> _Scene:
    """Project the surfaces to a picture with `fine` samples in height and width."""
    first_vertex = np.cumsum([0] + [len(surface.vertices) for surface in surfaces])
    first_face = np.cumsum([0] + [len(surface.faces) for surface in surfaces])
    surface_of_face = np.repeat(np.arange(len(surfaces)), np.diff(first_face))
    points = np.zeros((first_vertex[-1], 9), np.float32)
    for first, surface in zip(first_vertex, surfaces):
        own = points[first : first + len(surface.vertices)]
        own[:, :3], own[:, 3:6] = surface.vertices, surface.normals
        if surface.cloth is None:
            own[:, 6:] = surface.colours
    screen = camera.project(points[:, :3]) * (fine, fine, 1)
    screen[:, 2] -= np.repeat([surface.priority for surface in surfaces], np.diff(first_vertex))
    return _Scene(
        surfaces=surfaces,
        camera=camera,
        setting=setting,
        points=points,
        screen=screen.astype(np.float32),
        labels=np.concatenate([surface.labels for surface in surfaces]),
        faces=np.concatenate([surface.faces + first for surface, first in zip(surfaces, first_vertex)]),
        surface_of_face=surface_of_face,
        first_vertex=first_vertex,
        first_face=first_face,
        closed=np.array([surface.closed for surface in surfaces])[surface_of_face],
    )


@dataclass(frozen=True)
class _Seen:
    """The N fragments of one picture: where they are, and what is interpolated there.

    Attributes:
        pixel: (N,) int64, row * width + column of the fine picture.
        face: (N,) int64.
        corners: three arrays (N,), vertices of the faces.
        weights: (3, N) float32, barycentric coordinates.
        positions, normals, colours: (N, 3) float32; the normals are not scaled.
        depth: (N,) float32 metres.
    """

    pixel: np.ndarray
    face: np.ndarray
    corners: tuple[np.ndarray, ...]
    weights: np.ndarray
    positions: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    depth: np.ndarray


def _tensors(scenes: list[_Scene], vertices: list[np.ndarray], device: torch.device) -> tuple[torch.Tensor, ...]:
    """The first arguments of `rasterize` for several scenes; `vertices` as the rasteriser expects them."""
    first_vertex = np.cumsum([0] + [len(values) for values in vertices])
    arrays = (
        np.concatenate(vertices),
        np.concatenate([scene.faces + first for scene, first in zip(scenes, first_vertex)]),
        np.concatenate([scene.closed for scene in scenes]),
        np.repeat(np.arange(len(scenes)), [len(scene.faces) for scene in scenes]),
    )
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


def _interpolate(values: np.ndarray, corners: tuple[np.ndarray, ...], weights: np.ndarray) -> np.ndarray:
    """Values (V, C) at fragments (N, C)."""
    first, second, third = (values.take(corner, axis=0) for corner in corners)
    # In place: this is where most bytes are moved.
    first *= weights[0][:, None]
    second *= weights[1][:, None]
    third *= weights[2][:, None]
    first += second
    first += third
    return first


def _look(scene: _Scene, pixel: np.ndarray, face: np.ndarray, barycentric: np.ndarray, depth: np.ndarray) -> _Seen:
    corners = tuple(scene.faces.take(face, axis=0).T)
    weights = np.ascontiguousarray(barycentric.T)
    positions, normals, colours = (
        np.ascontiguousarray(values) for values in np.split(_interpolate(scene.points, corners, weights), 3, axis=1)
    )
    depth = depth + scene.of_surfaces("priority")[scene.surface_of_face[face]]
    return _Seen(pixel, face, corners, weights, positions, normals, colours, depth)


def _look_all(scenes: list[_Scene], fine: int, device: torch.device) -> list[_Seen]:
    """What is seen in each picture of `fine` x `fine` samples."""
    arguments = _tensors(scenes, [scene.screen for scene in scenes], device)
    fragments = Fragments(*(values.cpu().numpy() for values in rasterize(*arguments, (len(scenes), fine, fine))))
    first_fragment = np.searchsorted(fragments.pixel, np.arange(len(scenes) + 1) * fine * fine)
    first_face = np.cumsum([0] + [len(scene.faces) for scene in scenes])
    seen = []
    for number, scene in enumerate(scenes):
        pixel, face, barycentric, depth = (
            values[first_fragment[number] : first_fragment[number + 1]] for values in fragments
        )
        seen.append(_look(scene, pixel - number * fine * fine, face - first_face[number], barycentric, depth))
    return seen


def _shadow_maps(scenes: list[_Scene], views: list[LightView], device: torch.device) -> np.ndarray:
    """What the key light sees of each scene: depths (B, `SHADOW_MAP_SIZE`, `SHADOW_MAP_SIZE`)."""
    screens = [view.project(scene.points[:, :3]) for scene, view in zip(scenes, views)]
    shape = (len(scenes), SHADOW_MAP_SIZE, SHADOW_MAP_SIZE)
    return rasterize_depth(*_tensors(scenes, screens, device), shape).cpu().numpy()


def _cloth_per_sample(surface: Surface, screen: np.ndarray) -> np.ndarray:
    """Metres of cloth (F,) that one sample of the picture spans on each face; `screen` (V, 3) is in samples."""

    def area(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
        across, up = second - first, third - first
        return np.abs(across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0])

    cloth = area(*(surface.texture_coordinates[:, corner] for corner in range(3)))
    seen = area(*(screen[surface.faces[:, corner]] for corner in range(3)))
    return np.sqrt(cloth / np.maximum(seen, 1e-3))


def _paint_cloth(scene: _Scene, number: int, seen: _Seen, fragments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (N, 3) and change of the normal (N, 3) at the fragments of the garment `number`."""
    surface = scene.surfaces[number]
    face = seen.face[fragments] - scene.first_face[number]
    weights = seen.weights[:, fragments]
    cloth_corners = surface.texture_coordinates.reshape(-1, surface.texture_coordinates.shape[2])
    points = _interpolate(cloth_corners, (3 * face, 3 * face + 1, 3 * face + 2), weights)
    corners = tuple(corner[fragments] - scene.first_vertex[number] for corner in seen.corners)
    along_u, along_v = cloth_directions(surface)
    at_vertices = np.stack([surface.edge_distance, pushed_share(surface, along_v)], axis=1)
    corners = tuple(corner[fragments] - scene.first_vertex[number] for corner in seen.corners)
    edge_distance, pushed = _interpolate(at_vertices, corners, weights).T
    width = _cloth_per_sample(surface, scene.screen[scene.first_vertex[number] :])[face]
    tilt, brightness = fold_cloth(
        points[:, :2], pushed, normalize(along_u)[face], normalize(along_v)[face], scene.setting.wrinkles
    )
    return surface.cloth.colour_at(points, edge_distance, width) * brightness[:, None], tilt


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nc,nc->n", first, second)


def _shade(scene: _Scene, seen: _Seen, view: LightView, shadow_map: np.ndarray) -> np.ndarray:
    """Colours (N, 3) in [0, 1] of the fragments."""
    normals, colours = normalize(seen.normals), seen.colours
    to_camera = normalize(scene.camera.position.astype(np.float32) - seen.positions)
    # The inside of a sleeve or a hem is seen from behind.
    normals[_dot(normals, to_camera) < 0] *= -1
    blocked = blocked_share(view, shadow_map, seen.positions, normals)
    surface_of_fragment = scene.surface_of_face[seen.face]
    for number, surface in enumerate(scene.surfaces):
        if surface.cloth is not None:
            fragments = np.nonzero(surface_of_fragment == number)[0]
            colours[fragments], tilt = _paint_cloth(scene, number, seen, fragments)
            normals[fragments] += tilt
    normals = normalize(normals)
    half_way = normalize(to_camera + scene.setting.light.key_direction.astype(np.float32))
    highlight = np.maximum(_dot(normals, half_way), 0)
    # The power 32 by squaring: much faster than by a logarithm.
    for _ in range(5):
        highlight *= highlight
    highlight *= scene.of_surfaces("gloss")[surface_of_fragment] * (1 - scene.setting.light.shadow * blocked)
    return develop(colours * scene.setting.light.at(normals, blocked) + highlight[:, None])


def _pixel_samples(fine: np.ndarray) -> np.ndarray:
    """Split a supersampled picture (S * n, S * n, ...) into its n * n samples per pixel (n * n, S, S, ...)."""
    steps = range(SUPERSAMPLING)
    return np.stack([fine[row::SUPERSAMPLING, column::SUPERSAMPLING] for row in steps for column in steps])


def _pixel_of_sample(sample: np.ndarray, size: int) -> np.ndarray:
    """The pixel's number, row * size + column, of the samples with these numbers in the fine picture."""
    row, column = np.divmod(sample, size * SUPERSAMPLING)
    return row // SUPERSAMPLING * size + column // SUPERSAMPLING


def _compose(scene: _Scene, seen: _Seen, colours: np.ndarray, size: int) -> Picture:
    """Put shaded fragments over the background."""
    fine = size * SUPERSAMPLING
    first, second, third = seen.weights
    nearest_corner = np.where(second > first, np.where(third > second, 2, 1), np.where(third > first, 2, 0))
    label_samples = np.zeros((fine, fine), np.uint8)
    label_samples.reshape(-1)[seen.pixel] = scene.labels[np.choose(nearest_corner, seen.corners)]
    depth_samples = np.full((fine, fine), np.inf, np.float32)
    depth_samples.reshape(-1)[seen.pixel] = seen.depth
    depth = _pixel_samples(depth_samples).min(axis=0)

    crevice_shade = _CREVICE_SHADE * scene.setting.light.shadow * crevices(depth, size / scene.camera.extent)
    pixel = _pixel_of_sample(seen.pixel, size)
    shade = (1 - crevice_shade).reshape(-1)[pixel] / SUPERSAMPLING**2
    foreground = sum_by_index(pixel, colours * shade[:, None], size * size).reshape(size, size, 3)
    covered = np.bincount(pixel, minlength=size * size).reshape(size, size, 1) / SUPERSAMPLING**2
    image = foreground + (1 - covered) * scene.setting.background
    return Picture(
        image=np.round(np.clip(image, 0, 1) * 255).astype(np.uint8),
        label_samples=_pixel_samples(label_samples),
        depth=depth,
    )


def render_batch(
    surfaces: Sequence[list[Surface]],
    cameras: Sequence[Camera],
    settings: Sequence[Setting],
    size: int,
    device: torch.device | str = "cpu",
) -> list[Picture]:
    """Draw several pictures at once, each of surfaces of its own.

    On the CPU every picture is what `render` makes of it, bit for bit.

    Args:
        surfaces (`Sequence[list[Surface]]`): posed surfaces of each picture.
        cameras (`Sequence[Camera]`): the view of each.
        settings (`Sequence[Setting]`): light, background and wrinkles of each.
        size (`int`): height and width in pixels.
        device (`torch.device` or `str`): where triangles are rasterised; shading stays on the CPU.

    Returns:
        `list[Picture]`: images, labels and depths.
    """
    fine = size * SUPERSAMPLING
    scenes = [_join(*one, fine) for one in zip(surfaces, cameras, settings, strict=True)]
    all_seen = _look_all(scenes, fine, torch.device(device))
    views = [
        light_view(
            scene.setting.light.key_direction,
            seen.positions if len(seen.pixel) else scene.points[:, :3],
            scene.points[:, :3],
        )
        for scene, seen in zip(scenes, all_seen)
    ]
    shadow_maps = _shadow_maps(scenes, views, torch.device(device))
    return [
        _compose(scene, seen, _shade(scene, seen, view, shadow_map), size)
        for scene, seen, view, shadow_map in zip(scenes, all_seen, views, shadow_maps)
    ]


def render(surfaces: list[Surface], camera: Camera, setting: Setting, size: int) -> Picture:
    """Draw one picture on the CPU, see `render_batch`."""
    return render_batch([surfaces], [camera], [setting], size)[0]
