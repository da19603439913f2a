# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Independent random streams by name, all following from the generators a caller passes."""

import hashlib

import torch
from diffusers.utils.torch_utils import randn_tensor


class NoiseStreams:
    """Gives every use of randomness in one call a generator of its own.

    One number is drawn from each generator of the caller, and each stream is seeded with a hash of that number and the
    stream's name. So the noise of one use does not depend on what else a call does: a call that starts at the
    super-resolution stage, or that brings encoded garments, sees the same noise there as a whole run from generators
    in the same state.

    Args:
        generator (`torch.Generator` or `list[torch.Generator]`, *optional*): One for all images or one for each;
            torch's global generator if not given.
    """

    def __init__(self, generator: torch.Generator | list[torch.Generator] | None = None):
        self._is_list = isinstance(generator, list)
        generators = generator if self._is_list else [generator]
        self._roots = [(_draw_root(item), torch.device("cpu") if item is None else item.device) for item in generators]

    def generator(self, name: str) -> torch.Generator | list[torch.Generator]:
        """New generators for the stream `name`, a list if the caller gave one."""
        streams = [torch.Generator(device).manual_seed(_hash(root, name)) for root, device in self._roots]
        return streams if self._is_list else streams[0]

    def normal(self, name: str, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Standard normal float32 noise from the stream `name`."""
        return randn_tensor(shape, generator=self.generator(name), device=device, dtype=torch.float32)


def _draw_root(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return torch.randint(2**63 - 1, (), generator=generator, device=device).item()


def _hash(root: int, name: str) -> int:
    digest = hashlib.sha256(f"{root}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
