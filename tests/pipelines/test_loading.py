# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Saving and loading the pipeline: folders, the Hub, variants, dtypes, and stages that come later."""

from pathlib import Path

import huggingface_hub
import pytest
import torch
from tiny_cascade import cascade_inputs, tiny_cascade

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.schedules import swap_scheduler


def images(pipe: TryOnCascadePipeline) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(**cascade_inputs()).images


@pytest.fixture(scope="module")
def cascade() -> TryOnCascadePipeline:
    return tiny_cascade()


@pytest.fixture(scope="module")
def folder(cascade, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cascade")
    cascade.save_pretrained(path)
    return path


def test_a_folder_gives_the_same_pipeline(cascade, folder, caplog):
    loaded = TryOnCascadePipeline.from_pretrained(folder)
    assert not caplog.records, "loading needs no warnings"
    assert torch.equal(images(loaded), images(cascade))
    assert loaded.sr_scheduler is not loaded.base_scheduler
    assert sorted(path.name for path in folder.iterdir()) == [
        "base_scheduler", "base_unet", "image_noising_scheduler", "model_index.json", "sr_scheduler", "sr_unet",
    ]  # fmt: skip


def test_the_hub_gives_the_same_pipeline_and_then_the_cache_offline(cascade, fake_hub, tmp_path):
    cascade.save_pretrained(str(tmp_path / "pipe"), push_to_hub=True, repo_id="me/cascade")
    loaded = TryOnCascadePipeline.from_pretrained("me/cascade")
    assert torch.equal(images(loaded), images(cascade))
    asked = len(fake_hub.requests)
    offline = TryOnCascadePipeline.from_pretrained("me/cascade", local_files_only=True)
    assert torch.equal(images(offline), images(cascade))
    assert len(fake_hub.requests) == asked


def test_pushed_with_push_to_hub(cascade, fake_hub):
    cascade.push_to_hub("pushed")
    assert torch.equal(images(TryOnCascadePipeline.from_pretrained("me/pushed")), images(cascade))


def test_the_cache_serves_when_the_hub_is_gone(cascade, folder, fake_hub, monkeypatch):
    fake_hub.upload_folder("me/cascade", folder)
    TryOnCascadePipeline.from_pretrained("me/cascade")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(images(TryOnCascadePipeline.from_pretrained("me/cascade")), images(cascade))


def test_what_is_not_cached_cannot_be_loaded_offline(fake_hub):
    with pytest.raises(Exception, match="me/cascade|[Cc]ache"):
        TryOnCascadePipeline.from_pretrained("me/cascade", local_files_only=True)


def test_a_repository_without_a_pipeline_is_named(cascade, fake_hub, tmp_path):
    cascade.base_unet.save_pretrained(tmp_path / "unet")
    fake_hub.upload_folder("me/unet", tmp_path / "unet")
    with pytest.raises(ValueError, match="repository me/unet holds no pipeline: it has no model_index.json"):
        TryOnCascadePipeline.from_pretrained("me/unet")


def test_a_revision_is_loaded_as_it_was(cascade, folder, fake_hub, tmp_path):
    first = fake_hub.upload_folder("me/cascade", folder)
    other = tiny_cascade()
    with torch.no_grad():
        other.base_unet.conv_out.weight.mul_(2.0)
    other.save_pretrained(tmp_path / "other")
    fake_hub.upload_folder("me/cascade", tmp_path / "other")
    assert torch.equal(images(TryOnCascadePipeline.from_pretrained("me/cascade", revision=first)), images(cascade))
    assert torch.equal(images(TryOnCascadePipeline.from_pretrained("me/cascade")), images(other))


def test_only_the_components_that_are_needed_are_downloaded(cascade, folder, fake_hub, tmp_path):
    fake_hub.upload_folder("me/cascade", folder)
    loaded = TryOnCascadePipeline.from_pretrained(
        "me/cascade", base_unet=cascade.base_unet, sr_unet=None, sr_scheduler=None, cache_dir=tmp_path / "elsewhere"
    )
    assert loaded.base_unet is cascade.base_unet and loaded.sr_unet is None and loaded.sr_scheduler is None
    assert fake_hub.downloaded() == {
        "model_index.json",
        "base_scheduler/scheduler_config.json",
        "image_noising_scheduler/scheduler_config.json",
    }
    assert list((tmp_path / "elsewhere").glob("models--me--cascade"))


def test_a_variant_is_downloaded_alone(fake_hub, tmp_path):
    pipe = tiny_cascade()
    pipe.save_pretrained(tmp_path / "pipe")
    half = tiny_cascade().to(torch.float16)
    half.save_pretrained(tmp_path / "pipe", variant="fp16")
    fake_hub.upload_folder("me/cascade", tmp_path / "pipe")
    loaded = TryOnCascadePipeline.from_pretrained("me/cascade", variant="fp16", dtype=torch.float16)
    weights = {path for path in fake_hub.downloaded() if path.endswith(".safetensors")}
    assert weights == {f"{name}_unet/diffusion_pytorch_model.fp16.safetensors" for name in ("base", "sr")}
    assert loaded.base_unet.dtype == torch.float16
    assert torch.equal(loaded.base_unet.conv_out.weight, half.base_unet.conv_out.weight)
    with pytest.raises(ValueError, match="variant=bf16"):
        TryOnCascadePipeline.from_pretrained("me/cascade", variant="bf16")


def test_a_component_without_the_variant_comes_plain(fake_hub, tmp_path):
    pipe = tiny_cascade()
    pipe.save_pretrained(tmp_path / "pipe")
    pipe.base_unet.save_pretrained(tmp_path / "pipe" / "base_unet", variant="ema")
    fake_hub.upload_folder("me/cascade", tmp_path / "pipe")
    TryOnCascadePipeline.from_pretrained("me/cascade", variant="ema")
    weights = {path for path in fake_hub.downloaded() if path.endswith(".safetensors")}
    assert weights == {
        "base_unet/diffusion_pytorch_model.ema.safetensors",
        "sr_unet/diffusion_pytorch_model.safetensors",
    }


def test_sharded_weights_come_from_the_hub(cascade, fake_hub, tmp_path):
    cascade.save_pretrained(tmp_path / "pipe", max_shard_size="40KB")
    assert len(list((tmp_path / "pipe" / "base_unet").glob("*.safetensors"))) > 1
    fake_hub.upload_folder("me/sharded", tmp_path / "pipe")
    loaded = TryOnCascadePipeline.from_pretrained("me/sharded")
    for name in ("base_unet", "sr_unet"):
        weights = getattr(cascade, name).state_dict()
        assert all(torch.equal(tensor, weights[key]) for key, tensor in getattr(loaded, name).state_dict().items())
    torch.testing.assert_close(images(loaded), images(cascade), rtol=0, atol=1e-3)


def test_pickled_weights_are_only_taken_where_there_are_no_others(cascade, fake_hub, tmp_path):
    cascade.save_pretrained(tmp_path / "pipe", safe_serialization=False)
    fake_hub.upload_folder("me/pickled", tmp_path / "pipe")
    assert torch.equal(images(TryOnCascadePipeline.from_pretrained("me/pickled")), images(cascade))
    cascade.save_pretrained(tmp_path / "pipe")
    fake_hub.upload_folder("me/both", tmp_path / "pipe")
    fake_hub.requests.clear()
    TryOnCascadePipeline.from_pretrained("me/both")
    assert not [path for path in fake_hub.downloaded() if path.endswith(".bin")]


def test_dtypes_by_component(folder):
    loaded = TryOnCascadePipeline.from_pretrained(folder, dtype={"sr_unet": torch.bfloat16, "default": torch.float32})
    assert loaded.base_unet.dtype == torch.float32 and loaded.sr_unet.dtype == torch.bfloat16
    output = loaded(**cascade_inputs())
    assert output.images.dtype == torch.float32 and torch.isfinite(output.images).all()


def test_device_map(cascade, folder):
    loaded = TryOnCascadePipeline.from_pretrained(folder, device_map="balanced")
    assert torch.equal(images(loaded), images(cascade))


def test_a_base_only_pipeline_round_trips(fake_hub, tmp_path):
    pipe = tiny_cascade(with_sr=False)
    pipe.save_pretrained(str(tmp_path / "base"), push_to_hub=True, repo_id="me/base")
    assert not (tmp_path / "base" / "sr_unet").exists()
    for source in (tmp_path / "base", "me/base"):
        loaded = TryOnCascadePipeline.from_pretrained(source)
        assert list(loaded(**cascade_inputs()).stages) == ["base"]
        assert torch.equal(images(loaded), images(pipe))


@pytest.mark.parametrize("how", ["attributes", "at loading", "register_modules"])
def test_a_stage_added_later_is_saved_with_the_next_save(cascade, folder, tmp_path, how):
    TryOnCascadePipeline.from_pretrained(folder, sr_unet=None, sr_scheduler=None).save_pretrained(tmp_path / "base")
    sr = {"sr_unet": cascade.sr_unet, "sr_scheduler": cascade.sr_scheduler}
    loaded = TryOnCascadePipeline.from_pretrained(tmp_path / "base", **(sr if how == "at loading" else {}))
    if how == "attributes":
        loaded.sr_unet = cascade.sr_unet
        loaded.sr_scheduler = cascade.sr_scheduler
    elif how == "register_modules":
        loaded.register_modules(**sr)
    loaded.save_pretrained(tmp_path / "whole")
    assert torch.equal(images(TryOnCascadePipeline.from_pretrained(tmp_path / "whole")), images(cascade))


def test_a_stage_taken_away_is_not_saved(folder, tmp_path):
    loaded = TryOnCascadePipeline.from_pretrained(folder)
    loaded.sr_unet = None
    loaded.sr_scheduler = None
    loaded.save_pretrained(tmp_path)
    assert TryOnCascadePipeline.from_pretrained(tmp_path).sr_unet is None
    loaded.sr_unet = tiny_cascade().sr_unet
    assert loaded.config["sr_unet"] == ("diffusers_tryon.models.unet_parallel", "ParallelUNetModel")


def test_a_swapped_scheduler_is_saved(folder, tmp_path):
    loaded = TryOnCascadePipeline.from_pretrained(folder)
    loaded.base_scheduler = swap_scheduler(loaded.base_scheduler, "heun")
    loaded.save_pretrained(tmp_path)
    again = TryOnCascadePipeline.from_pretrained(tmp_path)
    assert type(again.base_scheduler).__name__ == "HeunDiscreteScheduler"
    assert torch.equal(again.base_scheduler.betas, loaded.base_scheduler.betas)
    assert torch.equal(images(again), images(loaded))


def test_moving_the_pipeline():
    pipe = tiny_cascade().to("cpu", torch.bfloat16)
    assert pipe.dtype == torch.bfloat16
    output = pipe(**cascade_inputs())
    assert output.images.dtype == torch.float32 and torch.isfinite(output.images).all()


def test_components_are_shared_by_from_pipe(cascade):
    other = TryOnCascadePipeline.from_pipe(cascade)
    assert other.base_unet is cascade.base_unet
    assert torch.equal(images(other), images(cascade))
