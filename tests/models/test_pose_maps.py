# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Poses drawn as maps: what is drawn, for which rows, in which precision, and on every path of the network."""

import json

import pytest
import torch
from networks import network_inputs, plain_pose_maps, random_pose, split_garment, tiny_network
from torch._dynamo.testing import CompileCounterWithBackend

from diffusers_tryon import ParallelUNetModel, create_unet
from diffusers_tryon.models.unet_parallel import draw_pose_maps
from diffusers_tryon.pipelines.compilation import CompiledMethod


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


class SeenMaps:
    """The last 18 channels that a convolution got, call by call."""

    def __init__(self, conv: torch.nn.Conv2d):
        self.maps = []
        conv.register_forward_pre_hook(lambda module, inputs: self.maps.append(inputs[0][:, -18:]))


@pytest.fixture
def seen_by():
    """A network whose streams' first inputs are looked at: (network, person's maps, garment's maps)."""
    model = tiny_network(pose_maps=True, garment_time_conditioning=False, patch_size=2)
    return model, SeenMaps(model.conv_in), SeenMaps(model.garment_conv_in)


@pytest.mark.parametrize("height, width", [(16, 16), (8, 12)])
def test_maps_are_gaussians_around_the_visible_points(height, width):
    pose = random_pose(2, torch.Generator().manual_seed(0))
    pose[0, 3, 2] = 0.4
    pose[0, 4, :2] = torch.tensor([1.3, -0.2])  # outside of the picture
    expected = plain_pose_maps(pose, height, width)
    torch.testing.assert_close(
        draw_pose_maps(pose, height, width, torch.float32).double(), expected, rtol=0, atol=1e-6
    )
    assert expected[pose[..., 2] == 0].abs().max() == 0 and expected.max() > 0.9


def test_pose_maps_of_half_precision_are_rounded_at_the_end_only():
    pose = torch.full((1, 18, 3), 1.0)
    pose[..., :2] = 0.503  # 0.504 in bfloat16
    maps = draw_pose_maps(pose, 64, 64, torch.bfloat16)
    torch.testing.assert_close(maps, draw_pose_maps(pose, 64, 64, torch.float32).bfloat16(), rtol=0, atol=0)


def test_both_streams_see_their_own_pose(seen_by):
    model, person, garment = seen_by
    inputs = network_inputs(model, size=(16, 24))
    model(**inputs)
    for seen, name in ((person, "person_pose"), (garment, "garment_pose")):
        torch.testing.assert_close(seen.maps[0].double(), plain_pose_maps(inputs[name], 8, 12), rtol=0, atol=1e-6)


def test_dropped_poses_leave_no_map(seen_by):
    model, person, garment = seen_by
    inputs = network_inputs(model)
    model(**inputs, conditioning_mask=torch.tensor([[True, True, False, True], [True, True, True, False]]))
    assert [row.abs().max() > 0 for row in person.maps[0]] == [False, True]
    assert [row.abs().max() > 0 for row in garment.maps[0]] == [True, False]
    model(**inputs, conditioning_mask=torch.tensor([False, False]))
    assert person.maps[1].abs().max() == 0 and garment.maps[1].abs().max() == 0


@pytest.mark.parametrize(
    "pose", [None, torch.rand(2, 18, 3) * torch.tensor([1.0, 1.0, 0.0])], ids=["none", "no point"]
)
def test_flat_garments_have_no_map(seen_by, pose):
    model, person, garment = seen_by
    model(**network_inputs(model) | {"garment_pose": pose})
    assert garment.maps[0].abs().max() == 0 and person.maps[0].abs().max() > 0


def test_conditions_encoded_beforehand_carry_the_pose(seen_by):
    model, person, _ = seen_by
    inputs = split_garment(model, network_inputs(model))
    model(**inputs)
    names = ("person_pose", "garment_pose", "agnostic_noise_level", "garment_noise_level")
    conditions = model.encode_conditions(*(inputs.pop(name) for name in names))
    model(**inputs, encoded_conditions=conditions)
    assert torch.equal(*person.maps)
    without = tiny_network(garment_time_conditioning=False)
    assert without.encode_conditions(conditions.person_pose).person_pose is None


@pytest.mark.parametrize("way", ["bfloat16 weights", "autocast"])
def test_maps_are_drawn_in_float32_whatever_the_network_computes_in(seen_by, way):
    model, person, garment = seen_by
    inputs = network_inputs(model)
    if way == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            model(**inputs)
    else:
        model.to(torch.bfloat16)
        model(**{name: value.bfloat16() if value.ndim == 4 else value for name, value in inputs.items()})
    for seen, name in ((person, "person_pose"), (garment, "garment_pose")):
        exact = plain_pose_maps(inputs[name], 8, 8)
        # Rounded once, at the end: to a relative 2^-8.
        tolerance = 2**-8 if way == "bfloat16 weights" else 1e-6
        torch.testing.assert_close(seen.maps[0].double(), exact, rtol=tolerance, atol=1e-6)


@pytest.mark.slow
def test_maps_and_concatenation_compile_to_one_graph():
    torch._dynamo.reset()
    shallow = {"layers_per_block": (1, 1), "garment_layers_per_block": (1, 1)}
    model = tiny_network(pose_maps=True, garment_fusion="concatenation", garment_time_conditioning=False, **shallow)
    counter = CompileCounterWithBackend("eager")
    compiled = CompiledMethod(model.forward, "default", counter)
    for batch_size in (2, 3):
        inputs = split_garment(model, network_inputs(model, batch_size))
        names = ("person_pose", "garment_pose", "agnostic_noise_level", "garment_noise_level")
        conditions = model.encode_conditions(*(inputs.pop(name) for name in names))
        call = inputs | {"encoded_conditions": conditions, "conditioning_mask": None}
        torch.testing.assert_close(compiled(**call).sample, model(**call).sample)
    assert counter.frame_count == 1
    torch._dynamo.reset()


@pytest.mark.slow
def test_maps_and_concatenation_export(tmp_path):
    model = tiny_network(pose_maps=True, garment_fusion="concatenation", garment_time_conditioning=False)
    inputs = network_inputs(model)
    torch.export.save(torch.export.export(model, (), inputs), tmp_path / "network.pt2")
    exported = torch.export.load(tmp_path / "network.pt2").module()
    other = network_inputs(model, seed=5)
    torch.testing.assert_close(exported(**other).sample, model(**other).sample)


def test_networks_saved_before_these_fields_load_as_before(tmp_path):
    model = tiny_network()
    inputs = network_inputs(model)
    expected = model(**inputs).sample
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["pose_maps"], config["garment_fusion"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = ParallelUNetModel.from_pretrained(tmp_path)
    assert (loaded.config.pose_maps, loaded.config.garment_fusion) == (False, "cross_attention")
    assert torch.equal(loaded(**inputs).sample, expected)


def test_fresh_blocks_with_concatenation_add_nothing_to_the_residual_block():
    block = create_unet("tiny-base", garment_fusion="concatenation").down_blocks[1][0]
    hidden_states, garment = torch.rand(2, 16, 4, 4), torch.rand(2, 32, 4, 4)
    vector, tokens = torch.rand(2, 16), torch.rand(2, 36, 16)
    plain = block.residual_block(hidden_states, vector)
    assert torch.equal(block(hidden_states, vector, None, tokens, garment), plain)
