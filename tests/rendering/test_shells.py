# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The tailor's dummy: refinement without gaps, operators against plain loops, skin under it."""

import numpy as np
from bodies import blend_shapes

from diffusers_tryon.rendering.body import limb_weight, load_body_asset
from diffusers_tryon.rendering.drape import measure
from diffusers_tryon.rendering.mesh import vertex_normals
from diffusers_tryon.rendering.shells import load_shell, split_faces


def test_splitting_leaves_no_vertex_on_an_edge_and_keeps_orientation_and_area():
    # Two by two squares of two triangles each; one triangle is chosen.
    column, row = (index.reshape(-1) for index in np.meshgrid(np.arange(3), np.arange(3)))
    points = np.stack([column, row, np.zeros(9)], axis=1).astype(float)
    corner = np.array([0, 1, 3, 4])
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 4], 1), np.stack([corner, corner + 4, corner + 3], 1)]
    )
    chosen = np.zeros(8, dtype=bool)
    chosen[3] = True
    new_faces, edges = split_faces(faces, chosen)
    points = np.concatenate([points, points[edges].mean(axis=1)])
    assert len(edges) == 3
    first, second, third = points[new_faces].transpose(1, 0, 2)
    areas = np.cross(second - first, third - first)[:, 2] / 2
    assert (areas > 0).all() and np.isclose(areas.sum(), 4)
    # Inside, every edge has a face on either side.
    pairs = {}
    for face in new_faces:
        for edge in zip(face, np.roll(face, -1)):
            key = tuple(sorted(edge))
            pairs[key] = pairs.get(key, 0) + 1
    for (start, stop), count in pairs.items():
        at_border = any((points[[start, stop], axis] == side).all() for axis in (0, 1) for side in (0, 2))
        assert count == (1 if at_border else 2)


def test_operators_do_what_plain_loops_do():
    shell = load_shell()
    points = shell.points(blend_shapes(0, 1, 0.5))
    assert np.allclose(shell.normals(points), vertex_normals(points, shell.faces), atol=1e-6)
    smoothed = shell.smooth(points, 2)
    once = shell.smooth(points, 1)
    for vertex in (0, 700, 2000, len(points) - 1):
        around = np.unique(shell.faces[(shell.faces == vertex).any(axis=1)])
        around = around[around != vertex]
        assert np.allclose(once[vertex], (points[vertex] + points[around].mean(axis=0)) / 2)
        assert np.allclose(smoothed[vertex], (once[vertex] + once[around].mean(axis=0)) / 2)


def test_the_dummy_is_symmetric_and_its_limbs_and_armpits_are_where_they_should_be():
    shell, shape = load_shell(), blend_shapes(0, 1, 0.5)
    points = shell.points(shape)
    assert np.allclose(points[shell.armpits[0]] * (-1, 1, 1), points[shell.armpits[1]], atol=2e-3)
    armpit, shoulder = points[shell.armpits[0]], shape.joint("upperarm01.L")
    assert 0 < shoulder[2] - armpit[2] < 0.15 and abs(armpit[0] - shoulder[0]) < 0.04
    elbow = np.argmin(np.linalg.norm(points - shape.joint("lowerarm01.L"), axis=1))
    knee = np.argmin(np.linalg.norm(points - shape.joint("lowerleg01.R"), axis=1))
    assert shell.arm[elbow] > 0.95 and shell.leg[elbow] < 0.01 and shell.leg[knee] > 0.95 and shell.arm[knee] < 0.01
    assert np.allclose(shell.skin_weights.sum(axis=1), 1, atol=1e-5)


def test_values_on_the_dummy_are_carried_to_the_skin_under_it():
    shell, shape = load_shell(), blend_shapes(3, 8, 0.5)
    heights = shell.under(shell.points(shape)[:, 2])
    assert np.abs(heights - shape.vertices[shell.skin, 2]).max() < 0.05
    assert np.abs(heights - shape.vertices[shell.skin, 2]).mean() < 0.008
    body = set(load_body_asset().groups["body"][0])
    assert set(shell.skin) <= body
    assert not (limb_weight("head")[shell.skin] > 0.5).any()


def test_the_outline_encloses_the_trunk_closely():
    for number in (1, 15, 26):
        dummy = measure(blend_shapes(number, number, 0.0))
        trunk = dummy.points[load_shell().trunk]
        trunk = trunk[(trunk[:, 2] < dummy.marks.armpit[2]) & (trunk[:, 2] > dummy.marks.ankle[2] + 0.03)]
        angle, radius = dummy.profile.polar(trunk)
        room = dummy.profile.radius_at(angle, trunk[:, 2]) - radius
        # Around two shins the outline is long and flat, and its directions are eleven degrees apart.
        assert room.min() > -0.02 and room[trunk[:, 2] > dummy.marks.knee[2] + 0.1].min() > -0.012
        # Around the waist the body is nearly convex.
        waist = np.abs(trunk[:, 2] - dummy.marks.height(0.35)) < 0.04
        assert np.median(room[waist]) < 0.012


def test_hanging_cloth_falls_as_asked_and_never_into_the_body():
    profile = measure(blend_shapes(1, 1, 0.0)).profile
    straight, tight, flared = (profile.hang(0.01, fall) for fall in (0.0, -10.0, 0.5))
    assert np.allclose(tight.radii, profile.radii + 0.01)
    assert (np.diff(straight.radii, axis=0) >= 0).all()
    assert (np.diff(flared.radii, axis=0) >= 0.5 * profile.step - 1e-9).all()
    for cloth in (straight, tight, flared):
        assert (cloth.radii >= profile.radii + 0.01 - 1e-9).all()
    over = tight.hang(0.0, -10.0, over=tight)
    assert np.allclose(over.radii, tight.radii + 0.006)
