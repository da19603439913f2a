# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Both networks do what Diffusers expects of a model: loading, precision, memory, adapters and attention back ends.

Compilation and export are in test_compile_export.py.
"""

import json
from collections import Counter

import accelerate
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from diffusers.models.attention import AttentionModuleMixin
from diffusers.training_utils import EMAModel
from networks import network_inputs, split_garment, tiny_network
from peft import LoraConfig
from torch.utils.checkpoint import checkpoint

from diffusers_tryon import ParallelUNetModel, ReferenceParallelUNetModel


pytestmark = pytest.mark.parametrize("model_class", [ParallelUNetModel, ReferenceParallelUNetModel])


@torch.no_grad()
def run(model: torch.nn.Module, inputs: dict) -> torch.Tensor:
    return model(**inputs).sample


@torch.no_grad()
def run_encoded(model: torch.nn.Module, inputs: dict) -> torch.Tensor:
    return model(**split_garment(model, inputs)).sample


def cast(inputs: dict, dtype: torch.dtype) -> dict:
    """Pictures in `dtype`; poses and levels stay float32, as the pipeline hands them over."""
    pictures = ("sample", "agnostic_image", "garment_image", "low_res_image")
    return {name: value.to(dtype) if name in pictures else value for name, value in inputs.items()}


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got.float() - expected).norm() / expected.norm()).item()


def blocks(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in model.modules() if type(module).__name__ in model._repeated_blocks]


# Saving and loading


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_saved_network_is_the_same_one_and_holds_no_pickle(model_class, tmp_path, low_cpu_mem_usage):
    model = tiny_network(model_class, low_res_conditioning=True)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    if model_class._keep_in_fp32_modules and not low_cpu_mem_usage:
        with pytest.raises(ValueError, match="`low_cpu_mem_usage` cannot be False"):
            model_class.from_pretrained(tmp_path, low_cpu_mem_usage=False)
        return
    loaded = model_class.from_pretrained(tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    inputs = network_inputs(model)
    torch.testing.assert_close(run(loaded, inputs), run(model, inputs))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_and_variants_load(model_class, tmp_path, variant):
    model = tiny_network(model_class)
    if variant is not None:
        model.to(torch.float16)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    model.save_pretrained(tmp_path, max_shard_size=size // 3, variant=variant)
    shards = list(tmp_path.glob("*-of-*.safetensors"))
    assert len(shards) >= 3 and len(list(tmp_path.glob("*.index.*json"))) == 1
    assert all((variant in path.name) == (variant is not None) for path in shards if variant)
    loaded = model_class.from_pretrained(tmp_path, variant=variant)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.float(), rtol=0, atol=0)
    if variant is not None:
        with pytest.raises(OSError, match="bf16"):
            model_class.from_pretrained(tmp_path, variant="bf16")


def test_config_survives_a_non_square_size(model_class, tmp_path):
    model = tiny_network(model_class, sample_size=(64, 48))
    model.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["_class_name"] == model_class.__name__ and stored["sample_size"] == [64, 48]
    loaded = model_class.from_pretrained(tmp_path)
    inputs = network_inputs(model, size=(16, 24))
    torch.testing.assert_close(run(loaded, inputs), run(model, inputs))


# Precision


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_weights_work_and_stay_close(model_class, tmp_path, dtype, tolerance):
    model = tiny_network(model_class, low_res_conditioning=True)
    model.save_pretrained(tmp_path)
    inputs = network_inputs(model)
    half = model_class.from_pretrained(tmp_path, dtype=dtype)
    kept = tuple(model_class._keep_in_fp32_modules or ())
    for name, parameter in half.named_parameters():
        assert parameter.dtype == (torch.float32 if name.endswith(kept) and kept else dtype), name
    got = run(half, cast(inputs, dtype))
    assert got.dtype == dtype and got.isfinite().all()
    assert 0 < relative_error(got, run(model, inputs)) < tolerance
    assert torch.equal(run_encoded(half, cast(inputs, dtype)), got)


def test_autocast_of_float32_weights_works_and_stays_close(model_class):
    model = tiny_network(model_class, low_res_conditioning=True)
    inputs = network_inputs(model)
    with torch.autocast("cpu", torch.bfloat16):
        got = run(model, inputs)
        assert torch.equal(run_encoded(model, inputs), got)
    assert 0 < relative_error(got, run(model, inputs)) < 0.05


@pytest.mark.parametrize("compute_dtype", [torch.float32, torch.bfloat16])
def test_layerwise_casting_stores_eight_bits_and_computes_in_more(model_class, compute_dtype):
    model = tiny_network(model_class, low_res_conditioning=True)
    inputs = network_inputs(model)
    expected = run(model, inputs)
    model.to(compute_dtype).enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype)
    for name, parameter in model.named_parameters():
        # The picture's way in and out, the norms and the small embeddings keep their precision.
        kept = any(part in name for part in ("conv_in", "conv_out", "norm", "embedding"))
        if kept or name.endswith(".weight"):
            assert parameter.dtype == (compute_dtype if kept else torch.float8_e4m3fn), name
    got = run(model, cast(inputs, compute_dtype))
    assert got.dtype == compute_dtype
    # Eight bits keep three bits behind the leading one: every weight is off by up to 6 %.
    assert 0.005 < relative_error(got, expected) < 0.15
    assert torch.equal(run_encoded(model, cast(inputs, compute_dtype)), got)
    assert {parameter.dtype for parameter in blocks(model)[0].residual_block.conv1.parameters()} == {
        torch.float8_e4m3fn
    }


def test_channels_last_weights_change_nothing_and_outputs_stay_contiguous(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model, size=(16, 24))
    strided = []
    for block in blocks(model):
        block.register_forward_hook(lambda block, arguments, output: strided.append(not output.is_contiguous()))
    expected = run(model, inputs)
    assert expected.is_contiguous() and len(strided) == len(blocks(model)) and not any(strided)
    got = run(model.to(memory_format=torch.channels_last), inputs)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


# Memory


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}], ids=str)
def test_device_maps_load_through_empty_weights(model_class, tmp_path, device_map):
    model = tiny_network(model_class)
    model.save_pretrained(tmp_path)
    inputs = network_inputs(model)
    loaded = model_class.from_pretrained(tmp_path, device_map=device_map)
    assert {str(device) for device in loaded.hf_device_map.values()} == {"cpu"}
    torch.testing.assert_close(run(loaded, inputs), run(model, inputs))


def test_weights_beyond_the_memory_limit_stay_on_disk(model_class, tmp_path):
    model = tiny_network(model_class)
    model.save_pretrained(tmp_path / "model")
    inputs = network_inputs(model)
    limit = sum(parameter.numel() * 4 for parameter in model.parameters()) // 2
    loaded = model_class.from_pretrained(
        tmp_path / "model", device_map="auto", max_memory={"cpu": limit}, offload_folder=tmp_path / "disk"
    )
    assert set(loaded.hf_device_map.values()) == {"cpu", "disk"}
    assert any(parameter.is_meta for parameter in loaded.parameters())
    torch.testing.assert_close(run(loaded, inputs), run(model, inputs))
    torch.testing.assert_close(run_encoded(loaded, inputs), run(model, inputs))
    assert any(parameter.is_meta for parameter in loaded.parameters())


def test_modules_that_must_lie_on_one_device_are_not_split(model_class):
    """A module's inputs are moved to its device; its own parameters, beside its children's, are not."""
    model = tiny_network(model_class)
    whole = [name for name, module in model.named_modules() if type(module).__name__ in model_class._no_split_modules]
    for name, module in model.named_modules():
        own, all_of_it = list(module.parameters(recurse=False)), list(module.parameters())
        if own and len(own) < len(all_of_it):
            assert any(name == part or name.startswith(f"{part}.") for part in whole), name
    assert {type(block).__name__ for block in blocks(model)} <= set(model_class._no_split_modules)


def test_network_spread_over_devices_meets_only_inside_its_modules(model_class):
    """Weights beyond the fine levels lie on another device: here the meta device, from which nothing can come back."""
    model = tiny_network(model_class, low_res_conditioning=True)
    inputs = network_inputs(model)
    for name, module in model.named_modules():
        is_near = "embedding" in name or "context" in name or "conv_in" in name or "down_blocks.0" in name
        if not is_near and list(module.parameters(recurse=False)):
            module.to("meta")
    for name, module in model.named_modules():
        devices = {parameter.device.type for parameter in module.parameters()}
        if devices == {"meta"} and (type(module).__name__ in model_class._no_split_modules or name.count(".") < 2):
            add_hook_to_module(module, AlignDevicesHook(execution_device="meta"))
    mask = torch.tensor([[True, False, True, True], [True] * 4])
    output = run(model, {**inputs, "conditioning_mask": mask})
    assert output.device.type == "meta" and output.shape == inputs["sample"].shape


def test_sequential_offload_brings_every_weight_in_time(model_class):
    model = tiny_network(model_class, low_res_conditioning=True)
    inputs = network_inputs(model)
    expected = run(model, inputs)
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert all(parameter.is_meta for parameter in model.parameters())
    # The garment stream first: it must not lean on what `forward` brought.
    torch.testing.assert_close(run_encoded(model, inputs), expected)
    torch.testing.assert_close(run(model, inputs), expected)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_garment_stream_called_alone_triggers_the_offload_hook(model_class):
    class Recorder(ModelHook):
        calls = 0

        def pre_forward(self, module, *args, **kwargs):
            self.calls += 1
            return args, kwargs

    model, hook = tiny_network(model_class), Recorder()
    inputs = network_inputs(model)
    add_hook_to_module(model, hook)
    encoded = split_garment(model, inputs)
    assert hook.calls == 1
    run(model, encoded)
    assert hook.calls == 2


def test_leaf_level_group_offload_brings_every_weight_in_time(model_class, tmp_path):
    model = tiny_network(model_class, low_res_conditioning=True)
    inputs = network_inputs(model)
    expected = run(model, inputs)
    # On a machine without an accelerator, only groups that rest on disk really leave the memory.
    model.enable_group_offload(
        onload_device=torch.device("cpu"), offload_type="leaf_level", offload_to_disk_path=str(tmp_path)
    )
    assert len(list(tmp_path.glob("*.safetensors"))) > len(blocks(model))
    for call in (run_encoded, run):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.data.fill_(float("nan"))
        torch.testing.assert_close(call(model, inputs), expected)


# Training


def gradients(model: torch.nn.Module, inputs: dict) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(**inputs).sample.square().mean().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_gradient_checkpointing_recomputes_every_block_and_gives_the_same_gradients(model_class):
    model = tiny_network(model_class, low_res_conditioning=True).train()
    inputs = network_inputs(model)
    expected = gradients(model, inputs)

    checkpointed, runs = [], Counter()

    def counting_checkpoint(module, *args):
        checkpointed.append(module)
        return checkpoint(module, *args, use_reentrant=False)

    for block in blocks(model):
        block.register_forward_pre_hook(lambda block, arguments: runs.update([block]))
    model.enable_gradient_checkpointing(counting_checkpoint)
    assert model.is_gradient_checkpointing
    got = gradients(model, inputs)
    assert set(blocks(model)) <= set(checkpointed) and len(checkpointed) == len(set(checkpointed))
    assert set(runs.values()) == {2}
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name])

    num_checkpointed = len(checkpointed)
    run(model, inputs)
    assert len(checkpointed) == num_checkpointed, "nothing is kept for a backward pass that cannot come"
    assert set(runs.values()) == {3}
    model.disable_gradient_checkpointing()
    gradients(model, inputs)
    assert set(runs.values()) == {4}


def test_training_and_inference_leave_nothing_on_the_modules(model_class):
    def state() -> dict:
        return {name: {key: str(value) for key, value in vars(module).items()} for name, module in modules.items()}

    model = tiny_network(model_class)
    modules = dict(model.named_modules())
    inputs = network_inputs(model)
    before, expected = state(), run(model, inputs)
    assert torch.equal(run(model.train(), inputs), expected)
    gradients(model, inputs)
    model.zero_grad()
    model.eval()
    run_encoded(model, inputs)
    assert state() == before
    assert torch.equal(run(model, inputs), expected)


def test_exponential_average_follows_saves_and_restores(model_class, tmp_path):
    model = tiny_network(model_class)
    start = {name: value.clone() for name, value in model.named_parameters()}
    ema = EMAModel(model.parameters(), decay=0.75, min_decay=0.75, model_cls=model_class, model_config=model.config)
    ema.step(model.parameters())  # the first step only copies
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    ema.step(model.parameters())
    ema.save_pretrained(tmp_path)
    restored = EMAModel.from_pretrained(tmp_path, model_cls=model_class)
    assert restored.optimization_step == 2
    restored.copy_to(model.parameters())
    for name, value in model.named_parameters():
        # Layers that are not trained are copied as they are.
        torch.testing.assert_close(value, start[name] + (0.25 if value.requires_grad else 1.0))


# Attention


def test_attention_processors_can_be_read_replaced_and_restored(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    attentions = [module for module in model.modules() if isinstance(module, AttentionModuleMixin)]
    processors, expected = dict(model.attn_processors), run(model, inputs)
    assert len(processors) == len(attentions) and all(name.endswith(".processor") for name in processors)
    processor_class = type(attentions[0].processor)

    class Doubled(processor_class):
        def __call__(self, *args, **kwargs):
            return 2 * super().__call__(*args, **kwargs)

    model.set_attn_processor(Doubled())
    assert {type(processor) for processor in model.attn_processors.values()} == {Doubled}
    assert not torch.allclose(run(model, inputs), expected)
    with pytest.raises(ValueError, match="number of processors"):
        model.set_attn_processor({name: Doubled() for name in list(processors)[1:]})
    model.set_attn_processor(processors)
    assert torch.equal(run(model, inputs), expected)


def test_attention_back_ends_can_be_chosen(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    expected = run(model, inputs)
    for backend in ("native", "_native_math"):
        model.set_attention_backend(backend)
        assert {str(processor._attention_backend.value) for processor in model.attn_processors.values()} == {backend}
        torch.testing.assert_close(run(model, inputs), expected, rtol=1e-4, atol=1e-5)
    model.reset_attention_backend()
    assert {processor._attention_backend for processor in model.attn_processors.values()} == {None}
    with pytest.raises(ValueError, match="backend"):
        model.set_attention_backend("abacus")


def test_every_attention_goes_through_the_dispatch(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    # A back end that is not made for the CPU must be asked, and refuse, once any of the attentions uses it.
    for processor in model.attn_processors.values():
        model.set_attention_backend("native")
        processor._attention_backend = "no such back end"
        with pytest.raises(ValueError, match="no such back end"):
            run(model, inputs)


def test_fusing_projections_is_declared_absent(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    names, expected = [name for name, _ in model.named_parameters()], run(model, inputs)
    model.fuse_qkv_projections()
    assert [name for name, _ in model.named_parameters()] == names
    assert torch.equal(run(model, inputs), expected)


# LoRA


LORA_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj", "conv1", "conv2"]


def add_random_adapter(model: torch.nn.Module, name: str = "default") -> None:
    model.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=LORA_TARGETS), adapter_name=name)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def test_lora_adapters_switch_fuse_and_delete(model_class):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    base = run(model, inputs)
    add_random_adapter(model)
    adapted_layers = {name.split(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name}
    assert {name.rsplit(".", 1)[-1] for name in adapted_layers} >= {"to_q", "add_k_proj", "conv1", "conv2", "0"}
    adapted = run(model, inputs)
    assert relative_error(adapted, base) > 0.05
    model.disable_adapters()
    torch.testing.assert_close(run(model, inputs), base)
    model.enable_adapters()
    torch.testing.assert_close(run(model, inputs), adapted)
    model.set_adapters("default", weights=0.0)
    torch.testing.assert_close(run(model, inputs), base)
    model.set_adapters("default", weights=1.0)
    model.fuse_lora()
    torch.testing.assert_close(run(model, inputs), adapted, rtol=1e-3, atol=1e-4)
    model.unfuse_lora()
    torch.testing.assert_close(run(model, inputs), adapted, rtol=1e-3, atol=1e-4)
    model.delete_adapters("default")
    torch.testing.assert_close(run(model, inputs), base, rtol=1e-3, atol=1e-4)
    assert not any("lora" in name for name, _ in model.named_parameters())


def test_lora_adapters_of_linear_and_convolution_layers_save_and_load(model_class, tmp_path):
    model = tiny_network(model_class)
    inputs = network_inputs(model)
    add_random_adapter(model, "house_style")
    expected = run(model, inputs)
    model.save_lora_adapter(tmp_path, adapter_name="house_style")
    assert {path.name for path in tmp_path.iterdir()} == {"pytorch_lora_weights.safetensors"}
    loaded = tiny_network(model_class)
    loaded.load_lora_adapter(tmp_path, prefix=None, adapter_name="house_style", use_safetensors=True)
    torch.testing.assert_close(run(loaded, inputs), expected)
    assert loaded.active_adapters() == ["house_style"]


def test_only_the_adapter_is_trained(model_class):
    model = tiny_network(model_class).requires_grad_(False)
    add_random_adapter(model)
    trained = {
        name for name, value in gradients(model.train(), network_inputs(model)).items() if value.abs().max() > 0
    }
    assert trained == {name for name, _ in model.named_parameters() if "lora_" in name}
