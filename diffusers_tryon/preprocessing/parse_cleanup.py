# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Putting right what a parser got wrong, by the person's mask and keypoints; and what the keypoints say by themselves.

A mistake costs more in one direction: what is wrongly taken for head, hands or the other half of the body stands in
the agnostic image and shows the network the garment it shall replace, while what is wrongly hidden is painted anew. So
doubtful pixels become clothes.
"""

import numpy as np
from scipy import ndimage

from ..body_parts import Body, measure_body, pixels_of
from ..composition import HEAD_LABELS, LOWER_BODY_LABELS, PARSE_IDS, label_mask
from ..poses import KEYPOINT_NAMES
from .errors import NoShouldersError, PreprocessingWarning, UncertainAnswerWarning


# MediaPipe's masks are soft over the width of a finger: below the first a pixel is not of the person, above the second
# it certainly is.
_LEAST_SURE, _SURE = 0.3, 0.7
# Connected parts smaller than this share of the person are specks, and so are holes.
_SPECK = 0.003
# Measures of a grown person in metres, with room for keypoints that are off by some centimetres.
_HAND_LENGTH, _HAND_WIDTH = 0.24, 0.06
_FOOT_LENGTH = 0.32
_FACE_RADIUS, _INNER_HEAD_RADIUS, _HEAD_RADIUS, _HAIR_LENGTH = 0.20, 0.10, 0.25, 0.55
_EYES_ABOVE_MIDDLE = 0.04
_NECK_TO_HEAD = 0.22
_ARM_RADIUS, _LEG_RADIUS = 0.11, 0.13
# The lower body's clothes end below this share of the way from the hips up to the shoulders.
_HIGHEST_WAIST = 0.45
_HEAD_POINTS = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
_ARM_BONES = (
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
)
_LEG_BONES = (
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
)
_CLOTHES = ("top", "dress", "skirt", "pants", "belt")
# A person whose shoulders are closer together than this share of the trunk's height is seen from the side.
_SIDE_VIEW = 0.2
# What of a person must be in view for a garment of a category, and what should be.
_NEEDED = {"upper": "shoulder", "lower": "hip", "dress": "shoulder"}
_WANTED = {"upper": "hip", "lower": "knee", "dress": "knee"}


def clean_parse(parse: np.ndarray, pose: np.ndarray, person_mask: np.ndarray | None) -> np.ndarray:
    """Keep a label map to one person, and labels to where this person can have them.

    - Pixels outside the mask become background, and pixels well inside it that have no label take their neighbours'.
      Without a mask, small holes are filled.
    - Only connected parts that keypoints lie in stay (the largest, if none does).
    - Hands are at wrists, feet at ankles; face, hair and hats are at the head, and the head is nothing else; trousers,
      skirts and legs do not reach the chest.
    - Specks take the label around them.

    Args:
        parse (`np.ndarray`): (H, W) uint8 ids of `composition.PARSE_LABELS`.
        pose (`np.ndarray`): (18, 3) keypoints in the package's format, at least one of them found.
        person_mask (`np.ndarray`, *optional*): (H, W) float32 in [0, 1].

    Returns:
        `np.ndarray`: (H, W) uint8.
    """
    parse = _confined(parse, person_mask)
    parse = _of_one_person(parse, pose)
    body = measure_body(pose, *parse.shape)
    if body.metre:
        _relabel(parse, body)
    return _without_specks(parse)


def _confined(parse: np.ndarray, person_mask: np.ndarray | None) -> np.ndarray:
    """A copy of the label map that fills the person's mask."""
    if person_mask is not None:
        parse = np.where(person_mask < _LEAST_SURE, 0, parse).astype(np.uint8)
        return _filled(parse, (person_mask > _SURE) & (parse == 0))
    holes, count = ndimage.label(ndimage.binary_fill_holes(parse > 0) & (parse == 0))
    if not count:
        return parse.copy()
    sizes = np.bincount(holes.ravel())
    sizes[0] = parse.size
    return _filled(parse, (sizes < _SPECK * (parse > 0).sum())[holes])


def _filled(parse: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A copy in which `places` (H, W) bool have the nearest label that is not at one of them, nor background."""
    source = (parse > 0) & ~places
    if not places.any() or not source.any():
        return parse.copy()
    filled = parse.copy()
    rows, columns = ndimage.distance_transform_edt(~source, return_distances=False, return_indices=True)
    filled[places] = parse[rows[places], columns[places]]
    return filled


def _of_one_person(parse: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Only the connected parts that keypoints lie in, or the largest one."""
    parts, count = ndimage.label(parse > 0)
    if count <= 1:
        return parse
    height, width = parse.shape
    columns, rows = (pose[pose[:, 2] > 0, :2] * (width - 1, height - 1)).round().astype(int).T
    carrying = np.bincount(parts[rows, columns], minlength=count + 1) > 0
    carrying[0] = False
    if not carrying.any():
        carrying[1 + np.bincount(parts.ravel())[1:].argmax()] = True
    return np.where(carrying[parts], parse, 0).astype(np.uint8)


def _relabel(parse: np.ndarray, body: Body) -> None:
    """Give labels that cannot be where they are another one, in place."""
    _relabel_hands(parse, body)
    _relabel_head(parse, body)
    _relabel_lower_body(parse, body)


def _relabel_hands(parse: np.ndarray, body: Body) -> None:
    rows, columns, places = _places(parse, ("hands",))
    at_wrist = np.zeros(len(rows), bool)
    for side in ("right", "left"):
        wrist, elbow = body.points.get(f"{side}_wrist"), body.points.get(f"{side}_elbow")
        if wrist is None:
            continue
        near = np.linalg.norm(places - wrist, axis=1) < _HAND_LENGTH * body.metre
        forearm = np.zeros(2) if elbow is None else wrist - elbow
        length = np.linalg.norm(forearm)
        if length > _HAND_WIDTH * body.metre:
            near &= (places - wrist) @ forearm / length > -_HAND_WIDTH * body.metre
        at_wrist |= near
    parse[rows[~at_wrist], columns[~at_wrist]] = PARSE_IDS["arms"]


def _relabel_head(parse: np.ndarray, body: Body) -> None:
    middle, up = _head(body)
    if middle is None:
        return
    reach = {"face": (_FACE_RADIUS, "torso"), "hair": (_HAIR_LENGTH, "top")}
    for label in HEAD_LABELS:
        radius, instead = reach.get(label, (_HEAD_RADIUS, "top"))
        rows, columns, places = _places(parse, (label,))
        far = np.linalg.norm(places - middle, axis=1) > radius * body.metre
        parse[rows[far], columns[far]] = PARSE_IDS[instead]
    clothes_and_skin = ("top", "dress", "scarf", "arms", "torso", "bag", *LOWER_BODY_LABELS)
    rows, columns, places = _places(parse, clothes_and_skin)
    distances, above = np.linalg.norm(places - middle, axis=1), (places - middle) @ up
    # An arm that is raised may lie before the head or beside it.
    no_arm = ~_near_bones(places, body, _ARM_BONES, _ARM_RADIUS)
    hair = (above > _EYES_ABOVE_MIDDLE * body.metre) & (distances < _HEAD_RADIUS * body.metre) & no_arm
    face = (distances < _INNER_HEAD_RADIUS * body.metre) & no_arm
    parse[rows[face], columns[face]] = PARSE_IDS["face"]
    parse[rows[hair], columns[hair]] = PARSE_IDS["hair"]


def _head(body: Body) -> tuple[np.ndarray | None, np.ndarray]:
    """The middle of the head in pixels, if it is known, and the direction from the neck to it."""
    found = [body.points[name] for name in _HEAD_POINTS if name in body.points]
    neck, up = body.points.get("neck"), np.array([0.0, -1.0])
    if not found:
        return (None if neck is None else neck + up * _NECK_TO_HEAD * body.metre), up
    middle = np.mean(found, axis=0)
    if neck is not None and np.linalg.norm(middle - neck) > 0:
        up = (middle - neck) / np.linalg.norm(middle - neck)
    return middle, up


def _relabel_lower_body(parse: np.ndarray, body: Body) -> None:
    points, metre = body.points, body.metre
    ankles = [points[name] for name in ("right_ankle", "left_ankle") if name in points]
    if ankles:
        rows, columns, places = _places(parse, ("feet",))
        far = np.min([np.linalg.norm(places - ankle, axis=1) for ankle in ankles], axis=0) > _FOOT_LENGTH * metre
        parse[rows[far], columns[far]] = PARSE_IDS["legs"]
    hips = [points[name] for name in ("right_hip", "left_hip") if name in points]
    if not hips or "neck" not in points:
        return
    trunk = points["neck"] - np.mean(hips, axis=0)
    rows, columns, places = _places(parse, LOWER_BODY_LABELS)
    high = (places - np.mean(hips, axis=0)) @ trunk > _HIGHEST_WAIST * (trunk @ trunk)
    # Knees that are drawn up reach the chest.
    high &= ~_near_bones(places, body, _LEG_BONES, _LEG_RADIUS)
    parse[rows[high], columns[high]] = PARSE_IDS["top"]


def _near_bones(places: np.ndarray, body: Body, bones: tuple[tuple[str, str], ...], radius: float) -> np.ndarray:
    """Which of the places (N, 2) are within `radius` metres of a bone whose ends are known."""
    near = np.zeros(len(places), bool)
    for first, last in bones:
        if {first, last} <= body.points.keys():
            start, along = body.points[first], body.points[last] - body.points[first]
            share = np.clip((places - start) @ along / max(float(along @ along), 1e-9), 0, 1)
            near |= np.linalg.norm(places - start - share[:, None] * along, axis=1) < radius * body.metre
    return near


def _places(parse: np.ndarray, labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of some labels, and the middles of those pixels as (N, 2) of x and y."""
    return pixels_of(label_mask(parse, labels))


def _without_specks(parse: np.ndarray) -> np.ndarray:
    """A copy in which small connected parts of a label have the nearest label of a larger one.

    But what shows of clothes between fingers or strands of hair is not called hand or hair: it would leak.
    """
    limit = _SPECK * (parse > 0).sum()
    specks = np.zeros(parse.shape, bool)
    for label in np.unique(parse[parse > 0]):
        parts, count = ndimage.label(parse == label)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            # The largest part of a rare label is no speck.
            small = sizes < min(limit, sizes[1:].max())
            small[0] = False
            specks |= small[parts]
    cleaned = _filled(parse, specks)
    return np.where(label_mask(parse, _CLOTHES) & ~label_mask(cleaned, _CLOTHES), parse, cleaned)


def facing(pose: np.ndarray) -> str:
    """From where a person is seen: "front", "back" or "side".

    Args:
        pose (`np.ndarray`): (18, 3) keypoints. The picture is taken to be about as high as wide.
    """
    points = {name: pose[number, :2] for number, name in enumerate(KEYPOINT_NAMES) if pose[number, 2] > 0}
    if not {"right_shoulder", "left_shoulder"} <= points.keys():
        return "side"
    width = points["left_shoulder"][0] - points["right_shoulder"][0]
    hips = [points[name] for name in ("right_hip", "left_hip") if name in points]
    if hips and abs(width) < _SIDE_VIEW * np.linalg.norm(np.mean(hips, axis=0) - points["neck"]):
        return "side"
    return "front" if width > 0 else "back"


def check_in_view(pose: np.ndarray, category: str, name: str) -> list[PreprocessingWarning]:
    """Whether the part of a person is in view that a garment of a category goes on.

    Args:
        pose (`np.ndarray`): (18, 3) keypoints.
        category (`str`): "upper", "lower" or "dress".
        name (`str`): what errors call the photograph.

    Returns:
        `list[PreprocessingWarning]`: what is missing although it should be there.

    Raises:
        NoShouldersError: no shoulders, or no hips for a lower garment.
    """
    found = {point.split("_")[-1] for number, point in enumerate(KEYPOINT_NAMES) if pose[number, 2] > 0}
    needed, wanted = _NEEDED[category], _WANTED[category]
    if needed not in found:
        raise NoShouldersError(
            f"No {needed}s were found in `{name}`, which a garment of the category {category!r} hangs on. Take a "
            "photograph that shows them, or another category."
        )
    if wanted in found:
        return []
    return [
        UncertainAnswerWarning(
            f"No {wanted}s were found in `{name}`: where a garment of the category {category!r} ends will be guessed. "
            "A photograph that shows more of the person works better."
        )
    ]
