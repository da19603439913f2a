# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How much memory a pass takes, compared with what its tensors take, and what guidance does where memory is short."""

import weakref
from typing import Any

import psutil
import pytest
import torch
from tiny_cascade import SR_SIZE, TINY_REFERENCE, cascade_inputs, random_unet, tiny_cascade
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusers_tryon.pipelines import activation_memory
from diffusers_tryon.pipelines.activation_memory import activation_bytes, fits_memory, free_bytes
from diffusers_tryon.pipelines.optimization import cast


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made, and no longer those of tensors that are gone."""

    def __init__(self, known: list[torch.Tensor]):
        super().__init__()
        self.live = {tensor.untyped_storage()._cdata: 0 for tensor in known}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.live:
                storage = tensor.untyped_storage()
                self.live[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.live.pop, storage._cdata)
        self.most = max(self.most, sum(self.live.values()))
        return result


@pytest.mark.parametrize(
    "name, overrides, num_rows, factor",
    [
        ("tiny-base", {}, 2, 2),
        ("tiny-sr", {"patch_size": 1, "layers_per_block": (3, 4), "garment_layers_per_block": (3, 4)}, 2, 1),
        ("small-256", {"sample_size": 32, "garment_time_conditioning": True}, 2, 1),
        ("reference-256", {**TINY_REFERENCE, "sample_size": 32}, 3, 1),
    ],
    ids=["tiny", "deep", "five levels", "reference"],
)
@torch.no_grad()
def test_the_estimate_is_what_tensors_take_and_not_twice_that(name, overrides, num_rows, factor):
    unet = random_unet(name, 0, **overrides)
    cast(unet, torch.bfloat16)
    size = factor * unet.config.sample_size
    image = torch.zeros(num_rows, 3, size, size, dtype=torch.bfloat16)
    poses, timestep = torch.rand(num_rows, 18, 3), torch.full((num_rows,), 500.0)
    low_res_image = image if unet.config.low_res_conditioning else None
    seen = {"timestep": timestep, "person_pose": poses} if unet.config.garment_time_conditioning else {}
    features = unet.encode_garment(image, poses, **seen)
    maps = [*features.down, *features.up]
    with LiveBytes([*unet.parameters(), *unet.buffers(), image, poses, timestep, *maps]) as measured:
        unet(image, timestep, image, None, poses, poses, low_res_image, garment_features=features)
    taken = measured.most + sum(tensor.nbytes for tensor in maps)
    assert taken <= activation_bytes(unet, num_rows, size, size) <= 2 * taken


def test_free_memory_is_known_of_the_cpu_alone_here():
    assert 0 < free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total
    assert free_bytes(torch.device("meta")) is None


def test_weights_that_are_not_on_the_device_yet_need_room_too(monkeypatch):
    unet = random_unet("tiny-base", 0)
    needed = activation_bytes(unet, 2, 32, 32)
    monkeypatch.setattr(activation_memory, "free_bytes", lambda device: needed)
    assert fits_memory(unet, 2, 32, 32, torch.device("cpu")) and not fits_memory(unet, 3, 32, 32, torch.device("cpu"))
    assert not fits_memory(unet.to("meta"), 2, 32, 32, torch.device("cpu"))
    monkeypatch.setattr(activation_memory, "free_bytes", lambda device: None)
    assert fits_memory(unet, 10**9, 32, 32, torch.device("mps"))


@pytest.mark.parametrize("is_enough", [True, False])
def test_both_halves_of_guidance_run_at_once_where_the_memory_is_enough_for_them(is_enough, monkeypatch):
    pipe = tiny_cascade()
    needed = activation_bytes(pipe.sr_unet, 2, SR_SIZE, SR_SIZE)
    expected = pipe(**cascade_inputs(), sequential_guidance=not is_enough).images
    seen = []
    pipe.sr_unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["sample"])), with_kwargs=True
    )
    monkeypatch.setattr(activation_memory, "free_bytes", lambda device: needed if is_enough else needed - 1)
    images = pipe(**cascade_inputs()).images
    assert seen == ([2, 2] if is_enough else [1, 1, 1, 1])
    if is_enough:
        assert torch.equal(images, expected)
    else:
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)  # the base stage fits
