# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What is behind a person: a wall and a floor, from a plain studio to a cluttered room or a street.

The camera and the light of the person also see and light the background, so that horizon, tilt, feet and shadow agree.
It is evaluated once per pixel and then blurred, which is cheap and looks like the depth of field of a lens.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from .body import rotation
from .cameras import Camera
from .lighting import Light, develop
from .scenery import (
    WALL_TEXTURES,
    Panel,
    Texture,
    draw_clutter,
    draw_floor,
    draw_foliage,
    draw_houses,
    draw_lights,
    draw_muted_colour,
    draw_open_ground,
    draw_sky,
    draw_trees,
    draw_wall,
    plain,
)


_SHADOW_CELLS = 72
_SHADOW_EXTENT = 3.6
# How many projected vertices of the body make a cell of the floor as dark as it gets.
_VERTICES_PER_CELL = 3
# Where feet press on the floor even light from all around is missing.
_CONTACT_SHADOW = 0.25
# Metres from the person to the wall of a room, and to the houses of a street.
_WALL_DISTANCES = (0.6, 3.0)
_STREET_DISTANCES = (5.0, 14.0)
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Shadow:
    """The shadow of a person on the floor.

    Attributes:
        height: metres of the floor.
        middle: (2,) x and y around which it lies.
        darkness: (C, C) uint8, 255 where no light comes, of a square of `_SHADOW_EXTENT` metres.
    """

    height: float
    middle: np.ndarray
    darkness: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """Share (N,) of the light that is missing at points (N, 2) of the floor."""
        cell = ((points - self.middle) / _SHADOW_EXTENT + 0.5) * _SHADOW_CELLS
        inside = ((cell >= 0) & (cell < _SHADOW_CELLS)).all(axis=1)
        column, row = np.where(inside[:, None], cell, 0).astype(int).T
        return np.where(inside, self.darkness[row, column] / 255, 0.0)


def cast_shadow(body: np.ndarray, light: Light) -> Shadow:
    """The shadow that a body with posed vertices (V, 3) throws on the floor it stands on."""
    height = body[:, 2].min()
    # A thin sample is enough for a soft shadow.
    above = body[::2] - (0, 0, height)
    slope = light.key_direction[:2] / max(light.key_direction[2], 0.25)
    middle = above[:, :2].mean(axis=0)
    feet = above[:, 2] < 0.12
    places = np.concatenate([above[:, :2] - slope * above[:, 2:], above[feet, :2]]) - middle
    edges = np.linspace(-_SHADOW_EXTENT / 2, _SHADOW_EXTENT / 2, _SHADOW_CELLS + 1)
    count, _, _ = np.histogram2d(places[:, 1], places[:, 0], bins=(edges, edges))
    darkness = 255 * np.clip(count / _VERTICES_PER_CELL, 0, 1)
    blurred = Image.fromarray(darkness.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8 + 3 * light.softness))
    return Shadow(height, middle, np.asarray(blurred))


@dataclass(frozen=True)
class Background:
    """A wall behind a person, maybe with things before it, and the floor between them.

    Attributes:
        wall: colours of the wall.
        floor: colours of the floor.
        distance: metres from the person to the wall.
        turn: degrees by which the wall is turned out of the picture's plane.
        panels: things before the wall, painted in order; u is 0 behind the person, v is 0 at the floor.
        blur: radius in units of the picture's size by which it is out of focus.
        vignette: share of light that is missing in the corners.
        seamless: the wall turns into the floor without an edge, as the paper of a studio.
    """

    wall: Texture
    floor: Texture
    distance: float
    turn: float = 0.0
    panels: tuple[Panel, ...] = ()
    blur: float = 0.0
    vignette: float = 0.0
    seamless: bool = False

    def paint(self, camera: Camera, light: Light, shadow: Shadow, size: int) -> np.ndarray:
        """The background alone, as the camera sees it: (size, size, 3) in [0, 1]."""
        # What is out of focus by some pixels needs half or a quarter of the resolution.
        radius = self.blur * size
        resolution = size if radius < 1 else size // 2 if radius < 3 else size // 4
        middle = (np.arange(resolution, dtype=np.float64) + 0.5) / resolution - 0.5
        across, down = np.meshgrid(middle, middle)
        slope = camera.extent / camera.distance
        sideways, upwards = slope * (across - camera.shift[0]).ravel(), slope * (camera.shift[1] - down).ravel()
        rays = np.stack([sideways, np.ones_like(sideways), upwards], axis=1) @ camera.axes
        colours = self._colours(camera, light, shadow, rays)
        falloff = 1 - self.vignette * 2 * (across**2 + down**2).ravel()
        pixels = (255 * np.clip(develop(colours * falloff[:, None]), 0, 1)).astype(np.uint8)
        picture = Image.fromarray(pixels.reshape(resolution, resolution, 3))
        if self.blur:
            picture = picture.filter(ImageFilter.GaussianBlur(self.blur * resolution))
        if resolution != size:
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(picture) / 255.0

    def _colours(self, camera: Camera, light: Light, shadow: Shadow, rays: np.ndarray) -> np.ndarray:
        """The lit colours (N, 3) where rays (N, 3) from the camera meet the wall or the floor."""
        level = np.cross(_UP, camera.axes[0] * (1, 1, 0))
        inwards = rotation((0, 0, 1), self.turn) @ (level / np.linalg.norm(level))
        along = np.cross(inwards, _UP)
        origin = camera.position - (*shadow.middle, shadow.height)
        reach = (self.distance - origin @ inwards) / np.maximum(rays @ inwards, 1e-6)
        wall_height = origin[2] + reach * rays[:, 2]
        on_wall = wall_height >= 0

        colours = np.empty_like(rays)
        wall, to_wall = rays[on_wall], reach[on_wall]
        u, v = origin @ along + to_wall * (wall @ along), wall_height[on_wall]
        painted = self.wall.colour_at(u, v)
        for panel in self.panels:
            panel.paint(painted, u, v)
        wall_light = light.at(-inwards[None], np.zeros(1))
        colours[on_wall] = painted * wall_light

        floor = rays[~on_wall]
        places = origin + floor * (-origin[2] / np.minimum(floor[:, 2], -1e-6))[:, None]
        blocked = shadow.at(places[:, :2] + shadow.middle)
        upwards = -inwards if self.seamless else _UP
        lit = light.at(np.broadcast_to(upwards, places.shape), blocked) * (1 - _CONTACT_SHADOW * blocked)[:, None]
        colours[~on_wall] = self.floor.colour_at(places @ along, places @ inwards) * lit
        return colours


def _studio(rng: np.random.Generator) -> Background:
    kind = rng.random()
    if kind < 0.4:
        colour = np.full(3, rng.uniform(0.85, 1.0))
    elif kind < 0.7:
        colour = np.full(3, rng.uniform(0.2, 0.85))
    else:
        colour = draw_muted_colour(rng)
    paper = plain(colour)
    return Background(paper, paper, rng.uniform(1.0, 3.0), vignette=rng.uniform(0.0, 0.35), blur=0.02, seamless=True)


def _backdrop(rng: np.random.Generator) -> Background:
    """Painted cloth behind the person, as portrait studios have it."""
    colour = draw_muted_colour(rng)
    cloth = Texture(colour, colour * rng.uniform(0.5, 0.8), WALL_TEXTURES["rough"](rng))
    return Background(
        cloth, cloth, rng.uniform(1.0, 2.5), vignette=rng.uniform(0.1, 0.5), blur=rng.uniform(0.01, 0.03)
    )


def _room(rng: np.random.Generator) -> Background:
    count = int(rng.choice([0, rng.integers(3, 10)], p=(0.35, 0.65)))
    skirting = Panel((0.0, 0.0), (20.0, rng.uniform(0.06, 0.14)), plain(draw_muted_colour(rng)))
    return Background(
        draw_wall(rng),
        draw_floor(rng),
        distance=rng.uniform(*_WALL_DISTANCES),
        turn=float(np.clip(rng.normal(0, 12), -30, 30)),
        panels=(skirting, *draw_clutter(rng, count)),
        blur=rng.uniform(0.002, 0.014),
        vignette=rng.uniform(0.0, 0.2),
    )


def _street(rng: np.random.Generator) -> Background:
    sky = draw_sky(rng)
    return Background(
        sky,
        draw_open_ground(rng),
        distance=rng.uniform(*_STREET_DISTANCES),
        turn=float(rng.uniform(-35, 35)),
        panels=draw_houses(rng),
        blur=rng.uniform(0.006, 0.025),
        vignette=rng.uniform(0.0, 0.2),
    )


def _park(rng: np.random.Generator) -> Background:
    hedge = Panel((0.0, 0.0), (40.0, rng.uniform(1.0, 6.0)), draw_foliage(rng))
    return Background(
        draw_sky(rng),
        draw_open_ground(rng),
        distance=rng.uniform(*_STREET_DISTANCES),
        panels=(hedge, *draw_trees(rng, int(rng.integers(1, 6)))),
        blur=rng.uniform(0.01, 0.03),
        vignette=rng.uniform(0.0, 0.2),
    )


def _night(rng: np.random.Generator) -> Background:
    dark = draw_muted_colour(rng, (0.08, 0.4))
    wall = Texture(dark, dark * 0.4, WALL_TEXTURES["rough"](rng))
    return Background(wall, plain(dark * 0.7), distance=5.0, panels=draw_lights(rng), blur=0.01, vignette=0.2)


_KINDS = {_studio: 0.32, _backdrop: 0.1, _room: 0.34, _street: 0.12, _park: 0.08, _night: 0.04}


def draw_background(rng: np.random.Generator) -> Background:
    """Draw a background: a studio, a painted backdrop, an empty or a cluttered room, a street, a park or lights."""
    kinds, shares = list(_KINDS), np.array(list(_KINDS.values()))
    return kinds[rng.choice(len(kinds), p=shares / shares.sum())](rng)
