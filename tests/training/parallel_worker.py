# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A small run over the parts that many processes share, as every process of `test_parallel.py` runs it.

    python -m torch.distributed.run --nproc-per-node 2 tests/training/parallel_worker.py FOLDER

One process of the test suite calls `run` itself: what it returns is what all layouts have to compute.
"""

import dataclasses
import os
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig
from torch.distributed.tensor import DTensor

from diffusers_tryon import create_unet
from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.training import deepspeed_layout
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.order import local_indices
from diffusers_tryon.training.parallel import (
    accumulate,
    agree,
    check_same_weights,
    clip_gradients,
    create_accelerator,
    distribute,
    is_sharded,
    leave,
    shard_optimizer,
)
from diffusers_tryon.training.state import TrainingState


NUM_STEPS = 3
# Two micro-batches on one, two and three processes.
CONFIG = TrainingConfig(
    preset="tiny-base",
    dataset="unused",
    output_dir="unused",
    global_batch_size=12,
    gradient_checkpointing=True,
    ema_power_sigmas=(0.1,),
    max_grad_norm=0.05,
)
LORA_CONFIG = dataclasses.replace(CONFIG, preset=None, initial_model="unused", lora_rank=2)


def create_network(config: TrainingConfig) -> ParallelUNetModel:
    """Without the zeros of a fresh network, behind which most gradients vanish."""
    torch.manual_seed(1)
    unet = create_unet("tiny-base")
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if config.lora_rank is not None:
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "conv1"], init_lora_weights=False))
    return unet


def create_batch(step: int, indices: list[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs of the network and its target, each sample a function of (step, index)."""
    images, poses = [], []
    for index in indices:
        generator = torch.Generator().manual_seed(1000 * step + index)
        images.append(torch.randn(4, 3, 32, 32, generator=generator))
        poses.append(torch.rand(2, 18, 3, generator=generator))
    sample, agnostic_image, garment_image, target = torch.stack(images, dim=1)
    person_pose, garment_pose = torch.stack(poses, dim=1)
    inputs = {
        "sample": sample,
        "timestep": torch.tensor([float(10 * index) for index in indices]),
        "agnostic_image": agnostic_image,
        "garment_image": garment_image,
        "person_pose": person_pose,
        "garment_pose": garment_pose,
    }
    return inputs, target


class Run:
    """The network, the averages and the optimiser of a run, and its steps."""

    def __init__(self, config: TrainingConfig, accelerator: Accelerator):
        self.config, self.accelerator = config, accelerator
        unet = create_network(config)
        model = distribute(unet, config, accelerator)
        self.parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, eps=1e-3, fused=True)
        self.model, optimizer = shard_optimizer(model, optimizer, config, accelerator)
        self.state = TrainingState(unet, WeightAverages(self.parameters, config), optimizer, config)

    def train(self, num_steps: int) -> list[float]:
        """The norms of the gradients."""
        norms = []
        micro_batches = local_indices(self.config, self.accelerator.process_index, self.accelerator.num_processes)
        for _ in range(num_steps):
            for position, indices in enumerate(micro_batches):
                with accumulate(self.model, is_last=position == len(micro_batches) - 1):
                    inputs, target = create_batch(self.state.step, indices)
                    with self.accelerator.autocast():
                        prediction = self.model(**inputs).sample
                    ((prediction - target).square().mean() / len(micro_batches)).backward()
            norms.append(clip_gradients(self.state.optimizer, self.config.max_grad_norm).item())
            self.clipped_norm = clip_gradients(self.state.optimizer, 1e9).item()
            self.state.optimizer.step()
            self.state.optimizer.zero_grad()
            self.state.averages.step(self.parameters)
            self.state.step += 1
        return norms


def config_for(config: TrainingConfig, num_processes: int) -> TrainingConfig:
    return dataclasses.replace(config, micro_batch_size=config.global_batch_size // num_processes // 2)


def check_shards(run: Run) -> None:
    assert is_sharded(run.state.unet)
    assert all(isinstance(parameter, DTensor) for parameter in run.state.unet.parameters())
    whole = sum(parameter.numel() for parameter in run.state.unet.parameters())
    here = sum(parameter.to_local().numel() for parameter in run.state.unet.parameters())
    assert 0.4 * whole < here < 0.6 * whole
    averages = run.state.averages.tracks["ema"] + list(run.state.averages.tracks["power-0.1"])
    assert all(isinstance(average, DTensor) for average in averages)


def check_divided_states(run: Run) -> None:
    """DeepSpeed's: half of the optimiser's states, and whole weights."""
    whole = sum(parameter.numel() for parameter in run.parameters)
    (states,) = run.state.optimizer.inner.state.values()
    assert 0.4 * whole < states["exp_avg"].numel() < 0.6 * whole
    assert not any(isinstance(parameter, DTensor) for parameter in run.state.unet.parameters())


def check_left_out_step(run: Run) -> None:
    """A gradient that is not finite is known before the optimiser's step; leaving it out leaves nothing behind."""
    before = run.state.gather()
    inputs, _ = create_batch(NUM_STEPS, [0])
    is_last = run.accelerator.process_index == run.accelerator.num_processes - 1
    with accumulate(run.model, is_last=True):
        (run.model(**inputs).sample.sum() * (float("nan") if is_last else 1.0)).backward()
    assert not clip_gradients(run.state.optimizer, 1.0).isfinite()
    run.state.optimizer.zero_grad()
    if before is not None:
        assert_same_state(run.state.gather(), before)
    else:
        run.state.gather()


def predict_with_averages(run: Run) -> torch.Tensor:
    inputs, _ = create_batch(NUM_STEPS, [0, 1])
    with torch.no_grad(), run.state.averages.swapped_in(run.parameters):
        return run.state.unet(**inputs).sample


def check_gathering(run: Run) -> None:
    """Blocks keep their weights between forward and backward pass if the launcher says so, and never longer."""
    block = run.state.unet.down_blocks[1][0]
    inputs, _ = create_batch(NUM_STEPS, [0])
    prediction = run.model(**inputs).sample
    is_gathered = not any(isinstance(parameter, DTensor) for parameter in block.parameters())
    assert is_gathered == (os.environ["FSDP_RESHARD_AFTER_FORWARD"] == "false")
    prediction.sum().backward()
    run.state.optimizer.zero_grad()
    check_shards(run)
    with torch.no_grad():
        run.model(**inputs)
    check_shards(run)


def check_compiled_blocks(config: TrainingConfig, run: Run, norms: list[float]) -> None:
    """Blocks are compiled one by one, of which running them as they are tells all but the speed."""
    with torch.compiler.set_stance("force_eager"):
        compiled = Run(dataclasses.replace(config, compile=True), run.accelerator)
        assert compiled.state.unet.down_blocks[1][0]._compiled_call_impl is not None
        assert compiled.train(1) == norms[:1]


def check_agreement(run: Run) -> None:
    """A gradient that is not finite on the last process stops all."""
    accelerator = run.accelerator
    is_last = accelerator.process_index == accelerator.num_processes - 1
    run.parameters[0].grad = torch.zeros_like(run.parameters[0])
    assert agree(accelerator, False, is_last, True) == (False, True, True)
    loss = torch.tensor(float("nan") if is_last else 1.0)
    assert agree(accelerator, not torch.isfinite(loss), False) == (True, False)
    run.state.optimizer.zero_grad()


def check_drift_is_found(run: Run) -> None:
    """One changed bit of one weight on the last process."""
    accelerator = run.accelerator
    check_same_weights(accelerator, run.state.unet)
    name, weight = "down_blocks.1.0.self_attention.to_k.weight", None
    weight = dict(run.state.unet.named_parameters()).get(name)
    weight = weight if weight is not None else run.parameters[0]
    before = weight.detach().clone()
    if accelerator.process_index == accelerator.num_processes - 1:
        weight.detach().view(torch.int32)[1, 2] ^= 1
    with pytest.raises(RuntimeError, match=rf"`{name}` of process {accelerator.num_processes - 1} is not"):
        check_same_weights(accelerator, run.state.unet)
    weight.detach().copy_(before)


def check_state(config: TrainingConfig, run: Run, folder: Path) -> None:
    """Saved, trained on, and loaded into a fresh run that takes the same steps: the same bits."""
    gathered = run.state.gather()
    is_main = run.accelerator.is_main_process
    assert (gathered is not None) == is_main
    if is_main:
        gathered.write(folder)
    run.train(2)
    again = Run(config, run.accelerator)
    with pytest.raises(ValueError, match=r"has no file unet/"):  # on every process, although one reads
        again.state.load(folder.parent / "nothing")
    again.state.load(folder)
    assert again.state.step == NUM_STEPS and again.state.averages.steps == NUM_STEPS
    again.train(2)
    expected, resumed = run.state.gather(), again.state.gather()
    if is_main:
        assert_same_state(resumed, expected)


def assert_same_state(found, expected) -> None:
    assert found.counters == expected.counters
    for name, weights in expected.networks.items():
        assert list(found.networks[name]) == list(weights)
        assert all(torch.equal(found.networks[name][key], weight) for key, weight in weights.items()), name
    assert set(found.optimizer) == set(expected.optimizer)
    for name, values in expected.optimizer.items():
        assert values and all(torch.equal(found.optimizer[name][key], value) for key, value in values.items()), name


def main(folder: Path) -> None:
    shards = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    deepspeed_layout._BUCKET_SIZE = 3000  # gradients in many parts, one larger than a bucket, as of large networks
    for name, base_config in (("all", CONFIG), ("lora", LORA_CONFIG)):
        accelerator = create_accelerator(base_config)
        config = config_for(base_config, accelerator.num_processes)
        run = Run(config, accelerator)
        assert is_sharded(run.state.unet) == shards
        if shards:
            check_shards(run)
            check_gathering(run)
        if deepspeed:
            check_divided_states(run)
        norms = run.train(NUM_STEPS)
        prediction = predict_with_averages(run)
        assert run.clipped_norm == pytest.approx(config.max_grad_norm, rel=1e-4)
        if accelerator.is_main_process:
            torch.save({"norms": norms, "prediction": prediction}, folder / f"{name}.pt")
        check_left_out_step(run)
        check_state(config, run, folder / name)
        if shards:
            check_compiled_blocks(config, run, norms)
        check_agreement(run)
        if not shards and name == "all":
            check_drift_is_found(run)
        # The checkpoint of one process, loaded into these.
        run.state.load(folder.parent / "one" / name)
        gathered = run.state.gather()
        if accelerator.is_main_process:
            gathered.write(folder / f"{name}-from-one")
    del run
    leave(accelerator)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
