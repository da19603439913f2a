# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a network computes once and uses again: its conditions, the null half's garment, the person stream's way down."""

import accelerate
import pytest
import torch
from tiny_cascade import TINY_REFERENCE, random_unet

from diffusers_tryon.models.unet_parallel import GarmentFeatures


BATCH, SIZE = 2, 32
NETWORKS = {
    "base": ("tiny-base", {}),
    "sr": ("tiny-sr", {}),
    "sees the timestep": ("tiny-base", {"garment_time_conditioning": True}),
    "concatenation": ("tiny-base", {"garment_fusion": "concatenation", "pose_maps": False}),
    "reference": ("reference-128", {**TINY_REFERENCE, "sample_size": SIZE}),
    "reference sr": ("reference-256", {**TINY_REFERENCE, "sample_size": SIZE}),
}
MASKS = {"all": None, "null": torch.tensor([False, False]), "half": torch.tensor([False, True])}


@pytest.fixture(params=NETWORKS)
def unet(request):
    name, overrides = NETWORKS[request.param]
    return random_unet(name, 0, **overrides)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def images(unet, seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    sample, agnostic, low_res = torch.rand(3, BATCH, 3, SIZE, SIZE, generator=random) * 2 - 1
    pictures = {"sample": sample, "agnostic_image": agnostic}
    return pictures | ({"low_res_image": low_res} if unet.config.low_res_conditioning else {})


def conditions() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(7)
    person_pose, garment_pose = torch.rand(2, BATCH, 18, 3, generator=random)
    return {
        "person_pose": person_pose,
        "garment_pose": garment_pose,
        "agnostic_noise_level": torch.tensor(30.0),
        "garment_noise_level": torch.tensor([5.0, 90.0]),
    }


def garment(unet, timestep: torch.Tensor) -> GarmentFeatures:
    image = torch.rand(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(9))
    return unet.encode_garment(image, timestep=timestep, **conditions())


TIMESTEP = torch.tensor(400.0)


@pytest.mark.parametrize("mask", MASKS)
def test_encoded_conditions_predict_to_the_bit_what_conditions_do(unet, mask):
    mask, features = MASKS[mask], garment(unet, TIMESTEP)
    encoded = unet.encode_conditions(**conditions(), conditioning_mask=mask)
    for timestep in (TIMESTEP, torch.tensor([3.5, 999.0])):
        common = {**images(unet), "timestep": timestep, "garment_features": features, "conditioning_mask": mask}
        plain = unet(**common, **conditions()).sample
        assert torch.equal(unet(**common, encoded_conditions=encoded).sample, plain)
        assert not torch.equal(
            unet(**common, **conditions() | {"person_pose": torch.zeros(BATCH, 18, 3)}).sample, plain
        ) or (mask is MASKS["null"])


def test_null_features_are_features_of_zeros(unet):
    features = garment(unet, TIMESTEP)
    zeros = GarmentFeatures(*(tuple(map(torch.zeros_like, path)) for path in features))
    common = {**images(unet), **conditions(), "timestep": TIMESTEP}
    for mask in (None, MASKS["null"]):
        expected = unet(**common, garment_features=zeros, conditioning_mask=mask).sample
        null = unet(**common, garment_features=unet.null_features(features), conditioning_mask=mask).sample
        torch.testing.assert_close(null, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(unet(**common, garment_features=features).sample, expected, atol=1e-3)


def test_null_features_work_with_weights_that_are_offloaded(unet):
    features = unet.null_features(garment(unet, TIMESTEP))
    call = {**images(unet), **conditions(), "timestep": TIMESTEP, "garment_features": features}
    expected = unet(**call).sample
    # What `enable_sequential_cpu_offload` does to every network.
    accelerate.cpu_offload(unet, execution_device=torch.device("cpu"))
    torch.testing.assert_close(unet(**call).sample, expected, rtol=1e-4, atol=1e-5)


def test_person_features_of_the_same_step_change_nothing(unet):
    common = {**images(unet), **conditions(), "timestep": TIMESTEP, "garment_features": garment(unet, TIMESTEP)}
    plain = unet(**common)
    assert plain.person_features is None
    output = unet(**common, return_person_features=True)
    assert torch.equal(output.sample, plain.sample)
    sample, person_features = unet(**common, return_person_features=True, return_dict=False)
    assert torch.equal(sample, plain.sample)
    # The way down does not run: other pictures make no difference, but for the reference's second look at the low
    # resolution on its way up.
    others = {name: image for name, image in images(unet, 1).items() if name != "low_res_image"}
    reused = unet(**{**common, **others}, person_features=person_features).sample
    assert torch.equal(reused, plain.sample)


def test_person_features_of_another_step_meet_the_timestep_on_the_way_up(unet):
    common = {**images(unet), **conditions(), "garment_features": garment(unet, TIMESTEP)}
    features = unet(**common, timestep=TIMESTEP, return_person_features=True).person_features
    later = unet(**common, timestep=torch.tensor(300.0), person_features=features).sample
    assert not torch.equal(later, unet(**common, timestep=TIMESTEP).sample)
    assert not torch.equal(later, unet(**common, timestep=torch.tensor(300.0)).sample)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"person_pose": None}, "`person_pose` must be given"),
        ({"encoded_conditions": "2 rows"}, "`encoded_conditions` in its place"),
        (
            {"encoded_conditions": "2 rows", "person_pose": None, "garment_features": None},
            "go with `garment_features`",
        ),
        ({"encoded_conditions": "1 row", "person_pose": None}, "must have batch 2, got 1"),
    ],
)
def test_what_does_not_fit_is_named(unet, changes, message):
    rows = {"2 rows": 2, "1 row": 1}
    if "encoded_conditions" in changes:
        number = rows[changes["encoded_conditions"]]
        poses = torch.rand(2, number, 18, 3)
        changes = {**changes, "encoded_conditions": unet.encode_conditions(*poses)}
    call = {**images(unet), "timestep": TIMESTEP, "person_pose": torch.rand(BATCH, 18, 3)}
    call["garment_features"] = garment(unet, TIMESTEP)
    if "garment_features" in changes:
        changes = {**changes, "garment_image": torch.rand(BATCH, 3, SIZE, SIZE)}
    with pytest.raises(ValueError, match=message):
        unet(**{**call, **changes})


def test_a_pose_of_another_shape_is_refused_when_conditions_are_encoded(unet):
    with pytest.raises(ValueError, match="`garment_pose` must have shape"):
        unet.encode_conditions(torch.rand(2, 18, 3), torch.rand(1, 18, 3))
