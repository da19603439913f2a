# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The named configurations: complete, buildable, and as large as the paper says."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from networks import PAPER_LEVELS

import diffusers_tryon.models.presets as presets
from diffusers_tryon import ParallelUNetModel, ReferenceParallelUNetModel, create_unet, list_presets


def preset_json(name: str) -> dict:
    return json.loads((Path(presets.__file__).parent / f"{name}.json").read_text())


def build_on_meta(name: str, **overrides) -> torch.nn.Module:
    with torch.device("meta"):
        return create_unet(name, **overrides)


def test_the_promised_presets_exist():
    promised = {"paper-128", "paper-256", "paper-128-cached", "paper-256-cached", "reference-128", "reference-256"}
    assert promised | {"small-128", "small-256", "tiny-base", "tiny-sr"} <= set(list_presets())
    assert list_presets() == sorted(list_presets())


@pytest.mark.parametrize("name", list_presets())
def test_preset_builds_without_memory_and_states_every_field(name, tmp_path):
    model, stated = build_on_meta(name), preset_json(name)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert stated.pop("_class_name") == type(model).__name__
    model.save_config(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert {name: value for name, value in saved.items() if not name.startswith("_")} == stated
    assert model.config.sample_size % model.size_divisor == 0


@pytest.mark.parametrize("name", list_presets())
def test_stage_and_garment_stream_follow_from_the_name(name):
    model = build_on_meta(name)
    family, _, size = name.partition("-")
    assert isinstance(model, ReferenceParallelUNetModel if family == "reference" else ParallelUNetModel)
    assert model.config.low_res_conditioning == (size in ("256", "256-cached", "sr"))
    assert model.config.garment_time_conditioning == (family in ("paper", "reference") and "cached" not in name)
    if family != "tiny":
        assert model.config.sample_size == int(size[:3])


# The paper's networks. It states levels, widths, blocks and groups (figure 2, supplementary section 1), and totals of
# 1.13 B and 1.06 B. What it states, together with attention over all channels, makes 1024.2 M and 956.2 M parameters.
# It does not state the widths of the conditioning vector and of the pose tokens, which size FiLM and the poses' keys
# and values. 1024 and 256 are the powers of two at which both totals round to the paper's:
#
#   in millions                                   paper-128   paper-256
#   residual blocks' convolutions, person             431.5       445.4
#   residual blocks' convolutions, garment            421.7       374.0
#   self-attention                                     71.3        58.7
#   cross-attention                                    71.3        58.7
#   down- and upsampling, in and out                   28.0        19.0
#   norms                                               0.3         0.3
#   FiLM                                               92.6        90.0   <- width of the vector
#   poses' keys and values in self-attention           10.5         7.3   <- width of the pose tokens
#   embeddings of poses, time and noise levels          7.5         9.6   <- both
#   total                                            1134.9      1063.2
#   the paper's                                      1130        1060     (+0.4 %, +0.3 %)
PAPER_TOTALS = {"paper-128": "1.13", "paper-256": "1.06"}


def count_by_hand(table: list, num_person_images: int, vector: int = 1024, pose: int = 256) -> Counter:
    """Parameters by part, from the paper's table alone."""
    parts = Counter()

    def conv(part: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        parts[part] += outputs * (inputs * kernel**2 + 1)

    def residual_block(stream: str, inputs: int, outputs: int) -> None:
        conv(f"convolutions, {stream}", inputs, outputs)
        conv(f"convolutions, {stream}", outputs, outputs)
        if inputs != outputs:
            conv(f"convolutions, {stream}", inputs, outputs, kernel=1)
        parts["norms"] += 2 * inputs + 2 * outputs
        parts["film"] += (vector + 1) * 2 * outputs

    attention_levels = [level for level, row in enumerate(table) if row[3]]
    last = len(table) - 1
    for level, (channels, person_blocks, garment_blocks, attention) in enumerate(table):
        from_finer, from_coarser = table[max(level - 1, 0)][0], table[min(level + 1, last)][0]
        for stream, blocks in (("person", person_blocks), ("garment", garment_blocks)):
            goes_up = stream == "person" or level >= attention_levels[0]
            for block in range(blocks):
                residual_block(stream, channels if block else from_finer, channels)
                if goes_up:
                    residual_block(stream, (channels if block else from_coarser) + channels, channels)
            if level < last:
                conv("samplers", channels, channels)
            if goes_up and level > (0 if stream == "person" else attention_levels[0]):
                conv("samplers", channels, channels)
        if attention:
            both_ways = 2 * person_blocks
            parts["self-attention"] += both_ways * (4 * channels**2 + channels)
            parts["cross-attention"] += both_ways * (4 * channels**2 + channels)
            parts["poses in self-attention"] += both_ways * 2 * channels * pose
            parts["norms"] += both_ways * 3 * 2 * channels
    first = table[0][0]
    conv("samplers", 3 * num_person_images, first)
    conv("samplers", 3, first)
    conv("samplers", first, 3)
    parts["norms"] += 2 * first

    num_levels = num_person_images + 1  # time, and one noise level per image that is not the sample
    parts["embeddings"] += num_levels * 2 * (vector + 1) * vector
    pose_embedding = 3 * pose + (pose + 1) * pose + (18 + 1) * pose + (4 * pose + 1) * pose + (pose + 1) * vector
    parts["embeddings"] += 2 * pose_embedding + pose  # the garment's has the flat state
    return parts


def count(model: torch.nn.Module) -> Counter:
    parts = Counter()
    for name, parameter in model.named_parameters():
        if "embedding" in name:
            part = "embeddings"
        elif "add_" in name:
            part = "poses in self-attention"
        elif "_attention." in name:
            part = "self-attention" if "self_attention" in name else "cross-attention"
        elif ".film." in name:
            part = "film"
        elif "norm" in name:
            part = "norms"
        elif "residual_block" in name:
            part = "convolutions, garment" if name.startswith("garment") else "convolutions, person"
        else:
            part = "samplers"
        parts[part] += parameter.numel()
    return parts


@pytest.mark.parametrize("name", PAPER_LEVELS)
def test_paper_networks_have_the_paper_s_number_of_parameters(name):
    model = build_on_meta(name)
    assert count(model) == count_by_hand(PAPER_LEVELS[name], num_person_images=3 if "256" in name else 2)
    assert f"{model.num_parameters() / 1e9:.2f}" == PAPER_TOTALS[name]


@pytest.mark.parametrize("name", PAPER_LEVELS)
def test_free_widths_are_the_ones_nearest_to_both_of_the_paper_s_totals(name):
    assert preset_json(name)["conditioning_dim"] == 1024 and preset_json(name)["pose_embed_dim"] == 256
    powers = (256, 512, 1024, 2048)
    fitting = [
        (vector, pose)
        for vector in powers
        for pose in powers
        if all(
            f"{count_by_hand(PAPER_LEVELS[name], images, vector, pose).total() / 1e9:.2f}" == PAPER_TOTALS[name]
            for name, images in (("paper-128", 2), ("paper-256", 3))
        )
    ]
    assert fitting == [(1024, 256)]


@pytest.mark.parametrize("name", PAPER_LEVELS)
def test_cached_variant_has_the_same_parameters_and_only_another_garment_stream(name):
    model, cached = build_on_meta(name), build_on_meta(f"{name}-cached")
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in cached.named_parameters()}
    different = {field for field, value in preset_json(name).items() if preset_json(f"{name}-cached")[field] != value}
    assert different == {"garment_time_conditioning"}


@pytest.mark.parametrize(("name", "millions"), [("reference-128", 1295.6), ("reference-256", 1218.3)])
def test_reference_networks_have_the_reference_s_number_of_parameters(name, millions):
    assert round(build_on_meta(name).num_parameters() / 1e6, 1) == millions


def test_overrides_replace_fields_and_leave_the_rest():
    model = create_unet("tiny-base", sample_size=(48, 32), low_res_conditioning=True)
    stated = {**preset_json("tiny-base"), "sample_size": (48, 32), "low_res_conditioning": True}
    assert {field: model.config[field] for field in stated if field != "_class_name"} == {
        field: value for field, value in stated.items() if field != "_class_name"
    }
    assert model.conv_in.in_channels == 3 * 3 * 2**2 + 18  # three images in patches, maps of the pose


@pytest.mark.parametrize("name", ["small", "paper-512", "../presets/tiny-base", ""])
def test_unknown_preset_is_refused_with_the_names(name):
    with pytest.raises(ValueError, match=f"Unknown preset {name!r}.*tiny-base"):
        create_unet(name)


@pytest.mark.parametrize("field", ["sample_sise", "_class_name", "self"])
def test_unknown_field_is_refused_with_the_fields(field):
    with pytest.raises(ValueError, match=f"ParallelUNetModel has no configuration field {field}.*sample_size"):
        create_unet("tiny-base", **{field: 1})
