# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Small folders in the exact layout of the public data sets, made of rendered people, and what they must be read
as."""

import io
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from diffusers_tryon.composition import GARMENT_LABELS, PARSE_IDS, PARSE_LABELS, compose_agnostic, label_mask
from diffusers_tryon.poses import KEYPOINT_NAMES, hide_points_outside_image
from diffusers_tryon.rendering.identity import draw_identity
from diffusers_tryon.rendering.outfits import PRODUCT_STYLES, draw_outfit
from diffusers_tryon.rendering.photography import draw_shot, dress, photograph, photograph_product


HEIGHT, WIDTH = 128, 96

# What a parser of the field calls the labels of the renderer. Neither map knows hands; ATR has no label for the neck,
# which the parser that DressCode was made with calls head.
_CIHP = {
    "background": 0, "hat": 1, "hair": 2, "glasses": 4, "top": 5, "dress": 6, "pants": 9, "belt": 9, "torso": 10,
    "jewelry": 10, "scarf": 11, "skirt": 12, "face": 13, "bag": 0,
}  # fmt: skip
_CIHP_LIMBS = {"arms": (14, 15), "hands": (14, 15), "legs": (16, 17), "feet": (18, 19)}
_ATR = {
    "background": 0, "hat": 1, "hair": 2, "glasses": 3, "top": 4, "skirt": 5, "pants": 6, "dress": 7, "belt": 8,
    "face": 11, "torso": 11, "jewelry": 11, "bag": 16, "scarf": 17,
}  # fmt: skip
_ATR_LIMBS = {"arms": (14, 15), "hands": (14, 15), "legs": (12, 13), "feet": (9, 10)}
_LIMB_POINTS = {
    "arms": ("shoulder", "elbow", "wrist"),
    "hands": ("wrist",),
    "legs": ("hip", "knee", "ankle"),
    "feet": ("ankle",),
}

# OpenPose-18 indices of neck, shoulders and hips.
_TORSO = (1, 2, 5, 8, 11)
# BODY_25 index of every OpenPose-18 point.
_BODY25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)


@dataclass(frozen=True)
class RenderedPerson:
    """A person in an outfit, photographed twice, and the garment of the category alone.

    Attributes:
        photos: two of (image (H, W, 3) uint8, FASHN-18 label map (H, W) uint8, pose (18, 3)).
        flat: the garment on white, (H, W, 3) uint8.
        flat_mask: where it is, (H, W) bool.
    """

    photos: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    flat: np.ndarray
    flat_mask: np.ndarray


@lru_cache(maxsize=None)
def rendered_person(seed: int, category: str = "upper", height: int = HEIGHT) -> RenderedPerson:
    """Somebody seen from the front, with shoulders, hips and garment; `height` pixels high, three quarters as wide."""
    rng = np.random.default_rng([seed, len(category)])
    identity = draw_identity(rng, "train")
    person = dress(identity, draw_outfit(rng, category))
    photos = []
    while len(photos) < 2:
        shot = draw_shot(rng, identity, category, from_behind=False, of_garment=False)
        taken = photograph(person, shot, category, height)
        photo = _portrait(taken.image, taken.picture.parse, taken.pose)
        if (photo[2][list(_TORSO), 2] > 0).all() and label_mask(photo[1], GARMENT_LABELS[category]).mean() > 0.03:
            photos.append(photo)
    shot = draw_shot(rng, identity, category, from_behind=False, of_garment=True)
    product = photograph_product(person, shot, category, PRODUCT_STYLES[-1], height * 3 // 4)
    flat_mask = product.picture.parse > 0
    # More of the background above and below.
    above = (height - len(flat_mask)) // 2
    rows = (above, height - len(flat_mask) - above)
    flat = np.pad(product.image, (rows, (0, 0), (0, 0)), mode="edge")
    return RenderedPerson(tuple(photos), flat, np.pad(flat_mask, (rows, (0, 0))))


def _portrait(image: np.ndarray, parse: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle three quarters of a square picture's columns."""
    size = len(image)
    left, width = size // 8, size * 3 // 4
    cropped = pose.copy()
    cropped[:, 0] = (pose[:, 0] * size - left) / width
    middle = slice(left, left + width)
    return image[:, middle], parse[:, middle], hide_points_outside_image(cropped)


def to_label_map(parse: np.ndarray, pose: np.ndarray, name: str) -> np.ndarray:
    """A FASHN-18 label map as "cihp" or "atr" would have it; limbs belong to the side whose keypoints are nearer."""
    plain, limbs = {"cihp": (_CIHP, _CIHP_LIMBS), "atr": (_ATR, _ATR_LIMBS)}[name]
    labels = np.zeros_like(parse)
    for label, number in plain.items():
        labels[parse == PARSE_IDS[label]] = number
    for label, (left, right) in limbs.items():
        nearer_left = _distance(parse.shape, pose, "left", label) <= _distance(parse.shape, pose, "right", label)
        labels[parse == PARSE_IDS[label]] = np.where(nearer_left, left, right)[parse == PARSE_IDS[label]]
    assert set(plain) | set(limbs) == set(PARSE_LABELS)
    return labels


def _distance(shape: tuple[int, int], pose: np.ndarray, side: str, label: str) -> np.ndarray:
    """(H, W): pixels to the nearest keypoint of one side's limb, infinite if none is in sight."""
    rows, columns = np.indices(shape)
    distance = np.full(shape, np.inf)
    for joint in _LIMB_POINTS[label]:
        x, y, visibility = pose[KEYPOINT_NAMES.index(f"{side}_{joint}")]
        if visibility > 0:
            distance = np.minimum(distance, np.hypot(rows + 0.5 - y * shape[0], columns + 0.5 - x * shape[1]))
    return distance


def write_openpose(path: Path, pose: np.ndarray, height: int, width: int) -> None:
    """A file as OpenPose writes it: BODY_25 in pixels, missing points zero."""
    points = np.zeros((25, 3))
    points[list(_BODY25)] = pose * (width, height, 1)
    if pose[8, 2] > 0 and pose[11, 2] > 0:
        points[8] = (points[9] + points[12]) / 2
    person = {"person_id": [-1], "pose_keypoints_2d": [round(float(value), 3) for value in points.ravel()]}
    person |= {f"{part}_keypoints_{count}d": [] for part in ("face", "hand_left", "hand_right") for count in (2, 3)}
    path.write_text(json.dumps({"version": 1.3, "people": [person | {"pose_keypoints_3d": []}]}))


def write_dress_code_keypoints(path: Path, pose: np.ndarray) -> None:
    """A file of DressCode: x and y in a space of 384 x 512, missing points -1."""
    rows = [
        [round(float(x) * 384, 3), round(float(y) * 512, 3), round(float(score), 4), float(number)]
        if score > 0
        else [-1.0, -1.0, 0.0, -1.0]
        for number, (x, y, score) in enumerate(pose)
    ]
    path.write_text(json.dumps({"keypoints": rows}))


def save_jpeg(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)


def save_palette_png(path: Path, labels: np.ndarray) -> None:
    """A label map as parsers write it: indices into a palette."""
    picture = Image.fromarray(labels).convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette([value for index in range(256) for value in (index * 11 % 256, index * 37 % 256, index)])
    picture.save(path)


VITON_HD_TRAIN = ("00000_00", "00001_00", "00003_00")
VITON_HD_TEST = ("00006_00", "00008_00", "00013_00")


def viton_hd_tree(root: Path, first_release: bool = False) -> Path:
    """VITON-HD: three people for training, three for the test, each with their own top; both spellings of folders."""
    parse_folder, pose_folder = (
        ("image-parse", "openpose-json") if first_release else ("image-parse-v3", "openpose_json")
    )
    for split, names in (("train", VITON_HD_TRAIN), ("test", VITON_HD_TEST)):
        for folder in ("image", "cloth", "cloth-mask", parse_folder, pose_folder):
            (root / split / folder).mkdir(parents=True)
        for name in names:
            person = rendered_person(viton_hd_seed(name))
            image, parse, pose = person.photos[0]
            folder = root / split
            save_jpeg(folder / "image" / f"{name}.jpg", image)
            save_palette_png(folder / parse_folder / f"{name}.png", to_label_map(parse, pose, "cihp"))
            write_openpose(folder / pose_folder / f"{name}_keypoints.json", pose, *parse.shape)
            save_jpeg(folder / "cloth" / f"{name}.jpg", person.flat)
            save_jpeg(folder / "cloth-mask" / f"{name}.jpg", person.flat_mask.astype(np.uint8) * 255)
    # The second column of the training list is somebody else's, as nothing says that it is not.
    shifted = VITON_HD_TRAIN[1:] + VITON_HD_TRAIN[:1]
    lines = [f"{person}.jpg {garment}.jpg" for person, garment in zip(VITON_HD_TRAIN, shifted)]
    (root / "train_pairs.txt").write_text("\n".join(lines) + "\n")
    shifted = VITON_HD_TEST[1:] + VITON_HD_TEST[:1]
    lines = [f"{person}.jpg {garment}.jpg" for person, garment in zip(VITON_HD_TEST, shifted)]
    (root / "test_pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def viton_hd_seed(name: str) -> int:
    """The seed of `rendered_person` for a photograph of `viton_hd_tree`."""
    return int(name.split("_")[0])


DRESS_CODE_FOLDERS = {"upper": "upper_body", "lower": "lower_body", "dress": "dresses"}
# By category: two for training, two for the test. The third has the suffix of a person's photograph inside its number.
DRESS_CODE_NUMBERS = {
    "upper": ("000000", "000001", "00_002", "000003"),
    "lower": ("013563", "013564", "013_0565", "013566"),
    "dress": ("020714", "020715", "020_0716", "020717"),
}


def dress_code_tree(root: Path, lists_in_root: bool = False) -> Path:
    """DressCode: four people in each of three categories; masks for the lower garments only."""
    in_root: dict[str, list[str]] = {}
    for position, (category, numbers) in enumerate(DRESS_CODE_NUMBERS.items()):
        folder = root / DRESS_CODE_FOLDERS[category]
        for name in ("images", "keypoints", "label_maps") + (("masks",) if category == "lower" else ()):
            (folder / name).mkdir(parents=True)
        for number in numbers:
            person = rendered_person(dress_code_seed(number), category)
            image, parse, pose = person.photos[0]
            save_jpeg(folder / "images" / f"{number}_0.jpg", image)
            save_jpeg(folder / "images" / f"{number}_1.jpg", person.flat)
            write_dress_code_keypoints(folder / "keypoints" / f"{number}_2.json", pose)
            Image.fromarray(to_label_map(parse, pose, "atr")).save(folder / "label_maps" / f"{number}_4.png")
            if category == "lower":
                mask = person.flat_mask.astype(np.uint8) * 255
                Image.fromarray(mask).save(folder / "masks" / f"{number}_1.png")
        lists = {
            "train_pairs.txt": [(number, number) for number in numbers[:2]],
            "test_pairs_paired.txt": [(number, number) for number in numbers[2:]],
            "test_pairs_unpaired.txt": [(numbers[2], numbers[3]), (numbers[3], numbers[2])],
        }
        for name, pairs in lists.items():
            lines = [f"{person}_0.jpg\t{garment}_1.jpg" for person, garment in pairs]
            if lists_in_root:
                in_root.setdefault(name, []).extend(f"{line}\t{position}" for line in lines)
            else:
                (folder / name).write_text("\n".join(lines) + "\n")
    for name, lines in in_root.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def dress_code_seed(number: str) -> int:
    """The seed of `rendered_person` for an outfit of `dress_code_tree`."""
    return int(number.replace("_", ""))


def image_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def agrees_with_truth(
    row: dict, image: np.ndarray, parse: np.ndarray, pose: np.ndarray, label_map: str, category: str = "upper"
) -> None:
    """Assert that an imported row's person is the rendered one.

    Labels must agree exactly where the label map has them. Where arms end and hands begin, and legs and feet, it is
    left to keypoints: the two together must agree exactly. ATR's neck is compared with the face in the same way.
    """
    np.testing.assert_allclose(row["person_pose"], pose, atol=1e-4)
    imported = row["person_parse"]
    united = [("arms", "hands"), ("legs", "feet")]
    united += (
        [("face", "torso", "jewelry")]
        if label_map == "atr"
        else [("torso", "jewelry"), ("pants", "belt"), ("background", "bag")]
    )
    for label in PARSE_LABELS:
        labels = next((group for group in united if label in group), (label,))
        assert np.array_equal(label_mask(imported, labels), label_mask(parse, labels)), labels
    # What is hidden does not hang on these divisions, but for the hands and, where feet are kept, the legs.
    unsure = label_mask(parse, ("arms", "hands", "legs", "feet") + (("face", "torso") if label_map == "atr" else ()))
    photo = np.asarray(Image.open(io.BytesIO(row["person_image"])))
    expected_image, expected_mask = compose_agnostic(photo, parse, row["person_pose"], category)
    assert np.array_equal(row["agnostic_mask"][~unsure], expected_mask[~unsure])
    assert np.array_equal(row["agnostic_image"][~unsure], expected_image[~unsure])
    assert np.abs(photo.astype(int) - image).mean() < 3
