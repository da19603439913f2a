# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Which keypoints are seen, in scenes where it is known."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import blend_shapes

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.poses import KEYPOINT_NAMES, OCCLUDED_VISIBILITY
from diffusers_tryon.rendering.body import forward_kinematics, limb_weight, load_body_asset, rotation, skin
from diffusers_tryon.rendering.cameras import Camera
from diffusers_tryon.rendering.identity import draw_identity
from diffusers_tryon.rendering.lighting import draw_light
from diffusers_tryon.rendering.outfits import draw_outfit, fit_outfit, garment_surface
from diffusers_tryon.rendering.people import body_surfaces
from diffusers_tryon.rendering.scene import Setting, render
from diffusers_tryon.rendering.surfaces import Surface
from diffusers_tryon.rendering.visibility import openpose_regressor, seen_keypoints, seen_share


SIZE = 128
FACE = {"nose", "right_eye", "left_eye", "right_ear", "left_ear"}
# Arms straight down beside the body.
ARMS_DOWN = {f"upperarm01.{side}": rotation((0, 1, 0), sign * 35) for side, sign in (("L", 1), ("R", -1))}


def posed_body(rotations: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Posed vertices and joint transforms of a short-haired person."""
    asset, shape = load_body_asset(), blend_shapes(0, 0, 0.0)
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, rotations)
    return skin(shape.vertices, asset.skin_weights, transforms), transforms


def camera_at(degrees: float, centre=(0.0, 0.0, 0.1), extent: float = 2.2) -> Camera:
    """A camera that walked around the person by `degrees`, to the person's left first."""
    return Camera(np.array(centre), extent, axes=rotation((0, 0, 1), degrees).T)


def photograph_keypoints(
    rotations: dict[str, np.ndarray], camera: Camera, dressed: bool = False, extra: list[Surface] | None = None
) -> dict[str, float]:
    """Visibility by name of the keypoints of a person, bare or in clothes, with `extra` surfaces."""
    posed, transforms = posed_body(rotations)
    rng = np.random.default_rng(0)
    identity = replace(draw_identity(rng, "train"), shape=blend_shapes(0, 0, 0.0))
    garments = fit_outfit(draw_outfit(rng, "dress"), identity.shape) if dressed else []
    hidden = np.any([np.zeros(len(posed), bool)] + [garment.hides_skin for garment in garments], axis=0)
    surfaces = body_surfaces(identity, posed, transforms, hidden, looks_at=np.array([0.0, -4.0, 0.9]))
    surfaces += [garment_surface(garment, transforms) for garment in garments]
    surfaces += extra or []
    setting = Setting(draw_light(rng), np.zeros(3), np.zeros(2))
    picture = render(surfaces, camera, setting, SIZE)
    keypoints = seen_keypoints(posed, camera, picture.depth, picture.parse)
    return dict(zip(KEYPOINT_NAMES, keypoints[:, 2].tolist()))


def occluded(visibility: dict[str, float]) -> set[str]:
    assert set(visibility.values()) <= {0.0, OCCLUDED_VISIBILITY, 1.0}
    return {name for name, value in visibility.items() if value == OCCLUDED_VISIBILITY}


def test_from_the_front_everything_is_seen():
    body = {name for name in KEYPOINT_NAMES if not name.endswith("ear")}
    for dressed in (False, True):
        assert not occluded(photograph_keypoints(ARMS_DOWN, camera_at(0), dressed)) & body


def test_from_behind_the_face_alone_is_hidden():
    hidden = occluded(photograph_keypoints(ARMS_DOWN, camera_at(180)))
    assert {"nose", "right_eye", "left_eye"} <= hidden <= FACE


def test_a_profile_hides_the_far_side():
    # The camera stands at the person's left.
    visibility = photograph_keypoints(ARMS_DOWN, camera_at(90))
    assert {"right_eye", "right_ear", "right_shoulder", "right_elbow", "right_hip"} <= occluded(visibility)
    for name in ("left_shoulder", "left_elbow", "left_wrist", "left_knee", "left_ankle", "nose", "left_eye"):
        assert visibility[name] == 1, name


def hand_before(point: np.ndarray) -> Surface:
    """A square of 8 cm, 15 cm in front of a point."""
    corners = np.array([(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)]) * 0.04
    return Surface(
        vertices=(point + (0, -0.15, 0) + corners).astype(np.float32),
        normals=np.tile(np.float32((0, -1, 0)), (4, 1)),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        labels=np.full(4, PARSE_IDS["hands"], np.uint8),
        colours=np.full((4, 3), 0.5, np.float32),
    )


def test_a_hand_before_the_body_hides_only_what_is_behind_it():
    posed, _ = posed_body(ARMS_DOWN)
    keypoints = openpose_regressor() @ posed
    before = occluded(photograph_keypoints(ARMS_DOWN, camera_at(0)))
    for name in ("left_shoulder", "right_hip", "left_knee", "right_wrist", "nose"):
        hand = hand_before(keypoints[KEYPOINT_NAMES.index(name)])
        hidden = occluded(photograph_keypoints(ARMS_DOWN, camera_at(0), extra=[hand]))
        # The eyes are so near to the nose that the hand is before them too.
        assert hidden - before - (FACE if name == "nose" else set()) == {name} - FACE and name in hidden
    chest = keypoints[[1, 8, 11]].mean(axis=0) - (0, 0.1, 0)
    assert occluded(photograph_keypoints(ARMS_DOWN, camera_at(0), extra=[hand_before(chest)])) == before


def test_an_arm_behind_the_back_is_hidden():
    behind = {
        **ARMS_DOWN,
        "upperarm01.L": rotation((1, 0, 0), 55) @ rotation((0, 1, 0), 40),
        "lowerarm01.L": rotation((0, -0.3, 1), -60),
    }
    posed, _ = posed_body(behind)
    places = camera_at(0).project(openpose_regressor() @ posed)
    # The wrist is where the trunk is, and farther away than the hips.
    assert places[8, 0] < places[7, 0] < places[11, 0] and places[7, 2] > places[11, 2] + 0.05
    from_front = photograph_keypoints(behind, camera_at(0))
    assert from_front["left_wrist"] == OCCLUDED_VISIBILITY and from_front["right_wrist"] == 1
    assert photograph_keypoints(behind, camera_at(180))["left_wrist"] == 1


def test_points_outside_the_picture_are_missing_even_if_something_is_nearer():
    posed, _ = posed_body(ARMS_DOWN)
    head = camera_at(180, centre=posed[load_body_asset().groups["left_eye"][0]].mean(axis=0), extent=0.5)
    visibility = photograph_keypoints(ARMS_DOWN, head)
    assert all(visibility[name] == 0 for name in KEYPOINT_NAMES if name.endswith(("wrist", "hip", "knee", "ankle")))
    assert visibility["nose"] == OCCLUDED_VISIBILITY


@pytest.mark.parametrize(
    ("joint", "label", "nearer", "size", "seen"),
    [
        ("knee", "top", 0.04, SIZE, True),
        ("knee", "top", 0.15, SIZE, False),
        ("knee", "hands", 0.06, SIZE, False),
        ("knee", "skirt", 0.15, SIZE, True),
        ("knee", "bag", 0.06, SIZE, False),
        # A top hangs from the chest before the hips.
        ("hip", "top", 0.12, SIZE, True),
        ("hip", "top", 0.2, SIZE, False),
        ("hip", "hands", 0.06, SIZE, False),
        # A pixel of 14 cm: its nearest sample may lie on the same limb.
        ("knee", "hands", 0.12, 16, True),
    ],
)
def test_clothes_over_a_joint_do_not_hide_it_but_things_before_it_do(joint, label, nearer, size, seen):
    """The whole picture shows one thing, some metres in front of the skin over a left joint."""
    posed, _ = posed_body(ARMS_DOWN)
    camera, number = camera_at(0), KEYPOINT_NAMES.index(f"left_{joint}")
    point = camera.project(openpose_regressor() @ posed)[number]
    skin_over_it = camera.project(posed)[:, 2][np.hypot(*(camera.project(posed)[:, :2] - point[:2]).T) < 0.01].min()
    depth = np.full((size, size), skin_over_it - nearer, np.float32)
    parse = np.full((size, size), PARSE_IDS[label], np.uint8)
    visibility = seen_keypoints(posed, camera, depth, parse)[number, 2]
    assert visibility == (1 if seen else OCCLUDED_VISIBILITY)


def test_the_other_hand_hides_a_wrist():
    posed, _ = posed_body(ARMS_DOWN)
    number, camera = KEYPOINT_NAMES.index("left_wrist"), camera_at(0)
    wrist = openpose_regressor()[number] @ posed
    # The middle of the right hand comes before the left wrist; the whole picture is as near as the back of the hand.
    right_hand = (limb_weight("metacarpal") > 0.4) & (posed[:, 0] < 0)
    posed[right_hand] += wrist - posed[right_hand].mean(axis=0) + (0, -0.15, 0)
    depth = np.full((SIZE, SIZE), camera.project(wrist[None])[0, 2] - 0.15, np.float32)
    hands = np.full((SIZE, SIZE), PARSE_IDS["hands"], np.uint8)
    assert seen_keypoints(posed, camera, depth, hands)[number, 2] == OCCLUDED_VISIBILITY


def test_the_regressor_gives_the_keypoints_of_openpose():
    regressor, coco = openpose_regressor(), load_body_asset().keypoint_regressor
    assert regressor.shape == (18, len(coco[0])) and np.allclose(regressor.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(regressor[1], (coco[5] + coco[6]) / 2)
    assert np.array_equal(regressor[[0, 4, 7, 16]], coco[[0, 10, 9, 4]])


def test_the_seen_share_of_a_garment():
    """A flat garment of 11 x 11 vertices facing the camera, and one behind it that faces away."""
    x, z = np.meshgrid(np.linspace(-0.5, 0.5, 11), np.linspace(-0.5, 0.5, 11))
    front = np.stack([x.ravel(), np.zeros(121), z.ravel()], axis=1)
    vertices, normals = np.concatenate([front, front + (0, 0.2, 0)]), np.zeros((242, 3))
    normals[:121, 1], normals[121:, 1] = -1, 1
    camera = Camera(np.zeros(3), extent=2.0)
    depth = np.full((SIZE, SIZE), 4.0, np.float32)
    assert seen_share(vertices, normals, camera, depth) == 1
    # Something half a metre nearer covers the left half but for the column of vertices in the middle.
    depth[:, : SIZE // 2 - 1] = 3.5
    assert seen_share(vertices, normals, camera, depth) == 6 / 11
    # The picture ends before the outer two columns and rows.
    near = Camera(np.zeros(3), extent=0.7)
    assert seen_share(vertices, normals, near, np.full((SIZE, SIZE), 4.0, np.float32)) == 49 / 121
