# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds in every rendered row."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusers_tryon.composition import CATEGORIES, GARMENT_LABELS, KEPT_LABELS, PARSE_IDS, label_mask
from diffusers_tryon.data.schema import dataset_features
from diffusers_tryon.poses import OCCLUDED_VISIBILITY, check_pose
from diffusers_tryon.rendering import samples
from diffusers_tryon.rendering.body import (
    TEST_SHAPES,
    forward_kinematics,
    limb_weight,
    load_body_asset,
    shapes_of_split,
    skin,
)
from diffusers_tryon.rendering.finish import Finish
from diffusers_tryon.rendering.identity import draw_identity
from diffusers_tryon.rendering.outfits import draw_outfit, exchange_garment
from diffusers_tryon.rendering.photography import Photograph, draw_shot, dress, photograph
from diffusers_tryon.rendering.samples import (
    PAIR_COLUMNS,
    UNPAIRED_COLUMNS,
    render_pair,
    render_rows,
    render_unpaired,
    row_id,
)
from diffusers_tryon.rendering.scene import run_steps
from diffusers_tryon.rendering.seats import sits


SIZE = 48
WORN = ("top", "dress", "skirt", "pants", "belt")
SOFT_AND_NOISY = Finish(gain=np.full(3, 0.97), contrast=1.1, softness=0.5, noise=3.0, noise_seed=1)
SEEDS = range(4)


def rows_of_all_categories(render) -> list[dict]:
    return [render(seed, SIZE, category=category) for seed in SEEDS for category in CATEGORIES]


@pytest.fixture(scope="module")
def pairs() -> list[dict]:
    return rows_of_all_categories(render_pair)


@pytest.fixture(scope="module")
def unpaired() -> list[dict]:
    return rows_of_all_categories(render_unpaired)


def within(mask: np.ndarray, reach: int) -> np.ndarray:
    """Pixels (S, S) with a pixel of the mask in the square of 2 * `reach` + 1 pixels around them."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, reach), (2 * reach + 1, 2 * reach + 1))
    return windows.any(axis=(2, 3))


def test_rows_have_the_columns_of_the_schema(pairs, unpaired):
    assert set(pairs[0]) == set(dataset_features(PAIR_COLUMNS))
    assert set(unpaired[0]) == set(dataset_features(UNPAIRED_COLUMNS))
    for row in pairs + unpaired:
        for name in ("person_image", "agnostic_image", "garment_image"):
            assert row[name].shape == (SIZE, SIZE, 3) and row[name].dtype == np.uint8
        for name in ("agnostic_mask", "person_parse", "garment_parse"):
            assert row[name].shape == (SIZE, SIZE) and row[name].dtype == np.uint8
        for name in ("person_pose", "garment_pose"):
            assert row[name].shape == (18, 3) and row[name].dtype == np.float32
            check_pose(row[name], name)
    assert len({row["id"] for row in pairs + unpaired}) == 2 * len(SEEDS) * len(CATEGORIES)


def test_the_category_is_drawn_unless_it_is_given():
    drawn = [render_pair(seed, 16) for seed in range(12)]
    assert {row["category"] for row in drawn} == set(CATEGORIES)
    for seed, row in enumerate(drawn[:4]):
        given = render_pair(seed, 16, category=row["category"])
        assert all(np.array_equal(row[name], given[name]) for name in row)
        assert row["id"] == row_id(seed, "train", unpaired=False) == f"train-paired-{row['category']}-{seed}"
        assert row["person_id"] == f"train-{seed}" and row["garment_id"] == f"train-{seed}-{row['category']}"


def test_the_agnostic_image_shows_no_pixel_of_the_garment_and_keeps_the_rest(pairs, unpaired):
    hidden_of_kept = []
    for row in pairs + unpaired:
        hidden = row["agnostic_mask"] == 255
        assert set(np.unique(row["agnostic_mask"])) <= {0, 255}
        assert hidden[label_mask(row["person_parse"], GARMENT_LABELS[row["category"]])].all()
        assert (row["agnostic_image"][hidden] == 128).all()
        assert np.array_equal(row["agnostic_image"][~hidden], row["person_image"][~hidden])
        # What the category keeps is hidden along the edge of what is taken off only: where a finish as soft as any
        # carries a share of a sample that the label of its own pixel does not tell.
        kept = label_mask(row["person_parse"], KEPT_LABELS[row["category"]])
        taken_off = label_mask(row["person_parse"], tuple({*WORN} - {*KEPT_LABELS[row["category"]]}))
        assert not (hidden & kept & ~within(taken_off, 3)).any()
        hidden_of_kept.append(hidden[kept].mean())
    # Small things have long edges: up to a third of a foot or two of 50 pixels, 7 % of all.
    assert np.mean(hidden_of_kept) < 0.12


def test_arms_and_neck_are_hidden_because_a_garment_may_cover_them(pairs):
    for row in pairs:
        if row["category"] != "lower":
            bare = label_mask(row["person_parse"], ("arms", "torso"))
            assert (row["agnostic_mask"][bare] == 255).all()


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_colour_of_the_garment_does_not_leak_along_its_edges(category):
    """Render the same scene in another cloth of the same cut: what the agnostic image shows must not change."""
    part = {"upper": "top", "lower": "bottom", "dress": "dress"}[category]
    for seed in range(2):
        identity = draw_identity(np.random.default_rng(seed), "train")
        outfit = draw_outfit(np.random.default_rng(seed), category)
        cloth = getattr(draw_outfit(np.random.default_rng(seed + 100), category), part).cloth
        changed = replace(outfit, **{part: replace(getattr(outfit, part), cloth=cloth)})
        shot = draw_shot(np.random.default_rng(seed), identity, category, from_behind=False, of_garment=False)
        shot = replace(shot, finish=SOFT_AND_NOISY)
        first, second = (
            samples._person_columns(photograph(dress(identity, worn), shot, category, SIZE), category)
            for worn in (outfit, changed)
        )
        assert not np.array_equal(first["person_image"], second["person_image"])
        for name in ("agnostic_image", "agnostic_mask", "person_pose", "person_parse"):
            assert np.array_equal(first[name], second[name]), name


def test_the_garment_is_seen_well(pairs, unpaired):
    for row in pairs + unpaired:
        labels = GARMENT_LABELS[row["category"]]
        assert label_mask(row["person_parse"], labels).mean() > 0.02
        garment = label_mask(row["garment_parse"], labels)
        assert garment.mean() > 0.06
        # It fills the picture as a crop would; the rest is white.
        assert (row["garment_image"][~garment] == 255).all()
        if row["garment_type"] == "flat":
            assert set(np.unique(row["garment_parse"])) <= {0, *(PARSE_IDS[name] for name in labels)}
    extents = []
    for row in pairs:
        rows, columns = np.nonzero((row["garment_image"] < 255).any(axis=-1))
        extents.append(max(np.ptp(rows), np.ptp(columns)) / SIZE)
    assert np.mean(np.array(extents) > 0.6) > 0.7


def test_nobody_is_seen_from_the_front_in_one_picture_and_from_behind_in_the_other():
    """The right shoulder is to the left of the left one in a picture from the front."""
    from_behind = []
    for seed in range(40):
        plan = samples._draw_plan("train", seed, "upper")
        from_behind.append(plan.from_behind)
        if not plan.from_behind and seed > 3:
            continue
        row = render_pair(seed, 16, category="upper")
        for name in ("person_pose", "garment_pose"):
            right, left = row[name][2], row[name][5]
            if right[2] and left[2]:
                assert (right[0] > left[0]) == plan.from_behind
    assert 0 < sum(from_behind) < 10


def test_no_product_view_shows_the_front_to_a_person_seen_from_behind():
    """Seed 251 is seen from behind, and draws a product view."""
    assert samples._draw_plan("train", 251, "upper").from_behind
    stream = samples._stream("train", 251, samples._GARMENT_SHOT, samples._MAX_ATTEMPTS)
    assert stream.random() < samples._FLAT_SHARE
    assert render_pair(251, 16, category="upper")["garment_type"] == "worn"


def test_nobody_sits_who_may_not():
    asset, identity = load_body_asset(), draw_identity(np.random.default_rng(0), "train")
    shape = identity.shape

    def sitting(may_sit: bool) -> int:
        count = 0
        for seed in range(40):
            shot = draw_shot(np.random.default_rng(seed), identity, "upper", False, True, may_sit)
            transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, shot.rotations)
            count += sits(asset.keypoint_regressor @ skin(shape.vertices, asset.skin_weights, transforms))
        return count

    assert sitting(True) > 0 == sitting(False)


def test_nobody_sits_if_the_exchanged_clothes_do_not_allow_it():
    """In the row of this seed the person would sit, and gets a skirt or shorts for trousers."""
    seed, category, asset = 150, "lower", load_body_asset()
    plan = samples._draw_plan("test", seed, category)
    person = samples._draw_person("test", seed, samples._IDENTITY, samples._OUTFIT, plan)
    other = samples._draw_person("test", seed, samples._OTHER_IDENTITY, samples._OTHER_OUTFIT, plan)
    assert person.outfit.can_sit and not exchange_garment(person.outfit, other.outfit, category).can_sit
    shape, poses = person.identity.shape, {}
    for may_sit in (True, False):
        rng = samples._stream("test", seed, samples._PERSON_SHOT)
        shot = draw_shot(rng, person.identity, category, plan.from_behind, False, may_sit)
        transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, shot.rotations)
        posed = skin(shape.vertices, asset.skin_weights, transforms)
        assert sits(asset.keypoint_regressor @ posed) == may_sit
        poses[may_sit] = photograph(person, shot, category, SIZE).pose
    pose = render_unpaired(seed, SIZE, category=category)["person_pose"]
    assert np.array_equal(pose, poses[False]) and not np.array_equal(pose, poses[True])


def test_a_garment_that_is_hidden_is_photographed_again():
    hidden = 0
    for seed in range(30):
        plan = samples._draw_plan("train", seed, "upper")
        person = samples._draw_person("train", seed, samples._IDENTITY, samples._OUTFIT, plan)
        rng = samples._stream("train", seed, samples._GARMENT_SHOT)
        shot = draw_shot(rng, person.identity, "upper", plan.from_behind, True, person.outfit.can_sit)
        first = photograph(person, shot, "upper", 24)
        steps = samples._photograph_well(
            "train", seed, samples._GARMENT_SHOT, plan, person, 24, may_sit=person.outfit.can_sit
        )
        chosen = run_steps([steps])[0]
        if first.seen < 0.65:
            hidden += 1
            assert chosen.seen > first.seen
        elif first.area("upper") > 0.1:
            assert np.array_equal(chosen.image, first.image)
    assert hidden > 1


@pytest.mark.parametrize("facing", [0.0, 180.0])
def test_light_comes_from_where_it_stands_beside_the_camera(facing):
    """The right of the picture gains when the key light moves from the left to the right, from wherever one looks."""
    identity = draw_identity(np.random.default_rng(1), "train")
    person = dress(identity, draw_outfit(np.random.default_rng(1), "upper"))
    shot = draw_shot(np.random.default_rng(1), identity, "upper", False, False, may_sit=False)
    shot = replace(shot, view=replace(shot.view, facing=facing), finish=replace(SOFT_AND_NOISY, noise=0.0))
    photos = []
    for side in (-1, 1):
        light = replace(shot.light, key_direction=np.array([0.8 * side, -0.6, 0.0]), key_colour=np.ones(3))
        photos.append(photograph(person, replace(shot, light=light), "upper", SIZE))
    gain = (photos[1].image.astype(int) - photos[0].image).mean(axis=2)
    body = photos[0].picture.parse > 0
    columns = np.where(body, np.arange(SIZE), np.nan)
    middle = np.nanmedian(columns)
    assert gain[columns > middle].mean() > 5 > -5 > gain[columns < middle].mean()


def test_keypoints_lie_on_the_person_and_the_nose_on_the_face(pairs):
    for row in pairs:
        if row["category"] == "lower":
            continue
        pose = row["person_pose"]
        visible = pose[pose[:, 2] > 0]
        columns, rows = np.minimum((visible[:, :2] * SIZE).astype(int), SIZE - 1).T
        # Ears and thin wrists may lie a pixel beside the pixels that show more person than background.
        assert within(row["person_parse"] > 0, 1)[rows, columns].all()
        if pose[0, 2] == 1:
            assert row["person_parse"][rows[0], columns[0]] == PARSE_IDS["face"]
        # Shoulders are above hips, and the head above the shoulders.
        assert pose[0, 1] < pose[[2, 5], 1].max() < pose[[8, 11], 1].min()


def test_points_outside_the_frame_are_missing(pairs):
    # Upper-body shots end above the ankles, full ones do not, and one of the legs shows no head.
    ankles = np.array([row["person_pose"][[10, 13], 2].min() for row in pairs if row["category"] == "upper"])
    noses = np.array([render_pair(seed, 16, category="lower")["person_pose"][0, 2] for seed in range(10)])
    assert (ankles == 0).any() and (noses == 0).any() and (noses > 0).any()
    for row in pairs:
        missing = row["person_pose"][:, 2] == 0
        assert (row["person_pose"][missing] == 0).all()
        assert set(np.unique(row["person_pose"][:, 2])) <= {0.0, OCCLUDED_VISIBILITY, 1.0}
    assert any((row["person_pose"][:, 2] == OCCLUDED_VISIBILITY).any() for row in pairs)


def test_flat_garments_have_no_pose_and_worn_ones_have(pairs):
    kinds = {row["garment_type"] for row in pairs}
    assert kinds == {"worn", "flat"}
    for row in pairs:
        assert (row["garment_pose"][:, 2].max() == 0) == (row["garment_type"] == "flat")


@pytest.mark.parametrize("render_one", [render_pair, render_unpaired])
@pytest.mark.parametrize("garment_type", ["worn", "flat"])
def test_the_kind_of_garment_may_be_chosen_and_what_would_be_drawn_stays(render_one, garment_type):
    drawn = set()
    for seed in (251, *range(12)):  # 251 is seen from behind, if its garment is worn
        row = render_one(seed, 16, "train", "upper", garment_type=garment_type)
        assert row["garment_type"] == garment_type
        assert (row["garment_pose"][:, 2].max() == 0) == (garment_type == "flat")
        expected = render_one(seed, 16, "train", "upper")
        drawn.add(expected["garment_type"])
        if expected["garment_type"] == garment_type:
            assert all(np.array_equal(row[name], expected[name]) for name in expected)
    assert drawn == {"worn", "flat"}


def test_garments_stand_on_white(pairs, unpaired):
    for row in pairs + unpaired:
        white = (row["garment_image"] == 255).all(axis=-1)
        assert 0.4 < white.mean() < 0.99
        # A product view is a whole garment in the middle: nothing touches the border.
        if row["garment_type"] == "flat":
            assert white[0].all() and white[-1].all() and white[:, 0].all() and white[:, -1].all()


@pytest.mark.parametrize(("unpaired", "render_one"), [(False, render_pair), (True, render_unpaired)])
def test_rows_rendered_side_by_side_are_those_rendered_alone(unpaired, render_one):
    seeds = [0, 7, 3]
    for seed, row in zip(seeds, render_rows(seeds, 24, "test", unpaired=unpaired), strict=True):
        expected = render_one(seed, 24, "test")
        assert list(row) == list(expected)
        for name, value in expected.items():
            assert np.array_equal(row[name], value), name


def test_rows_follow_from_the_seed_alone():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first = render_pair(3, SIZE)
        assert torch.get_num_threads() == 2
        np.random.seed(5)
        torch.manual_seed(5)
        torch.set_num_threads(1)
        second = render_pair(3, SIZE)
    finally:
        torch.set_num_threads(threads)
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name
    assert not np.array_equal(first["person_image"], render_pair(4, SIZE)["person_image"])
    assert not np.array_equal(first["person_image"], render_pair(3, SIZE, split="test")["person_image"])


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_target_of_an_unpaired_row_is_the_same_person_in_another_garment(unpaired, category):
    changed_in_head, changed_in_kept = [False], []
    for row in (row for row in unpaired if row["category"] == category):
        difference = np.abs(row["person_image"].astype(int) - row["target_image"]).max(axis=-1)
        parse = row["person_parse"]
        assert difference[label_mask(parse, GARMENT_LABELS[category])].mean() > 8
        # The background changes only where the other garment is wider: near the person.
        rows, columns = np.nonzero(parse)
        far = np.ones(parse.shape, dtype=bool)
        far[max(rows.min() - 3, 0) : rows.max() + 4, max(columns.min() - 3, 0) : columns.max() + 4] = False
        assert (difference[far] == 0).all()
        changed_in_head += list(difference[label_mask(parse, ("face", "hair"))] > 2)
        changed_in_kept += list(difference[row["agnostic_mask"] == 0] > 2)
        # The label map of the target shows the other garment, and is another only where the pictures differ.
        assert label_mask(row["target_parse"], GARMENT_LABELS[category]).mean() > 0.02
        relabelled = row["target_parse"] != parse
        assert relabelled.any() and (difference[relabelled] > 0).mean() > 0.95 and not relabelled[far].any()
    # What the category keeps changes where the other garment covers it or throws another shadow: the hem of a longer
    # top up to 16 % of the kept pixels of a row, a collar up to 40 % of a head, which has 15 to 90 pixels here and to
    # which the neck belongs. That nothing else changes is shown pixel by pixel below.
    assert np.mean(changed_in_head) < 0.12 and np.mean(changed_in_kept) < 0.1


def touching(photo: Photograph, names: tuple[str, ...]) -> np.ndarray:
    """Where (S, S) labels have any share in the colour of the pixel or of one beside it, for a soft finish."""
    return within(label_mask(photo.picture.label_samples, names).any(axis=0), 1)


@pytest.mark.parametrize("category", CATEGORIES)
def test_without_shadows_only_the_garments_differ_between_a_person_and_its_target(category):
    """The exact truth: no pixel without a share of an exchanged garment in either picture changes by one step."""
    own_labels = GARMENT_LABELS[category]
    for seed in range(3):
        identity = draw_identity(np.random.default_rng(seed), "test")
        outfit, other = (draw_outfit(np.random.default_rng(seed + more), category) for more in (0, 50))
        shot = draw_shot(np.random.default_rng(seed), identity, category, from_behind=False, of_garment=False)
        shot = replace(shot, light=replace(shot.light, shadow=0.0), finish=SOFT_AND_NOISY)
        photos = [
            photograph(dress(identity, worn), shot, category, SIZE)
            for worn in (outfit, exchange_garment(outfit, other, category))
        ]
        garment = touching(photos[0], own_labels) | touching(photos[1], own_labels)
        # A lower garment is cut under the hem of the top or worn over a tucked one, so its upper end is another.
        lower = ("pants", "skirt", "belt")
        near_hem = category == "upper" and touching(photos[0], lower) | touching(photos[1], lower)
        changed = (photos[0].image != photos[1].image).any(axis=-1) & ~garment
        assert not (changed & ~near_hem).any() and changed.mean() < 0.03
        assert not np.array_equal(photos[0].image[garment], photos[1].image[garment])


def distance_to_blends(vertices: np.ndarray, shapes: tuple[int, ...]) -> float:
    """The largest error (metres) when the body below the head is explained as a scaled blend of `shapes`."""
    below_head = (limb_weight("head", "neck03", "eye") == 0) & (limb_weight("spine", "upperleg", "upperarm") > 0)
    basis = load_body_asset().shapes[list(shapes)][:, below_head].reshape(len(shapes), -1).T.astype(np.float64)
    target = vertices[below_head].ravel()
    weights, *_ = np.linalg.lstsq(basis, target, rcond=None)
    return np.abs(basis @ weights - target).max()


def test_identities_of_the_splits_come_from_different_bodies():
    assert not set(shapes_of_split("train")) & set(TEST_SHAPES)
    for seed in range(4):
        test_body = draw_identity(np.random.default_rng(seed), "test").shape.vertices
        train_body = draw_identity(np.random.default_rng(seed), "train").shape.vertices
        assert distance_to_blends(test_body, TEST_SHAPES) < 1e-5
        assert distance_to_blends(train_body, TEST_SHAPES) > 2e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "`seed` must be an integer of at least 0, got -1"),
        ({"seed": 1.5}, "`seed` must be an integer"),
        ({"size": 8}, "`size` must be an integer from 16 to 1024 pixels, got 8"),
        ({"size": 64.0}, "`size` must be an integer"),
        ({"category": "shoes"}, "`category` must be one of upper, lower, dress, or None to draw it, got 'shoes'"),
        ({"split": "validation"}, "`split` must be one of train, test, got 'validation'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    for render in (render_pair, render_unpaired):
        with pytest.raises(ValueError, match=message):
            render(**{"seed": 0, "size": 32, "split": "train"} | arguments)
