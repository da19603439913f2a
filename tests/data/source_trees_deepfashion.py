# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Small folders in the exact layouts of DeepFashion In-shop, pose-transfer code and DeepFashion-MultiModal.

Everybody is rendered in several views, 256:176 as those data sets crop them.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from source_trees import save_jpeg, save_palette_png, to_label_map

from diffusers_tryon.composition import GARMENT_LABELS, PARSE_IDS, label_mask
from diffusers_tryon.poses import KEYPOINT_NAMES, OCCLUDED_VISIBILITY, hide_points_outside_image
from diffusers_tryon.rendering.identity import draw_identity
from diffusers_tryon.rendering.outfits import PRODUCT_STYLES, draw_outfit
from diffusers_tryon.rendering.photography import Photograph, draw_shot, dress, photograph, photograph_product


HEIGHT, WIDTH = 128, 88
# The white at either side of a square picture.
BORDER = (HEIGHT - WIDTH) // 2

# Category and views of every article and colour. Which of the additional views shows the back is known to keypoints
# only.
GROUPS = {
    ("WOMEN", "Tees_Tanks", "00007838", "05"): ("upper", "1_front", "3_back", "4_full", "6_flat", "7_additional"),
    ("WOMEN", "Tees_Tanks", "00007838", "06"): ("upper", "1_front", "4_full"),
    ("MEN", "Pants", "00000161", "01"): ("lower", "1_front", "4_full"),
    ("WOMEN", "Dresses", "00005537", "05"): ("dress", "3_back", "4_full", "7_additional"),
    ("WOMEN", "Jackets_Coats", "00006928", "02"): ("upper", "4_full"),
}
FROM_BEHIND = {("00007838", "3_back"), ("00005537", "3_back"), ("00005537", "7_additional")}
TEST_ITEMS = ("00000161",)
# All ordered pairs: person, garment.
TRAIN_PAIRS = {
    ("00007838", "05", "1_front", "4_full"), ("00007838", "05", "4_full", "1_front"),
    ("00007838", "05", "1_front", "7_additional"), ("00007838", "05", "7_additional", "1_front"),
    ("00007838", "05", "4_full", "7_additional"), ("00007838", "05", "7_additional", "4_full"),
    ("00007838", "06", "1_front", "4_full"), ("00007838", "06", "4_full", "1_front"),
    ("00005537", "05", "3_back", "7_additional"), ("00005537", "05", "7_additional", "3_back"),
}  # fmt: skip
TEST_PAIRS = {("00000161", "01", "1_front", "4_full"), ("00000161", "01", "4_full", "1_front")}

# The 24 labels of DeepFashion-MultiModal.
_MULTIMODAL = {
    "background": 0, "top": 1, "skirt": 3, "dress": 4, "pants": 5, "hat": 7, "glasses": 8, "scarf": 9, "belt": 10,
    "feet": 11, "bag": 12, "hair": 13, "face": 14, "arms": 15, "hands": 15, "legs": 15, "torso": 15, "jewelry": 20,
}  # fmt: skip
# Its 21 keypoints. Those without a name are not among the 18; here they lie in the middle of the picture.
_MULTIMODAL_POINTS = (
    None, "right_ear", "right_eye", "left_eye", "left_ear", "nose", None, "right_shoulder", "left_shoulder", None,
    None,
    "right_elbow", "left_elbow", "right_wrist", "right_hip", "left_hip", "left_wrist", "right_knee", "left_knee",
    "right_ankle", "left_ankle",
)  # fmt: skip


@lru_cache(maxsize=None)
def rendered_view(group: tuple[str, str, str, str], view: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8, FASHN-18 label map (H, W) uint8 and pose (18, 3) of a view of `GROUPS`."""
    item, colour, category = group[2], group[3], GROUPS[group][0]
    people = np.random.default_rng([int(item), int(colour)])
    person = dress(draw_identity(people, "train"), draw_outfit(people, category))
    rng = np.random.default_rng([int(item), int(colour), int(view[0])])
    if view == "6_flat":
        shot = draw_shot(rng, person.identity, category, from_behind=False, of_garment=True)
        return _crop(photograph_product(person, shot, category, PRODUCT_STYLES[-1], HEIGHT))
    from_behind = (item, view) in FROM_BEHIND
    while True:
        shot = draw_shot(rng, person.identity, category, from_behind, of_garment=False)
        image, parse, pose = _crop(photograph(person, shot, category, HEIGHT))
        right, left = pose[[KEYPOINT_NAMES.index(f"{side}_shoulder") for side in ("right", "left")]]
        turned = right[2] > 0 and left[2] > 0 and (right[0] - left[0] if from_behind else left[0] - right[0]) > 0.1
        shown = label_mask(parse, GARMENT_LABELS[category]).mean() > 0.03
        if shown and (turned or (category == "lower" and (pose[8:14, 2] > 0).all())):
            return image, parse, pose


def _crop(taken: Photograph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle columns of a square photograph."""
    middle = slice(BORDER, BORDER + WIDTH)
    cropped = taken.pose.copy()
    cropped[:, 0] = (taken.pose[:, 0] * HEIGHT - BORDER) / WIDTH
    return taken.image[:, middle], taken.picture.parse[:, middle], hide_points_outside_image(cropped)


def all_views() -> list[tuple[tuple[str, str, str, str], str]]:
    return [(group, view) for group, (_, *views) in GROUPS.items() for view in views]


def in_shop_name(group: tuple[str, str, str, str], view: str) -> str:
    gender, folder, item, colour = group
    return f"{gender}/{folder}/id_{item}/{colour}_{view}"


def pose_transfer_name(group: tuple[str, str, str, str], view: str) -> str:
    gender, folder, item, colour = group
    return f"fashion{gender}{folder}id{item}{colour}_{view.replace('_', '')}"


def multimodal_name(group: tuple[str, str, str, str], view: str) -> str:
    gender, folder, item, colour = group
    return f"{gender}-{folder}-id_{item}-{colour}_{view}"


def to_multimodal_labels(parse: np.ndarray) -> np.ndarray:
    labels = np.zeros_like(parse)
    for name, number in _MULTIMODAL.items():
        labels[parse == PARSE_IDS[name]] = number
    return labels


def with_border(pixels: np.ndarray, value: int) -> np.ndarray:
    padding = ((0, 0), (BORDER, BORDER)) + ((0, 0),) * (pixels.ndim - 2)
    return np.pad(pixels, padding, constant_values=value)


def write_annotations(path: Path, poses: dict[str, np.ndarray]) -> None:
    """Keypoints as pose-transfer code has them: whole pixels of a picture of 256 x 176, missing points -1."""
    lines = ["name:keypoints_y:keypoints_x"]
    for name, pose in poses.items():
        y, x = (np.where(pose[:, 2] > 0, np.rint(pose[:, column] * size), -1) for column, size in ((1, 256), (0, 176)))
        lines.append(f"{name}.jpg: {y.astype(int).tolist()}: {x.astype(int).tolist()}")
    path.write_text("\n".join(lines) + "\n")


def in_shop_tree(root: Path, partition: bool = True) -> Path:
    """As published: square pictures in folders, `list_eval_partition.txt`; keypoints of pose-transfer code beside it.

    Label maps (CIHP) lie in `root/parses` under the flattened names that parsers leave.
    """
    (root / "parses").mkdir(parents=True)
    poses, lines = {}, []
    for group, view in all_views():
        image, parse, pose = rendered_view(group, view)
        path = root / "img" / f"{in_shop_name(group, view)}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_jpeg(path, with_border(image, 255))
        name = pose_transfer_name(group, view)
        if view != "6_flat":
            save_palette_png(root / "parses" / f"{name}.png", with_border(to_label_map(parse, pose, "cihp"), 0))
            poses[name] = pose
        status = "train" if group[2] not in TEST_ITEMS else ("query" if view == "1_front" else "gallery")
        lines.append(f"{f'img/{in_shop_name(group, view)}.jpg':<70} id_{group[2]}  {status}")
    write_annotations(root / "fasion-resize-annotation-train.csv", poses)
    if partition:
        (root / "Eval").mkdir()
        text = "\n".join([str(len(lines)), "image_name item_id evaluation_status", *lines])
        (root / "Eval" / "list_eval_partition.txt").write_text(text + "\n")
    return root


def pose_transfer_tree(root: Path, index_column: bool = False) -> Path:
    """As pose-transfer code prepares it: cropped pictures in `train/` and `test/`, lists of keypoints and pairs.

    A colour of an article of the training is in the test too, as it is there. Label maps (ATR) lie in `root/parses`.
    """
    tested = {group for group in GROUPS if group[2] in TEST_ITEMS}
    leaked = ("WOMEN", "Tees_Tanks", "00007838", "06")
    (root / "parses").mkdir(parents=True)
    for split in ("train", "test"):
        (root / split).mkdir()
        poses, pairs = {}, []
        for group, view in all_views():
            if (group in tested | {leaked}) != (split == "test"):
                continue
            image, parse, pose = rendered_view(group, view)
            name = pose_transfer_name(group, view)
            save_jpeg(root / split / f"{name}.jpg", image)
            if view != "6_flat":
                labels = Image.fromarray(to_label_map(parse, pose, "atr"))
                labels.save(root / "parses" / f"{name}.png")
            poses[name] = pose
            pairs += [(name, pose_transfer_name(group, to)) for to in GROUPS[group][1:] if to != view]
        write_annotations(root / f"fasion-resize-annotation-{split}.csv", poses)
        lines = [f"{number}," * index_column + f"{a}.jpg,{b}.jpg" for number, (a, b) in enumerate(pairs)]
        text = "\n".join(["," * index_column + "from,to", *lines])
        (root / f"fasion-resize-pairs-{split}.csv").write_text(text + "\n")
    return root


def multimodal_tree(root: Path) -> Path:
    """DeepFashion-MultiModal: label maps and keypoints of people seen from head to foot, pictures also of others."""
    for folder in ("images", "segm", "keypoints"):
        (root / folder).mkdir(parents=True)
    locations, visibilities = [], []
    for group, view in all_views():
        image, parse, pose = rendered_view(group, view)
        name = multimodal_name(group, view)
        save_jpeg(root / "images" / f"{name}.jpg", image)
        if view in ("6_flat", "1_front"):
            continue
        Image.fromarray(to_multimodal_labels(parse)).save(root / "segm" / f"{name}_segm.png")
        points, states = [], []
        for point in _MULTIMODAL_POINTS:
            x, y, visibility = pose[KEYPOINT_NAMES.index(point)] if point else (0.5, 0.5, 1)
            points += [round(x * 750), round(y * 1101)] if visibility > 0 else [-1, -1]
            states.append(2 if visibility == 0 else 1 if visibility == OCCLUDED_VISIBILITY else 0)
        locations.append(f"{name}.jpg {' '.join(map(str, points))}")
        visibilities.append(f"{name}.jpg {' '.join(map(str, states))}")
    (root / "keypoints" / "keypoints_loc.txt").write_text("\n".join(locations) + "\n")
    (root / "keypoints" / "keypoints_vis.txt").write_text("\n".join(visibilities) + "\n")
    return root
