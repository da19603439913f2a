# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The label maps of human parsers and data sets, mapped onto the label map of the package (FASHN-18).

| package | CIHP | LIP | ATR | DeepFashion-MultiModal |
|---|---|---|---|---|
| background | background | background | background | background |
| face | face | face | face, to the chin | face, skin of the head |
| hair | hair | hair | hair | hair |
| top | upper-clothes, coat | upper-clothes, coat | upper-clothes | top, outer, tie |
| dress | dress | dress, jumpsuits | dress | dress, rompers |
| skirt | skirt | skirt | skirt | skirt |
| pants | pants | pants | pants | pants, leggings |
| belt | - | - | belt | belt |
| bag | - | - | bag | bag |
| hat | hat | hat | hat | headwear |
| scarf | scarf | scarf | scarf | neckwear |
| glasses | sunglasses | sunglasses | sunglasses | eyeglass |
| arms | arms to the wrist | arms to the wrist | arms to the wrist | skin of arms to the wrist |
| hands | glove, arms beyond | glove, arms beyond | arms beyond | gloves, ring, skin beyond |
| legs | legs, socks to the ankle | legs, socks to the ankle | legs to the ankle | socks, skin of legs to the ankle |
| feet | shoes, legs, socks beyond | shoes, legs, socks beyond | shoes, legs beyond | footwear, socks, skin beyond |
| torso | torso-skin | - | face below the chin | skin of neck, chest, belly, back |
| jewelry | - | - | - | necklace, earrings, wrist wearing |

CIHP is what Graphonomy and VITON-HD's `image-parse-v3` hold, ATR what DressCode's `label_maps` hold. LIP leaves the
neck to the background. Gloves are kept with the hands in them. Socks end at the ankle here: what reaches higher may be
a stocking, which tells how long a garment is. ATR's face includes the neck, whose lower edge is the neckline of the
garment that is to be hidden.

What a map does not tell apart is divided by keypoints, see `body_parts.divide_by_keypoints`. Without the keypoint of a
wrist there is no hand, without that of an ankle no foot.
"""

import numpy as np

from .body_parts import DIVIDED_LABELS, divide_by_keypoints
from .composition import PARSE_IDS, PARSE_LABELS
from .poses import NUM_KEYPOINTS, check_pose


# For every label map its labels in the order of their ids, and what each becomes: a label of the package or one that
# is divided by keypoints.
LABEL_MAPS: dict[str, dict[str, str]] = {
    "cihp": {
        "background": "background",
        "hat": "hat",
        "hair": "hair",
        "glove": "hands",
        "sunglasses": "glasses",
        "upper-clothes": "top",
        "dress": "dress",
        "coat": "top",
        "socks": "socks",
        "pants": "pants",
        "torso-skin": "torso",
        "scarf": "scarf",
        "skirt": "skirt",
        "face": "face",
        "left-arm": "left arm",
        "right-arm": "right arm",
        "left-leg": "left leg",
        "right-leg": "right leg",
        "left-shoe": "feet",
        "right-shoe": "feet",
    },
    "lip": {
        "background": "background",
        "hat": "hat",
        "hair": "hair",
        "glove": "hands",
        "sunglasses": "glasses",
        "upper-clothes": "top",
        "dress": "dress",
        "coat": "top",
        "socks": "socks",
        "pants": "pants",
        "jumpsuits": "dress",
        "scarf": "scarf",
        "skirt": "skirt",
        "face": "face",
        "left-arm": "left arm",
        "right-arm": "right arm",
        "left-leg": "left leg",
        "right-leg": "right leg",
        "left-shoe": "feet",
        "right-shoe": "feet",
    },
    "atr": {
        "background": "background",
        "hat": "hat",
        "hair": "hair",
        "sunglasses": "glasses",
        "upper-clothes": "top",
        "skirt": "skirt",
        "pants": "pants",
        "dress": "dress",
        "belt": "belt",
        "left-shoe": "feet",
        "right-shoe": "feet",
        "face": "head and neck",
        "left-leg": "left leg",
        "right-leg": "right leg",
        "left-arm": "left arm",
        "right-arm": "right arm",
        "bag": "bag",
        "scarf": "scarf",
    },
    "fashn": {name: name for name in PARSE_LABELS},
    "deepfashion-multimodal": {
        "background": "background",
        "top": "top",
        "outer": "top",
        "skirt": "skirt",
        "dress": "dress",
        "pants": "pants",
        "leggings": "pants",
        "headwear": "hat",
        "eyeglass": "glasses",
        "neckwear": "scarf",
        "belt": "belt",
        "footwear": "feet",
        "bag": "bag",
        "hair": "hair",
        "face": "face",
        "skin": "skin",
        "ring": "hands",
        "wrist wearing": "jewelry",
        "socks": "socks",
        "gloves": "hands",
        "necklace": "jewelry",
        "rompers": "dress",
        "earrings": "jewelry",
        "tie": "top",
    },
}

# Working ids of the labels that keypoints divide follow on those of the package.
_IDS = PARSE_IDS | {name: len(PARSE_LABELS) + number for number, name in enumerate(DIVIDED_LABELS)}


def convert_parse(parse: np.ndarray, label_map: str, pose: np.ndarray | None = None) -> np.ndarray:
    """Map a label map onto `composition.PARSE_LABELS`, as the table of this module says.

    Args:
        parse (`np.ndarray`): (H, W) integer label ids of the label map.
        label_map (`str`): "cihp", "lip", "atr", "fashn" or "deepfashion-multimodal".
        pose (`np.ndarray`, *optional*):
            (18, 3) keypoints of the person in the package's format. Without them arms, legs and ATR's face stay
            undivided: there are no hands. "fashn" does not use them.

    Returns:
        `np.ndarray`: (H, W) uint8 ids of `PARSE_LABELS`.

    Raises:
        ValueError: unknown label map, ids that it does not have (they are named), wrong shapes, or skin of
            DeepFashion-MultiModal without keypoints that tell whose skin it is.
    """
    if label_map not in LABEL_MAPS:
        raise ValueError(f"`label_map` must be one of {', '.join(LABEL_MAPS)}, got {label_map!r}.")
    if parse.ndim != 2 or not np.issubdtype(parse.dtype, np.integer):
        raise ValueError(
            f"`parse` must hold integer label ids of shape (height, width), got {parse.dtype} {parse.shape}."
        )
    targets = np.array([_IDS[target] for target in LABEL_MAPS[label_map].values()], dtype=np.uint8)
    ids = np.unique(parse)
    unknown = ids[(ids < 0) | (ids >= len(targets))].tolist()
    if unknown:
        raise ValueError(f"`parse` holds ids that {label_map} does not have (0 to {len(targets) - 1}): {unknown}.")
    if pose is None:
        pose = np.zeros((NUM_KEYPOINTS, 3), dtype=np.float32)
    check_pose(pose, "pose")
    return divide_by_keypoints(targets[parse], _IDS, pose)
