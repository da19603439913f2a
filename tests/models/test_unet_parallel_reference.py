# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The reference network as a Diffusers model; `tests/test_conversion.py` holds what it computes to golden tensors."""

import copy

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName
from peft import LoraConfig

from diffusers_tryon import GarmentFeatures, ReferenceParallelUNetModel, create_unet
from diffusers_tryon.models.unet_parallel_reference import ReferenceAttentionProcessor, ReferenceBlock


CONFIG = {
    "sample_size": (64, 48),
    "block_out_channels": (8, 16, 16),
    "layers_per_block": (1, 2, 1),
    "attention_levels": (False, True, True),
    "num_attention_heads": (None, 2, 2),
    "attention_head_dim": (None, 8, 4),
    "context_dim": 16,
    "conditioning_dim": 16,
    "pose_num_layers": 1,
    "pose_num_attention_heads": 2,
    "pose_attention_head_dim": 8,
    "pose_num_latents": 4,
    "pose_num_pooled_latents": 2,
}
BATCH = 3


@pytest.fixture(scope="module")
def unet() -> ReferenceParallelUNetModel:
    torch.manual_seed(0)
    return ReferenceParallelUNetModel(**CONFIG).eval()


@pytest.fixture(scope="module")
def sr_unet() -> ReferenceParallelUNetModel:
    torch.manual_seed(0)
    return ReferenceParallelUNetModel(**CONFIG, low_res_conditioning=True).eval()


@pytest.fixture(scope="module")
def shallow_unet() -> ReferenceParallelUNetModel:
    """Every kind of layer once, for what takes time per layer."""
    torch.manual_seed(0)
    shallow = {name: value[1:] if isinstance(value, tuple) else value for name, value in CONFIG.items()}
    shallow |= {"sample_size": (64, 48), "layers_per_block": (1, 1), "attention_levels": (False, True)}
    return ReferenceParallelUNetModel(**shallow, low_res_conditioning=True).eval()


def make_inputs(dtype=torch.float32, size=(64, 48), low_res=False) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def image():
        return torch.randn(BATCH, 3, *size, generator=generator).to(dtype)

    def pose():
        return torch.cat([torch.rand(BATCH, 18, 2, generator=generator), torch.ones(BATCH, 18, 1)], dim=-1)

    inputs = {
        "sample": image(),
        "timestep": torch.tensor([3.0, 500.5, 998.0]),
        "agnostic_image": image(),
        "garment_image": image(),
        "person_pose": pose(),
        "garment_pose": pose(),
        "agnostic_noise_level": torch.tensor([0, 200, 999]),
        "garment_noise_level": torch.tensor(100.0),
    }
    if low_res:
        inputs |= {"low_res_image": image(), "low_res_noise_level": torch.tensor([50])}
    return inputs


def without(inputs: dict, *names: str) -> dict:
    return {name: value for name, value in inputs.items() if name not in names}


@torch.no_grad()
def run(model: torch.nn.Module, inputs: dict, **changes) -> torch.Tensor:
    return model(**{**inputs, **changes}).sample


def relative_error(output: torch.Tensor, expected: torch.Tensor) -> float:
    return ((output.float() - expected).norm() / expected.norm()).item()


# Configurations


@pytest.mark.parametrize(
    ("name", "parameters", "size_divisor"), [("reference-128", 1295.6e6, 8), ("reference-256", 1218.3e6, 16)]
)
def test_presets_have_the_parameters_of_the_reference(name, parameters, size_divisor):
    with torch.device("meta"):
        model = create_unet(name)
    assert abs(sum(parameter.numel() for parameter in model.parameters()) - parameters) < 0.05e6
    assert model.size_divisor == size_divisor
    assert model.config.garment_time_conditioning
    assert model.low_res_interpolation == "nearest"


def test_the_defaults_are_the_base_preset():
    with torch.device("meta"):
        default, preset = ReferenceParallelUNetModel(), create_unet("reference-128")
    fields = [name for name in preset.config if not name.startswith("_")]
    assert {name: default.config[name] for name in fields} == {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in preset.config.items()
        if name in fields
    }


@pytest.mark.parametrize(
    ("sample_size", "patches", "divisor"),
    # Per level from the coarser one up: round(side / 16), half to even (24 / 16 up, 40 / 16 down), at least 1.
    [((64, 48), [2, 1], 4), (48, [2, 1], 4), ((64, 80), [2, 1], 4), (160, [5, 2], 40), (192, [6, 3], 12)],
)
def test_patches_follow_the_configured_size(sample_size, patches, divisor):
    with torch.device("meta"):
        model = ReferenceParallelUNetModel(**{**CONFIG, "sample_size": sample_size})
    for level, patch in zip((1, 2), patches, strict=True):
        block = model.down_blocks[level][0]
        assert block.self_attention.to_q.in_features == block.cross_attention.to_k.in_features == 16 * patch**2
    assert model.size_divisor == divisor


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers_per_block": (1, 1)}, "`layers_per_block` must have one entry per level"),
        ({"attention_levels": (False, True, False)}, "`attention_levels` must be True for the coarsest"),
        ({"attention_levels": (False, False, False)}, "`attention_levels` must be True for the coarsest"),
        ({"num_attention_heads": (None, None, 2)}, "`num_attention_heads` must be set"),
        ({"attention_head_dim": (None, 8, None)}, "`attention_head_dim` must be set"),
        ({"garment_time_conditioning": False}, "`garment_time_conditioning` must be True"),
    ],
)
def test_refuses_configurations_that_it_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        ReferenceParallelUNetModel(**{**CONFIG, **changes})


# What the inputs mean


def test_garment_features_replace_the_garment_stream(unet, sr_unet):
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    for model, low_res in ((unet, False), (sr_unet, True)):
        inputs = make_inputs(low_res=low_res)
        for conditioning_mask in (None, mask):
            plain = run(model, inputs, conditioning_mask=conditioning_mask)
            names = without(inputs, "sample", "agnostic_image", "low_res_image")
            with torch.no_grad():
                features = model.encode_garment(**names, conditioning_mask=conditioning_mask)
            assert isinstance(features, GarmentFeatures)
            assert [tuple(feature.shape[1:]) for feature in features.down] == [(16, 32, 24)] * 2 + [(16, 16, 12)]
            assert [tuple(feature.shape[1:]) for feature in features.up] == [(16, 16, 12)] + [(16, 32, 24)] * 2
            cached = {**without(inputs, "garment_image"), "garment_features": features}
            assert torch.equal(run(model, cached, conditioning_mask=conditioning_mask), plain)


def test_rows_without_garment_may_carry_any_features(unet):
    inputs = make_inputs()
    mask = torch.tensor([True, False, False])
    with torch.no_grad():
        features = unet.encode_garment(**without(inputs, "sample", "agnostic_image"), conditioning_mask=mask)
    zeros = GarmentFeatures(*[tuple(f * mask[:, None, None, None] for f in maps) for maps in features])
    cached = without(inputs, "garment_image")
    outputs = [run(unet, cached, garment_features=maps, conditioning_mask=mask) for maps in (features, zeros)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], run(unet, inputs, conditioning_mask=mask))


def test_the_garment_stream_sees_time_and_person(unet):
    inputs = without(make_inputs(), "sample", "agnostic_image")
    with torch.no_grad():
        plain = unet.encode_garment(**inputs).down[0]
        for name, value in (("timestep", torch.tensor(7.0)), ("person_pose", inputs["garment_pose"])):
            assert not torch.allclose(unet.encode_garment(**{**inputs, name: value}).down[0], plain)
    for name in ("timestep", "person_pose"):
        with pytest.raises(ValueError, match="needs `timestep` and `person_pose`"):
            unet.encode_garment(**without(inputs, name))


def test_a_garment_pose_without_visible_points_is_a_dropped_one(unet):
    inputs = make_inputs()
    keep_pose = torch.tensor([[True, True, True, False]] * BATCH)
    dropped = run(unet, inputs, conditioning_mask=keep_pose)
    invisible = inputs["garment_pose"] * torch.tensor([1.0, 1.0, 0.0])
    assert torch.equal(run(unet, inputs, garment_pose=None), dropped)
    assert torch.equal(run(unet, inputs, garment_pose=invisible), dropped)
    assert not torch.allclose(run(unet, inputs), dropped)
    one_visible = invisible.clone()
    one_visible[:, 4, 2] = 0.3
    assert torch.equal(run(unet, inputs, garment_pose=one_visible), run(unet, inputs))


@pytest.mark.parametrize("column", range(4))
def test_a_dropped_condition_has_no_influence(unet, column):
    inputs = make_inputs()
    others = {
        "agnostic_image": -inputs["agnostic_image"],
        "garment_image": -inputs["garment_image"],
        "person_pose": inputs["person_pose"].flip(1),
        "garment_pose": inputs["garment_pose"].flip(1),
    }
    name = list(others)[column]
    mask = torch.ones(BATCH, 4, dtype=torch.bool)
    mask[:, column] = False
    dropped = run(unet, inputs, conditioning_mask=mask)
    assert torch.equal(run(unet, inputs, conditioning_mask=mask, **{name: others[name]}), dropped)
    assert not torch.allclose(run(unet, inputs, **{name: others[name]}), run(unet, inputs))


def test_one_flag_per_row_drops_all_four_conditions(unet):
    inputs = make_inputs()
    flags = torch.tensor([True, False, True])
    expanded = flags[:, None].expand(-1, 4)
    assert torch.equal(run(unet, inputs, conditioning_mask=flags), run(unet, inputs, conditioning_mask=expanded))
    assert torch.equal(run(unet, inputs, conditioning_mask=torch.ones(BATCH, dtype=torch.bool)), run(unet, inputs))


def test_levels_and_timesteps_come_as_scalars_rows_and_integers(unet, sr_unet):
    inputs = make_inputs()
    for name in ("timestep", "agnostic_noise_level", "garment_noise_level"):
        outputs = [
            run(unet, inputs, **{name: level})
            for level in (torch.tensor(40), torch.tensor([40.0]), torch.full((BATCH,), 40))
        ]
        assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])
    for name in ("agnostic_noise_level", "garment_noise_level", "low_res_noise_level"):
        inputs = make_inputs(low_res=True)
        assert torch.equal(run(sr_unet, inputs, **{name: None}), run(sr_unet, inputs, **{name: torch.tensor(0)}))
        assert not torch.allclose(run(sr_unet, inputs, **{name: None}), run(sr_unet, inputs))


def test_rows_of_a_batch_are_independent(sr_unet):
    inputs = make_inputs(low_res=True)
    inputs["garment_noise_level"] = inputs["garment_noise_level"].expand(BATCH)
    inputs["low_res_noise_level"] = inputs["low_res_noise_level"].expand(BATCH)
    together = run(sr_unet, inputs)
    for row in range(BATCH):
        alone = run(sr_unet, {name: value[row : row + 1] for name, value in inputs.items()})
        assert relative_error(alone, together[row : row + 1]) < 1e-5


@pytest.mark.parametrize("size", [(64, 64), (32, 40), (4, 8)])
def test_other_sizes_than_the_trained_one(unet, size):
    output = run(unet, make_inputs(size=size))
    assert output.shape == (BATCH, 3, *size) and output.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": torch.zeros(BATCH, 3, 62, 48)}, "`sample` must have a height and width that are multiples of 4"),
        ({"sample": torch.zeros(BATCH, 1, 64, 48)}, "`sample` must have shape"),
        ({"agnostic_image": torch.zeros(BATCH, 3, 64, 64)}, "`agnostic_image` must have shape"),
        ({"garment_image": torch.zeros(1, 3, 64, 48)}, "`garment_image` must have shape"),
        ({"garment_image": None}, "Exactly one of `garment_image` and `garment_features`"),
        ({"garment_features": GarmentFeatures((), ())}, "Exactly one of `garment_image` and `garment_features`"),
        ({"garment_image": None, "garment_features": GarmentFeatures((), ())}, "`garment_features` must hold 3 maps"),
        ({"person_pose": None}, "`person_pose` must be given"),
        ({"person_pose": torch.zeros(BATCH, 17, 3)}, "`person_pose` must have shape"),
        ({"garment_pose": torch.zeros(BATCH, 18, 2)}, "`garment_pose` must have shape"),
        ({"low_res_image": torch.zeros(BATCH, 3, 64, 48)}, "takes no `low_res_image`"),
        ({"low_res_noise_level": torch.tensor(3)}, "takes no `low_res_noise_level`"),
        ({"timestep": 500}, "`timestep` must be a tensor"),
        ({"timestep": torch.zeros(2)}, "`timestep` must be a tensor, scalar or of shape"),
        ({"agnostic_noise_level": torch.zeros(BATCH, 1)}, "`agnostic_noise_level` must be a tensor"),
        ({"conditioning_mask": torch.ones(BATCH, 3, dtype=torch.bool)}, "`conditioning_mask` must have shape"),
    ],
)
def test_refuses_inputs_by_name(unet, changes, message):
    with pytest.raises(ValueError, match=message):
        run(unet, make_inputs(), **changes)


def test_a_super_resolution_network_needs_its_low_res_image(sr_unet):
    with pytest.raises(ValueError, match="needs `low_res_image`"):
        run(sr_unet, make_inputs())


# What Diffusers expects of a model


def test_save_and_load(unet, tmp_path):
    inputs = make_inputs()
    unet.save_pretrained(tmp_path / "whole", variant="fp16")
    unet.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    whole = ReferenceParallelUNetModel.from_pretrained(tmp_path / "whole", variant="fp16")
    sharded = ReferenceParallelUNetModel.from_pretrained(tmp_path / "sharded")
    for loaded in (whole, sharded):
        weights = loaded.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in unet.state_dict().items())
        assert relative_error(run(loaded, inputs), run(unet, inputs)) < 1e-6


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_half_precision_weights(unet, tmp_path, dtype, tolerance):
    unet.save_pretrained(tmp_path)
    loaded = ReferenceParallelUNetModel.from_pretrained(tmp_path, dtype=dtype)
    assert loaded.dtype == dtype and loaded.time_embedding.frequencies.dtype == torch.float32
    cast = copy.deepcopy(unet).to(dtype)
    assert {parameter.dtype for parameter in cast.parameters()} == {dtype}
    for model in (loaded, cast):
        output = run(model, make_inputs(dtype))
        assert output.dtype == dtype and output.isfinite().all()
        assert relative_error(output, run(unet, make_inputs())) < tolerance


def test_autocast(unet):
    with torch.autocast("cpu", torch.bfloat16):
        output = run(unet, make_inputs())
    assert relative_error(output, run(unet, make_inputs())) < 0.05


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = ReferenceParallelUNetModel(**CONFIG)
        calls = []
        for module in model.modules():
            if isinstance(module, ReferenceBlock):
                module.register_forward_pre_hook(lambda *_: calls.append(1))
        if checkpointing:
            model.enable_gradient_checkpointing()
        model(**make_inputs()).sample.square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        num_blocks = sum(isinstance(module, ReferenceBlock) for module in model.modules())
        assert len(calls) == num_blocks * (2 if checkpointing else 1)
    plain, checkpointed = gradients
    for name, gradient in plain.items():
        assert gradient is None and checkpointed[name] is None or torch.allclose(gradient, checkpointed[name])


def test_every_trainable_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = ReferenceParallelUNetModel(**CONFIG, low_res_conditioning=True)
    mask = torch.tensor([[True] * 4, [True] * 4, [False] * 4])
    model(**make_inputs(low_res=True), conditioning_mask=mask).sample.square().mean().backward()
    without_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without_gradient == {"garment_upsamplers.1.conv.weight", "garment_upsamplers.1.conv.bias"}
    assert without_gradient == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_attention_processors_and_back_ends(unet):
    model = copy.deepcopy(unet)
    # 3 blocks down and 3 up with two attentions each, and one resampler layer per pose.
    assert len(model.attn_processors) == 14
    assert all(isinstance(processor, ReferenceAttentionProcessor) for processor in model.attn_processors.values())
    expected = run(model, make_inputs())

    class ZeroProcessor(ReferenceAttentionProcessor):
        def __call__(self, attention, hidden_states, *args):
            return torch.zeros_like(hidden_states)

    model.set_attn_processor(ZeroProcessor())
    assert not torch.allclose(run(model, make_inputs()), expected)
    model.set_attn_processor(ReferenceAttentionProcessor())
    model.set_attention_backend("native")
    assert {p._attention_backend for p in model.attn_processors.values()} == {AttentionBackendName.NATIVE}
    model.fuse_qkv_projections()
    assert torch.equal(run(model, make_inputs()), expected)


def test_blocks_return_contiguous_maps(unet):
    model = copy.deepcopy(unet)
    layouts = []
    for module in model.modules():
        if isinstance(module, ReferenceBlock):
            module.register_forward_hook(lambda module, args, output: layouts.append(output.is_contiguous()))
    run(model, make_inputs())
    assert len(layouts) == 16 - 1 and all(layouts)


def test_lora_adapter(unet):
    model = copy.deepcopy(unet)
    expected = run(model, make_inputs())
    targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1"]
    model.add_adapter(LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
    adapted = run(model, make_inputs())
    assert not torch.allclose(adapted, expected)
    model.disable_adapters()
    assert relative_error(run(model, make_inputs()), expected) < 1e-6


def test_layerwise_casting(unet):
    model = copy.deepcopy(unet)
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert model.down_blocks[1][0].residual_block.conv1.weight.dtype == torch.float8_e4m3fn
    assert model.conv_in.weight.dtype == model.time_embedding.linear_1.weight.dtype == torch.float32
    assert relative_error(run(model, make_inputs()), run(unet, make_inputs())) < 0.1


def test_offload_to_disk(unet, tmp_path):
    unet.save_pretrained(tmp_path)
    model = ReferenceParallelUNetModel.from_pretrained(
        tmp_path, device_map="auto", max_memory={"cpu": 250_000}, offload_folder=tmp_path / "offload"
    )
    assert set(model.hf_device_map.values()) == {"cpu", "disk"}
    inputs = make_inputs()
    with torch.no_grad():
        features = model.encode_garment(**without(inputs, "sample", "agnostic_image"))
    cached = {**without(inputs, "garment_image"), "garment_features": features}
    for output in (run(model, inputs), run(model, cached)):
        assert relative_error(output, run(unet, inputs)) < 1e-6


@pytest.mark.parametrize("offload_type", ["leaf_level", "block_level"])
def test_group_offload(unet, offload_type):
    model = copy.deepcopy(unet)
    cpu = torch.device("cpu")
    model.enable_group_offload(
        onload_device=cpu, offload_device=cpu, offload_type=offload_type, num_blocks_per_group=1
    )
    assert relative_error(run(model, make_inputs()), run(unet, make_inputs())) < 1e-6


def test_compiles_as_one_graph(shallow_unet):
    inputs = make_inputs(low_res=True)
    compiled = torch.compile(copy.deepcopy(shallow_unet), fullgraph=True, backend="eager")
    assert relative_error(run(compiled, inputs), run(shallow_unet, inputs)) < 1e-6


def test_exports(shallow_unet):
    inputs = make_inputs(low_res=True)
    with torch.no_grad():
        exported = torch.export.export(shallow_unet, (), inputs)
    assert relative_error(run(exported.module(), inputs), run(shallow_unet, inputs)) < 1e-6


def test_returns_a_tuple_on_request(unet):
    with torch.no_grad():
        output = unet(**make_inputs(), return_dict=False)
    assert isinstance(output, tuple) and torch.equal(output[0], run(unet, make_inputs()))
