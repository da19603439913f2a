# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The camera: how it projects, where it stands, and how it frames a person."""

from dataclasses import dataclass, field

import numpy as np

from .body import limb_weight, load_body_asset, rotation
from .garments import head_weight


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at a point.

    Attributes:
        centre: (3,) the point it looks at, in the middle of the picture but for `shift`.
        extent: metres that the picture spans at that point, in height and width.
        distance: metres from the camera to that point; with `extent` it is the focal length.
        axes: (3, 3) unit vectors of the camera in its rows: to the right of the picture, into it, up in it.
        shift: (2,) how far the whole picture is moved to the right and down, in units of its size.
    """

    centre: np.ndarray
    extent: float
    distance: float = 4.0
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def position(self) -> np.ndarray:
        """Where the camera stands (3,)."""
        return self.centre - self.distance * self.axes[1]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) to (N, 3): x and y in [0, 1] of the picture (y downwards), and the depth in metres."""
        right, inwards, up = ((points - self.centre) @ self.axes.T).T
        depth = self.distance + inwards
        scale = self.distance / depth / self.extent
        return np.stack([0.5 + self.shift[0] + right * scale, 0.5 + self.shift[1] - up * scale, depth], axis=1)


@dataclass(frozen=True)
class View:
    """How a photograph is framed, whatever the person's pose.

    Attributes:
        framing: one of `FRAMINGS`.
        facing: degrees by which the camera walks around the person, 0 is in front, 180 behind.
        pitch: degrees by which the camera looks down.
        roll: degrees by which the camera is tilted sideways.
        distance: metres to the person.
        margin: factor by which the picture exceeds what it frames.
        cut: where the lower edge lies in its range, 0 is the highest.
        shift: see `Camera`.
    """

    framing: str
    facing: float
    pitch: float
    roll: float
    distance: float
    margin: float
    cut: float
    shift: tuple[float, float]


# Metres of distance by framing, the nearest and the farthest. "garment" frames what is tried on alone.
_DISTANCES = {
    "upper_body": (1.6, 5.0),
    "three_quarter": (2.2, 6.0),
    "full": (3.0, 8.0),
    "hips_to_feet": (2.2, 6.0),
    "garment": (1.8, 6.0),
}
FRAMINGS = tuple(_DISTANCES)
# Hair and hats rise above the skull.
_ABOVE_HEAD = 0.06
# Of the people seen from the front, this share is turned further, up to almost a profile.
_TURNED_SHARE = 0.2


def draw_view(rng: np.random.Generator, framing: str, from_behind: bool, margin: tuple[float, float]) -> View:
    """Draw a view of a framing, on the front or on the back of the person; `margin` is a range."""
    if rng.random() < _TURNED_SHARE:
        facing = rng.choice([-1, 1]) * rng.uniform(35, 70)
    else:
        facing = np.clip(rng.normal(0, 18), -45, 45)
    nearest, farthest = _DISTANCES[framing]
    return View(
        framing=framing,
        facing=float(facing) + 180 * from_behind,
        pitch=float(np.clip(rng.normal(1.5, 5), -10, 16)),
        roll=float(np.clip(rng.normal(0, 1.5), -4, 4)),
        distance=float(np.exp(rng.uniform(np.log(nearest), np.log(farthest)))),
        margin=rng.uniform(*margin),
        cut=rng.random(),
        shift=tuple(np.clip(rng.normal(0, (0.03, 0.012)), (-0.06, -0.025), (0.06, 0.025))),
    )


def body_heading(keypoints: np.ndarray) -> float:
    """Degrees by which a person with COCO-17 keypoints (17, 3) in metres is turned around the vertical axis."""
    leftwards = keypoints[[5, 11]].sum(axis=0) - keypoints[[6, 12]].sum(axis=0)
    return float(np.degrees(np.arctan2(leftwards[1], leftwards[0])))


def framed_points(view: View, posed: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The points (N, 3) that a framing of the person must show.

    Args:
        view (`View`): any framing but "garment".
        posed (`np.ndarray`): (V, 3) posed vertices of the body asset.
        keypoints (`np.ndarray`): (17, 3) COCO-17 keypoints in metres.
    """
    # A part of the vertices tells the outline.
    body = posed[load_body_asset().groups["body"][0][::6]]
    crown = posed[head_weight() > 0.5].max(axis=0) * (0, 0, 1) + (0, 0, _ABOVE_HEAD)
    shoulders, hips, knees = keypoints[[5, 6]], keypoints[[11, 12]], keypoints[[13, 14]]
    middle = np.concatenate([shoulders, hips]).mean(axis=0) * (1, 1, 0)
    if view.framing == "full":
        return np.concatenate([body, [crown + middle]])
    if view.framing == "hips_to_feet":
        legs = posed[limb_weight("pelvis", "upperleg", "lowerleg", "foot", "toe") > 0.5][::6]
        waist = hips + (shoulders - hips) * (0.55 - 0.3 * view.cut)
        return np.concatenate([legs, waist])
    highest, lowest = (-0.05, -0.25) if view.framing == "upper_body" else (-0.25, -0.55)
    if view.framing == "three_quarter":
        lowest = min(lowest, knees[:, 2].min() - hips[:, 2].mean())
    below = hips + (0, 0, highest + (lowest - highest) * view.cut)
    return np.concatenate([shoulders, hips, below, [crown + middle]])


def aim(view: View, points: np.ndarray, heading: float) -> Camera:
    """The camera of a view that shows `points` (N, 3) of a person turned by `heading` degrees."""
    axes = (
        rotation((0, 0, 1), heading + view.facing) @ rotation((1, 0, 0), -view.pitch) @ rotation((0, 1, 0), view.roll)
    ).T
    local = points @ axes.T
    middle = (local.min(axis=0) + local.max(axis=0)) / 2
    # What is nearer looks larger: the middle of the picture is found in a few steps.
    for _ in range(3):
        nearness = view.distance / (view.distance + local[:, 1] - middle[1])
        flat = (local - middle)[:, [0, 2]] * nearness[:, None]
        low, high = flat.min(axis=0), flat.max(axis=0)
        middle[[0, 2]] += (low + high) / 2
    extent = float((high - low).max() * view.margin)
    return Camera(middle @ axes, extent, view.distance, axes, view.shift)
