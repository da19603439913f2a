# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint holds, as folders that load on their own, and what is refused; `test_parallel.py` resumes."""

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from parallel_worker import CONFIG, LORA_CONFIG, create_batch, create_network
from safetensors.torch import load_file, save_file

from diffusers_tryon import ParallelUNetModel, create_unet
from diffusers_tryon.training.configuration import TrainingConfig
from diffusers_tryon.training.ema import WeightAverages
from diffusers_tryon.training.state import TrainingState


def create_state(config: TrainingConfig = CONFIG, unet: ParallelUNetModel | None = None) -> TrainingState:
    unet = create_network(config) if unet is None else unet
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    return TrainingState(
        unet, WeightAverages(parameters, config), torch.optim.AdamW(parameters, lr=1e-2, fused=True), config
    )


def train_step(state: TrainingState) -> None:
    inputs, target = create_batch(state.step, [0, 1])
    (state.unet(**inputs).sample - target).square().mean().backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.averages.step(parameter for parameter in state.unet.parameters() if parameter.requires_grad)
    state.step += 1


@pytest.fixture
def state():
    state = create_state()
    train_step(state)
    state.skipped_steps = 2
    return state


@pytest.fixture
def checkpoint(state, tmp_path):
    state.gather().write(tmp_path)
    return tmp_path


def weights_file(folder: Path, network: str = "unet") -> Path:
    return folder / network / "diffusion_pytorch_model.safetensors"


def test_counters_and_all_tensors_come_back(state, checkpoint):
    again = create_state()
    again.load(checkpoint)
    assert (again.step, again.skipped_steps, again.averages.steps) == (1, 2, 1)
    for mine, other in zip(again.unet.parameters(), state.unet.parameters(), strict=True):
        assert torch.equal(mine, other)
        for key, value in state.optimizer.state[other].items():
            assert torch.equal(again.optimizer.state[mine][key], value)
            assert again.optimizer.state[mine][key].stride() == value.stride()
    for track, values in state.averages.tracks.items():
        assert all(torch.equal(mine, other) for mine, other in zip(again.averages.tracks[track], values, strict=True))


def test_networks_of_a_checkpoint_load_on_their_own(state, checkpoint):
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "ema",
        "optimizer.pt",
        "power-0.1",
        "state.json",
        "unet",
    ]
    inputs, _ = create_batch(7, [0])
    with torch.no_grad():
        expected = state.unet(**inputs).sample
        assert torch.equal(ParallelUNetModel.from_pretrained(checkpoint / "unet")(**inputs).sample, expected)
        for track in ("ema", "power-0.1"):
            with state.averages.swapped_in(state.unet.parameters(), track):
                expected = state.unet(**inputs).sample
            assert torch.equal(ParallelUNetModel.from_pretrained(checkpoint / track)(**inputs).sample, expected)


def test_adapters_of_a_checkpoint_load_on_their_own(tmp_path):
    state = create_state(LORA_CONFIG)
    train_step(state)
    state.gather().write(tmp_path)
    inputs, _ = create_batch(7, [0])
    base = create_network(CONFIG)
    for network in ("unet", "ema"):
        found = create_network(CONFIG)
        found.load_lora_adapter(tmp_path / network, prefix=None, use_safetensors=True)
        with torch.no_grad(), state.averages.swapped_in(state.optimizer.param_groups[0]["params"]):
            averaged = state.unet(**inputs).sample
        with torch.no_grad():
            expected = state.unet(**inputs).sample if network == "unet" else averaged
            torch.testing.assert_close(found(**inputs).sample, expected)
            assert not torch.allclose(base(**inputs).sample, expected)
    assert set(load_file(tmp_path / "unet" / "pytorch_lora_weights.safetensors")) == {
        name.replace(".default", "") for name, value in state.unet.named_parameters() if value.requires_grad
    }


def test_gathered_state_does_not_follow_the_run(state):
    gathered = state.gather()
    before = {name: weights["conv_in.weight"].clone() for name, weights in gathered.networks.items()}
    moment = gathered.optimizer["conv_in.weight"]["exp_avg"].clone()
    train_step(state)
    assert gathered.counters["step"] == 1
    assert all(torch.equal(gathered.networks[name]["conv_in.weight"], value) for name, value in before.items())
    assert torch.equal(gathered.optimizer["conv_in.weight"]["exp_avg"], moment)
    assert not torch.equal(state.unet.conv_in.weight, before["unet"])


def test_settings_of_the_optimizer_are_those_of_the_run(checkpoint):
    again = create_state()
    again.optimizer.param_groups[0]["lr"] = 0.25
    again.load(checkpoint)
    assert again.optimizer.param_groups[0]["lr"] == 0.25


def refusal(state: TrainingState, folder: Path) -> str:
    """The message, after a look that the refused checkpoint has changed nothing."""
    before = {name: value.clone() for name, value in state.unet.state_dict().items()}
    with pytest.raises(ValueError) as error:
        state.load(folder)
    assert all(torch.equal(value, before[name]) for name, value in state.unet.state_dict().items())
    assert state.step == 0 and not state.optimizer.state
    return str(error.value)


def test_checkpoint_of_another_network_is_refused_with_the_first_difference(checkpoint):
    wide = create_state(unet=create_unet("tiny-base", block_out_channels=[16, 64]))
    assert refusal(wide, checkpoint) == (
        f"{weights_file(checkpoint)} is of another network: `down_blocks.1.0.residual_block.conv1.weight` has shape "
        "(32, 16, 3, 3) there and (64, 16, 3, 3) in the run."
    )
    sr = create_state(unet=create_unet("tiny-sr", sample_size=32))
    assert "it has no tensor `low_res_noise_embedding.embedding.linear_1.weight`" in refusal(sr, checkpoint)
    weights = load_file(weights_file(checkpoint))
    save_file(weights | {"extra": torch.ones(1)}, weights_file(checkpoint))
    assert "it has a tensor `extra`, the run has not" in refusal(create_state(), checkpoint)


def test_checkpoint_of_another_kind_of_run_is_refused(checkpoint):
    assert "no file unet/pytorch_lora_weights.safetensors" in refusal(create_state(LORA_CONFIG), checkpoint)
    other = dataclasses.replace(CONFIG, ema_power_sigmas=(0.05,))
    assert "no file power-0.05/diffusion_pytorch_model.safetensors" in refusal(create_state(other), checkpoint)
    state = create_state()
    state.optimizer = torch.optim.SGD(state.unet.parameters())
    assert refusal(state, checkpoint).endswith("another optimiser: AdamW, the run's is SGD.")


class Bomb:
    def __reduce__(self):
        return (print, ("A pickle ran.",))


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "optimizer.pt", "state.json"])
def test_broken_files_are_refused(checkpoint, file):
    path = checkpoint / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"The checkpoint {checkpoint} cannot be read" in refusal(create_state(), checkpoint)


def test_pickled_code_is_not_run(checkpoint, capsys):
    (checkpoint / "optimizer.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
    assert "cannot be read" in refusal(create_state(), checkpoint)
    assert capsys.readouterr().out == ""
