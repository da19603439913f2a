# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Random poses: what they may contain, and that arms and hands stay outside the trunk."""

import numpy as np
import pytest
from bodies import blend_shapes

from diffusers_tryon.rendering.arms import Reach, arm_at, arm_rotations, keep_outside
from diffusers_tryon.rendering.body import BodyShape, forward_kinematics, limb_weight, load_body_asset, rotation, skin
from diffusers_tryon.rendering.contact import measure_trunk, pose_trunk
from diffusers_tryon.rendering.hands import HAND_STYLES, palm_normal, pose_hand
from diffusers_tryon.rendering.pose_sampling import sample_pose


SHAPE = blend_shapes(0, 1, 0.5)


def transforms_of(shape: BodyShape, rotations: dict[str, np.ndarray]) -> np.ndarray:
    asset = load_body_asset()
    return forward_kinematics(shape.joints, asset.parents, asset.joint_names, rotations)


def position(shape: BodyShape, transforms: np.ndarray, name: str) -> np.ndarray:
    number = load_body_asset().joint(name)
    return transforms[number, :, :3] @ shape.joints[number] + transforms[number, :, 3]


def test_poses_are_rotations_of_known_joints_and_follow_from_the_seed():
    poses = [sample_pose(np.random.default_rng(seed), SHAPE) for seed in (*range(12), 0)]
    for pose in poses:
        assert set(pose) <= set(load_body_asset().joint_names)
        for matrix in pose.values():
            assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6) and np.linalg.det(matrix) > 0
    assert all(np.array_equal(poses[0][name], poses[-1][name]) for name in poses[0])
    assert not np.array_equal(poses[0]["lowerarm01.L"], poses[1]["lowerarm01.L"])


def test_left_and_right_are_not_swapped_and_the_head_is_above():
    asset = load_body_asset()
    for seed in range(30):
        posed = skin(
            SHAPE.vertices,
            asset.skin_weights,
            transforms_of(SHAPE, sample_pose(np.random.default_rng(seed), SHAPE)),
        )
        keypoints = asset.keypoint_regressor @ posed
        # COCO: 0 nose, 1, 2 eyes, 5, 6 shoulders, 11, 12 hips, 13, 14 knees; the left one comes first.
        for left, right in ((1, 2), (5, 6), (11, 12), (13, 14)):
            assert keypoints[left, 0] > keypoints[right, 0]
        assert keypoints[0, 2] > keypoints[[5, 6], 2].max() > keypoints[[11, 12], 2].max()
        # Nobody turns away: that is the camera's part.
        assert keypoints[0, 1] < keypoints[[5, 6], 1].mean()


def test_the_keypoint_regressor_agrees_with_the_joints():
    asset = load_body_asset()
    pairs = {7: "lowerarm01.L", 8: "lowerarm01.R", 9: "wrist.L", 10: "wrist.R", 13: "lowerleg01.L", 16: "foot.R"}
    distances = []
    for seed in range(20):
        transforms = transforms_of(SHAPE, sample_pose(np.random.default_rng(seed), SHAPE))
        keypoints = asset.keypoint_regressor @ skin(SHAPE.vertices, asset.skin_weights, transforms)
        distances += [np.linalg.norm(keypoints[k] - position(SHAPE, transforms, name)) for k, name in pairs.items()]
    assert np.mean(distances) < 0.025 and np.max(distances) < 0.06


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_wrist_comes_to_its_place_and_the_elbow_to_its_side(side):
    sign = 1 if side == "L" else -1
    arm = arm_at(SHAPE, side, transforms_of(SHAPE, {}))
    wrist = arm.shoulder + np.array([0.15 * sign, -0.30, -0.05])
    palm = np.array([0.0, 0.0, -1.0])
    reach = Reach(wrist, np.array([0.0, 0.0, -1.0]), None, palm, "relaxed")
    transforms = transforms_of(SHAPE, arm_rotations(arm, reach))
    # The joints that twist the halves of a bone lie a little beside its line.
    assert np.allclose(position(SHAPE, transforms, f"wrist.{side}"), wrist, atol=0.004)
    elbow = position(SHAPE, transforms, f"lowerarm01.{side}")
    assert elbow[2] < (arm.shoulder[2] + wrist[2]) / 2 - 0.05
    # Bones keep their lengths, and the palm looks down as far as the forearm twists.
    assert np.linalg.norm(elbow - arm.shoulder) == pytest.approx(np.linalg.norm(arm.upper), abs=0.004)
    hand = transforms[load_body_asset().joint(f"wrist.{side}"), :, :3] @ palm_normal(SHAPE, side)
    assert hand @ palm > 0.5


@pytest.mark.parametrize("side", ["L", "R"])
def test_a_wrist_asked_into_the_belly_is_pushed_out(side):
    transforms = transforms_of(SHAPE, {})
    trunk = pose_trunk(measure_trunk(SHAPE), SHAPE, transforms)
    arm = arm_at(SHAPE, side, transforms)
    inside = SHAPE.joint("spine03") + (0, -0.05, 0)
    reach = Reach(inside, np.array([1.0 if side == "L" else -1.0, 0, -0.3]), None, np.array([0, 1.0, 0]), "flat")
    assert trunk.depth(inside[None], np.zeros(1))[0][0] > 0.05
    corrected, depth = keep_outside(arm, reach, trunk, [])
    assert depth < 0.01
    assert trunk.depth(corrected.wrist[None], np.zeros(1))[0][0] < -0.02


@pytest.mark.parametrize("shape", [SHAPE, blend_shapes(7, 20, 0.5), blend_shapes(1, 8, 0.5)])
def test_the_measured_trunk_is_the_body(shape):
    """Slightly above the skin is outside, slightly below is inside; also when the spine is bent."""
    asset = load_body_asset()
    bent = {f"spine0{number}": rotation((1, 0.3, 0.2), 4) for number in range(1, 6)}
    for rotations in ({}, bent):
        transforms = transforms_of(shape, rotations)
        trunk = pose_trunk(measure_trunk(shape), shape, transforms)
        weights = limb_weight("spine") * (limb_weight("upperarm", "clavicle", "shoulder") < 0.01)
        body, _ = asset.groups["body"]
        members = body[weights[body] > 0.98]
        members = members[shape.vertices[members, 2] < shape.joint("spine01")[2]]
        points = skin(shape.vertices, asset.skin_weights, transforms)[members].astype(np.float64)
        depth, outwards = trunk.depth(points, np.zeros(len(points)))
        assert np.percentile(np.abs(depth), 90) < 0.02
        further, _ = trunk.depth(points + 0.03 * outwards, np.zeros(len(points)))
        assert np.allclose(further, depth - 0.03, atol=0.012)


def winding_number(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """How often (N,) the surface of `triangles` (F, 3, 3) encloses each of `points` (N, 3)."""
    first, second, third = (triangles[None, :, corner] - points[:, None] for corner in range(3))
    lengths = [np.linalg.norm(edge, axis=-1) for edge in (first, second, third)]
    numerator = (first * np.cross(second, third)).sum(-1)
    denominator = (
        lengths[0] * lengths[1] * lengths[2]
        + (first * second).sum(-1) * lengths[2]
        + (second * third).sum(-1) * lengths[0]
        + (third * first).sum(-1) * lengths[1]
    )
    return (2 * np.arctan2(numerator, denominator)).sum(axis=1) / (4 * np.pi)


def test_forearms_and_hands_do_not_enter_the_trunk():
    """Vertices of forearm and hand inside the closed mesh of trunk and thighs, measured on the posed mesh itself."""
    asset = load_body_asset()
    body, faces = asset.groups["body"]
    elsewhere = limb_weight("upperarm", "lowerarm", "wrist", "finger", "metacarpal", "head", "neck03", "foot", "toe")
    trunk_faces = faces[(elsewhere[body][faces] < 0.35).all(axis=1)]
    on_forearm = limb_weight("lowerarm", "wrist", "finger", "metacarpal")[body] > 0.9
    checked = np.nonzero(on_forearm)[0][::12]
    shares = []
    for seed in range(24):
        shape = blend_shapes(seed % 32, (seed * 7 + 3) % 32, 0.5)
        transforms = transforms_of(shape, sample_pose(np.random.default_rng(seed), shape))
        posed = skin(shape.vertices, asset.skin_weights, transforms)[body].astype(np.float64)
        triangles = posed[trunk_faces]
        low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
        near = checked[((posed[checked] > low) & (posed[checked] < high)).all(axis=1)]
        inside = [winding_number(part, triangles) > 0.5 for part in np.array_split(posed[near], 8)]
        shares.append(np.concatenate(inside).sum() / len(checked))
    assert max(shares) < 0.08 and np.mean(np.array(shares) > 0.02) < 0.1


@pytest.mark.parametrize("side", ["L", "R"])
def test_fingers_bend_towards_the_palm(side):
    fingertip, knuckle = f"finger3-3.{side}", f"finger3-1.{side}"
    palm = palm_normal(SHAPE, side)
    towards_palm = {}
    for style in HAND_STYLES:
        transforms = transforms_of(SHAPE, pose_hand(np.random.default_rng(0), SHAPE, side, style))
        towards_palm[style] = (position(SHAPE, transforms, fingertip) - position(SHAPE, transforms, knuckle)) @ palm
    assert towards_palm["flat"] < towards_palm["relaxed"] < towards_palm["half_closed"]


def test_the_head_turns_to_the_camera():
    asset = load_body_asset()
    for facing in (50.0, -50.0):
        turns = []
        for seed in range(12):
            pose = sample_pose(np.random.default_rng(seed), SHAPE, facing)
            forwards = transforms_of(SHAPE, pose)[asset.joint("head"), :, :3] @ (0, -1, 0)
            turns.append(np.degrees(np.arctan2(forwards[0], -forwards[1])))
        assert 5 < np.sign(facing) * np.mean(turns) < 50
