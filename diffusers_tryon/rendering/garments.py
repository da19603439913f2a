# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How a design is fitted to a body.

Tops and trousers are cut out of the tailor's dummy (`shells`), moved off the body, left to hang (`drape`), along the
zero line of a level function (`levels`). Skirts and belts are tubes around the same outline. The level on the skin
tells which part of the body a garment hides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..composition import PARSE_IDS, PARSE_LABELS
from .body import limb_weight, load_body_asset
from .cloth_coordinates import cloth_coordinates, from_arm_axis, from_leg_axis, torso_u, torso_v
from .cutting import cut_mesh
from .designs import DressDesign, PantsDesign, SkirtDesign, TopDesign
from .drape import Dummy, Profile
from .levels import collar_level, collar_reach, on_the_left, pants_level, smoothstep, top_level
from .prints import Print
from .shells import ARM_JOINTS, load_shell


# Skin is dropped where it lies this far (metres) inside the garment's edge, and farther in wide garments.
_HIDING_MARGIN = 0.018
# A tucked top ends so far below the waistband, and a garment under a top so far above its hem, in metres.
_TUCK_DEPTH = 0.04
_UNDER_HEM = 0.03
# Cloth never comes nearer to the body than this, in metres; above the feet boots have room in trousers.
_MIN_EASE = 0.005
_BOOT_ROOM = 0.012
_SKIRT_EASE = 0.005
# Skirts flare below this torso coordinate.
_FLARED_BELOW = 0.05
_BELT_HEIGHT = 0.035
_ROW_HEIGHT = 0.04
# Where legs part (torso coordinate), what encloses both is a tube; it begins so far (metres) above its seam.
_HIPS = -0.08
_OVERLAP = 0.012
# Layers are drawn as if they were nearer to the camera by so many metres, so that inner folds do not poke through.
# From inside out: a lower garment, a top, a lower garment over a tucked top, a belt, a jacket.
_LOWER_PRIORITY = 0.004
_LAYER_PRIORITY = 0.006
_OVER_TUCKED_PRIORITY = 0.008
_BELT_PRIORITY = 0.01
_COLLAR_LIFT = 0.005
_HOOD_LIFT = 0.02
# A hem (torso coordinate) that no body reaches.
_ENDLESS = -9.0


@dataclass(frozen=True)
class Garment:
    """A design fitted to one body, in the rest pose.

    Attributes:
        label: id in `PARSE_LABELS`.
        vertices: (V, 3) float32, metres.
        skin_weights: (V, J) float32.
        faces: (F, 3) int.
        texture_coordinates: (F, 3, 3) float32 cloth coordinates per corner of a face, see `cloth_coordinates`.
        edge_distance: (V,) float32, metres from the garment's edge.
        hides_skin: (N,) bool, which vertices of the body asset the garment covers.
        cloth: what it is made of.
        priority: metres by which it is drawn nearer to the camera.
        profile: its outline around the torso, over which the next garment hangs.
    """

    label: int
    vertices: np.ndarray
    skin_weights: np.ndarray
    faces: np.ndarray
    texture_coordinates: np.ndarray
    edge_distance: np.ndarray
    hides_skin: np.ndarray
    cloth: Print
    priority: float
    profile: Profile


def arm_weight() -> np.ndarray:
    """How much (0 to 1) each vertex of the body asset follows an arm."""
    return limb_weight(*ARM_JOINTS)


def head_weight() -> np.ndarray:
    """How much (0 to 1) each vertex of the body asset follows the head."""
    return limb_weight("head", "neck03", "eye")


def _hidden_skin(level: np.ndarray, margin: float) -> np.ndarray:
    """Which vertices of the body asset (N,) lie under a garment with this level (V,) on the dummy."""
    shell = load_shell()
    hidden = np.zeros(len(load_body_asset().skin_weights), dtype=bool)
    hidden[shell.skin] = shell.under(level) < -margin
    return hidden


def _around_torso(points: np.ndarray, profile: Profile, share: np.ndarray) -> np.ndarray:
    """Move points (V, 3) towards the outline `profile` by `share` (V,)."""
    angle, radius = profile.polar(points)
    wanted = radius + share * np.maximum(profile.radius_at(angle, points[:, 2]) - radius, 0)
    scale = wanted / np.maximum(radius, 1e-6)
    return np.stack([points[:, 0] * scale, profile.axis + (points[:, 1] - profile.axis) * scale, points[:, 2]], axis=1)


def _widen_sleeves(design: TopDesign, dummy: Dummy, points: np.ndarray) -> np.ndarray:
    """Give the arms of the dummy (V, 3) the width of the sleeves, which hang down a little."""
    shell = load_shell()
    arms = np.nonzero(shell.arm > 0.3)[0]
    left = on_the_left(points[arms])
    along, offset = from_arm_axis(left, dummy.marks)
    radius = np.sqrt((offset**2).sum(axis=1))
    upper_length = np.linalg.norm(dummy.marks.elbow - dummy.marks.shoulder)
    biceps = radius[(along > 0.35 * upper_length) & (along < 0.65 * upper_length)].mean()
    wanted = biceps + design.sleeve_ease * smoothstep(along, -0.02, 0.1) + design.sleeve_flare * np.maximum(along, 0)
    growth = np.maximum(wanted - radius, 0) * smoothstep(shell.arm[arms], 0.35, 0.9)
    left = left + offset * (growth / np.maximum(radius, 1e-6))[:, None]
    left[:, 2] -= 0.35 * growth
    moved = points.copy()
    moved[arms] = left * np.stack([np.sign(points[arms, 0]), np.ones(len(arms)), np.ones(len(arms))], axis=1)
    return moved


def _tuck(points: np.ndarray, dummy: Dummy, waist: float) -> np.ndarray:
    """Press the lower edge of a top (V, 3) against the body so that it fits into a waistband at the height `waist`."""
    shell = load_shell()
    allowed = dummy.profile.hang(0.002, -10.0)
    angle, radius = allowed.polar(points)
    most = allowed.radius_at(angle, points[:, 2]) + 0.5 * np.maximum(points[:, 2] - waist, 0)
    scale = np.where((shell.arm < 0.3) & (points[:, 2] < dummy.marks.armpit[2]), np.minimum(most / radius, 1), 1)
    return np.stack([points[:, 0] * scale, allowed.axis + (points[:, 1] - allowed.axis) * scale, points[:, 2]], axis=1)


def _drape_top(design: TopDesign, dummy: Dummy, profile: Profile, tucked_at: float | None) -> np.ndarray:
    """The dummy (V, 3), moved to where the cloth of a top is."""
    shell = load_shell()
    points = shell.smooth(dummy.points + design.ease * dummy.normals, 3)
    below_chest = smoothstep(dummy.marks.armpit[2] - points[:, 2], -0.02, 0.05) * (1 - smoothstep(shell.arm, 0.1, 0.5))
    points = shell.smooth(_widen_sleeves(design, dummy, points), 1)
    # Last, so that it meets a skirt or a belt along the same outline.
    points = _around_torso(points, profile, below_chest)
    return points if tucked_at is None else _tuck(points, dummy, tucked_at)


def _cut_from_shell(
    label: str,
    cloth: Print,
    points: np.ndarray,
    level_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    limb: str,
    dummy: Dummy,
    hidden: np.ndarray,
    priority: float,
    profile: Profile,
    seam_at: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Garment:
    """Cut the dummy, moved to `points` (V, 3), where `level_at(points, arm)` is positive, and texture what is left.
    The zero line of `seam_at` is where it has a seam, by default where it is cut."""
    shell = load_shell()
    moved, share = points, shell.arm if limb == "arm" else shell.leg
    faces, (points, arm, share, weights) = cut_mesh(
        shell.faces,
        level_at(points, shell.arm),
        [points, shell.arm, share, shell.skin_weights],
        lambda between: level_at(between(moved), between(shell.arm)),
    )
    return Garment(
        label=PARSE_IDS[label],
        vertices=points.astype(np.float32),
        skin_weights=weights,
        faces=faces,
        texture_coordinates=cloth_coordinates(points, faces, share, limb, dummy.marks),
        edge_distance=np.abs((seam_at or level_at)(points, arm)).astype(np.float32),
        hides_skin=hidden,
        cloth=cloth,
        priority=priority,
        profile=profile,
    )


def _hidden_by_top(design: TopDesign, dummy: Dummy) -> np.ndarray:
    level = top_level(design, dummy.marks, dummy.points, load_shell().arm)
    return _hidden_skin(level, _HIDING_MARGIN + design.sleeve_ease)


def _fit_on_shell(
    label: str,
    design: TopDesign,
    dummy: Dummy,
    cloth: Print,
    profile: Profile,
    tucked_at: float | None,
    priority: float,
    hem_seam: bool,
) -> Garment:
    """The part of a top or a dress that encloses torso and arms."""

    def level_at(points: np.ndarray, arm: np.ndarray) -> np.ndarray:
        return top_level(design, dummy.marks, points, arm)

    def seam_at(points: np.ndarray, arm: np.ndarray) -> np.ndarray:
        return top_level(design if hem_seam else replace(design, hem=_ENDLESS), dummy.marks, points, arm)

    points = _drape_top(design, dummy, profile, tucked_at)
    hidden = _hidden_by_top(design, dummy)
    return _cut_from_shell(label, cloth, points, level_at, "arm", dummy, hidden, priority, profile, seam_at)


def fit_top(
    design: TopDesign,
    dummy: Dummy,
    cloth: Print,
    under: Garment | None = None,
    layer: int = 1,
) -> list[Garment]:
    """Fit an upper-body garment. Its shape does not depend on the lower garment, so that exchanging that one leaves
    the top as it is.

    Args:
        design (`TopDesign`): the cut.
        dummy (`Dummy`): the body.
        cloth (`Print`): the material.
        under (`Garment`, *optional*): the top that is worn under it.
        layer (`int`): number of layers under this one.

    Returns:
        `list[Garment]`: the top; one that reaches below the hips has a part around the legs; and its collar.
    """
    profile = dummy.profile.hang(design.ease, design.fall, over=None if under is None else under.profile)
    waist = None
    if design.tucked is not None:
        waist = dummy.marks.height(design.tucked)
        below = _TUCK_DEPTH / (dummy.marks.neck[2] - dummy.marks.hip[2])
        design = replace(design, hem=design.tucked - below, hem_curve=0.0)
    priority = layer * _LAYER_PRIORITY
    parts = []
    if design.hem < _HIPS:
        parts.append(_fit_tail("top", design, dummy, cloth, profile, priority))
        design = replace(design, hem=_HIPS, hem_curve=0.0)
    parts.append(_fit_on_shell("top", design, dummy, cloth, profile, waist, priority, hem_seam=not parts))
    if design.collar:
        parts.append(_fit_collar(design, dummy, parts[-1]))
    return parts


def _fit_tail(label: str, design: TopDesign, dummy: Dummy, cloth: Print, profile: Profile, priority: float) -> Garment:
    """The part of a long top around the legs."""
    hips, hem = dummy.marks.height(_HIPS), dummy.marks.height(design.hem)
    heights = _rows(hips + _OVERLAP, hem)
    radii = _radii(profile, heights, _columns(48))
    # It begins under the part that encloses the torso.
    radii[heights > hips] -= 0.003
    hidden = _hidden_in_tube(hips + 0.08, hem, dummy)
    return _tube(label, cloth, heights, radii, dummy, profile, hidden, False, priority)


def _fit_collar(design: TopDesign, dummy: Dummy, top: Garment) -> Garment:
    """The collar of a top that lies around its neckline; a hood is one that bulges."""
    shell = load_shell()
    bulge = _HOOD_LIFT if design.has_hood else 0.0
    lift = _COLLAR_LIFT + bulge * smoothstep(collar_reach(design, dummy.marks, dummy.points), 0.0, 0.03)
    points = shell.smooth(dummy.points + (design.ease + lift)[:, None] * dummy.normals, 3)

    def level_at(points: np.ndarray, arm: np.ndarray) -> np.ndarray:
        return collar_level(design, dummy.marks, points)

    uncovered, priority = np.zeros_like(top.hides_skin), top.priority + _LAYER_PRIORITY / 2
    label, cloth = PARSE_LABELS[top.label], replace(top.cloth, panel=None)
    return _cut_from_shell(label, cloth, points, level_at, "arm", dummy, uncovered, priority, top.profile)


@dataclass(frozen=True)
class _Waist:
    """Where a lower garment begins, in metres of height.

    Attributes:
        height: the waistband.
        start: the upper edge of what is modelled, lower than the waistband under a top.
        hem: the hem of the top over it, infinite if there is none.
        priority: as in `Garment`.
    """

    height: float
    start: float
    hem: float
    priority: float


def _waist(design: PantsDesign | SkirtDesign, dummy: Dummy, top: TopDesign | None) -> _Waist:
    """The waist of a lower garment: under a top, or over a tucked one, where that is tucked in."""
    marks = dummy.marks
    if top is not None and top.tucked is not None:
        height = marks.height(top.tucked)
        return _Waist(height, height, np.inf, _OVER_TUCKED_PRIORITY)
    height = marks.height(design.waist)
    if top is None:
        return _Waist(height, height, np.inf, _LOWER_PRIORITY)
    hem = marks.height(top.hem)
    return _Waist(height, min(height, hem + top.hem_curve + _UNDER_HEM), hem, _LOWER_PRIORITY)


def fit_pants(design: PantsDesign, dummy: Dummy, cloth: Print, top: TopDesign | None) -> Garment:
    """Fit trousers or shorts to a body that wears `top`, if anything."""
    shell, marks = load_shell(), dummy.marks
    profile = dummy.profile.hang(_MIN_EASE + 0.004, -10.0)
    points = shell.smooth(dummy.points + _MIN_EASE * dummy.normals, 3)
    # A waistband is round where the body is not.
    points = _around_torso(
        points, profile, smoothstep(points[:, 2], marks.hip[2] - 0.05, marks.hip[2] + 0.03) * (shell.arm < 0.3)
    )
    legs = np.nonzero((shell.leg > 0.4) & (points[:, 2] > marks.ankle[2] - 0.05))[0]
    left = on_the_left(points[legs])
    offset = from_leg_axis(left, marks)
    radius = np.hypot(offset[:, 0], offset[:, 1])
    start = marks.leg_height(0.4)
    thigh = radius[np.abs(left[:, 2] - start) < 0.06].mean()
    # All of the leg is eased; from the middle of the thigh down it is also as wide as the thigh.
    eased = radius + design.ease * smoothstep(marks.hip[2] - left[:, 2], -0.05, 0.1)
    eased += _BOOT_ROOM * smoothstep(marks.knee[2] - left[:, 2], 0.05, 0.3)
    down = np.maximum(start - left[:, 2], 0)
    straight = np.maximum(thigh + design.ease + design.flare * down - eased, 0) * smoothstep(down, 0.0, 0.15)
    # The insides of the thighs touch: cloth cannot move there.
    inside = np.clip(-offset[:, 0] / np.maximum(radius, 1e-6), 0, 1) * (1 - smoothstep(down, 0.0, 0.35))
    growth = (eased + straight - radius) * smoothstep(shell.leg[legs], 0.5, 0.95) * (1 - 0.85 * inside)
    left[:, :2] += offset * (growth / np.maximum(radius, 1e-6))[:, None]
    left[:, 0] = np.maximum(left[:, 0], np.minimum(0.004, np.abs(points[legs, 0])))
    points = points.copy()
    points[legs] = left * np.stack([np.sign(points[legs, 0]), np.ones(len(legs)), np.ones(len(legs))], axis=1)
    points = shell.smooth(points, 1)
    waist = _waist(design, dummy, top)

    def level_at(points: np.ndarray, arm: np.ndarray) -> np.ndarray:
        return pants_level(waist.start, marks.leg_height(design.length), points, arm)

    whole = pants_level(waist.height, marks.leg_height(design.length), dummy.points, shell.arm)
    hidden = _hidden_skin(whole, _HIDING_MARGIN + design.ease)
    return _cut_from_shell("pants", cloth, points, level_at, "leg", dummy, hidden, waist.priority, profile)


def _tube_weights(points: np.ndarray, dummy: Dummy) -> np.ndarray:
    """Skin weights (V, J) of a tube around hips and legs: the front of a skirt follows both legs a little."""
    asset, marks = load_body_asset(), dummy.marks
    height = points[:, 2]
    legs = 0.95 * smoothstep(marks.hip[2] + 0.06 - height, 0, 0.3)
    left = smoothstep(points[:, 0], -0.09, 0.09)
    shin = 0.55 * smoothstep(marks.knee[2] + 0.06 - height, 0, 0.3)
    waist = (1 - legs) * smoothstep(height, marks.hip[2] + 0.04, marks.hip[2] + 0.16)
    weights = np.zeros((len(points), len(asset.joint_names)))
    weights[:, asset.joint("spine04")] = waist
    weights[:, asset.joint("root")] = 1 - legs - waist
    for side, share in (("L", left), ("R", 1 - left)):
        weights[:, asset.joint(f"upperleg01.{side}")] = legs * share * (1 - shin)
        weights[:, asset.joint(f"lowerleg01.{side}")] = legs * share * shin
    return weights.astype(np.float32)


def _tube(
    label: str,
    cloth: Print,
    heights: np.ndarray,
    radii: np.ndarray,
    dummy: Dummy,
    profile: Profile,
    hidden: np.ndarray,
    open_above: bool,
    priority: float,
) -> Garment:
    """A garment around the axis of the body with `radii` (rows, columns) at `heights` (rows,) from above."""
    rows, columns = radii.shape
    angle = np.arange(columns + 1) * (2 * np.pi / columns) - np.pi
    # The seam is at the back, where the first column follows the last.
    points = np.stack(
        [
            radii * np.sin(angle[:-1]),
            profile.axis - radii * np.cos(angle[:-1]),
            np.broadcast_to(heights[:, None], radii.shape),
        ],
        axis=2,
    ).reshape(-1, 3)
    row, column = (index.reshape(-1) for index in np.mgrid[: rows - 1, :columns])
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    vertex = [(row + down) * columns + (column + right) % columns for down, right in corners]
    u, v = torso_u(angle), torso_v(heights, dummy.marks)
    place = [np.stack([u[column + right], v[row + down], np.zeros(len(row))], axis=1) for down, right in corners]
    triangles = ((0, 1, 2), (0, 2, 3))
    below = np.repeat(heights - heights[-1], columns)
    edge_distance = np.minimum(below, np.repeat(heights[0] - heights, columns)) if open_above else below
    return Garment(
        label=PARSE_IDS[label],
        vertices=points.astype(np.float32),
        skin_weights=_tube_weights(points, dummy),
        faces=np.concatenate([np.stack([vertex[i] for i in corner], axis=1) for corner in triangles]),
        texture_coordinates=np.concatenate(
            [np.stack([place[i] for i in corner], axis=1) for corner in triangles]
        ).astype(np.float32),
        edge_distance=edge_distance.astype(np.float32),
        hides_skin=hidden,
        cloth=cloth,
        priority=priority,
        profile=profile,
    )


def _rows(top: float, bottom: float) -> np.ndarray:
    """Heights of the rows of a tube, from above; a single one if nothing lies between."""
    if top <= bottom:
        return np.array([bottom])
    return np.linspace(top, bottom, int(np.ceil((top - bottom) / _ROW_HEIGHT)) + 2)


def _columns(number: int) -> np.ndarray:
    """Angles of the columns of a tube, from the back over the front."""
    return np.arange(number) * (2 * np.pi / number) - np.pi


def _radii(profile: Profile, heights: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The outline (rows, columns) at the vertices of a tube."""
    radii = profile.radius_at(np.tile(angles, len(heights)), np.repeat(heights, len(angles)))
    return radii.reshape(len(heights), len(angles))


def _fit_skirt_part(
    label: str,
    design: SkirtDesign,
    dummy: Dummy,
    cloth: Print,
    profile: Profile,
    start: float,
    folded_below: float,
    open_above: bool,
    priority: float,
) -> Garment:
    """A skirt along `profile` from the height `start` down, with folds below a height."""
    waist, hem = dummy.marks.height(design.waist), dummy.marks.leg_height(design.length)
    heights, angles = _rows(start, hem), _columns(max(48, 6 * design.folds))
    depth = design.fold_depth * np.maximum(folded_below - heights, 0)
    radii = _radii(profile, heights, angles) + depth[:, None] * (0.5 + 0.5 * np.cos(design.folds * angles))
    if not open_above:
        # It begins under the upper part that it is sewn to.
        radii[heights > waist] -= 0.003
    return _tube(
        label, cloth, heights, radii, dummy, profile, _hidden_in_tube(waist, hem, dummy), open_above, priority
    )


def _hidden_in_tube(top: float, hem: float, dummy: Dummy) -> np.ndarray:
    """Skin in a skirt between two heights. It is open below: the legs are left out only where they are well inside."""
    height = dummy.points[:, 2]
    level = np.maximum(np.maximum(height - top, hem + 0.05 - height), 0.3 * (load_shell().arm - 0.4))
    return _hidden_skin(level, _HIDING_MARGIN)


def fit_skirt(design: SkirtDesign, dummy: Dummy, cloth: Print, top: TopDesign | None) -> Garment:
    """Fit a skirt to a body that wears `top`, if anything. It flares from the hips, so that few hems change it, and
    not under the top. Nothing is left of one that is shorter than the top."""
    waist = _waist(design, dummy, top)
    flared_below = min(waist.height, dummy.marks.height(_FLARED_BELOW), waist.hem)
    profile = dummy.profile.hang(_SKIRT_EASE, design.flare, below=flared_below)
    return _fit_skirt_part("skirt", design, dummy, cloth, profile, waist.start, flared_below, True, waist.priority)


def fit_dress(design: DressDesign, dummy: Dummy, cloth: Print) -> list[Garment]:
    """Fit a dress: the skirt and the upper part, which share one outline, and a collar."""
    waist = dummy.marks.height(design.skirt.waist)
    fall = np.where(dummy.profile.heights > waist, design.upper.fall, design.skirt.flare)
    profile = dummy.profile.hang(design.upper.ease, fall)
    skirt = _fit_skirt_part(
        "dress",
        design.skirt,
        dummy,
        cloth,
        profile,
        waist + _OVERLAP,
        waist,
        open_above=False,
        priority=_LAYER_PRIORITY,
    )
    upper = _fit_on_shell("dress", design.upper, dummy, cloth, profile, None, _LAYER_PRIORITY, design.waist_seam)
    hidden = upper.hides_skin | _hidden_in_tube(waist + 0.08, waist - 0.08, dummy)
    parts = [skirt, replace(upper, hides_skin=hidden)]
    if design.upper.collar:
        parts.append(_fit_collar(design.upper, dummy, upper))
    return parts


def fit_belt(waist: float, lower: Garment, dummy: Dummy, cloth: Print) -> Garment:
    """A belt at the torso coordinate `waist`, over the outline of what it holds."""
    top = dummy.marks.height(waist) + 0.006
    heights = np.array([top, top - _BELT_HEIGHT / 2, top - _BELT_HEIGHT])
    radii = _radii(lower.profile, heights, _columns(48)) + 0.003
    hidden = np.zeros_like(lower.hides_skin)
    return _tube("belt", cloth, heights, radii, dummy, lower.profile, hidden, True, _BELT_PRIORITY)
