# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters of both networks, attention and convolutions, through files, the Hub and fusing."""

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tiny_cascade import cascade_inputs, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline


STAGES = ("base_unet", "sr_unet")
CONFIG = LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"])


def images(pipe: TryOnCascadePipeline) -> torch.Tensor:
    return pipe(**cascade_inputs()).images


def add_random_adapters(pipe: TryOnCascadePipeline, stages: tuple[str, ...] = STAGES, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name in stages:
        unet = getattr(pipe, name)
        unet.add_adapter(CONFIG)
        for key, parameter in unet.named_parameters():
            if "lora_" in key:
                parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)


def adapter_layers(pipe: TryOnCascadePipeline, stages: tuple[str, ...] = STAGES) -> dict:
    layers = {f"{name}_lora_layers": get_peft_model_state_dict(getattr(pipe, name)) for name in stages}
    metadata = {f"{name}_lora_adapter_metadata": CONFIG.to_dict() for name in stages}
    return {**layers, **metadata}


@pytest.fixture(scope="module")
def trained() -> TryOnCascadePipeline:
    pipe = tiny_cascade()
    add_random_adapters(pipe)
    return pipe


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("lora")
    TryOnCascadePipeline.save_lora_weights(path, **adapter_layers(trained))
    return path


def test_the_file_holds_both_networks_with_attention_and_convolutions(folder):
    keys = load_file(folder / "pytorch_lora_weights.safetensors")
    for stage in STAGES:
        for layer in ("to_q.lora_A.weight", "to_out.0.lora_B.weight", "conv1.lora_A.weight"):
            assert any(key.startswith(f"{stage}.") and key.endswith(layer) for key in keys)


def test_saved_adapters_give_the_trained_pipelines_images(trained, folder):
    pipe = tiny_cascade()
    plain = images(pipe)
    pipe.load_lora_weights(folder, adapter_name="dress")
    assert torch.equal(images(pipe), images(trained)) and not torch.equal(images(pipe), plain)
    assert pipe.get_active_adapters() == ["dress"]
    assert pipe.get_list_adapters() == {"base_unet": ["dress"], "sr_unet": ["dress"]}
    pipe.disable_lora()
    assert torch.equal(images(pipe), plain)
    pipe.enable_lora()
    assert torch.equal(images(pipe), images(trained))
    pipe.unload_lora_weights()
    assert torch.equal(images(pipe), plain)


def test_adapters_come_from_the_hub_and_from_a_state_dict(trained, folder, fake_hub):
    fake_hub.upload_folder("me/lora", folder)
    for source in ("me/lora", load_file(folder / "pytorch_lora_weights.safetensors")):
        pipe = tiny_cascade()
        pipe.load_lora_weights(source)
        # A state dict has no alpha beside it: the rank stands in, half of this one's.
        if source == "me/lora":
            assert torch.equal(images(pipe), images(trained))
        else:
            pipe.set_adapters(pipe.get_active_adapters(), 2.0)
            torch.testing.assert_close(images(pipe), images(trained), rtol=0, atol=1e-3)


def test_adapters_of_one_stage_leave_the_other(trained, tmp_path):
    TryOnCascadePipeline.save_lora_weights(tmp_path, **adapter_layers(trained, ("sr_unet",)))
    pipe = tiny_cascade()
    pipe.load_lora_weights(tmp_path)
    assert list(pipe.get_list_adapters()) == ["sr_unet"]
    output, plain = pipe(**cascade_inputs()), tiny_cascade()(**cascade_inputs())
    assert torch.equal(output.stages["base"], plain.stages["base"])
    assert not torch.equal(output.images, plain.images)


def test_adapters_can_be_weighted_and_joined(trained, folder, tmp_path):
    other = tiny_cascade()
    add_random_adapters(other, seed=1)
    TryOnCascadePipeline.save_lora_weights(tmp_path, **adapter_layers(other))
    pipe = tiny_cascade()
    plain = images(pipe)
    pipe.load_lora_weights(folder, adapter_name="first")
    pipe.load_lora_weights(tmp_path, adapter_name="second")
    pipe.set_adapters(["first", "second"], [1.0, 0.0])
    torch.testing.assert_close(images(pipe), images(trained), rtol=0, atol=1e-3)
    pipe.set_adapters("second")
    torch.testing.assert_close(images(pipe), images(other), rtol=0, atol=1e-3)
    pipe.delete_adapters(["first", "second"])
    assert torch.equal(images(pipe), plain)


def test_fused_adapters_act_like_loaded_ones_and_can_be_taken_out(trained, folder):
    pipe = tiny_cascade()
    plain = images(pipe)
    pipe.load_lora_weights(folder)
    pipe.fuse_lora()
    assert pipe.num_fused_loras == 1
    torch.testing.assert_close(images(pipe), images(trained), rtol=0, atol=0.02)
    pipe.unfuse_lora()
    assert pipe.num_fused_loras == 0
    pipe.unload_lora_weights()
    torch.testing.assert_close(images(pipe), plain, rtol=0, atol=0.02)
    pipe.load_lora_weights(folder)
    pipe.fuse_lora(components=["sr_unet"], lora_scale=0.0)
    pipe.unload_lora_weights()


def test_weights_for_a_stage_that_is_not_loaded_are_left_out_with_a_warning(folder, caplog):
    pipe = tiny_cascade(with_sr=False)
    pipe.load_lora_weights(folder)
    assert "left out, the pipeline has no `sr_unet`" in caplog.text
    assert list(pipe.get_list_adapters()) == ["base_unet"]


@pytest.mark.parametrize(
    "keys, message",
    [
        (["unet.conv_in.lora_A.weight"], "got unet.conv_in.lora_A.weight"),
        (["base_unet.conv_in.weight"], "got base_unet.conv_in.weight"),
        ([], "got no weights"),
    ],
)
def test_foreign_weights_are_refused(keys, message, tmp_path):
    state_dict = {key: torch.zeros(2, 2) for key in keys}
    save_file(state_dict, tmp_path / "pytorch_lora_weights.safetensors")
    for source in (state_dict, tmp_path):
        with pytest.raises(ValueError, match=message):
            tiny_cascade().load_lora_weights(source)


def test_pickles_are_not_read(trained, tmp_path):
    torch.save({"base_unet.conv_in.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "pytorch_lora_weights.bin")
    with pytest.raises((OSError, ValueError)):
        tiny_cascade().load_lora_weights(tmp_path)


def test_unknown_arguments_and_nothing_to_save_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="Unknown arguments .*scale"):
        tiny_cascade().load_lora_weights(folder, scale=0.5)
    with pytest.raises(ValueError, match="One of `base_unet_lora_layers` and `sr_unet_lora_layers`"):
        TryOnCascadePipeline.save_lora_weights(tmp_path)
