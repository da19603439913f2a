# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The body asset, skinning and forward kinematics."""

import numpy as np
import pytest
from bodies import blend_shapes, body_coordinates

from diffusers_tryon.rendering.body import (
    TEST_SHAPES,
    forward_kinematics,
    load_body_asset,
    pose_body,
    rotation,
    shapes_of_split,
    skin,
)


def test_asset_is_consistent():
    asset = load_body_asset()
    num_shapes, num_vertices, _ = asset.shapes.shape
    assert num_shapes == 32 and asset.joints.shape == (32, len(asset.joint_names), 3)
    assert np.allclose(asset.skin_weights.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(asset.keypoint_regressor.sum(axis=1), 1, atol=1e-4)
    assert (asset.parents[1:] < np.arange(1, len(asset.parents))).all() and asset.parents[0] == -1
    for vertices, faces in asset.groups.values():
        assert vertices.max() < num_vertices and faces.max() == len(vertices) - 1


def test_rotation_turns_counter_clockwise():
    assert np.allclose(rotation((0, 0, 2), 90) @ (1, 0, 0), (0, 1, 0))
    assert np.allclose(rotation((0, 1, 0), 90) @ (0, 0, 1), (1, 0, 0))
    assert np.allclose(rotation((1, 1, 1), 120) @ (1, 0, 0), (0, 1, 0))


def test_forward_kinematics_of_a_bent_chain():
    # Shoulder at the origin, elbow at x = 1, wrist at x = 2. The elbow bends up by 90 degrees: the wrist comes to
    # (1, 0, 1). Then the shoulder turns all by 90 degrees around z: the elbow to (0, 1, 0), the wrist to (0, 1, 1).
    joints = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    rotations = {"elbow": rotation((0, 1, 0), -90), "shoulder": rotation((0, 0, 1), 90)}
    transforms = forward_kinematics(joints, np.array([-1, 0, 1]), ("shoulder", "elbow", "wrist"), rotations)
    posed = np.einsum("jrc,jc->jr", transforms, np.concatenate([joints, np.ones((3, 1))], axis=1))
    assert np.allclose(posed, [(0, 0, 0), (0, 1, 0), (0, 1, 1)], atol=1e-6)


def test_no_rotation_leaves_the_body_at_rest():
    asset, shape = load_body_asset(), blend_shapes(0, 1, 0.3)
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, {})
    posed = skin(shape.vertices, asset.skin_weights, transforms)
    assert np.abs(posed - shape.vertices).max() < 1e-5


def test_turning_the_root_turns_the_whole_body_rigidly():
    asset, shape = load_body_asset(), blend_shapes(2, 3, 0.5)
    turn = rotation((0, 0, 1), 37)
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, {"root": turn})
    posed = skin(shape.vertices, asset.skin_weights, transforms)
    root = shape.joint("root")
    assert np.abs(posed - ((shape.vertices - root) @ turn.T + root)).max() < 1e-5


def test_posing_the_whole_body_is_skinning_with_the_weights_of_the_asset():
    asset, shape = load_body_asset(), blend_shapes(0, 9, 0.3)
    rotations = {"upperarm01.L": rotation((0, 1, 0), 40), "spine03": rotation((1, 0, 0), 20)}
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, rotations)
    posed = pose_body(shape, transforms)
    assert posed.dtype == np.float32
    assert np.allclose(posed, skin(shape.vertices, asset.skin_weights, transforms), atol=1e-6)


def test_skin_blends_linearly():
    transforms = np.zeros((2, 3, 4), np.float32)
    transforms[:, :, :3] = np.eye(3)
    transforms[1, :, 3] = (4, 0, 0)
    weights = np.array([[1, 0], [0.25, 0.75]], np.float32)
    assert np.allclose(skin(np.ones((2, 3), np.float32), weights, transforms), [(1, 1, 1), (4, 1, 1)])


def test_bending_an_elbow_moves_the_wrist_and_not_the_shoulder():
    asset, shape = load_body_asset(), blend_shapes(0, 1, 0)
    bend = rotation((1, 0, 0), 80)
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, {"lowerarm01.L": bend})
    moved = asset.keypoint_regressor @ skin(shape.vertices, asset.skin_weights, transforms)
    rest = asset.keypoint_regressor @ shape.vertices
    distance = np.linalg.norm(moved - rest, axis=1)
    # COCO: 5, 6 shoulders, 9 left wrist, 10 right wrist.
    assert distance[9] > 0.1 and distance[[5, 6, 10]].max() < 1e-4


def test_blend_is_linear_and_its_ends_are_the_shapes():
    asset = load_body_asset()
    assert np.array_equal(blend_shapes(4, 9, 0.0).vertices, asset.shapes[4])
    assert np.array_equal(blend_shapes(4, 9, 1.0).joints, asset.joints[9])
    assert np.allclose(blend_shapes(4, 9, 0.5).joints, (asset.joints[4] + asset.joints[9]) / 2)


def test_splits_share_no_shape_and_use_all():
    train, test = shapes_of_split("train"), shapes_of_split("test")
    assert set(test) == set(TEST_SHAPES) and len(test) == 4
    assert not set(train) & set(test) and set(train) | set(test) == set(range(32))


@pytest.mark.parametrize("side", ["L", "R"])
def test_coordinates_of_the_joints(side):
    shape = blend_shapes(0, 1, 0.5)
    names = [f"{name}.{side}" for name in ("upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")]
    coordinates = body_coordinates(np.stack([shape.joint(name) for name in (*names, "neck01")]), shape)
    assert np.allclose(coordinates.arm[:3], [0, 1, 2], atol=1e-4)
    assert np.allclose(coordinates.leg[3:6], [0, 1, 2], atol=0.02)
    assert np.allclose(coordinates.torso[[3, 6]], [0, 1], atol=0.02)
