# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the app does when somebody presses its button: files in, pictures out, without a word about layout."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .image_files import read_image
from .pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from .poses import load_pose
from .preprocessing.preprocessor import TryOnPreprocessor
from .schedules import DEFAULT_STEPS, SCHEDULERS, swap_scheduler
from .visualization import stages_picture


# Called as (share of the work that is done, what is going on).
OnProgress = Callable[[float, str], None]

STAGE_TITLES = {"base": "Base stage", "sr": "Super-resolution"}
DEFAULT_GUIDANCE = 2.0

SHIPPED_WEIGHTS_NOTE = (
    "**What to expect:** the weights that come with the package are a first, crude checkpoint: 128 x 128 pixels, tops "
    "only, trained on rendered people alone. On rendered people, such as the examples, the garment's colours and "
    "coarse pattern land in the right place, and fine prints, faces and hands smear. **On real photographs it paints "
    "a coloured blob.**"
)

_REQUIRED_CONDITIONS = ("agnostic_image", "garment_image", "person_pose")
# The longer side of prepared images where they are shown with their poses.
_SHOWN_SIDE = 384


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    Attributes:
        scheduler (`str`, *optional*): a key of `diffusers_tryon.schedules.SCHEDULERS` for every stage; the model's own
            if None.
        num_inference_steps, sr_num_inference_steps (`int`): denoising steps of each stage.
        guidance_scale, sr_guidance_scale (`float`): guidance of each stage, at least 0; up to 1 there is none.
        seed (`int`): at least 0; the same seed gives the same picture on the same machine.
    """

    scheduler: str | None = None
    num_inference_steps: int = DEFAULT_STEPS["base"]
    sr_num_inference_steps: int = DEFAULT_STEPS["sr"]
    guidance_scale: float = DEFAULT_GUIDANCE
    sr_guidance_scale: float = DEFAULT_GUIDANCE
    seed: int = 0

    def call_arguments(self) -> dict[str, Any]:
        """The arguments of a pipeline's call, a fresh generator among them."""
        return {
            "num_inference_steps": self.num_inference_steps,
            "sr_num_inference_steps": self.sr_num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "sr_guidance_scale": self.sr_guidance_scale,
            "generator": torch.Generator().manual_seed(self.seed),
        }


@dataclass(frozen=True)
class TryOnResult:
    """A try-on with all that can be shown of it.

    Attributes:
        image (`PIL.Image.Image`): the result; of photographs the person's at its own size.
        stages (`dict[str, PIL.Image.Image]`): what each stage made, by its name.
        seconds (`dict[str, float]`): what each stage took, by its name; of photographs also "preparation".
        warnings (`tuple[str, ...]`): what may have spoilt the result.
        draw_intermediates (`Callable`): draws what the networks were given, and of photographs what was seen in them.
    """

    image: Image.Image
    stages: dict[str, Image.Image]
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    draw_intermediates: Callable[[], Image.Image]


class TryOnService:
    """A model and a preprocessor that many people use.

    Each call gets a pipeline of the same networks with schedulers of its own, so that nobody's choice of a scheduler
    reaches another's picture.

    Args:
        pipe ([`TryOnCascadePipeline`]): is never changed.
        preprocessor ([`TryOnPreprocessor`]): what looks at photographs.
        note (`str`): Markdown that tells people what to expect of the model.
    """

    def __init__(self, pipe: TryOnCascadePipeline, preprocessor: TryOnPreprocessor, note: str = ""):
        self.pipe = pipe
        self.preprocessor = preprocessor
        self.note = note
        self.stages = pipe.stage_names()

    def schedulers(self) -> list[str]:
        """The names of the schedulers that can sample from every stage of this model, on this machine."""
        return [name for name in SCHEDULERS if self._can_use(name)]

    def _can_use(self, scheduler: str) -> bool:
        try:
            self._pipeline(scheduler)
        # It cannot predict what this network predicts, or its extra is not installed.
        except (ValueError, ImportError):
            return False
        return True

    def _pipeline(self, scheduler: str | None) -> TryOnCascadePipeline:
        components = dict(self.pipe.components)
        for stage in self.stages:
            own = components[f"{stage}_scheduler"]
            swapped = copy.deepcopy(own) if scheduler is None else swap_scheduler(own, scheduler)
            components[f"{stage}_scheduler"] = swapped
        pipe = type(self.pipe)(**components)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def try_on(
        self,
        person_photo: str | Path | None,
        garment_photo: str | Path | None,
        category: str = "auto",
        garment_type: str = "auto",
        person_index: int | None = None,
        sampling: Sampling = Sampling(),
        on_progress: OnProgress = lambda share, text: None,
    ) -> TryOnResult:
        """Show the person of a photograph in the garment of another.

        Args:
            person_photo, garment_photo (`str` or `Path`): files; None counts as missing.
            category (`str`): "upper", "lower", "dress" or "auto".
            garment_type (`str`): "worn", "flat" or "auto".
            person_index (`int`, *optional*): whom to dress if there are several, from the largest (0) on.
            sampling ([`Sampling`]): how to sample.
            on_progress (`Callable`): called as the work goes on.

        Raises:
            PreprocessingError: a photograph cannot be used.
            ValueError: any other argument that does not fit.
        """
        photos = {"person_photo": person_photo, "garment_photo": garment_photo}
        _check_given(photos, list(photos))
        on_progress(0.0, "Looking at the photographs")
        pipe, start = self._pipeline(sampling.scheduler), time.perf_counter()
        output = pipe.try_on(
            Path(person_photo),
            Path(garment_photo),
            self.preprocessor,
            category,
            garment_type,
            person_index,
            callback_on_step_end=_step_reporter(on_progress),
            **sampling.call_arguments(),
        )
        preparation = time.perf_counter() - start - sum(output.seconds.values())
        return TryOnResult(
            image=output.images[0],
            stages={name: images[0] for name, images in output.stages.items()},
            seconds={"preparation": preparation, **output.seconds},
            warnings=tuple(str(warning) for warning in output.prepared.warnings),
            draw_intermediates=output.prepared.picture,
        )

    def try_on_prepared(
        self,
        files: Mapping[str, str | Path | None],
        sampling: Sampling = Sampling(),
        on_progress: OnProgress = lambda share, text: None,
    ) -> TryOnResult:
        """Try on with conditions that are prepared already.

        Args:
            files (`Mapping`): picture files by the names "agnostic_image", "garment_image" and, unless all of the
                picture may change, "agnostic_mask"; pose files by "person_pose" and, unless the garment lies flat,
                "garment_pose". None counts as missing.
            sampling ([`Sampling`]), on_progress (`Callable`): as in [`try_on`].

        Raises:
            ValueError: naming what is missing or cannot be used.
        """
        _check_given(files, _REQUIRED_CONDITIONS)
        conditions = {
            name: load_pose(path) if name.endswith("_pose") else read_image(path, name)
            for name, path in files.items()
            if path is not None
        }
        output = self._pipeline(sampling.scheduler)(
            **conditions, **sampling.call_arguments(), callback_on_step_end=_step_reporter(on_progress)
        )
        stages = {name: images[0] for name, images in output.stages.items()}
        return TryOnResult(
            image=output.images[0],
            stages=stages,
            seconds=output.seconds,
            warnings=(),
            draw_intermediates=lambda: _conditions_picture(conditions, stages),
        )


def load_service(
    model: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    preprocessor: str = "offline",
    optimize: bool = False,
) -> TryOnService:
    """Load a service by names, see `inference.load_pipeline`, `inference.load_preprocessor` and `pipe.optimize`."""
    from .inference import load_pipeline, load_preprocessor

    pipe = load_pipeline(model, dtype, device)
    if optimize:
        pipe.optimize(pipe.dtype)
    note = SHIPPED_WEIGHTS_NOTE if model is None else ""
    return TryOnService(pipe, load_preprocessor(preprocessor, pipe.device), note)


def _check_given(files: Mapping[str, str | Path | None], required: list[str] | tuple[str, ...]) -> None:
    for name in required:
        if files.get(name) is None:
            raise ValueError(f"`{name}` is missing: choose a file.")


def _step_reporter(on_progress: OnProgress) -> Callable:
    """A callback of the pipeline that says which step of which stage is done."""

    def report(pipe: TryOnCascadePipeline, step: int, timestep: torch.Tensor, tensors: dict) -> dict:
        # The schedulers of all stages that run have their timesteps by now, and the base stage runs first.
        num_base = len(pipe.base_scheduler.timesteps)
        stage, done, count = ("base", step, num_base)
        if step >= num_base:
            stage, done, count = ("sr", step - num_base, pipe.num_timesteps - num_base)
        on_progress((step + 1) / pipe.num_timesteps, f"{STAGE_TITLES[stage]}, step {done + 1} of {count}")
        return tensors

    return report


def _conditions_picture(conditions: dict[str, Any], stages: dict[str, Image.Image]) -> Image.Image:
    inputs = {name: value for name, value in conditions.items() if name != "agnostic_mask"}
    for name in ("agnostic_image", "garment_image"):
        inputs[name] = inputs[name].copy()
        inputs[name].thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return stages_picture(**inputs, stages=stages)
