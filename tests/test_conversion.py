# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Converted checkpoints against what the reference computed (`tests/parity`)."""

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file

from diffusers_tryon import TryOnCascadePipeline
from diffusers_tryon.conversion import (
    convert_checkpoint,
    convert_reference_config,
    convert_reference_unet,
    load_reference_checkpoint,
    reference_scheduler,
)
from diffusers_tryon.models.unet_parallel_reference import cosine_log_snr, linear_log_snr
from diffusers_tryon.schedules import log_snr


PARITY = Path(__file__).parent / "parity"
TRAINER_FILE = PARITY / "trainer_checkpoint.pt"
TRAINER_CONFIGS = [PARITY / "trainer_base.json", PARITY / "trainer_sr.json"]
PERSISTED_FILE = PARITY / "base_persisted.pt"
TOLERANCE = 1e-5


def read_config(name: str) -> dict:
    return json.loads((PARITY / f"{name}.json").read_text())


def relative_error(output: torch.Tensor, expected: torch.Tensor) -> float:
    return ((output - expected).norm() / expected.norm()).item()


def same_weights(unet: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())


class Golden:
    """One of the two networks with golden outputs."""

    def __init__(self, name: str):
        self.config = read_config(name)
        self.tensors = load_file(PARITY / f"{name}.safetensors")
        prefix = "param."
        self.state_dict = {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def inputs(self) -> dict[str, torch.Tensor]:
        tensors = self.tensors

        def pose(name):
            xy = tensors[name]
            return torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)

        inputs = {
            "sample": tensors["input.noisy_images"],
            "timestep": 1000 * tensors["t.time"],
            "agnostic_image": tensors["input.ca_images"],
            "garment_image": tensors["input.garment_images"],
            "person_pose": pose("input.person_poses"),
            "garment_pose": pose("input.garment_poses"),
            "agnostic_noise_level": 1000 * tensors["t.ca"],
            "garment_noise_level": 1000 * tensors["t.garment"],
        }
        if self.config.get("lowres_cond"):
            inputs["low_res_image"] = tensors["input.lowres_cond_img"]
            inputs["low_res_noise_level"] = 1000 * tensors["t.lowres"]
        return inputs

    @torch.no_grad()
    def errors(self, unet: torch.nn.Module) -> dict[str, float]:
        """The relative error of every golden output."""
        nothing = torch.zeros(len(self.tensors["t.time"]), dtype=torch.bool)
        outputs = {
            "conditional": unet(**self.inputs()).sample,
            "null": unet(**self.inputs(), conditioning_mask=nothing).sample,
        }
        outputs["guided_scale_3"] = outputs["null"] + 3 * (outputs["conditional"] - outputs["null"])
        if "mask" in self.tensors:
            outputs["masked"] = unet(**self.inputs(), conditioning_mask=self.tensors["mask"]).sample
        return {name: relative_error(output, self.tensors[f"output.{name}"]) for name, output in outputs.items()}


@pytest.fixture(scope="module")
def base() -> Golden:
    return Golden("base")


@pytest.fixture(scope="module")
def sr() -> Golden:
    return Golden("sr")


@pytest.fixture(scope="module")
def trainer_config() -> dict:
    """The whole list of options, as the reference writes it."""
    return torch.load(PERSISTED_FILE, weights_only=True)["config"]


# What the network computes


def test_base_outputs(base):
    errors = base.errors(convert_reference_unet(base.state_dict, base.config))
    assert set(errors) == {"conditional", "null", "guided_scale_3", "masked"}
    assert max(errors.values()) < TOLERANCE, errors


def test_super_resolution_outputs(sr):
    errors = sr.errors(convert_reference_unet(sr.state_dict, sr.config))
    assert set(errors) == {"conditional", "null", "guided_scale_3"}
    assert max(errors.values()) < TOLERANCE, errors


def test_garment_features_reproduce_the_outputs_too(sr):
    unet = convert_reference_unet(sr.state_dict, sr.config)
    inputs = sr.inputs()
    features_of = {k: v for k, v in inputs.items() if k not in ("sample", "agnostic_image", "low_res_image")}
    with torch.no_grad():
        features = unet.encode_garment(**features_of)
        inputs["garment_image"] = None
        output = unet(**inputs, garment_features=features).sample
    assert relative_error(output, sr.tensors["output.conditional"]) < TOLERANCE


def test_log_snr_laws():
    golden = load_file(PARITY / "schedules.safetensors")
    timestep = 1000 * golden["t"]
    assert torch.allclose(cosine_log_snr(timestep), golden["log_snr.cosine"], rtol=0, atol=1e-5)
    assert torch.allclose(linear_log_snr(timestep), golden["log_snr.linear"], rtol=0, atol=1e-5)


# Schedulers


def test_scheduler_betas_follow_the_laws_on_the_whole_grid(tmp_path):
    convert_checkpoint(PERSISTED_FILE, tmp_path / "out")
    grid = torch.arange(1000.0)
    for folder, law in (("base_scheduler", cosine_log_snr), ("image_noising_scheduler", linear_log_snr)):
        scheduler = DDPMScheduler.from_pretrained(tmp_path / "out", subfolder=folder)
        # The scheduler's own float32 product of a thousand factors, near no noise, sets the tolerance.
        assert torch.allclose(log_snr(scheduler.alphas_cumprod), law(grid), rtol=0, atol=1e-3)
        in_float64 = torch.cumprod(1 - torch.tensor(scheduler.config.trained_betas, dtype=torch.float64), dim=0)
        assert torch.allclose(log_snr(in_float64), law(grid.double()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("row", [0, 1])
def test_ancestral_step(row):
    # The golden steps end between the scheduler's timesteps: a grid of these two times takes them, with everything
    # else as `convert_checkpoint` writes it, but unthresholded as the golden mean is.
    golden = {
        name: value[row] for name, value in load_file(PARITY / "schedules.safetensors").items() if "step" in name
    }
    after, before = torch.sigmoid(
        cosine_log_snr(1000 * torch.stack([golden["step.t_next"], golden["step.t"]]))
    ).tolist()
    scheduler = DDPMScheduler.from_config(
        reference_scheduler("noise").config,
        num_train_timesteps=2,
        trained_betas=[1 - after, 1 - before / after],
        thresholding=False,
    )
    noise_prediction, sample = golden["step.noise_prediction"][None], golden["step.x_t"][None]
    output = scheduler.step(noise_prediction, 1, sample, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(0))
    standard_deviation = (0.5 * golden["step.posterior_log_variance"]).exp()
    assert relative_error(output.pred_original_sample[0], golden["step.x_start"]) < TOLERANCE
    mean = output.prev_sample - standard_deviation * noise
    assert relative_error(mean[0], golden["step.posterior_mean"]) < TOLERANCE
    log_variance = scheduler._get_variance(1).log()
    assert torch.allclose(log_variance, golden["step.posterior_log_variance"].flatten(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [0.3, 40.0, 3000.0])
def test_dynamic_thresholding_is_the_reference_s(size):
    sample = size * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler = reference_scheduler("x_start")
    threshold = sample.abs().flatten(1).quantile(0.95, dim=1).clamp(min=1)[:, None, None, None]
    expected = torch.minimum(torch.maximum(sample, -threshold), threshold) / threshold
    output = scheduler.step(sample, 500, torch.zeros_like(sample)).pred_original_sample
    assert torch.allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "prediction_type"), [("noise", "epsilon"), ("x_start", "sample"), ("v", "v_prediction")]
)
def test_prediction_types(name, prediction_type):
    assert reference_scheduler(name).config.prediction_type == prediction_type


def test_refuses_other_prediction_types():
    with pytest.raises(ValueError, match="`prediction_type` must be one of noise, x_start, v, got 'epsilon'"):
        reference_scheduler("epsilon")


# Options


def test_options_become_configuration_fields(trainer_config):
    converted = convert_reference_config({**trainer_config, "attn_heads": 2, "layer_attns": [False, True]})
    assert converted == {
        "sample_size": [32, 24],
        "block_out_channels": [8, 16],
        "layers_per_block": [1, 2],
        "attention_levels": [False, True],
        "num_attention_heads": [None, 2],
        "attention_head_dim": [None, 8],
        "context_dim": 16,
        "conditioning_dim": 16,
        "pose_num_layers": 1,
        "pose_num_attention_heads": 2,
        "pose_attention_head_dim": 8,
        "pose_num_latents": 4,
        "pose_num_pooled_latents": 2,
        "low_res_conditioning": False,
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_time_tokens", 2),
        ("learned_sinu_pos_emb_dim", 32),
        ("channels", 4),
        ("channels_out", 6),
        ("ca_image_channels", 1),
        ("garment_image_channels", 4),
        ("dropout_probs", 0.1),
        ("dropout_probs", (0.0, 0.1)),
        ("max_keypoints_len", 25),
        ("layer_cross_attns", (True, True)),
        ("lowres_cond", "yes"),
        ("dim", 16),
        ("init_dim", 16),
        ("init_conv_kernel_size", 7),
        ("init_cross_embed", True),
        ("cross_embed_downsample", True),
        ("init_conv_to_final_conv_residual", True),
        ("use_global_context_attn", False),
        ("use_global_context_attn", (True, False)),
        ("scale_skip_connection", False),
        ("final_resnet_block", False),
        ("final_conv_kernel_size", 1),
        ("combine_upsample_fmaps", True),
        ("pixel_shuffle_upsample", False),
        ("image_size", "32"),
        ("image_size", (32, 24, 3)),
        ("num_blocks", (1, 2, 3)),
        ("feature_channels", (8, 16.5)),
        ("attn_heads", (None, None)),
        ("context_dim", 0),
    ],
)
def test_options_that_are_not_carried_are_refused_by_name(trainer_config, option, value):
    assert option in trainer_config
    with pytest.raises(ValueError, match=f"`{option}`"):
        convert_reference_config({**trainer_config, option: value})


def test_unknown_and_missing_options_are_named(trainer_config):
    with pytest.raises(ValueError, match="does not have: attend_to_ceiling"):
        convert_reference_config({**trainer_config, "attend_to_ceiling": True})
    with pytest.raises(ValueError, match="lacks options .*: pose_depth.$"):
        convert_reference_config({name: value for name, value in trainer_config.items() if name != "pose_depth"})


def test_options_without_effect_on_trained_weights_may_have_any_value(trainer_config):
    changes = {
        "use_zero_init": False,
        "init_cross_embed_kernel_sizes": (3, 5),
        "cross_embed_downsample_kernel_sizes": (2,),
        "dropout_probs": [0.0, 0.0],
        "channels_out": 3,
        "init_dim": 8,
    }
    assert convert_reference_config({**trainer_config, **changes}) == convert_reference_config(trainer_config)


# Weights


def test_every_weight_is_taken_once(base):
    unet = convert_reference_unet(base.state_dict, base.config)
    converted = torch.cat([parameter.detach().flatten() for parameter in unet.parameters()])
    original = torch.cat([tensor.flatten() for tensor in base.state_dict.values()])
    assert torch.equal(converted.sort().values, original.sort().values)
    assert not unet.training and unet.conv_in.weight.data_ptr() != base.state_dict["init_conv.weight"].data_ptr()


def test_half_precision_weights_become_float32(base):
    half = {name: tensor.to(torch.bfloat16) for name, tensor in base.state_dict.items()}
    unet = convert_reference_unet(half, base.config)
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.float32}


def test_weights_that_do_not_fit_are_named(base):
    lacking = {name: tensor for name, tensor in base.state_dict.items() if name != "norm_cond.weight"}
    with pytest.raises(ValueError, match="norm_cond.weight missing, none unexpected"):
        convert_reference_unet(lacking, base.config)
    with pytest.raises(ValueError, match="none missing, extra.0 unexpected"):
        convert_reference_unet({**base.state_dict, "extra.0": torch.zeros(1)}, base.config)
    narrow = {**base.state_dict, "norm_cond.weight": torch.zeros(3)}
    with pytest.raises(ValueError, match=re.escape("norm_cond.weight (3,) instead of (16,)")):
        convert_reference_unet(narrow, base.config)
    with pytest.raises(ValueError, match="norm_cond.weight missing"):
        convert_reference_unet({**base.state_dict, "norm_cond.weight": "text"}, base.config)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image_size", 128),  # other patches
        ("attn_heads", (None, 4, 8)),
        ("num_blocks", (1, 2, 3)),
        ("time_cond_dim", 32),
        ("pose_num_latents", 5),
        ("lowres_cond", True),
    ],
)
def test_a_configuration_of_another_network_is_refused(base, option, value):
    with pytest.raises(ValueError, match="The weights do not fit the configuration"):
        convert_reference_unet(base.state_dict, {**base.config, option: value})


# Files


def test_trainer_file():
    online, averaged = (load_reference_checkpoint(TRAINER_FILE, TRAINER_CONFIGS, ema=ema) for ema in (False, True))
    assert [unet.config.low_res_conditioning for unet in averaged] == [False, True]
    content = torch.load(TRAINER_FILE, weights_only=True)
    for index in range(2):
        taken = averaged[index].down_blocks[0][0].residual_block.conv1.weight
        assert torch.equal(taken, content["ema"][f"{index}.ema_model.person_downs.0.layers.0.0.conv1.weight"])
        taken = online[index].down_blocks[0][0].residual_block.conv1.weight
        assert torch.equal(taken, content["model"][f"unets.{index}.person_downs.0.layers.0.0.conv1.weight"])


def test_trainer_file_without_ema_gives_the_online_weights(tmp_path):
    content = torch.load(TRAINER_FILE, weights_only=True)
    del content["ema"]
    torch.save(content, tmp_path / "checkpoint.pt")
    configs = [read_config("trainer_base"), read_config("trainer_sr")]
    unets = load_reference_checkpoint(tmp_path / "checkpoint.pt", configs)
    online = load_reference_checkpoint(TRAINER_FILE, configs, ema=False)
    assert torch.equal(unets[1].conv_out.weight, online[1].conv_out.weight)


def test_persisted_file_holds_the_first_unet_of_the_trainer_file():
    (persisted,) = load_reference_checkpoint(PERSISTED_FILE)
    online = load_reference_checkpoint(TRAINER_FILE, TRAINER_CONFIGS, ema=False)[0]
    averaged = load_reference_checkpoint(TRAINER_FILE, TRAINER_CONFIGS)[0]
    assert dict(persisted.config) == dict(online.config)
    assert same_weights(persisted, online) and not same_weights(persisted, averaged)


def test_golden_networks_come_through_files(base, sr, tmp_path):
    torch.save({"config": base.config, "state_dict": base.state_dict}, tmp_path / "base.pt")
    (unet,) = load_reference_checkpoint(tmp_path / "base.pt")
    assert max(base.errors(unet).values()) < TOLERANCE
    state_dicts = {0: base.state_dict, 1: sr.state_dict}
    content = {
        "model": {f"unets.{i}.{k}": torch.zeros_like(v) for i, part in state_dicts.items() for k, v in part.items()},
        "ema": {f"{i}.ema_model.{k}": v for i, part in state_dicts.items() for k, v in part.items()},
    }
    # The format before PyTorch 1.6 cannot be memory-mapped.
    torch.save(content, tmp_path / "trainer.pt", _use_new_zipfile_serialization=False)
    unets = load_reference_checkpoint(tmp_path / "trainer.pt", [base.config, sr.config])
    for golden, unet in zip((base, sr), unets, strict=True):
        assert max(golden.errors(unet).values()) < TOLERANCE


class Code:
    """What a weights-only reader must not run."""

    def __reduce__(self):
        return print, ("executed",)


def write_bad_file(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(TRAINER_FILE.read_bytes()[:100_000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "code":
        torch.save({"model": Code()}, path)
    elif kind == "tensor":
        torch.save(torch.zeros(2), path)
    elif kind == "foreign":
        torch.save({"model": {"conv.weight": torch.zeros(2)}, "optimizer": {}}, path)
    elif kind == "state dict":
        torch.save({"conv.weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "code"])
def test_unreadable_files(tmp_path, capsys, kind):
    write_bad_file(tmp_path / "checkpoint.pt", kind)
    with pytest.raises(ValueError, match="checkpoint.pt cannot be read as a checkpoint"):
        load_reference_checkpoint(tmp_path / "checkpoint.pt", TRAINER_CONFIGS)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["tensor", "foreign", "state dict"])
def test_foreign_files(tmp_path, kind):
    write_bad_file(tmp_path / "checkpoint.pt", kind)
    with pytest.raises(ValueError, match="checkpoint.pt is not a checkpoint of the reference"):
        load_reference_checkpoint(tmp_path / "checkpoint.pt", TRAINER_CONFIGS)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file .*nowhere.pt"):
        load_reference_checkpoint(tmp_path / "nowhere.pt")


def test_configs_must_fit_the_file(tmp_path):
    for configs in (None, TRAINER_CONFIGS[:1]):
        with pytest.raises(ValueError, match="`configs` must be a sequence with one entry per UNet"):
            load_reference_checkpoint(TRAINER_FILE, configs)
    with pytest.raises(ValueError, match="`configs` must be None"):
        load_reference_checkpoint(PERSISTED_FILE, TRAINER_CONFIGS[:1])
    with pytest.raises(ValueError, match="'reference-64' is no preset and cannot be read"):
        load_reference_checkpoint(TRAINER_FILE, ["reference-64", "reference-256"])
    with pytest.raises(ValueError, match="presets of the reference network, got 'tiny-base'"):
        load_reference_checkpoint(TRAINER_FILE, ["tiny-base", "tiny-sr"])
    with pytest.raises(ValueError, match="The weights do not fit the configuration"):
        load_reference_checkpoint(TRAINER_FILE, ["reference-128", "reference-256"])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object"):
        load_reference_checkpoint(TRAINER_FILE, [tmp_path / "list.json"] * 2)


# Pipelines


def test_trainer_file_becomes_a_pipeline(tmp_path):
    folder = convert_checkpoint(
        TRAINER_FILE, tmp_path / "new" / "cascade", TRAINER_CONFIGS, prediction_type=["v", "noise"]
    )
    assert folder == tmp_path / "new" / "cascade" and [path.name for path in folder.parent.iterdir()] == ["cascade"]
    pipeline = TryOnCascadePipeline.from_pretrained(folder)
    assert pipeline.base_scheduler.config.prediction_type == "v_prediction"
    assert pipeline.sr_scheduler.config.prediction_type == "epsilon"
    averaged = load_reference_checkpoint(TRAINER_FILE, TRAINER_CONFIGS)
    for unet, expected in zip((pipeline.base_unet, pipeline.sr_unet), averaged, strict=True):
        assert same_weights(unet, expected)

    pipeline.set_progress_bar_config(disable=True)
    pose = torch.rand(1, 18, 3, generator=torch.Generator().manual_seed(0))
    output = pipeline(
        agnostic_image=torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(1)),
        garment_image=torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(2)),
        person_pose=pose,
        garment_pose=pose,
        num_inference_steps=2,
        sr_num_inference_steps=2,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    )
    assert output.images.shape == (1, 3, 64, 48) and output.images.isfinite().all()


def test_persisted_files_become_a_pipeline(base, sr, tmp_path):
    torch.save({"config": base.config, "state_dict": base.state_dict}, tmp_path / "base.pt")
    torch.save({"config": sr.config, "state_dict": sr.state_dict}, tmp_path / "sr.pt")
    convert_checkpoint([tmp_path / "base.pt", tmp_path / "sr.pt"], tmp_path / "cascade")
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "cascade")
    for golden, unet in ((base, pipeline.base_unet), (sr, pipeline.sr_unet)):
        assert max(golden.errors(unet).values()) < TOLERANCE
    convert_checkpoint(tmp_path / "base.pt", tmp_path / "base-only")
    pipeline = TryOnCascadePipeline.from_pretrained(tmp_path / "base-only")
    assert pipeline.sr_unet is None and pipeline.sr_scheduler is None


def test_a_failed_conversion_leaves_nothing_behind(sr, tmp_path):
    torch.save({"config": sr.config, "state_dict": sr.state_dict}, tmp_path / "sr.pt")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="must hold a base UNet and at most one super-resolution UNet"):
        convert_checkpoint(tmp_path / "sr.pt", tmp_path / "out")
    with pytest.raises(ValueError, match="`output_dir` must be a new or an empty folder"):
        convert_checkpoint(PERSISTED_FILE, tmp_path / "taken")
    with pytest.raises(ValueError, match="`prediction_type` must be one of"):
        convert_checkpoint(PERSISTED_FILE, tmp_path / "out", prediction_type="epsilon")
    with pytest.raises(ValueError, match="`prediction_type` must be one value or one per UNet"):
        convert_checkpoint(PERSISTED_FILE, tmp_path / "out", prediction_type=["noise", "noise"])
    with pytest.raises(OSError):
        convert_checkpoint(PERSISTED_FILE, tmp_path / "taken" / "file" / "out")
    assert sorted(tmp_path.rglob("*")) == before
