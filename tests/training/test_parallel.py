# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Many processes compute what one computes: DDP, FSDP2 and DeepSpeed, run through gloo by `parallel_worker.py`."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import DistributedType
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import AcceleratorState
from parallel_worker import (
    CONFIG,
    LORA_CONFIG,
    NUM_STEPS,
    Run,
    check_state,
    config_for,
    create_batch,
    create_network,
    predict_with_averages,
)
from safetensors.torch import load_file

from diffusers_tryon import ParallelUNetModel
from diffusers_tryon.models.chunked_attention import ChunkedAttentionProcessor
from diffusers_tryon.training.parallel import agree, create_accelerator, distribute


ROOT = Path(__file__).parents[2]
CONFIGS = {"all": CONFIG, "lora": LORA_CONFIG}
LAUNCHES = {
    "cpu": ("accelerate.commands.launch", "--config_file", "training/accelerate/cpu.yaml"),
    "fsdp2": ("accelerate.commands.launch", "--config_file", "training/accelerate/fsdp2.yaml", "--num_processes", "2"),
    "fsdp2_zero2": (
        "accelerate.commands.launch",
        "--config_file",
        "training/accelerate/fsdp2_zero2.yaml",
        "--num_processes",
        "2",
    ),
    "deepspeed_zero2": (
        "accelerate.commands.launch",
        "--config_file",
        "training/accelerate/deepspeed_zero2.yaml",
        "--num_processes",
        "2",
    ),
    "three": ("torch.distributed.run", "--standalone", "--nproc-per-node", "3"),
}


@pytest.fixture(scope="module")
def accelerator():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        yield create_accelerator(CONFIG)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("layouts")


@pytest.fixture(scope="module")
def one_process(accelerator, folder):
    """Runs of one process over the steps, the norms of their gradients, and their checkpoints."""
    runs = {}
    for name, config in CONFIGS.items():
        run = Run(config_for(config, 1), accelerator)
        norms = run.train(NUM_STEPS)
        run.state.gather().write(folder / "one" / name)
        runs[name] = run, norms
    return runs


def launch(name: str, folder: Path) -> None:
    folder.mkdir()
    command = [sys.executable, "-m", *LAUNCHES[name], "tests/training/parallel_worker.py", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr


def assert_same_files(found: Path, expected: Path) -> None:
    for file in sorted(expected.glob("*/*.safetensors")):
        weights, other = load_file(file), load_file(found / file.relative_to(expected))
        assert set(weights) == set(other)
        assert all(torch.equal(weights[name], other[name]) for name in weights), file
    states, others = (torch.load(path / "optimizer.pt", weights_only=True) for path in (expected, found))
    assert set(states) == set(others)
    assert all(torch.equal(states[name][key], others[name][key]) for name in states for key in states[name])
    assert (found / "state.json").read_text() == (expected / "state.json").read_text()


@pytest.mark.parametrize(
    "layout",
    [
        "cpu",
        pytest.param("fsdp2", marks=pytest.mark.slow),
        pytest.param("fsdp2_zero2", marks=pytest.mark.slow),
        pytest.param("deepspeed_zero2", marks=pytest.mark.slow),
        pytest.param("three", marks=pytest.mark.slow),
    ],
)
def test_processes_compute_what_one_computes(one_process, accelerator, folder, layout):
    if layout == "deepspeed_zero2":
        pytest.importorskip("deepspeed")
    results = folder / layout
    launch(layout, results)
    for name, (run, norms) in one_process.items():
        # Pre-clip norms of the whole gradient, what the averages predict, then weights and moments after some steps.
        found = torch.load(results / f"{name}.pt", weights_only=True)
        assert found["norms"] == pytest.approx(norms, rel=1e-4)
        torch.testing.assert_close(found["prediction"], predict_with_averages(run), rtol=1e-4, atol=1e-5)
        for file in sorted((folder / "one" / name).glob("*/*.safetensors")):
            expected, found = load_file(file), load_file(results / name / file.relative_to(folder / "one" / name))
            assert set(found) == set(expected)
            for key, weight in expected.items():
                torch.testing.assert_close(found[key], weight, rtol=1e-5, atol=1e-6, msg=lambda text: f"{key}: {text}")
        expected = torch.load(folder / "one" / name / "optimizer.pt", weights_only=True)
        found = torch.load(results / name / "optimizer.pt", weights_only=True)
        assert set(found) == set(expected)
        for key, values in expected.items():
            torch.testing.assert_close(found[key], values, rtol=1e-3, atol=1e-6)
        # A checkpoint of one process went through these processes, and theirs goes through one, bit for bit.
        assert_same_files(results / f"{name}-from-one", folder / "one" / name)
        again = Run(run.config, accelerator)
        again.state.load(results / name)
        again.state.gather().write(results / f"{name}-in-one")
        assert_same_files(results / f"{name}-in-one", results / name)
    network = ParallelUNetModel.from_pretrained(results / "all" / "ema")
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in load_weights(results / "all").items())


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "ema" / "diffusion_pytorch_model.safetensors")


def test_the_steps_train(one_process):
    before = create_network(CONFIG).state_dict()
    after = one_process["all"][0].state.unet.state_dict()
    moved = {name: (after[name] - value).abs().max() for name, value in before.items()}
    assert max(moved.values()) > 1e-3
    assert all(distance > 0 for distance in moved.values())


def test_gradient_norm_is_that_of_the_whole_batch(one_process):
    unet = create_network(CONFIG)
    inputs, target = create_batch(0, list(range(CONFIG.global_batch_size)))
    (unet(**inputs).sample - target).square().mean().backward()
    squares = sum(parameter.grad.double().square().sum().item() for parameter in unet.parameters())
    assert one_process["all"][1][0] == pytest.approx(squares**0.5, rel=1e-4)
    assert squares**0.5 > CONFIG.max_grad_norm
    assert one_process["all"][0].clipped_norm == pytest.approx(CONFIG.max_grad_norm, rel=1e-4)


def test_resumed_state_goes_on_bit_for_bit(accelerator, tmp_path):
    for name, config in CONFIGS.items():
        run = Run(config_for(config, 1), accelerator)
        run.train(NUM_STEPS)
        check_state(run.config, run, tmp_path / name)


def test_settings_of_memory_and_precision_do_not_change_what_is_computed(accelerator, one_process):
    config = dataclasses.replace(
        config_for(CONFIG, 1), channels_last=True, chunked_attention=True, gradient_checkpointing=False
    )
    run = Run(config, accelerator)
    assert run.train(NUM_STEPS) == pytest.approx(one_process["all"][1], rel=1e-4)
    assert run.state.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    processors = run.state.unet.attn_processors.values()
    assert {type(processor) for processor in processors} == {ChunkedAttentionProcessor}


def test_agreement_of_one_process(accelerator):
    assert agree(accelerator, True, False) == (True, False)


def test_options_that_do_not_go_with_sharding_are_refused(accelerator, monkeypatch):
    def refusal(config=CONFIG, **environment):
        with monkeypatch.context() as patch:
            for name, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", **environment}.items():
                patch.setenv(name, value)
            with pytest.raises(ValueError) as error:
                distribute(create_network(CONFIG), config, accelerator)
        return str(error.value)

    assert refusal(FSDP_VERSION="1") == "`fsdp_version` in the launcher's configuration must be 2, got 1."
    assert "`fsdp_offload_params`" in refusal(FSDP_OFFLOAD_PARAMS="true")
    assert "`fsdp_activation_checkpointing`" in refusal(FSDP_ACTIVATION_CHECKPOINTING="true")
    assert "`channels_last` must be false" in refusal(dataclasses.replace(CONFIG, channels_last=True))
    assert "`optimizer` must be 'adamw'" in refusal(dataclasses.replace(CONFIG, optimizer="adamw8bit"))


def test_compiling_keeps_the_names_of_the_weights(accelerator, one_process):
    config = dataclasses.replace(config_for(CONFIG, 1), compile=True)
    with torch.compiler.set_stance("force_eager"):
        run = Run(config, accelerator)
        assert run.train(NUM_STEPS) == one_process["all"][1]
    assert run.state.unet._compiled_call_impl is not None
    assert list(run.state.unet.state_dict()) == list(create_network(CONFIG).state_dict())


def test_switches_of_the_process_follow_the_settings(accelerator):
    try:
        create_accelerator(dataclasses.replace(CONFIG, tf32=False, deterministic=True))
        assert torch.are_deterministic_algorithms_enabled() and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    finally:
        torch.use_deterministic_algorithms(False)
    create_accelerator(CONFIG)
    assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32


def test_launcher_configurations_are_valid():
    configs = {path.stem: load_config_from_file(str(path)) for path in (ROOT / "training/accelerate").glob("*.yaml")}
    assert {name: config.num_processes for name, config in configs.items()} == {
        "one_gpu": 1,
        "eight_gpus": 8,
        "multi_node": 16,
        "fsdp2": 8,
        "fsdp2_zero2": 8,
        "deepspeed_zero2": 8,
        "cpu": 2,
    }
    for name in ("fsdp2", "fsdp2_zero2"):
        assert configs[name].distributed_type == DistributedType.FSDP
        assert configs[name].fsdp_config["fsdp_version"] == 2
    assert configs["multi_node"].num_machines == 2
    assert configs["deepspeed_zero2"].distributed_type == DistributedType.DEEPSPEED
    assert configs["deepspeed_zero2"].deepspeed_config["zero_stage"] == 2


def test_what_goes_beyond_zero2_is_refused(monkeypatch):
    def refusal(config=CONFIG, **environment):
        with monkeypatch.context() as patch:
            for name, value in {"ACCELERATE_USE_DEEPSPEED": "true", **environment}.items():
                patch.setenv(name, value)
            with pytest.raises(ValueError) as error:
                create_accelerator(config)
        return str(error.value)

    answer = refusal(ACCELERATE_DEEPSPEED_ZERO_STAGE="3")
    assert answer == "`zero_stage` in the launcher's configuration must be 2 with DeepSpeed, got 3."
    assert "`offload_optimizer_device`" in refusal(ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE="cpu")
    assert "`offload_param_device`" in refusal(ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE="nvme")
    assert "must be no or bf16 with DeepSpeed, got fp16" in refusal(ACCELERATE_MIXED_PRECISION="fp16")
    assert "`deepspeed_config_file`" in refusal(ACCELERATE_DEEPSPEED_CONFIG_FILE="zero.json")
    assert "`channels_last` must be false" in refusal(dataclasses.replace(CONFIG, channels_last=True))
    assert "`optimizer` must be 'adamw'" in refusal(dataclasses.replace(CONFIG, optimizer="adamw8bit"))
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    assert 'pip install "diffusers-tryon[deepspeed]"' in refusal(ACCELERATE_DEEPSPEED_ZERO_STAGE="2")
