# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What of a rendered person is seen: keypoints in sight, hidden or outside the picture, and the share of a garment.

Keypoints lie inside the body, so a keypoint counts as seen when the surface of its own limb in front of it is the
nearest thing in the picture, or only clothes lie over it.
"""

from functools import lru_cache

import numpy as np

from ..composition import label_mask
from ..poses import KEYPOINT_NAMES, OCCLUDED_VISIBILITY, coco17_to_openpose18, hide_points_outside_image
from .body import NUM_COCO_KEYPOINTS, limb_weight, load_body_asset
from .cameras import Camera


# The bones whose skin is the limb of a keypoint; "." stands for the side.
_LIMBS = {
    "neck": ("neck", "spine01", "spine02", "clavicle", "shoulder"),
    "shoulder": ("clavicle.", "shoulder01.", "upperarm01.", "upperarm02."),
    "elbow": ("upperarm01.", "upperarm02.", "lowerarm01.", "lowerarm02."),
    "wrist": ("lowerarm01.", "lowerarm02.", "wrist.", "metacarpal"),
    "hip": ("pelvis.", "upperleg01.", "upperleg02.", "root", "spine05"),
    "knee": ("upperleg01.", "upperleg02.", "lowerleg01.", "lowerleg02."),
    "ankle": ("lowerleg01.", "lowerleg02.", "foot.", "toe"),
}
_LEG_POINTS = ("hip", "knee", "ankle")
_FACE_POINTS = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
# Vertices of the limb within these metres of the line of sight tell where the limb's surface is.
_LINE_RADIUS = 0.025
# Metres by which the nearest surface may lie in front of the limb's: nothing but the limb itself and thick shoes...
_SKIN_TOLERANCE = 0.03
# ...clothes on it, which stand off the body...
_CLOTH_TOLERANCE = 0.07
# ...at the hips, where a loose top hangs from the chest...
_HEM_TOLERANCE = 0.13
# ...or the cloth of a wide skirt around the legs.
_SKIRT_TOLERANCE = 0.35
_CLOTHES = ("top", "dress", "skirt", "pants", "belt", "scarf")
_SKIRTS = ("dress", "skirt")
_FACE_TOLERANCE = 0.03


@lru_cache(maxsize=1)
def openpose_regressor() -> np.ndarray:
    """OpenPose-18 keypoints as averages of the vertices of the body asset: (18, V) float32."""
    # Every COCO keypoint alone, as the x coordinate, shows its share in every OpenPose keypoint.
    alone = np.zeros((NUM_COCO_KEYPOINTS, NUM_COCO_KEYPOINTS, 3), np.float32)
    alone[..., 0] = np.eye(NUM_COCO_KEYPOINTS)
    return coco17_to_openpose18(alone)[..., 0].T @ load_body_asset().keypoint_regressor


@lru_cache(maxsize=1)
def _limb_vertices() -> dict[int, np.ndarray]:
    """The vertices of the skin on the limb of each keypoint but those of the face, by number of the keypoint."""
    asset = load_body_asset()
    body = np.zeros(len(asset.skin_weights), dtype=bool)
    body[asset.groups["body"][0]] = True
    to_the_left = asset.shapes[0][:, 0]
    limbs = {}
    for number, name in enumerate(KEYPOINT_NAMES):
        if name in _FACE_POINTS:
            continue
        side, joint = name.split("_") if "_" in name else ("", name)
        bones = tuple(bone + side[0].upper() if bone.endswith(".") and side else bone for bone in _LIMBS[joint])
        on_limb = body & (limb_weight(*bones) > 0.4)
        if side:
            on_limb &= to_the_left > 0.02 if side == "left" else to_the_left < -0.02
        limbs[number] = np.nonzero(on_limb)[0]
    return limbs


def _metres_per_picture(camera: Camera, depth: np.ndarray) -> np.ndarray:
    """What the picture's height spans at a depth."""
    return camera.extent * depth / camera.distance


def limb_depths(posed: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where the keypoints are seen, and how near the surface of their own limbs is.

    Args:
        posed (`np.ndarray`): (V, 3) posed vertices of the body asset.
        camera (`Camera`): the view.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: the projected keypoints (18, 3), and the depth (18,) in metres of the skin of
        the keypoint's limb that lies in front of it; of a point of the face the depth of the point.
    """
    keypoints = camera.project(openpose_regressor() @ posed)
    nearest = keypoints[:, 2].copy()
    for number, vertices in _limb_vertices().items():
        limb = camera.project(posed[vertices])
        aside = np.hypot(*(limb[:, :2] - keypoints[number, :2]).T) * _metres_per_picture(camera, nearest[number])
        nearest[number] = limb[aside < _LINE_RADIUS, 2].min(initial=nearest[number])
    return keypoints, nearest


def _tolerances(labels: np.ndarray) -> np.ndarray:
    """Metres (18,) by which something may lie in front of a keypoint's limb without hiding it, by the labels (18,)."""
    clothes, skirts = label_mask(labels, _CLOTHES), label_mask(labels, _SKIRTS)
    tolerances = np.where(clothes, _CLOTH_TOLERANCE, _SKIN_TOLERANCE)
    for number, name in enumerate(KEYPOINT_NAMES):
        if name in _FACE_POINTS:
            tolerances[number] = _FACE_TOLERANCE
        elif name.endswith(_LEG_POINTS) and skirts[number]:
            tolerances[number] = _SKIRT_TOLERANCE
        elif name.endswith("hip") and clothes[number]:
            tolerances[number] = _HEM_TOLERANCE
    return tolerances


def seen_keypoints(posed: np.ndarray, camera: Camera, depth: np.ndarray, parse: np.ndarray) -> np.ndarray:
    """The keypoints of a rendered person.

    Args:
        posed (`np.ndarray`): (V, 3) posed vertices of the body asset.
        camera (`Camera`): the view.
        depth (`np.ndarray`): (S, S) depth in metres of what the picture shows, see `Picture`.
        parse (`np.ndarray`): (S, S) its label map.

    Returns:
        `np.ndarray`: (18, 3) float32 OpenPose keypoints; visibility 1 where the limb (or clothes on it) is seen,
        `OCCLUDED_VISIBILITY` where the body, hair or anything else hides it; all zeros outside the picture.
    """
    size = len(depth)
    keypoints, nearest = limb_depths(posed, camera)
    columns, rows = np.clip((keypoints[:, :2] * size).astype(int), 0, size - 1).T
    # A pixel holds the depth of its nearest sample, which on a slope is nearer by up to about its width.
    pixel = _metres_per_picture(camera, nearest) / size
    hidden = depth[rows, columns] < nearest - _tolerances(parse[rows, columns]) - pixel
    keypoints[:, 2] = np.where(hidden, OCCLUDED_VISIBILITY, 1.0)
    return hide_points_outside_image(keypoints)


def seen_share(vertices: np.ndarray, normals: np.ndarray, camera: Camera, depth: np.ndarray) -> float:
    """How much of the side of a garment that is turned to the camera nothing hides.

    Args:
        vertices (`np.ndarray`): (V, 3) posed vertices of the garment.
        normals (`np.ndarray`): (V, 3) their normals.
        camera (`Camera`): the view.
        depth (`np.ndarray`): (S, S) depth in metres of what the picture shows, see `Picture`.

    Returns:
        `float`: share of the vertices, from 0 to 1; what lies outside the picture counts as hidden.
    """
    front = vertices[np.einsum("nc,nc->n", normals, camera.position - vertices) > 0]
    on_screen = camera.project(front)
    inside = on_screen[((on_screen[:, :2] > 0) & (on_screen[:, :2] < 1)).all(axis=1)]
    columns, rows = (inside[:, :2] * len(depth)).astype(int).T
    pixel = _metres_per_picture(camera, inside[:, 2]) / len(depth)
    seen = depth[rows, columns] > inside[:, 2] - _SKIN_TOLERANCE - pixel
    return float(seen.sum() / max(len(front), 1))
