# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The stages of a cascade: which there are, what they need, and how large their images are."""

from fractions import Fraction

from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.pipelines.inputs import check_count
from diffusers_tryon.schedules import check_scheduler


# The cascade, in order. The stage `name` has the components `{name}_unet` and `{name}_scheduler`.
STAGES = ("base", "sr")


class CascadeStagesMixin:
    """Methods about the stages for a pipeline with the components of `STAGES`."""

    def stage_names(self, first_stage: str = STAGES[0], last_stage: str | None = None) -> list[str]:
        """The stages from the first to the last, by default the last one loaded.

        Raises:
            ValueError: a stage is unknown, not loaded, or without a usable network and scheduler.
        """
        if last_stage is None:
            last_stage = [name for name in STAGES if getattr(self, f"{name}_unet") is not None][-1]
            last_stage = max(first_stage, last_stage, key=STAGES.index)
        if last_stage not in STAGES:
            raise ValueError(f"`last_stage` must be one of {', '.join(STAGES)}, got {last_stage!r}.")
        names = list(STAGES[STAGES.index(first_stage) : STAGES.index(last_stage) + 1])
        if not names:
            raise ValueError(
                f"`last_stage` is {last_stage!r}, but with a low-resolution image the first is {first_stage!r}."
            )
        for name in names:
            self._check_stage(name)
        schedulers = [getattr(self, f"{name}_scheduler") for name in names]
        if len({id(scheduler) for scheduler in schedulers}) < len(names):
            raise ValueError(
                f"{' and '.join(f'`{name}_scheduler`' for name in names)} are one object, but a scheduler keeps the "
                f"state of its stage: make another with `{type(schedulers[0]).__name__}.from_config(...)`."
            )
        return names

    def _check_stage(self, name: str) -> None:
        unet, scheduler = getattr(self, f"{name}_unet"), getattr(self, f"{name}_scheduler")
        for component, value in (("unet", unet), ("scheduler", scheduler)):
            if value is None:
                raise ValueError(f"The stage {name!r} is not loaded: the pipeline has no `{name}_{component}`.")
        check_scheduler(scheduler, name=f"{name}_scheduler")
        if unet.config.low_res_conditioning != (name != STAGES[0]):
            kind = "super-resolution" if unet.config.low_res_conditioning else "the first stage"
            raise ValueError(f"`{name}_unet` is a network for {kind} (its `low_res_conditioning` says so).")

    def stage_sizes(
        self, last_stage: str, height: int | None = None, width: int | None = None
    ) -> dict[str, tuple[int, int]]:
        """Height and width of every stage up to `last_stage`, in the ratio of the networks' `sample_size`.

        Args:
            last_stage (`str`): The stage that the height and width are for.
            height, width (`int`, *optional*): Its size in pixels, by default its network's `sample_size`.

        Raises:
            ValueError: a stage's size would not be a whole multiple of its network's `size_divisor`.
        """
        names = STAGES[: STAGES.index(last_stage) + 1]
        samples = {name: trained_size(getattr(self, f"{name}_unet")) for name in names}
        sizes = {name: [] for name in names}
        for axis, (argument, given) in enumerate((("height", height), ("width", width))):
            side = samples[last_stage][axis] if given is None else given
            check_count(side, argument)
            for name in names:
                divisor = getattr(self, f"{name}_unet").size_divisor
                ratio = Fraction(samples[last_stage][axis], samples[name][axis])
                if side / ratio % divisor:
                    raise ValueError(
                        f"`{argument}` must be a multiple of {(divisor * ratio).numerator} for the stage {name!r}, "
                        f"got {side}."
                    )
                sizes[name].append(int(side / ratio))
        return {name: tuple(size) for name, size in sizes.items()}
