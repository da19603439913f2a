# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Garments end where their designs say, on any body, without holes, and hide what is under them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from bodies import blend_shapes, body_coordinates
from PIL import Image, ImageDraw

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.rendering.body import BodyShape, forward_kinematics, limb_weight, load_body_asset, rotation
from diffusers_tryon.rendering.cameras import Camera
from diffusers_tryon.rendering.designs import (
    Neckline,
    PantsDesign,
    SkirtDesign,
    TopDesign,
    draw_bottom_design,
    draw_dress_design,
    draw_jacket_design,
    draw_top_design,
)
from diffusers_tryon.rendering.drape import measure
from diffusers_tryon.rendering.folds import draw_wrinkles
from diffusers_tryon.rendering.garments import (
    Garment,
    arm_weight,
    fit_belt,
    fit_dress,
    fit_pants,
    fit_skirt,
    fit_top,
    head_weight,
)
from diffusers_tryon.rendering.lighting import draw_light
from diffusers_tryon.rendering.outfits import garment_surface
from diffusers_tryon.rendering.prints import draw_print
from diffusers_tryon.rendering.scene import Setting, render


CLOTH = draw_print(np.random.default_rng(0))
CREW = Neckline(width=0.015, depth=0.09, power=2.0, back_depth=0.025)
TOP = TopDesign(hem=0.05, neckline=CREW, sleeve=0.6)
BODIES = [(0, 1), (5, 11), (20, 30)]


def body(number: int) -> BodyShape:
    return blend_shapes(number, number, 0.0)


def on_arm(garment: Garment) -> np.ndarray:
    asset = load_body_asset()
    arms = [number for number, name in enumerate(asset.joint_names) if name.startswith(("upperarm", "lowerarm"))]
    return garment.skin_weights[:, arms].sum(axis=1) > 0.8


@pytest.mark.parametrize("shapes", BODIES)
@pytest.mark.parametrize("sleeve", [0.45, 1.5, 1.9])
@pytest.mark.parametrize("sleeve_ease", [0.006, 0.025])
def test_sleeves_and_hem_end_where_the_design_says(shapes, sleeve, sleeve_ease):
    shape = blend_shapes(*shapes, 0.4)
    (garment,) = fit_top(replace(TOP, sleeve=sleeve, sleeve_ease=sleeve_ease), measure(shape), CLOTH)
    shoulder, elbow, wrist = (shape.joint(f"{name}.L") for name in ("upperarm01", "lowerarm01", "wrist"))
    # The cuff is the plane across the arm at that share of its bone.
    bone, start, share = (elbow - shoulder, shoulder, sleeve) if sleeve < 1 else (wrist - elbow, elbow, sleeve - 1)
    left = garment.vertices[on_arm(garment) & (garment.vertices[:, 0] > 0)] - start
    assert np.max(left @ bone) / (bone @ bone) == pytest.approx(share, abs=0.01)
    hem = shape.joint("upperleg01.L")[2] + TOP.hem * (shape.joint("neck01") - shape.joint("upperleg01.L"))[2]
    lowest = garment.vertices[~on_arm(garment), 2].min()
    assert lowest == pytest.approx(hem, abs=0.002)
    assert garment.label == PARSE_IDS["top"]


@pytest.mark.parametrize("shapes", BODIES)
@pytest.mark.parametrize("power", [1.0, 2.0, 6.0])
def test_the_neckline_is_the_superellipse_of_the_design(shapes, power):
    shape = blend_shapes(*shapes, 0.5)
    neckline = Neckline(width=0.03, depth=0.14, power=power, back_depth=0.03)
    dummy = measure(shape)
    (garment,) = fit_top(replace(TOP, neckline=neckline), dummy, CLOTH)
    top = shape.joint("neck01")[2] - 0.005
    in_front = garment.vertices[:, 1] < shape.joint("neck01")[1] - 0.03
    middle = in_front & (np.abs(garment.vertices[:, 0]) < 0.004)
    assert garment.vertices[middle, 2].max() == pytest.approx(top - 0.14, abs=0.007)
    # Half way down, a V has half its width, an ellipse the square root of 3/4, and a square almost all.
    width = dummy.marks.neck_half_width + 0.03
    at_half = in_front & (np.abs(garment.vertices[:, 2] - (top - 0.07)) < 0.012)
    edge = np.abs(garment.vertices[at_half, 0]).min()
    assert edge == pytest.approx(width * (1 - 0.5**power) ** (1 / power), abs=0.012)


@pytest.mark.parametrize("shapes", BODIES)
def test_a_tank_top_has_straps_and_no_sleeves(shapes):
    shape = blend_shapes(*shapes, 0.5)
    dummy = measure(shape)
    design = replace(TOP, sleeve=0.0, strap=0.04, neckline=replace(CREW, width=0.03))
    (garment,) = fit_top(design, dummy, CLOTH)
    shoulder, armpit = shape.joint("upperarm01.L"), dummy.marks.armpit
    assert not on_arm(garment).any()
    on_ridge = np.abs(garment.vertices[:, 1] - shoulder[1]) < 0.03
    on_shoulder = garment.vertices[on_ridge & (garment.vertices[:, 2] > shoulder[2] + 0.03), 0]
    inner = dummy.marks.neck_half_width + 0.03
    assert np.abs(on_shoulder).min() == pytest.approx(inner, abs=0.012)
    assert np.abs(on_shoulder).max() < inner + 0.04 + 0.012
    # Under the arm it reaches to the armpit again.
    assert (
        np.abs(garment.vertices[np.abs(garment.vertices[:, 2] - armpit[2] + 0.06) < 0.03, 0]).max() > armpit[0] - 0.03
    )


def test_a_high_neck_climbs_the_neck():
    shape = blend_shapes(0, 1, 0.5)
    high = replace(CREW, stand=0.025)
    crew, high = (fit_top(replace(TOP, neckline=neckline), measure(shape), CLOTH)[0] for neckline in (CREW, high))
    axis = shape.joint("neck03") - shape.joint("neck01")
    up = (high.vertices - shape.joint("neck01")) @ (axis / np.linalg.norm(axis))
    assert up.max() == pytest.approx(0.025, abs=0.002)
    assert high.vertices[:, 2].max() > crew.vertices[:, 2].max() + 0.01


def test_a_curved_hem_is_higher_at_the_sides():
    dummy = measure(blend_shapes(0, 1, 0.5))
    (garment,) = fit_top(replace(TOP, hem=0.1, hem_curve=0.05), dummy, CLOTH)
    body_part = garment.vertices[~on_arm(garment)]
    middle, side = np.abs(body_part[:, 0]) < 0.02, np.abs(body_part[:, 0]) > dummy.marks.armpit[0] - 0.01
    assert body_part[middle, 2].min() == pytest.approx(dummy.marks.height(0.1), abs=0.003)
    assert body_part[side, 2].min() > dummy.marks.height(0.1) + 0.035


def test_an_open_jacket_leaves_the_middle_of_the_front_free():
    dummy = measure(blend_shapes(0, 1, 0.5))
    (shirt,) = fit_top(TOP, dummy, CLOTH)
    jacket = fit_top(replace(TOP, opening=0.04, ease=0.02), dummy, CLOTH, under=shirt, layer=2)[0]
    front = jacket.vertices[jacket.vertices[:, 1] < dummy.marks.neck[1] - 0.05]
    assert np.abs(front[:, 0]).min() > 0.035
    assert jacket.priority > shirt.priority
    back = jacket.vertices[jacket.vertices[:, 1] > dummy.marks.spine[1] + 0.05]
    assert np.abs(back[:, 0]).min() < 0.02


def test_wide_garments_stand_off_the_body_and_fall_from_the_widest_place():
    dummy = measure(blend_shapes(20, 21, 0.5))
    waist = dummy.marks.height(0.35)
    widths = []
    for ease, fall in ((0.006, -0.6), (0.02, 0.0)):
        (garment,) = fit_top(replace(TOP, ease=ease, fall=fall), dummy, CLOTH)
        at_waist = garment.vertices[(np.abs(garment.vertices[:, 2] - waist) < 0.03) & ~on_arm(garment)]
        widths.append(np.ptp(at_waist[:, 1]))
    assert widths[1] > widths[0] + 0.02


def test_a_top_hides_the_chest_and_neither_head_nor_hands():
    shape = blend_shapes(0, 1, 0.5)
    hidden = fit_top(TOP, measure(shape), CLOTH)[0].hides_skin
    hands = limb_weight("wrist", "finger") > 0.5
    assert not hidden[head_weight() > 0.5].any() and not hidden[hands].any()
    asset_body = np.zeros(len(shape.vertices), dtype=bool)
    asset_body[load_body_asset().groups["body"][0]] = True
    chest = (np.abs(body_coordinates(shape.vertices, shape).torso - 0.5) < 0.1) & (arm_weight() == 0) & asset_body
    assert hidden[chest].all()


@pytest.mark.parametrize(
    "design",
    [
        PantsDesign(waist=0.2, length=1.9),
        PantsDesign(0.3, 0.6, ease=0.02, flare=0.0),
        SkirtDesign(waist=0.3, length=0.8, flare=0.2),
        SkirtDesign(waist=0.3, length=1.7, flare=0.2, folds=20, fold_depth=0.02),
    ],
)
@pytest.mark.parametrize("shapes", BODIES)
def test_lower_garments_begin_and_end_where_the_design_says(design, shapes):
    shape = blend_shapes(*shapes, 0.5)
    fit = fit_pants if isinstance(design, PantsDesign) else fit_skirt
    garment = fit(design, measure(shape), CLOTH, None)
    heights = garment.vertices[:, 2]
    hip, knee, ankle, neck = (
        shape.joint(f"{name}")[2] for name in ("upperleg01.L", "lowerleg01.L", "foot.L", "neck01")
    )
    end = hip + design.length * (knee - hip) if design.length < 1 else knee + (design.length - 1) * (ankle - knee)
    assert heights.min() == pytest.approx(end, abs=0.002)
    assert heights.max() == pytest.approx(hip + design.waist * (neck - hip), abs=0.002)
    under_top = fit(design, measure(shape), CLOTH, replace(TOP, hem=-0.05))
    assert under_top.vertices[:, 2].max() < hip + 0.02
    assert garment.label == PARSE_IDS["pants" if isinstance(design, PantsDesign) else "skirt"]


def test_a_flared_skirt_fits_under_a_top_and_flares_below_its_hem():
    dummy = measure(blend_shapes(0, 1, 0.5))
    design = SkirtDesign(0.35, 0.9, flare=0.4)
    skirt = fit_skirt(design, dummy, CLOTH, TOP)
    (top,) = fit_top(TOP, dummy, CLOTH)
    hem = dummy.marks.height(TOP.hem)
    at_hem = top.vertices[(top.vertices[:, 2] < hem + 0.03) & ~on_arm(top)].astype(np.float64)
    angle, radius = top.profile.polar(at_hem)
    # What the top lacks in places it makes up by being drawn nearer.
    assert (radius + top.priority > skirt.profile.radius_at(angle, at_hem[:, 2])).all()
    # 20 cm lower it is wider by 8 cm.
    side = np.array([np.pi / 2])
    hem_radius, radius = (skirt.profile.radius_at(side, np.array([hem - lower]))[0] for lower in (0.07, 0.27))
    assert radius - hem_radius == pytest.approx(0.4 * 0.2, abs=0.015)


def test_a_tucked_top_ends_inside_the_waistband():
    dummy = measure(blend_shapes(0, 1, 0.5))
    pants = fit_pants(PantsDesign(waist=0.3, length=1.9), dummy, CLOTH, None)
    (top,) = fit_top(replace(TOP, fall=0.0, tucked=0.3), dummy, CLOTH)
    waist = dummy.marks.height(0.3)
    assert waist - 0.05 < top.vertices[:, 2].min() < waist - 0.03
    inside = top.vertices[top.vertices[:, 2] < waist].astype(np.float64)
    angle, radius = pants.profile.polar(inside)
    assert (radius < pants.profile.radius_at(angle, inside[:, 2]) + 0.002).all()


def test_trousers_reach_up_under_a_curved_hem():
    dummy = measure(blend_shapes(0, 1, 0.5))
    top = replace(TOP, hem=0.1, hem_curve=0.06)
    pants = fit_pants(PantsDesign(waist=0.35, length=1.9), dummy, CLOTH, top)
    assert pants.vertices[:, 2].max() == pytest.approx(dummy.marks.height(0.1) + 0.06 + 0.03, abs=0.002)


def boundary_loops(faces: np.ndarray) -> int:
    """Number of closed lines along which a mesh ends."""
    edges = Counter(tuple(sorted(edge)) for face in faces for edge in zip(face, np.roll(face, -1)))
    neighbours: dict[int, list[int]] = {}
    for (first, second), count in edges.items():
        assert count <= 2
        if count == 1:
            neighbours.setdefault(first, []).append(second)
            neighbours.setdefault(second, []).append(first)
    assert all(len(others) == 2 for others in neighbours.values())
    loops = 0
    while neighbours:
        loops += 1
        stack = [next(iter(neighbours))]
        while stack:
            stack += neighbours.pop(stack.pop(), [])
    return loops


@pytest.mark.parametrize("number", range(32))
def test_random_designs_fit_every_body_in_one_piece(number):
    rng = np.random.default_rng(number)
    dummy = measure(body(number))
    top = replace(draw_top_design(rng), hem=rng.uniform(0.0, 0.3), collar=0.0)
    jacket = replace(draw_jacket_design(rng), collar=0.0)
    lower = draw_bottom_design(rng)
    pants = isinstance(lower, PantsDesign)
    lower_garment = (fit_pants if pants else fit_skirt)(lower, dummy, CLOTH, None)
    (top_garment,) = fit_top(top, dummy, CLOTH)
    (jacket_garment,) = fit_top(jacket, dummy, CLOTH, under=top_garment, layer=2)
    # A top ends at neck, hem and two cuffs; a jacket's front edges join neck and hem; trousers end at waist and
    # ankles.
    for garment, loops in ((top_garment, 4), (jacket_garment, 3), (lower_garment, 3 if pants else 2)):
        assert boundary_loops(garment.faces) == loops
    for garment in (lower_garment, top_garment, jacket_garment, *fit_dress(draw_dress_design(rng), dummy, CLOTH)):
        assert len(garment.faces) > 100
        assert np.isfinite(garment.vertices).all() and np.isfinite(garment.texture_coordinates).all()
        assert np.allclose(garment.skin_weights.sum(axis=1), 1, atol=1e-4)
        assert garment.edge_distance.min() >= 0


def seen_alone(garments: list[Garment], shape: BodyShape, size: int) -> np.ndarray:
    """Where (S, S) garments are seen from the front, arms a little raised."""
    asset = load_body_asset()
    raised = {f"upperarm01.{side}": rotation((0, 1, 0), sign * -20.0) for side, sign in (("L", 1), ("R", -1))}
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, raised)
    setting = Setting(draw_light(np.random.default_rng(0)), np.ones(3), draw_wrinkles(np.random.default_rng(0)))
    surfaces = [garment_surface(garment, transforms) for garment in garments]
    return render(surfaces, Camera(np.array([0, 0, 0.3]), extent=2.3), setting, size).parse > 0


@pytest.mark.parametrize("number", range(0, 32, 2))
def test_no_hole_is_seen_inside_the_outline(number):
    rng = np.random.default_rng(100 + number)
    dummy = measure(body(number))
    for garments in (
        fit_top(draw_top_design(rng), dummy, CLOTH),
        fit_dress(draw_dress_design(rng), dummy, CLOTH),
    ):
        seen = Image.fromarray(seen_alone(garments, dummy.shape, 160).astype(np.uint8)).copy()
        ImageDraw.floodfill(seen, (0, 0), 2)
        assert (np.asarray(seen) != 0).all()


def test_skin_is_not_seen_through_clothes():
    """Hidden skin lies inside the garment: no ray from the axis of the torso through it misses the cloth."""
    for shapes in BODIES:
        shape = blend_shapes(*shapes, 0.5)
        dummy = measure(shape)
        (garment,) = fit_top(replace(TOP, ease=0.006, fall=-0.6), dummy, CLOTH)
        skin = shape.vertices[garment.hides_skin & (arm_weight() < 0.1)].astype(np.float64)
        below = skin[skin[:, 2] < dummy.marks.armpit[2] - 0.05]
        angle, radius = dummy.profile.polar(below)
        assert (radius < garment.profile.radius_at(angle, below[:, 2]) + 0.003).all()


@pytest.mark.parametrize("kind", ["top", "pants", "skirt", "dress"])
def test_cloth_coordinates_are_continuous_but_for_the_seams(kind):
    shape = blend_shapes(3, 9, 0.5)
    dummy = measure(shape)
    garment = {
        "top": lambda: fit_top(replace(TOP, sleeve=1.9), dummy, CLOTH)[0],
        "pants": lambda: fit_pants(PantsDesign(0.3, 1.9), dummy, CLOTH, None),
        "skirt": lambda: fit_skirt(SkirtDesign(0.3, 1.2, 0.2), dummy, CLOTH, None),
        "dress": lambda: fit_dress(draw_dress_design(np.random.default_rng(0)), dummy, CLOTH)[1],
    }[kind]()
    places: dict[tuple[int, int], list[np.ndarray]] = {}
    for face, corners in zip(garment.faces, garment.texture_coordinates):
        for number in range(3):
            pair = np.array([number, (number + 1) % 3])
            pair = pair[np.argsort(face[pair])]
            places.setdefault(tuple(face[pair]), []).append(corners[pair])
    jumps, seams = 0, 0
    for edge, corners in places.items():
        if len(corners) == 2 and np.abs(corners[0] - corners[1]).max() > 1e-5:
            middle = garment.vertices[list(edge)].mean(axis=0)
            side = abs(middle[0])
            at_the_back = side < 0.045 and middle[1] > dummy.marks.spine[1]
            under_the_arm = middle[2] < dummy.marks.shoulder[2] - 0.9 * (side - dummy.marks.shoulder[0]) - 0.03
            between_the_legs = side < 0.2 and middle[2] < dummy.marks.hip[2] and kind == "pants"
            seams += 1
            jumps += not (at_the_back or (under_the_arm and kind in ("top", "dress")) or between_the_legs)
    assert seams > 5 and jumps == 0


def test_the_print_is_nearly_metric_on_the_chest():
    shape = blend_shapes(0, 1, 0.5)
    (garment,) = fit_top(TOP, measure(shape), CLOTH)
    corners = garment.vertices[garment.faces]
    centre = corners.mean(axis=1)
    chest = (np.abs(centre[:, 0]) < 0.06) & (centre[:, 1] < -0.08) & (np.abs(centre[:, 2] - 0.55) < 0.1)
    cloth = garment.texture_coordinates[chest]
    stretch = np.linalg.norm(cloth[:, 1] - cloth[:, 0], axis=1) / np.linalg.norm(
        corners[chest][:, 1] - corners[chest][:, 0], axis=1
    )
    assert chest.sum() > 20 and 0.6 < np.median(stretch) < 1.6


def test_a_belt_lies_around_the_waistband():
    dummy = measure(blend_shapes(4, 6, 0.5))
    pants = fit_pants(PantsDesign(0.3, 1.9), dummy, CLOTH, None)
    belt = fit_belt(0.3, pants, dummy, CLOTH)
    assert belt.label == PARSE_IDS["belt"] and not belt.hides_skin.any()
    assert np.ptp(belt.vertices[:, 2]) < 0.05 and abs(belt.vertices[:, 2].max() - dummy.marks.height(0.3)) < 0.01
