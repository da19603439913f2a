# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""People without clothes: identities, faces, hair, hats, glasses and shoes, looked at in rendered label maps."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from diffusers_tryon.composition import PARSE_IDS
from diffusers_tryon.rendering import hair as hair_module
from diffusers_tryon.rendering.body import (
    BodyShape,
    forward_kinematics,
    load_body_asset,
    pose_body,
    rotation,
)
from diffusers_tryon.rendering.cameras import Camera
from diffusers_tryon.rendering.face import face_surfaces, inner_faces
from diffusers_tryon.rendering.hair import HAIR_STYLES, HATS, draw_hair, hair_parts
from diffusers_tryon.rendering.identity import Identity, draw_identity
from diffusers_tryon.rendering.lighting import draw_light
from diffusers_tryon.rendering.outfits import draw_outfit, fit_outfit, garment_surface
from diffusers_tryon.rendering.people import body_surfaces
from diffusers_tryon.rendering.scene import Picture, Setting, render
from diffusers_tryon.rendering.shoes import shoe_parts


SIZE = 96
CAMERA_PLACE = np.array([0.0, -4.0, 0.9])


def plain_identity(seed: int = 0) -> Identity:
    """A person with nothing on head and face."""
    identity = draw_identity(np.random.default_rng(seed), "train")
    identity = changed(identity, "face", glasses="none", beard="none")
    return changed(identity, "hair", style="bald", length=0.0, tail=0.0, bun=0.0, hat=None)


def changed(identity: Identity, part: str, **values) -> Identity:
    return replace(identity, **{part: replace(getattr(identity, part), **values)})


def with_hair(identity: Identity, name: str, **values) -> Identity:
    style = HAIR_STYLES[name]
    measures = {key: max(getattr(style, key)) for key in ("top", "side", "length", "tail", "bun")}
    return changed(identity, "hair", style=name, **(measures | values))


def look(
    identity: Identity, centre=(0.0, 0.0, 0.1), extent: float = 2.2, dressed: bool = False, turn: float = 0.0
) -> Picture:
    """A frontal picture of a person at rest, maybe turned around the vertical."""
    asset, shape = load_body_asset(), identity.shape
    rotations = {"root": rotation((0, 0, 1), turn)}
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, rotations)
    posed = pose_body(shape, transforms)
    garments = fit_outfit(draw_outfit(np.random.default_rng(3), "upper"), shape) if dressed else []
    hidden = np.any([np.zeros(len(posed), bool)] + [garment.hides_skin for garment in garments], axis=0)
    surfaces = body_surfaces(identity, posed, transforms, hidden, CAMERA_PLACE)
    surfaces += [garment_surface(garment, transforms) for garment in garments]
    setting = Setting(draw_light(np.random.default_rng(0)), np.ones(3), np.zeros(2))
    return render(surfaces, Camera(np.array(centre, float), extent), setting, SIZE)


def head_of(identity: Identity) -> dict:
    return {"centre": identity.shape.joint("head") + (0, 0, 0.05), "extent": 0.45}


def count(picture: Picture, label: str) -> int:
    return int((picture.parse == PARSE_IDS[label]).sum())


def same(first, second) -> bool:
    if is_dataclass(first):
        return all(same(getattr(first, field.name), getattr(second, field.name)) for field in fields(first))
    return np.array_equal(first, second)


def test_identities_follow_from_the_seed():
    first, second, other = (draw_identity(np.random.default_rng(seed), "train") for seed in (4, 4, 5))
    assert same(first, second) and not same(first, other)


def test_skins_span_a_wide_range_evenly_and_stay_readable():
    skins = np.array([draw_identity(np.random.default_rng(seed), "train").skin.mean() for seed in range(120)])
    assert skins.min() > 0.17 and skins.min() < 0.3 and skins.max() > 0.75
    counts, _ = np.histogram(skins, bins=4, range=(0.2, 0.85))
    assert counts.min() > 0.1 * len(skins)


def test_bodies_differ_in_height_and_keep_their_joints():
    asset = load_body_asset()
    heights = []
    for seed in range(30):
        shape = draw_identity(np.random.default_rng(seed), "train").shape
        body = shape.vertices[asset.groups["body"][0]]
        heights.append(body[:, 2].max() - body[:, 2].min())
        # The middle of the left eyeball is its joint.
        eye = shape.vertices[asset.groups["left_eye"][0]]
        assert np.linalg.norm((eye.min(axis=0) + eye.max(axis=0)) / 2 - shape.joint("eye.L")) < 0.004
    assert 1.5 < min(heights) < 1.75 < 1.85 < max(heights) < 2.2


def test_faces_differ_and_expressions_leave_the_rest_of_the_body():
    asset = load_body_asset()
    offsets = draw_identity(np.random.default_rng(1), "train").face.offsets
    moved = np.linalg.norm(offsets, axis=1)
    assert 0.001 < moved.max() < 0.012
    on_head = asset.skin_weights[:, [asset.joint("head"), asset.joint("neck03")]].sum(axis=1) > 0.5
    assert (moved[~on_head] == 0).all()


def test_inner_faces_are_not_seen():
    """The picture of a head does not change when the lining of the mouth is drawn as well."""
    identity = plain_identity()
    assert inner_faces().sum() > 300
    picture = look(identity, **head_of(identity))
    everything = plain_identity()
    everything.__dict__["skin_faces"] = load_body_asset().groups["body"][1]
    assert (look(everything, **head_of(identity)).image != picture.image).mean() < 0.01


@pytest.mark.parametrize("name", sorted(HAIR_STYLES))
def test_hair_is_labelled_and_grows_with_the_style(name):
    identity = with_hair(plain_identity(), name)
    picture = look(identity, **head_of(identity))
    if name == "bald":
        assert count(picture, "hair") == 0
        return
    assert count(picture, "hair") > 150
    # The face stays free: the nose and both eyes are seen.
    assert count(picture, "face") > 500


def test_silhouettes_differ():
    identity = plain_identity()
    person = {
        name: look(with_hair(identity, name), **head_of(identity)).parse > 0
        for name in ("buzz", "afro", "bob", "long_straight")
    }
    assert (person["afro"] & ~person["buzz"]).sum() > 300
    assert (person["bob"] & ~person["buzz"]).sum() > 150
    assert (person["long_straight"] & ~person["bob"]).sum() > 50


@pytest.mark.parametrize("seed", range(3))
def test_hair_before_the_shoulders_hides_the_shirt_and_hair_behind_does_not(seed):
    identity = plain_identity(seed)
    shape = identity.shape
    chest = {"centre": (0.0, 0.0, shape.joint("spine01")[2]), "extent": 0.5, "dressed": True}
    bare, in_front, behind = (
        look(with_hair(identity, name, in_front=sides, length=length), **chest)
        for name, sides, length in (
            ("bald", (False, False), 0.0),
            ("long_straight", (True, True), 0.45),
            ("long_straight", (False, False), 0.45),
        )
    )
    shirt = bare.parse == PARSE_IDS["top"]
    hidden = (in_front.parse == PARSE_IDS["hair"]) & shirt
    assert hidden.sum() > 0.03 * shirt.sum()
    # On both sides of the body.
    middle = SIZE // 2
    assert hidden[:, :middle].any() and hidden[:, middle:].any()
    assert ((behind.parse == PARSE_IDS["hair"]) & shirt).sum() < 0.35 * hidden.sum()


def test_only_one_side_falls_before_the_shoulder_when_one_does():
    identity = with_hair(plain_identity(), "long_straight", in_front=(True, False), length=0.45)
    chest = {"centre": (0.0, 0.0, identity.shape.joint("spine02")[2] + 0.05), "extent": 0.4}
    hair = look(identity, **chest).parse == PARSE_IDS["hair"]
    # The person's left is on the right of the picture.
    assert hair[:, SIZE // 2 :].sum() > 3 * hair[:, : SIZE // 2].sum()


@pytest.mark.parametrize("hat", HATS)
def test_hats_are_labelled_and_leave_the_eyes_free(hat):
    identity = with_hair(plain_identity(), "crop", hat=hat)
    picture = look(identity, **head_of(identity))
    assert count(picture, "hat") > 400 and count(picture, "hair") < count(picture, "hat")
    eyes = identity.shape.joint("eye.L")
    row = int(SIZE * (0.5 - (eyes[2] - identity.shape.joint("head")[2] - 0.05) / 0.45))
    assert (picture.parse[row, SIZE // 2 - 5 : SIZE // 2 + 5] == PARSE_IDS["face"]).all()


def test_glasses_are_labelled():
    identity = plain_identity()
    seen = {
        kind: count(look(changed(identity, "face", glasses=kind), **head_of(identity)), "glasses")
        for kind in ("none", "thin", "thick", "dark")
    }
    assert seen["none"] == 0 < seen["thin"] <= seen["thick"] < seen["dark"]


def test_beards_darken_the_chin_and_lips_stay():
    identity = plain_identity()
    identity = replace(identity, skin=np.array([0.8, 0.6, 0.5]))
    identity = changed(identity, "hair", colour=np.full(3, 0.05))
    shaved, bearded = (
        look(changed(identity, "face", beard=kind, beard_strength=0.9), **head_of(identity)).image.astype(int)
        for kind in ("none", "full")
    )
    darker = (shaved - bearded).mean(axis=-1) > 40
    head = identity.shape.joint("head")[2] + 0.05
    chin_row = int(SIZE * (0.5 - (identity.shape.joint("eye.L")[2] - 0.10 - head) / 0.45))
    assert darker[chin_row, SIZE // 2 - 4 : SIZE // 2 + 4].all()
    assert not darker[: SIZE // 2].any()


def test_eyes_turn_to_the_camera():
    identity = changed(plain_identity(), "face", gaze=(0.0, 0.0))
    asset, shape = load_body_asset(), identity.shape
    transforms = forward_kinematics(shape.joints, asset.parents, asset.joint_names, {})
    posed = pose_body(shape, transforms)
    sideways = {}
    for place in (-1.5, 0.0, 1.5):
        looks_at = np.array([place, -4.0, shape.joint("eye.L")[2]])
        surfaces = face_surfaces(
            identity.face, shape, identity.skin, identity.hair.colour, posed, transforms, looks_at
        )
        iris = surfaces[2]
        sideways[place] = float(iris.vertices[:, 0].mean() - shape.joint("eye.L")[0])
    assert sideways[-1.5] < -0.003 < sideways[0.0] < 0.003 < sideways[1.5]


@pytest.mark.parametrize("kind", ["bare", "ballerina", "loafer", "sneaker", "boot"])
def test_feet_are_labelled_and_no_toe_comes_through(kind):
    identity = changed(plain_identity(), "shoes", kind=kind, colour=np.array([0.0, 0.0, 1.0]), shaft=0.1)
    identity = changed(identity, "shoes", sole_colour=np.array([0.0, 0.0, 1.0]), sock_height=0.0)
    foot = identity.shape.joint("foot.L")
    picture = look(identity, centre=(foot[0], 0.0, foot[2] - 0.04), extent=0.4)
    assert count(picture, "feet") > 300
    parts = shoe_parts(identity.shoes, identity.shape)
    assert len(parts) == (0 if kind == "bare" else 2)
    if parts:
        lower = np.zeros(picture.parse.shape, bool)
        lower[int(SIZE * 0.56) :] = True
        lower &= picture.parse == PARSE_IDS["feet"]
        blue = picture.image[..., 2].astype(int) > 1.5 * picture.image[..., 0]
        assert blue[lower].mean() > 0.9


def test_shoes_and_hair_fit_every_body():
    asset = load_body_asset()
    for number in range(0, len(asset.shapes), 5):
        shape = BodyShape(asset.shapes[number], asset.joints[number], float(asset.femininity[number]))
        identity = draw_identity(np.random.default_rng(number), "train")
        for kind in ("ballerina", "loafer", "sneaker", "boot"):
            for part in shoe_parts(replace(identity.shoes, kind=kind, shaft=0.2), shape):
                assert np.isfinite(part.points).all() and np.allclose(part.weights.sum(axis=1), 1)
        hair = draw_hair(np.random.default_rng(number), shape.femininity, 0.5)
        for name in HAIR_STYLES:
            styled = with_hair(replace(identity, shape=shape, hair=hair), name)
            for part in hair_parts(styled.hair, shape):
                assert np.isfinite(part.points).all() and part.faces.max() < len(part.points)
                assert np.abs(part.points[:, :2]).max() < 0.45


def test_the_shares_of_styles_name_every_style():
    assert set(hair_module._SHARES) == set(HAIR_STYLES)
    drawn = {
        draw_hair(np.random.default_rng(seed), femininity, 0.5).style for seed in range(150) for femininity in (0, 1)
    }
    assert len(drawn) >= 11
