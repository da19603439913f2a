# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The pasted garment: moved as its joints say, where it must be and nowhere else."""

import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from diffusers_tryon.composition import AGNOSTIC_FILL
from diffusers_tryon.evaluation.baselines import continued_background, fit_similarity, pasted_garment, warp
from diffusers_tryon.evaluation.cases import Case, rendered_cases
from diffusers_tryon.evaluation.layout import CaseRecord
from diffusers_tryon.poses import KEYPOINT_NAMES


SIZE = 64
BACKGROUND, GARMENT = (10, 200, 60), (250, 20, 120)


def pose(**joints: tuple[float, float]) -> np.ndarray:
    """Joints in pixels."""
    points = np.zeros((18, 3), np.float32)
    for name, (x, y) in joints.items():
        points[KEYPOINT_NAMES.index(name)] = x / SIZE, y / SIZE, 1
    return points


def trunk(x: float, y: float) -> dict[str, tuple[float, float]]:
    """A trunk of 12 x 20 pixels, facing the camera, whose right shoulder is at (x, y)."""
    return {
        "right_shoulder": (x, y),
        "left_shoulder": (x + 12, y),
        "right_hip": (x, y + 20),
        "left_hip": (x + 12, y + 20),
    }


def make_case(person_pose, garment_pose, category="upper", garment=(slice(10, 34), slice(8, 28)), hidden=None) -> Case:
    """A one-coloured garment, a rectangle, and a region of grey on a one-coloured background."""
    garment_mask, mask = np.zeros((2, SIZE, SIZE), np.uint8)
    garment_mask[garment] = 255
    mask[hidden or (slice(8, 60), slice(16, 56))] = 255
    return Case(
        record=CaseRecord("case", category, "worn", person_pose, garment_pose, 0),
        agnostic_image=np.where(mask[..., None] > 0, np.uint8(AGNOSTIC_FILL), np.uint8(BACKGROUND)),
        agnostic_mask=mask,
        garment_image=np.where(garment_mask[..., None] > 0, np.uint8(GARMENT), np.uint8(255)),
        garment_mask=garment_mask,
        reference=None,
        real=None,
        parse=None,
    )


def is_garment(picture: np.ndarray) -> np.ndarray:
    """Pixels nearer to the garment's colour than to the background's."""
    far, near = (np.abs(picture.astype(int) - colour).sum(axis=-1) for colour in (BACKGROUND, GARMENT))
    return near < far


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_similarity_is_umeyamas(count):
    random = np.random.default_rng(count)
    for _ in range(20):
        source, target = random.uniform(0, 100, (2, count, 2))
        expected = SimilarityTransform.from_estimate(source, target).params[:2]
        assert np.allclose(fit_similarity(source, target), expected, atol=1e-6)


def test_a_mirrored_garment_is_not_turned_over():
    source = np.array([[0, 0], [10, 0], [0, 20], [10, 20]], float)
    matrix = fit_similarity(source, source * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) > 0


def test_a_shift_by_whole_pixels_copies_the_garment():
    case = make_case(pose(**trunk(26, 22)), pose(**trunk(12, 14)))
    picture = pasted_garment(case)
    # The garment's 24 x 20 pixels, 8 further down and 14 to the right; a pixel's rim on both sides is blended.
    assert (picture[19:41, 23:41] == GARMENT).all()
    outside = np.ones((SIZE, SIZE), bool)
    outside[17:43, 21:43] = False
    assert (picture[outside] == BACKGROUND).all()


def test_turned_and_enlarged_garments_land_on_the_joints():
    """A person lying on the right side, half as large again."""
    # The garment's x goes up, its y to the right.
    person = pose(right_shoulder=(20, 48), left_shoulder=(20, 30), right_hip=(50, 48), left_hip=(50, 30))
    case = make_case(person, pose(**trunk(12, 14)), hidden=(slice(0, SIZE), slice(4, 60)))
    # y = 10..34 around the shoulders at 14 become x = 20 - 4 * 1.5 .. 20 + 20 * 1.5, x = 8..28 around 12 become y = 54..24.
    rows, columns = np.nonzero(is_garment(pasted_garment(case)))
    assert abs(columns.min() - 14) <= 1 and abs(columns.max() - 49) <= 1
    assert abs(rows.min() - 24) <= 1 and abs(rows.max() - 53) <= 1


def test_nothing_changes_outside_the_mask():
    for number in range(3):
        case = rendered_cases(3, size=48)[number]
        picture = pasted_garment(case)
        assert picture.dtype == np.uint8 and picture.shape == (48, 48, 3)
        kept = case.agnostic_mask == 0
        assert np.array_equal(picture[kept], case.agnostic_image[kept])
        assert (picture[~kept] != AGNOSTIC_FILL).any(axis=-1).mean() > 0.9


def test_a_flat_top_hangs_from_the_shoulders_along_a_leaning_trunk():
    straight = pasted_garment(make_case(pose(**trunk(30, 22)), np.zeros((18, 3), np.float32)))
    rows, columns = np.nonzero(is_garment(straight))
    # Trunk of 20 pixels from (36, 22) to (36, 42): the edge is a sixth above, the root of the area nine tenths.
    assert abs(rows.min() - 18.6) <= 1 and abs(columns.mean() + 0.5 - 36) < 0.6
    assert abs(np.sqrt(is_garment(straight).sum()) - 0.94 * 20) < 1.5
    leaning = make_case(
        pose(right_shoulder=(40, 22), left_shoulder=(44, 22), right_hip=(26, 36), left_hip=(30, 36)),
        np.zeros((18, 3), np.float32),
    )
    rows, columns = np.nonzero(is_garment(pasted_garment(leaning)))
    assert np.corrcoef(rows, columns)[0, 1] < -0.05  # down to the left, as the trunk


def test_flat_trousers_hang_from_the_hips_and_are_as_wide_as_a_waist():
    person = pose(right_hip=(30, 14), left_hip=(40, 14), right_knee=(30, 34), left_knee=(40, 34))
    case = make_case(person, np.zeros((18, 3), np.float32), category="lower", garment=(slice(4, 60), slice(20, 40)))
    rows, columns = np.nonzero(is_garment(pasted_garment(case)))
    assert abs(rows.min() - 9) <= 1 and abs((columns.max() + 1 - columns.min()) - 0.78 * 20) <= 1.5


@pytest.mark.parametrize("joints", [{}, {"right_shoulder": (30, 20)}, {"left_hip": (30, 40)}])
def test_without_joints_the_garment_is_fitted_into_the_hidden_box(joints):
    case = make_case(pose(**joints), pose(right_shoulder=(12, 14)), garment=(slice(10, 40), slice(10, 40)))
    rows, columns = np.nonzero(is_garment(pasted_garment(case)))
    # 30 x 30 pixels into 40 x 52: as wide as the box, from its top.
    assert (columns.min(), columns.max(), rows.min()) == (16, 55, 8) and abs(rows.max() - 47) <= 1


def test_two_joints_at_one_place_are_one():
    same = pose(right_shoulder=(20, 20), left_shoulder=(20, 20))
    assert is_garment(pasted_garment(make_case(pose(**trunk(26, 22)), same))).any()


def test_reduced_garments_are_antialiased():
    fine = np.zeros((SIZE, SIZE, 4), np.uint8)
    fine[::2, :, :3], fine[..., 3] = 255, 255
    half = warp(fine, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (SIZE // 2, SIZE // 2))
    assert np.abs(half[2:-2, 2:-2, :3].astype(int) - 127).max() <= 1


def test_the_background_goes_on_and_leaves_the_person_out():
    image = np.full((SIZE, SIZE, 3), 50, np.uint8)
    image[:, SIZE // 2 :] = 200
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[10:, 10:54] = 255
    # A red head in the hidden box.
    image[10:20, 28:36], mask[10:20, 28:36] = (255, 0, 0), 0
    found = continued_background(image, mask)
    assert np.ptp(found, axis=-1).max() < 1e-9
    assert found[40, 12, 0] < 60 and found[40, 51, 0] > 190
    # A picture that is hidden from edge to edge has only what is in it.
    mask[:], mask[20:30, 20:30] = 255, 0
    image[20:30, 20:30] = 77
    assert np.allclose(continued_background(image, mask), 77)
    assert np.array_equal(continued_background(image, np.full_like(mask, 255)), image)
