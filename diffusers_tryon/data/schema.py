# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The columns that every data source of the package produces and training reads."""

from datasets import Array2D, ClassLabel, Features, Image, Value

from ..composition import CATEGORIES
from ..poses import NUM_KEYPOINTS


SCHEMA_VERSION = 1
GARMENT_TYPES = ("worn", "flat")
# Columns that some sources have and training does not need.
EXTRA_COLUMNS = ("person_id", "garment_id", "person_parse", "garment_parse", "target_image", "target_parse")


def dataset_features(extra_columns: tuple[str, ...] = ()) -> Features:
    """The `datasets.Features` of the schema.

    | column | content |
    |---|---|
    | `id` | unique name of the row |
    | `person_image` | the person; in training rows in the garment that `garment_image` shows (the target); RGB |
    | `agnostic_image` | the same picture with the clothes of the category hidden, see `composition.compose_agnostic` |
    | `agnostic_mask` | grey, 255 where the agnostic image is hidden |
    | `garment_image` | the garment, cut out on white |
    | `person_pose`, `garment_pose` | (18, 3) OpenPose keypoints; a flat garment's pose is all zeros |
    | `garment_type` | "worn" or "flat" |
    | `category` | "upper", "lower" or "dress" |
    | `source` | where the row comes from, e.g. "rendered" |
    | `schema_version` | `SCHEMA_VERSION` |
    | `person_id`, `garment_id` (extra) | names of the photographed person and of the garment in the source |
    | `person_parse`, `garment_parse` (extra) | grey label maps of the person image and of the photograph that the \
    garment was cut out of, ids of `composition.PARSE_LABELS`; the parse of a flat garment marks the garment alone |
    | `target_image` (extra) | ground truth of an unpaired row: this person in the garment of `garment_image` |
    | `target_parse` (extra) | the label map of that picture |

    Args:
        extra_columns (`tuple[str, ...]`): which of `EXTRA_COLUMNS` to add.
    """
    unknown = set(extra_columns) - set(EXTRA_COLUMNS)
    if unknown:
        raise ValueError(f"`extra_columns` may hold {', '.join(EXTRA_COLUMNS)}, got {', '.join(sorted(unknown))}.")
    columns = {
        "id": Value("string"),
        "person_image": Image(mode="RGB"),
        "agnostic_image": Image(mode="RGB"),
        "agnostic_mask": Image(mode="L"),
        "garment_image": Image(mode="RGB"),
        "person_pose": Array2D((NUM_KEYPOINTS, 3), "float32"),
        "garment_pose": Array2D((NUM_KEYPOINTS, 3), "float32"),
        "garment_type": ClassLabel(names=list(GARMENT_TYPES)),
        "category": ClassLabel(names=list(CATEGORIES)),
        "source": Value("string"),
        "schema_version": Value("int32"),
    }
    extra_types = {
        "person_id": Value("string"),
        "garment_id": Value("string"),
        "person_parse": Image(mode="L"),
        "garment_parse": Image(mode="L"),
        "target_image": Image(mode="RGB"),
        "target_parse": Image(mode="L"),
    }
    columns.update({name: extra_types[name] for name in EXTRA_COLUMNS if name in extra_columns})
    return Features(columns)
