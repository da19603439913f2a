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
# Measures of a grown person in metres, with room for keypoints that are off by some centimetres. On 277 renders hands
# reach 0.15 from the wrist (at most 0.19 for 95 %), feet 0.18 from the ankle (0.24), faces 0.10 from the points of the
# head (0.12), hair 0.13 (0.36).
_HAND_LENGTH, _HAND_WIDTH = 0.2, 0.06
_FOOT_LENGTH = 0.32
_FACE_RADIUS, _INNER_HEAD_RADIUS, _HEAD_RADIUS, _HAIR_LENGTH = 0.20, 0.10, 0.25, 0.55
_EYES_ABOVE_MIDDLE = 0.04
_NECK_TO_HEAD = 0.22
_ARM_RADIUS, _LEG_RADIUS = 0.11, 0.13
# The lower body's clothes end below this share of the way from the hips up to the shoulders.
_HIGHEST_WAIST = 0.45
# At how many points of a bone of an arm its cover is looked at, and the least length of a sleeve in metres.
_SAMPLES, _LEAST_SLEEVE = 24, 0.1
# Parsers see no more than this; what was found is carried to finer label maps.
_WORKING_SIDE = 384
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
    - Hands are at wrists, feet at ankles; face, hair and hats hang together with the head, and the head is nothing
      else; trousers, skirts and legs do not reach the chest; a sleeve that begins on the arm reaches up to the shoulder.
    - Specks take the label around them.

    Of large label maps cells are looked at; outlines between labels keep every pixel.

    Args:
        parse (`np.ndarray`): (H, W) uint8 ids of `composition.PARSE_LABELS`.
        pose (`np.ndarray`): (18, 3) keypoints in the package's format, at least one of them found.
        person_mask (`np.ndarray`, *optional*): (H, W) float32 in [0, 1].

    Returns:
        `np.ndarray`: (H, W) uint8.
    """
    step = -(-max(parse.shape) // _WORKING_SIDE)
    seen = parse[::step, ::step]
    cleaned = _cleaned(seen, pose, None if person_mask is None else person_mask[::step, ::step])
    if step == 1:
        return cleaned
    carried = _carried(parse, seen, cleaned, step)
    return carried if person_mask is None else np.where(person_mask < _LEAST_SURE, 0, carried).astype(np.uint8)


def _cleaned(parse: np.ndarray, pose: np.ndarray, person_mask: np.ndarray | None) -> np.ndarray:
    parse = _confined(parse, person_mask)
    parse = _of_one_person(parse, pose)
    body = measure_body(pose, *parse.shape)
    if body.metre:
        parse = _relabelled(parse, body)
    return _without_specks(parse)


def _carried(parse: np.ndarray, seen: np.ndarray, cleaned: np.ndarray, step: int) -> np.ndarray:
    """Do to the pixels of `parse` (H, W) what was done to those of each cell's label.

    Args:
        parse (`np.ndarray`): all pixels.
        seen (`np.ndarray`), cleaned (`np.ndarray`): the first pixel of every cell of `step` x `step`, before and after.
        step (`int`): the side of a cell.
    """
    height, width = parse.shape
    before, after = (cells.repeat(step, axis=0).repeat(step, axis=1)[:height, :width] for cells in (seen, cleaned))
    carried = np.where(parse == before, after, parse)
    # A label's outermost pixels lie in cells of another label: they go with a neighbouring cell of their own.
    rows, columns = np.nonzero((parse != before) & (parse > 0))
    for down, right in np.ndindex(3, 3):
        cells = (
            np.clip(rows // step + down - 1, 0, seen.shape[0] - 1),
            np.clip(columns // step + right - 1, 0, seen.shape[1] - 1),
        )
        same = seen[cells] == parse[rows, columns]
        carried[rows[same], columns[same]] = cleaned[cells][same]
        rows, columns = rows[~same], columns[~same]
    return carried


def _confined(parse: np.ndarray, person_mask: np.ndarray | None) -> np.ndarray:
    """A copy of the label map that fills the person's mask."""
    if person_mask is not None:
        parse = np.where(person_mask < _LEAST_SURE, 0, parse).astype(np.uint8)
        return _filled(parse, (person_mask > _SURE) & (parse == 0))
    holes = ndimage.binary_fill_holes(parse > 0) & (parse == 0)
    return _filled(parse, small_parts(holes, _SPECK * (parse > 0).sum()))


def small_parts(mask: np.ndarray, limit: float) -> np.ndarray:
    """The connected parts of `mask` (H, W) bool that have fewer than `limit` pixels."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = mask.size  # what is no part is no small one either
    return (sizes < limit)[parts]


def _filled(parse: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A copy in which `places` (H, W) bool have the nearest label that is not at one of them, nor background."""
    return _filled_from(parse, places, (parse > 0) & ~places)


def _filled_from(parse: np.ndarray, places: np.ndarray, source: np.ndarray) -> np.ndarray:
    """A copy in which `places` (H, W) bool have the label of the nearest pixel of `source` (H, W) bool."""
    filled = parse.copy()
    if places.any() and source.any():
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


def _relabelled(parse: np.ndarray, body: Body) -> np.ndarray:
    """A copy in which labels that cannot be where they are have another one."""
    parse = _with_whole_sleeves(_with_hands_at_wrists(parse, body), body)
    parse = _without_stray_heads(parse, body)
    _relabel_head(parse, body)
    _relabel_lower_body(parse, body)
    return parse


def _with_hands_at_wrists(parse: np.ndarray, body: Body) -> np.ndarray:
    """A copy in which hands elsewhere are clothes if clothes are around them, else arms."""
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
    elsewhere = np.zeros(parse.shape, bool)
    elsewhere[rows[~at_wrist], columns[~at_wrist]] = True
    clothes = label_mask(parse, _CLOTHES)
    on_clothes = _parts_beside(elsewhere, clothes)
    parse = _filled_from(parse, on_clothes, clothes)
    parse[elsewhere & ~on_clothes] = PARSE_IDS["arms"]
    return parse


def _parts_beside(mask: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of `mask` (H, W) bool the connected parts more than half of whose outline lies at `others` (H, W) bool."""
    parts, count = ndimage.label(mask)
    outline, beside = np.zeros(count + 1), np.zeros(count + 1)
    for ahead, behind in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for own, other in ((ahead, behind), (behind, ahead)):
            ends = mask[own] & ~mask[other]
            outline += np.bincount(parts[own][ends], minlength=count + 1)
            beside += np.bincount(parts[own][ends & others[other]], minlength=count + 1)
    return (beside > outline / 2)[parts]


def _with_whole_sleeves(parse: np.ndarray, body: Body) -> np.ndarray:
    """A copy in which arms are clothes if there is cloth farther along the same arm, or around them and no arm.

    What is bare above a sleeve is rare, while parsers often lose a sleeve above its cuff.
    """
    arms, clothes = label_mask(parse, ("arms",)), label_mask(parse, _CLOTHES)
    rows, columns, places = _places(parse, ("arms",))
    sleeve = np.zeros(len(rows), bool)
    for side in ("right", "left"):
        for point in _lost_sleeve(arms, clothes, body, side):
            sleeve |= np.linalg.norm(places - point, axis=1) < _ARM_RADIUS * body.metre
    lost = np.zeros(parse.shape, bool)
    lost[rows[sleeve], columns[sleeve]] = True

    parts, count = ndimage.label(arms)
    at_arm = parts[rows, columns][_near_bones(places, body, _ARM_BONES, _ARM_RADIUS)]
    nobodys = np.bincount(at_arm, minlength=count + 1) == 0
    return _filled_from(parse, lost | _parts_beside(arms & nobodys[parts], clothes), clothes)


def _lost_sleeve(arms: np.ndarray, clothes: np.ndarray, body: Body, side: str) -> np.ndarray:
    """(N, 2), points along the bones of an arm in sight that are bare although some way of sleeve follows on them."""
    names = [f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist")]
    bones = [
        np.linspace(body.points[first], body.points[last], _SAMPLES)
        for first, last in zip(names, names[1:])
        # Behind the back a bone lies on other clothes.
        if {first, last} <= body.points.keys() - body.hidden
    ]
    if not bones:
        return np.zeros((0, 2))
    line = np.concatenate(bones)
    columns, rows = np.minimum(line.astype(int), np.array(arms.shape)[::-1] - 1).T
    covered = clothes[rows, columns]
    # How many metres of cloth follow on each point.
    steps = np.linalg.norm(np.diff(line, axis=0, append=line[-1:]), axis=1) / body.metre
    following = np.cumsum((steps * covered)[::-1])[::-1]
    return line[arms[rows, columns] & (following > _LEAST_SLEEVE)]


def _without_stray_heads(parse: np.ndarray, body: Body) -> np.ndarray:
    """A copy in which parts of the head that do not hang together with it have the label around them."""
    middle, _ = _head(body)
    head = label_mask(parse, HEAD_LABELS)
    parts, count = ndimage.label(head, np.ones((3, 3)))
    if middle is None or count <= 1:
        return parse
    rows, columns, places = _places(parse, HEAD_LABELS)
    near = np.linalg.norm(places - middle, axis=1) < _HEAD_RADIUS * body.metre
    at_head = np.bincount(parts[rows[near], columns[near]], minlength=count + 1) > 0
    stray = head & ~at_head[parts]
    parse = np.where(_parts_beside(stray, parse == 0), 0, parse).astype(np.uint8)
    return _filled_from(parse, stray & (parse > 0), (parse > 0) & ~head)


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
