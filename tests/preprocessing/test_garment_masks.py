# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a worn garment is, and what cannot be one."""

import numpy as np
import pytest
from rendered_backends import rendered_photo

from diffusers_tryon.composition import GARMENT_LABELS, PARSE_IDS, label_mask
from diffusers_tryon.preprocessing.errors import ImplausibleGarmentError, NoGarmentError, UncertainAnswerWarning
from diffusers_tryon.preprocessing.garments import check_dress, check_garment, garment_mask


@pytest.mark.parametrize(("category", "seed"), [("upper", 1), ("upper", 4), ("lower", 2), ("dress", 3)])
def test_of_true_labels_it_is_the_garment(category, seed):
    parse = rendered_photo(seed, category)["parse"]
    true = label_mask(parse, GARMENT_LABELS[category])
    found = garment_mask(parse, category)
    assert (found & true).sum() / (found | true).sum() > 0.98


def drawn(size: int = 100) -> np.ndarray:
    """A square top of 40 x 40."""
    parse = np.zeros((size, size), np.uint8)
    parse[30:70, 30:70] = PARSE_IDS["top"]
    return parse


def test_islands_go_and_a_sleeve_beyond_an_arm_stays():
    parse = drawn()
    parse[5:9, 5:9] = PARSE_IDS["top"]
    parse[40:60, 75:85] = PARSE_IDS["top"]
    parse[40:60, 70:75] = PARSE_IDS["arms"]
    mask = garment_mask(parse, "upper")
    assert not mask[5:9, 5:9].any()
    assert mask[40:60, 75:85].all() and not mask[40:60, 70:75].any()


def test_holes_are_filled_unless_something_is_in_front_or_the_background_shows():
    parse = drawn()
    parse[40:44, 40:44] = 0
    parse[50:54, 50:54] = PARSE_IDS["belt"]
    parse[60:64, 60:64] = PARSE_IDS["hands"]
    mask = garment_mask(parse, "upper")
    assert mask[40:44, 40:44].all() and mask[50:54, 50:54].all()
    assert not mask[60:64, 60:64].any()
    parse[35:55, 35:55] = 0
    assert not garment_mask(parse, "upper")[35:55, 35:55].any()


def test_no_garment_and_no_plausible_one():
    empty = np.zeros((100, 100), bool)
    with pytest.raises(NoGarmentError, match="No garment of the category 'lower' was found in `garment_photo`"):
        check_garment(empty, "garment_photo", "lower")
    speck = empty.copy()
    speck[:5, :5] = True
    with pytest.raises(ImplausibleGarmentError, match="covers 0.25 % of the picture"):
        check_garment(speck, "garment_photo", "upper")
    with pytest.raises(ImplausibleGarmentError, match="covers 100 % of the picture"):
        check_garment(~empty, "garment_photo", "upper")
    little = empty.copy()
    little[:12, :12] = True
    (warning,) = check_garment(little, "garment_photo", "upper")
    assert isinstance(warning, UncertainAnswerWarning)
    plausible = empty.copy()
    plausible[30:60, 30:60] = True
    assert check_garment(plausible, "garment_photo", "upper") == []


def test_a_top_and_pants_are_no_dress():
    parse = np.zeros((100, 100), np.uint8)
    parse[20:50, 30:70] = PARSE_IDS["top"]
    parse[50:90, 30:70] = PARSE_IDS["skirt"]
    assert check_dress(parse, "photo") == []
    # Leggings beneath a tunic.
    parse[20:60, 30:70], parse[60:90, 30:70] = PARSE_IDS["dress"], PARSE_IDS["pants"]
    assert check_dress(parse, "photo") == []
    parse[20:60, 30:70] = PARSE_IDS["top"]
    (warning,) = check_dress(parse, "photo")
    assert isinstance(warning, UncertainAnswerWarning) and "`photo` seems to show a top and pants" in str(warning)
