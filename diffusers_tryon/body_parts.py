# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Dividing what a label map does not tell apart (arm and hand, leg and foot, head and neck, skin) by keypoints."""

from typing import NamedTuple

import numpy as np

from .poses import KEYPOINT_NAMES, OCCLUDED_VISIBILITY


# Labels that are divided here, and what remains of them.
_REMAINDERS = {
    "right arm": "arms",
    "left arm": "arms",
    "right leg": "legs",
    "left leg": "legs",
    "socks": "legs",
    "head and neck": "face",
}
DIVIDED_LABELS = ("skin", *_REMAINDERS)

# Lengths of a grown person's bones in metres. The one that is longest in the picture, compared with these, tells how
# many pixels a metre has, because turning a bone out of the picture's plane only shortens it.
_BONES = (
    ("right_shoulder", "left_shoulder", 0.34),
    ("right_shoulder", "right_elbow", 0.29),
    ("left_shoulder", "left_elbow", 0.29),
    ("right_elbow", "right_wrist", 0.25),
    ("left_elbow", "left_wrist", 0.25),
    ("right_shoulder", "right_hip", 0.50),
    ("left_shoulder", "left_hip", 0.50),
    ("right_hip", "right_knee", 0.42),
    ("left_hip", "left_knee", 0.42),
    ("right_knee", "right_ankle", 0.41),
    ("left_knee", "left_ankle", 0.41),
)
# In metres: from the middle of the shoulders up to the chin and down to the middle of the hips; from hip to knee.
_NECK_LENGTH, _TORSO_LENGTH, _THIGH_LENGTH = 0.12, 0.50, 0.42
# The chin's place between the middle of the shoulders (0) and the nose (1).
_CHIN = 0.55
# Half the thickness of the parts of the body in metres.
_ARM_RADIUS, _LEG_RADIUS, _END_RADIUS = 0.05, 0.08, 0.09
_TORSO_RADIUS, _NECK_RADIUS, _SHOULDER_RADIUS, _HEAD_RADIUS = 0.13, 0.07, 0.04, 0.10


class Body(NamedTuple):
    """A person's measures.

    Attributes:
        points: the keypoints that are there, in pixels, by name.
        hidden: names of those that something hides.
        metre: how many pixels a metre has; 0 if nothing tells.
        size: height and width of the picture.
    """

    points: dict[str, np.ndarray]
    hidden: set[str]
    metre: float
    size: tuple[int, int]


class _Capsule(NamedTuple):
    """A part of the body: all that is not farther than `radius` from the line between two points."""

    label: str
    start: np.ndarray
    end: np.ndarray
    radius: float


class _End(NamedTuple):
    """What becomes of a limb beyond its last joint.

    Attributes:
        joint: the last joint.
        before: the joints before it; the first of them that is there gives the limb's direction.
        bone: metres from the first of them to the joint.
        length: metres from the joint to the tips of fingers or toes.
        limb: labels of this limb, its own first.
        limbs: labels that the limb's end may have if the parser took one side for the other.
        name: label of the end.
    """

    joint: str
    before: tuple[str, str]
    bone: float
    length: float
    limb: tuple[str, ...]
    limbs: tuple[str, ...]
    name: str


_LIMBS = (
    ("right_shoulder", "right_elbow", "right arm"),
    ("right_elbow", "right_wrist", "right arm"),
    ("left_shoulder", "left_elbow", "left arm"),
    ("left_elbow", "left_wrist", "left arm"),
    ("right_hip", "right_knee", "right leg"),
    ("right_knee", "right_ankle", "right leg"),
    ("left_hip", "left_knee", "left leg"),
    ("left_knee", "left_ankle", "left leg"),
)
_ARMS, _LEGS = ("right arm", "left arm"), ("right leg", "left leg", "socks")
_ENDS = (
    _End("right_wrist", ("right_elbow", "right_shoulder"), 0.25, 0.21, ("right arm",), _ARMS, "hands"),
    _End("left_wrist", ("left_elbow", "left_shoulder"), 0.25, 0.21, ("left arm",), _ARMS, "hands"),
    _End("right_ankle", ("right_knee", "right_hip"), 0.41, 0.26, ("right leg", "socks"), _LEGS, "feet"),
    _End("left_ankle", ("left_knee", "left_hip"), 0.41, 0.26, ("left leg", "socks"), _LEGS, "feet"),
)
# How many square metres beyond the joint must have the limb's own label for that label to be believed; a hand seen
# from its narrow side has more.
_BELIEVED_AREA = 0.003
# The share of its length below which a bone counts as pointing at the camera.
_SHORT = 0.5


def divide_by_keypoints(labels: np.ndarray, ids: dict[str, int], pose: np.ndarray) -> np.ndarray:
    """Divide the labels of `DIVIDED_LABELS`.

    - "skin" belongs to the part of the body it is nearest to: an arm, a leg, head and neck, or torso.
    - "head and neck" below the chin becomes "torso", the rest "face".
    - "right arm" and "left arm" beyond the wrist and not farther than a hand is long become "hands", the rest "arms".
      Beyond is the half plane that the elbow (else the shoulder, else the picture's edge, if it is near) is not in; if
      the forearm is so short in the picture that it points at the camera, also what is around the wrist and not upper
      arm. A hand that lies on the other arm takes its own arm's pixels only, and so does one whose wrist is hidden.
    - "right leg", "left leg" and "socks" beyond the ankle become "feet" in the same way, the rest "legs".

    Args:
        labels (`np.ndarray`): (H, W) uint8.
        ids (`dict[str, int]`): the ids in `labels` of `DIVIDED_LABELS` and of what they become.
        pose (`np.ndarray`): (18, 3) keypoints in the package's format.

    Returns:
        `np.ndarray`: (H, W) uint8 without `DIVIDED_LABELS`.

    Raises:
        ValueError: there is skin, and no keypoints that tell whose skin it is.
    """
    labels = labels.copy()
    body = measure_body(pose, *labels.shape)
    _divide_skin(labels, ids, body)
    _divide_neck(labels, ids, body)
    for end in _ENDS:
        _mark_end(labels, ids, body, end)
    for divided, remainder in _REMAINDERS.items():
        labels[labels == ids[divided]] = ids[remainder]
    return labels


def measure_body(pose: np.ndarray, height: int, width: int) -> Body:
    """The measures of a person whose keypoints (18, 3) are in the package's format, in a picture of this size."""
    pixels = pose[:, :2].astype(np.float64) * (width, height)
    points = {name: pixels[number] for number, name in enumerate(KEYPOINT_NAMES) if pose[number, 2] > 0}
    metres = [np.linalg.norm(points[a] - points[b]) / length for a, b, length in _BONES if {a, b} <= points.keys()]
    hidden = {name for number, name in enumerate(KEYPOINT_NAMES) if pose[number, 2] == OCCLUDED_VISIBILITY}
    return Body(points, hidden, max(metres, default=0.0), (height, width))


def pixels_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns where `mask` is True, and the middles of those pixels as (N, 2) of x and y."""
    rows, columns = np.nonzero(mask)
    return rows, columns, np.stack([columns, rows], axis=-1) + 0.5


def _direction(body: Body, end: _End) -> np.ndarray | None:
    """From the joint before it to the limb's last joint, in pixels; None if it is not known."""
    if end.joint not in body.points:
        return None
    joint = body.points[end.joint]
    for name in end.before:
        if name in body.points:
            return joint - body.points[name]
    # The limb comes from outside the picture, over the nearest edge.
    height, width = body.size
    x, y = joint
    nearest = np.array(min([(x, 0), (x - width, 0), (0, y), (0, y - height)], key=np.linalg.norm))
    return nearest if np.linalg.norm(nearest) <= end.bone * body.metre else None


def _mark_end(labels: np.ndarray, ids: dict[str, int], body: Body, end: _End) -> None:
    """Mark in place what lies beyond a limb's last joint."""
    direction = _direction(body, end)
    if direction is None:
        return
    joint, length = body.points[end.joint], float(np.linalg.norm(direction))
    rows, columns, places = pixels_of(np.isin(labels, [ids[name] for name in end.limbs]))
    along = (places - joint) @ direction / max(length, 1e-9)
    # A limb that points at the camera is short in the picture, and its end lies all around the joint.
    slack = max(0.0, _SHORT * end.bone * body.metre - length) if end.before[0] in body.points else 0.0
    beyond = (along > -slack) & (np.linalg.norm(places - joint, axis=-1) <= end.length * body.metre)
    if slack > 0 and body.points.keys() >= set(end.before):
        upper_limb = _Capsule(end.limb[0], *(body.points[name] for name in end.before), _ARM_RADIUS)
        beyond &= _distance(places, upper_limb) > upper_limb.radius * body.metre
    rows, columns = rows[beyond], columns[beyond]
    own = np.isin(labels[rows, columns], [ids[name] for name in end.limb])
    # What hides a joint is likely to be the other limb.
    if end.joint in body.hidden or own.sum() >= _BELIEVED_AREA * body.metre**2:
        rows, columns = rows[own], columns[own]
    labels[rows, columns] = ids[end.name]


def _chin(body: Body) -> tuple[np.ndarray, np.ndarray] | None:
    """The chin and the direction from the neck up to it, if the neck is there."""
    if "neck" not in body.points:
        return None
    neck = body.points["neck"]
    up, length = np.array([0.0, -1.0]), _NECK_LENGTH * body.metre
    if "nose" in body.points:
        to_nose = body.points["nose"] - neck
        distance = np.linalg.norm(to_nose)
        if distance > 0:
            # A head that is bent forward has its chin lower.
            up, length = to_nose / distance, min(length, _CHIN * distance)
    return neck + up * length, up


def _divide_neck(labels: np.ndarray, ids: dict[str, int], body: Body) -> None:
    chin = _chin(body)
    if chin is None:
        return
    rows, columns, places = pixels_of(labels == ids["head and neck"])
    below = ((places - chin[0]) @ chin[1]) < 0
    labels[rows[below], columns[below]] = ids["torso"]


def _divide_skin(labels: np.ndarray, ids: dict[str, int], body: Body) -> None:
    rows, columns, places = pixels_of(labels == ids["skin"])
    if not len(rows):
        return
    capsules = _capsules(body)
    if not capsules or body.metre == 0:
        raise ValueError("`pose` does not tell whose skin the label skin is: too many keypoints are missing.")
    distances = np.stack([_distance(places, capsule) - capsule.radius * body.metre for capsule in capsules])
    # Of the parts that a pixel lies in the first counts.
    nearest = np.maximum(distances, 0).argmin(axis=0)
    labels[rows, columns] = np.array([ids[capsule.label] for capsule in capsules], labels.dtype)[nearest]


def _distance(places: np.ndarray, capsule: _Capsule) -> np.ndarray:
    """From places (N, 2) to the capsule's line (N,)."""
    along = capsule.end - capsule.start
    length = max(float(along @ along), 1e-9)
    nearest = capsule.start + np.clip((places - capsule.start) @ along / length, 0, 1)[:, None] * along
    return np.linalg.norm(places - nearest, axis=-1)


def _capsules(body: Body) -> list[_Capsule]:
    """The parts of the body whose keypoints are there; what may be in front of others comes first."""
    points = body.points
    arms, legs = [], []
    for side in ("right", "left"):
        if f"{side}_hip" in points and f"{side}_knee" not in points:
            # Photographs often end above the knees.
            hip = points[f"{side}_hip"]
            legs.append(_Capsule(f"{side} leg", hip, hip + (0, _THIGH_LENGTH * body.metre), _LEG_RADIUS))
    for start, stop, limb in _LIMBS:
        if {start, stop} <= points.keys() and not {start, stop} <= body.hidden:
            if limb in _ARMS:
                arms.append(_Capsule(limb, points[start], points[stop], _ARM_RADIUS))
            else:
                legs.append(_Capsule(limb, points[start], points[stop], _LEG_RADIUS))
    for end in _ENDS:
        direction = _direction(body, end)
        if direction is not None:
            joint = body.points[end.joint]
            middle = joint + direction / max(np.linalg.norm(direction), 1e-9) * end.length / 2 * body.metre
            (arms if end.limbs == _ARMS else legs).append(_Capsule(end.limb[0], joint, middle, _END_RADIUS))
    capsules = arms + legs
    if "nose" in points:
        capsules.append(_Capsule("head and neck", points["nose"], points["nose"], _HEAD_RADIUS))
    chin = _chin(body)
    if chin is not None:
        neck = points["neck"]
        capsules.append(_Capsule("torso", neck, chin[0], _NECK_RADIUS))
        capsules.append(_Capsule("torso", neck, _middle_of_hips(body), _TORSO_RADIUS))
        for name in ("right_shoulder", "left_shoulder"):
            if name in points:
                capsules.append(_Capsule("torso", neck, points[name], _SHOULDER_RADIUS))
    return capsules


def _middle_of_hips(body: Body) -> np.ndarray:
    hips = [body.points[name] for name in ("right_hip", "left_hip") if name in body.points]
    if hips:
        return np.mean(hips, axis=0)
    return body.points["neck"] + (0, _TORSO_LENGTH * body.metre)
