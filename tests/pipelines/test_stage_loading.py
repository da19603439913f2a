# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Stages loaded in turn: the same images, one network in memory at a time, and clear errors."""

import gc
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tiny_cascade import TINY_REFERENCE, cascade_inputs, random_unet, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.inference import load_pipeline, with_scheduler
from diffusers_tryon.pipelines.stage_loading import load_in_turn


WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cascade")
    # Its networks are of different sizes, so that the bytes in memory tell which it is.
    pipe = tiny_cascade()
    pipe.sr_unet = random_unet("tiny-sr", 1, sample_size=32, layers_per_block=(2, 2), garment_layers_per_block=(2, 2))
    pipe.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def plain(folder) -> TryOnCascadePipeline:
    return quiet(TryOnCascadePipeline.from_pretrained(folder))


def quiet(pipe: TryOnCascadePipeline) -> TryOnCascadePipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe: TryOnCascadePipeline, **changes) -> torch.Tensor:
    return quiet(pipe)(**{**cascade_inputs(), **changes}).images


def is_empty(pipe: TryOnCascadePipeline) -> bool:
    return all(tensor.is_meta for unet in (pipe.base_unet, pipe.sr_unet) for tensor in unet.state_dict().values())


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each network's weights, as they lie on disk."""
    return {
        name: sum(tensor.nbytes for tensor in load_file(folder / name / WEIGHTS).values())
        for name in ("base_unet", "sr_unet")
    }


class Parameters:
    """The bytes of all parameters in this process beyond those at the start, found by Python's garbage collector."""

    def __init__(self):
        gc.collect()
        self.at_start = {id(parameter): parameter for parameter in self._all()}

    def new_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self._all() if id(parameter) not in self.at_start)

    def _all(self) -> list[torch.nn.Parameter]:
        # No `isinstance`: it would wake lazy objects that have nothing to do with this.
        found = [item for item in gc.get_objects() if type(item) is torch.nn.Parameter]
        return [parameter for parameter in found if not parameter.is_meta]


def test_one_network_is_in_memory_at_a_time_and_none_between_calls(folder):
    expected, parameters, seen = sizes(folder), Parameters(), []
    assert expected["base_unet"] != expected["sr_unet"]

    def record(pipe, step, timestep, tensors):
        if step in (2, 4):  # the last of each stage
            seen.append(parameters.new_bytes())
        return tensors

    def prepare(name, unet):
        seen.append(parameters.new_bytes())

    pipe = quiet(load_in_turn(folder, prepare=prepare))
    assert parameters.new_bytes() == 0
    pipe(**cascade_inputs(), callback_on_step_end=record)
    assert parameters.new_bytes() == 0
    assert seen == [expected["base_unet"]] * 2 + [expected["sr_unet"]] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_images_are_those_of_the_whole_pipeline(folder, dtype):
    whole = TryOnCascadePipeline.from_pretrained(folder, dtype=dtype)
    pipe = load_in_turn(folder, dtype=dtype)
    assert pipe.dtype == dtype and pipe.device == torch.device("cpu")
    expected = quiet(whole)(**cascade_inputs(batch=2)).stages
    stages = quiet(pipe)(**cascade_inputs(batch=2)).stages
    assert all(torch.equal(stages[name], expected[name]) for name in ("base", "sr"))


def test_networks_of_the_reference_kind_from_pickles(tmp_path):
    pipe = tiny_cascade(with_sr=False)
    pipe.base_unet = random_unet("reference-128", 0, sample_size=16, **TINY_REFERENCE)
    pipe.save_pretrained(tmp_path, safe_serialization=False)
    expected = images(TryOnCascadePipeline.from_pretrained(tmp_path, dtype=torch.bfloat16))
    assert torch.equal(images(load_in_turn(tmp_path, torch.bfloat16)), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_networks_come_and_go_on_a_gpu(folder):
    whole, pipe = TryOnCascadePipeline.from_pretrained(folder).to("cuda"), load_in_turn(folder, device="cuda")
    assert pipe.device.type == "cuda"
    assert torch.equal(images(pipe), images(whole)) and is_empty(pipe)


def test_garments_are_encoded_by_one_network_after_the_other(folder, plain):
    inputs = cascade_inputs()
    garment = {name: inputs.pop(name) for name in ("garment_image", "garment_pose")}
    pipe = load_in_turn(folder)
    encoded = pipe.encode_garment(**garment)
    assert is_empty(pipe)
    expected = plain.encode_garment(**garment).features
    assert all(
        torch.equal(feature, other)
        for name, features in encoded.features.items()
        for maps, others in zip(features, expected[name])
        for feature, other in zip(maps, others)
    )
    assert torch.equal(quiet(pipe)(**inputs, garment_features=encoded).images, images(plain))


def test_only_the_stages_that_run_are_read(folder, plain):
    read = []
    pipe = load_in_turn(folder, prepare=lambda name, unet: read.append(name))
    base = images(pipe, last_stage="base")
    assert read == ["base_unet"]
    assert torch.equal(images(pipe, low_res_latents=base), images(plain))
    assert read == ["base_unet", "sr_unet"]


def test_other_schedulers_share_the_networks(folder, plain):
    pipe = load_in_turn(folder)
    other = with_scheduler(pipe, "ddim")
    assert torch.equal(images(other), images(with_scheduler(plain, "ddim")))
    assert other.device == torch.device("cpu") and other.base_unet is pipe.base_unet
    assert torch.equal(images(pipe), images(plain)) and is_empty(pipe)


def test_the_hub_and_its_cache(folder, plain, fake_hub):
    fake_hub.upload_folder("me/cascade", folder)
    assert torch.equal(images(load_in_turn("me/cascade")), images(plain))
    asked = len(fake_hub.requests)
    assert torch.equal(images(load_in_turn("me/cascade", local_files_only=True)), images(plain))
    assert len(fake_hub.requests) == asked


def test_a_variant_is_read_where_a_network_has_it(tmp_path, plain):
    plain.save_pretrained(tmp_path)
    plain.base_unet.save_pretrained(tmp_path / "base_unet", variant="ema")
    (tmp_path / "base_unet" / WEIGHTS).unlink()
    assert torch.equal(images(load_in_turn(tmp_path, variant="ema")), images(plain))


def test_without_mapping_some_weights_stay_in_float32_too(tmp_path):
    pipe = tiny_cascade(with_sr=False)
    pipe.base_unet = random_unet("reference-128", 0, sample_size=16, **TINY_REFERENCE)
    pipe.save_pretrained(tmp_path)
    expected = TryOnCascadePipeline.from_pretrained(tmp_path, dtype=torch.bfloat16).base_unet.state_dict()
    seen = []

    def prepare(name, unet):
        weights = unet.state_dict()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in weights.items())
        seen.extend(tensor.dtype for tensor in weights.values())

    images(load_in_turn(tmp_path, torch.bfloat16, prepare=prepare, disable_mmap=True))
    assert set(seen) == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "40KB"}], ids=["one file", "shards"])
@pytest.mark.parametrize("variant", [None, "ema"])
def test_without_mapping_the_weights_are_those_of_the_files(plain, tmp_path, shards, variant):
    plain.save_pretrained(tmp_path, variant=variant, **shards)
    seen = []

    def prepare(name, unet):
        expected = getattr(plain, name).state_dict()
        weights = unet.state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key].to(torch.bfloat16)) for key, tensor in weights.items())
        seen.append((unet.training, str(tmp_path) in Path("/proc/self/maps").read_text()))

    pipe = load_in_turn(tmp_path, dtype=torch.bfloat16, prepare=prepare, variant=variant, disable_mmap=True)
    assert torch.isfinite(images(pipe)).all()
    assert seen == [(False, False)] * 2


def test_a_pipeline_of_one_stage(tmp_path):
    pipe = tiny_cascade(with_sr=False)
    pipe.save_pretrained(tmp_path)
    loaded = load_in_turn(tmp_path)
    assert loaded.sr_unet is None
    assert torch.equal(images(loaded), images(pipe))


# Adapters and other preparations


def test_adapters_are_refused_here_and_loaded_by_prepare(folder, tmp_path):
    trained = tiny_cascade(with_sr=False).base_unet
    trained.add_adapter(LoraConfig(r=2, target_modules=["to_q", "conv1"]))
    layers = {
        key: 0.2 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
        for key, tensor in get_peft_model_state_dict(trained).items()
    }
    TryOnCascadePipeline.save_lora_weights(tmp_path, base_unet_lora_layers=layers)
    whole = TryOnCascadePipeline.from_pretrained(folder)
    without = images(whole)
    whole.load_lora_weights(tmp_path)
    with pytest.raises(ValueError, match="`prepare` of `load_in_turn`, with `unet.load_lora_adapter"):
        load_in_turn(folder).load_lora_weights(tmp_path)

    adapter, _ = TryOnCascadePipeline.lora_state_dict(tmp_path)

    def prepare(name, unet):
        if name == "base_unet":
            unet.load_lora_adapter(adapter, prefix=name)

    pipe = load_in_turn(folder, prepare=prepare)
    for _ in range(2):
        assert torch.equal(images(pipe), images(whole)) and not torch.equal(images(pipe), without)


def test_prepare_may_not_change_the_dtype(folder, plain):
    pipe = load_in_turn(folder, prepare=lambda name, unet: torch.nn.Module.to(unet, torch.bfloat16))
    with pytest.raises(ValueError, match="`prepare` must leave the dtype .* give `dtype` to `load_in_turn`"):
        images(pipe)
    assert is_empty(pipe)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="packing needs a torch with oneDNN")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_optimized_networks_in_turn_are_those_optimized_whole(plain, tmp_path, dtype):
    plain.save_pretrained(tmp_path)
    options = {"dtype": dtype, "packed": True, "chunked_attention": True, "memory_kept": False}
    whole, pipe = TryOnCascadePipeline.from_pretrained(tmp_path), load_in_turn(tmp_path)
    assert whole.optimize(**options) == pipe.optimize(**options)
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(), "the file is not mapped beside packed weights"
    for _ in range(2):
        assert torch.equal(images(pipe), images(whole)) and is_empty(pipe)
    assert pipe.dtype == dtype


def test_what_becomes_another_dtype_is_not_mapped_beside_its_copy(plain, tmp_path):
    plain.save_pretrained(tmp_path)
    mapped = []
    for dtype in (torch.float32, torch.bfloat16):
        pipe = load_in_turn(
            tmp_path, dtype, prepare=lambda *_: mapped.append(str(tmp_path) in Path("/proc/self/maps").read_text())
        )
        images(pipe, last_stage="base")
    assert mapped == [True, False]


def test_networks_in_turn_are_not_compiled(folder):
    pipe = load_in_turn(folder)
    with pytest.raises(ValueError, match="loaded in turn are not compiled"):
        pipe.optimize(compiled=True, memory_kept=False)
    assert not pipe.optimize(memory_kept=False).compiled


# What is refused


def test_what_needs_the_weights_in_memory_is_refused(folder, tmp_path):
    pipe = load_in_turn(folder)
    with pytest.raises(ValueError, match="cannot be saved, .* copy the folder"):
        pipe.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    for move in (lambda: pipe.to("cpu"), lambda: pipe.enable_model_cpu_offload(device="cpu")):
        with pytest.raises(ValueError, match="cannot be moved, cast or offloaded: give `device` and `dtype`"):
            move()


@pytest.mark.parametrize("disable_mmap", [False, True], ids=["mapped", "read"])
@pytest.mark.parametrize("fault", ["gone", "truncated", "incomplete"])
def test_weights_that_cannot_be_read_are_named_and_nothing_is_lost(plain, tmp_path, fault, disable_mmap):
    plain.save_pretrained(tmp_path)
    path = tmp_path / "sr_unet" / WEIGHTS
    content, weights = path.read_bytes(), load_file(path)
    if fault == "incomplete":
        save_file({key: tensor for key, tensor in weights.items() if key != "conv_in.bias"}, path)
    elif fault == "truncated":
        path.write_bytes(content[:-1000])
    else:
        path.unlink()
    pipe = load_in_turn(tmp_path, disable_mmap=disable_mmap)
    missing = "lack conv_in.bias" if fault == "incomplete" else WEIGHTS
    with pytest.raises(OSError, match=f"(?s)`sr_unet` cannot be read from {tmp_path / 'sr_unet'}: .*{missing}"):
        images(pipe)
    assert is_empty(pipe)
    torch.testing.assert_close(images(pipe, last_stage="base"), images(plain, last_stage="base"), rtol=0, atol=1e-3)
    path.write_bytes(content)
    torch.testing.assert_close(images(pipe), images(plain), rtol=0, atol=1e-3)


def test_a_network_that_is_not_of_this_package_is_refused(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    index["sr_unet"] = ["diffusers", "UNet2DModel"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name in ("base_unet", "sr_unet"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(ValueError, match="`sr_unet` is a UNet2DModel"):
        load_in_turn(tmp_path)


def test_a_folder_without_a_configuration_is_refused(folder, tmp_path):
    (tmp_path / "model_index.json").write_text((folder / "model_index.json").read_text())
    with pytest.raises(OSError, match="base_unet"):
        load_in_turn(tmp_path)


# By names


def test_the_command_lines_loading(folder, plain):
    pipe = load_pipeline(str(folder), scheduler="ddim", device="cpu", low_memory=True)
    assert is_empty(pipe) and pipe.device.type == "cpu"
    assert torch.equal(images(pipe), images(with_scheduler(plain, "ddim")))
