# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Noise schedules as beta lists, and the Diffusers schedulers that can sample with them.

The networks are trained on a variance-preserving schedule of 1000 steps, `x_t = sqrt(a) x_0 + sqrt(1 - a) noise` with
`a = alphas_cumprod[t]`. Every Diffusers scheduler that works on such a schedule takes it as `trained_betas`, so no
scheduler class of our own is needed and any of them can be swapped for another.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import logging


logger = logging.get_logger(__name__)

NUM_TRAIN_TIMESTEPS = 1000
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")

# Steps per stage: TryOnDiffusion samples with DDPM (arXiv 2306.08276, section 3.3). Ours use the default scheduler and
# come from quality on rendered truth against steps (`benchmarks/schedulers.py`, docs/schedulers.md), measured with
# `tryon-cascade-first`: other weights may need others.
PAPER_STEPS = {"base": 256, "sr": 128}
DEFAULT_STEPS = {"base": 15, "sr": 10}
DEFAULT_SCHEDULER = "dpmsolver++"

_MAX_BETA = 0.999


class SchedulerSetup(NamedTuple):
    """A scheduler class of Diffusers and the configuration that suits pixels in [-1, 1]."""

    class_name: str
    config: dict[str, Any]


# Pixels end in [-1, 1], so every solver that can clips its estimate of the image. With `sample_max_value` 1.0, dynamic
# thresholding is that clip. A cosine schedule starts at a noise of 20291 times the image; the DPM solvers'
# coefficients lose their digits there, so they start at a log ratio of -5.1, where nothing of the image is left
# either.
_CLIP = {"thresholding": False, "clip_sample": True, "clip_sample_range": 1.0}
_THRESHOLD = {"thresholding": True, "sample_max_value": 1.0}
_CLIP_LAMBDA = {"lambda_min_clipped": -5.1}
# "trailing" and "linspace" start at the last timestep, "leading" (many defaults) well before it. The solvers with
# "linspace" below drop its last point, t = 0, so the two are alike.
_TRAILING = {"timestep_spacing": "trailing"}
_LINSPACE = {"timestep_spacing": "linspace"}
_DPM_SOLVER = {**_THRESHOLD, **_CLIP_LAMBDA, "lower_order_final": True, "final_sigmas_type": "zero"}

# Notes for choosing:
# - ddim and pndm step back by the whole number 1000 // steps: take a number of steps that divides 1000.
# - kdpm2, kdpm2-ancestral, heun and dpm-sde call the network about twice a step.
# - dpm-sde draws its noise from torchsde, not from the generators of the pipeline (`noise_sampler_seed` fixes it).
# - lcm and tcd are for distilled networks.
# - heun's first step, evenly in time, goes from a sigma of 20291 to one below 100, which overshoots at fewer than 100
#   steps; exponential sigmas (every step by the same factor) mend that.
SCHEDULERS = {
    "ddpm": SchedulerSetup("DDPMScheduler", {**_CLIP, **_TRAILING}),
    "ddpm-parallel": SchedulerSetup("DDPMParallelScheduler", {**_CLIP, **_TRAILING}),
    "ddim": SchedulerSetup("DDIMScheduler", {**_CLIP, **_TRAILING}),
    "ddim-parallel": SchedulerSetup("DDIMParallelScheduler", {**_CLIP, **_TRAILING}),
    "dpmsolver++": SchedulerSetup(
        "DPMSolverMultistepScheduler", {**_DPM_SOLVER, **_LINSPACE, "algorithm_type": "dpmsolver++"}
    ),
    "dpmsolver++-sde": SchedulerSetup(
        "DPMSolverMultistepScheduler", {**_DPM_SOLVER, **_LINSPACE, "algorithm_type": "sde-dpmsolver++"}
    ),
    "dpmsolver++-singlestep": SchedulerSetup(
        "DPMSolverSinglestepScheduler", {**_DPM_SOLVER, "algorithm_type": "dpmsolver++"}
    ),
    "deis": SchedulerSetup("DEISMultistepScheduler", {**_THRESHOLD, **_LINSPACE, "algorithm_type": "deis"}),
    "unipc": SchedulerSetup("UniPCMultistepScheduler", {**_THRESHOLD, **_LINSPACE, "final_sigmas_type": "zero"}),
    "sa-solver": SchedulerSetup(
        "SASolverScheduler", {**_THRESHOLD, **_CLIP_LAMBDA, **_LINSPACE, "algorithm_type": "data_prediction"}
    ),
    "euler": SchedulerSetup("EulerDiscreteScheduler", _TRAILING),
    "euler-ancestral": SchedulerSetup("EulerAncestralDiscreteScheduler", _TRAILING),
    "lms": SchedulerSetup("LMSDiscreteScheduler", _TRAILING),
    "heun": SchedulerSetup(
        "HeunDiscreteScheduler",
        {"clip_sample": True, "clip_sample_range": 1.0, "use_exponential_sigmas": True, **_TRAILING},
    ),
    "kdpm2": SchedulerSetup("KDPM2DiscreteScheduler", _TRAILING),
    "kdpm2-ancestral": SchedulerSetup("KDPM2AncestralDiscreteScheduler", _TRAILING),
    "dpm-sde": SchedulerSetup("DPMSolverSDEScheduler", _TRAILING),
    "pndm": SchedulerSetup("PNDMScheduler", {**_TRAILING, "skip_prk_steps": True, "set_alpha_to_one": True}),
    "lcm": SchedulerSetup("LCMScheduler", _CLIP),
    "tcd": SchedulerSetup("TCDScheduler", _CLIP),
}

# Schedulers with the right methods that nevertheless do something else than sampling from this schedule.
_UNUSABLE = {
    "CogVideoXDDIMScheduler": "it changes the noise levels for video latents",
    "DDIMInverseScheduler": "it goes from the image to the noise",
    "DPMSolverMultistepInverseScheduler": "it goes from the image to the noise",
    "UnCLIPScheduler": "its step needs the previous timestep, which only its own pipelines pass",
}
_NO_SAMPLE_PREDICTION = (
    "DPMSolverSDEScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "PNDMScheduler",
)


def _betas(alpha_bar: Callable[[float], float], num_train_timesteps: int) -> list[float]:
    """Betas with `alphas_cumprod[i] = alpha_bar((i + 1) / num_train_timesteps)`, each beta at most 0.999."""
    levels = [alpha_bar(i / num_train_timesteps) for i in range(num_train_timesteps + 1)]
    return [min(1.0 - after / before, _MAX_BETA) for before, after in zip(levels[:-1], levels[1:])]


def cosine_betas(num_train_timesteps: int = NUM_TRAIN_TIMESTEPS) -> list[float]:
    """The cosine schedule of Nichol and Dhariwal (arXiv 2102.09672), Diffusers' `squaredcos_cap_v2`, as a list."""
    return _betas(lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2, num_train_timesteps)


def shifted_cosine_betas(
    image_size: int | Sequence[int], base_size: int = 64, num_train_timesteps: int = NUM_TRAIN_TIMESTEPS
) -> list[float]:
    """The cosine schedule shifted for larger images (Simple Diffusion, arXiv 2301.11093, equation 3).

    Averaging pixels removes noise but little of the image, so an image of `image_size` keeps the signal to noise that
    one of `base_size` has under the cosine schedule when its log-SNR falls by `2 log(base_size / image_size)`.

    Args:
        image_size (`int` or `Sequence[int]`): Side of the images in pixels; of (height, width) the geometric mean.
        base_size (`int`, defaults to 64): The side at which the schedule is the plain cosine.
    """
    side = math.sqrt(math.prod(image_size)) if isinstance(image_size, Sequence) else image_size
    if side <= 0 or base_size <= 0:
        raise ValueError(f"`image_size` and `base_size` must be positive, got {image_size} and {base_size}.")

    def alpha_bar(t: float) -> float:
        # sigmoid(-2 log tan(pi t / 2) + 2 log(base_size / side)), without its infinities at t = 0 and 1
        signal = base_size * math.cos(math.pi * t / 2)
        noise = side * math.sin(math.pi * t / 2)
        return signal**2 / (signal**2 + noise**2)

    return _betas(alpha_bar, num_train_timesteps)


def _betas_of_log_snr(log_snr_of_time: Callable[[float], float]) -> list[float]:
    """Betas with `alphas_cumprod[i] = sigmoid(log_snr_of_time(i / 1000))` at all 1000 timesteps."""
    levels = [1.0 / (1.0 + math.exp(-log_snr_of_time(i / NUM_TRAIN_TIMESTEPS))) for i in range(NUM_TRAIN_TIMESTEPS)]
    return [1.0 - after / before for before, after in zip([1.0, *levels[:-1]], levels)]


def reference_cosine_betas() -> list[float]:
    """The continuous cosine law of the public reference code at `t = i / 1000`, for converted checkpoints.

    It differs from `cosine_betas` by up to 6.9 in log-SNR at the end, where its own clamp ends it at -12.9.
    """
    return _betas_of_log_snr(lambda t: -math.log(max(math.cos((t + 0.008) / 1.008 * math.pi / 2) ** -2 - 1, 1e-5)))


def reference_linear_betas() -> list[float]:
    """The continuous linear law of the public reference code at `t = i / 1000` (its noise augmentation)."""
    return _betas_of_log_snr(lambda t: -math.log(math.expm1(1e-4 + 10 * t**2)))


def log_snr(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """`log(a / (1 - a))` of a scheduler's `alphas_cumprod`, any shape."""
    return torch.log(alphas_cumprod) - torch.log1p(-alphas_cumprod)


def _setup(name: str) -> SchedulerSetup:
    if name not in SCHEDULERS:
        raise ValueError(f"`name` must be one of {', '.join(SCHEDULERS)}, got {name!r}.")
    return SCHEDULERS[name]


def create_scheduler(
    name: str,
    *,
    trained_betas: list[float] | None = None,
    prediction_type: str = "v_prediction",
    **config: Any,
) -> SchedulerMixin:
    """Build a scheduler by its name in `SCHEDULERS`.

    Args:
        name (`str`): A key of `SCHEDULERS`.
        trained_betas (`list[float]`, *optional*): The noise schedule; the cosine schedule if not given.
        prediction_type (`str`): What the network predicts: "epsilon", "v_prediction" or "sample".
        **config: Further configuration of the scheduler class, which wins over that of `SCHEDULERS`.

    Raises:
        ValueError: the name is unknown, or the scheduler cannot work with the prediction type.
    """
    setup = _setup(name)
    schedule = {"beta_schedule": "squaredcos_cap_v2"} if trained_betas is None else {"trained_betas": trained_betas}
    scheduler_class = getattr(diffusers, setup.class_name)
    scheduler = scheduler_class(**{**setup.config, **schedule, "prediction_type": prediction_type, **config})
    check_scheduler(scheduler, prediction_type)
    return scheduler


def swap_scheduler(scheduler: SchedulerMixin, name: str) -> SchedulerMixin:
    """The scheduler called `name` with the noise schedule and prediction type of `scheduler`, which stays as it is."""
    setup = _setup(name)
    swapped = getattr(diffusers, setup.class_name).from_config(scheduler.config, **setup.config)
    check_scheduler(swapped, scheduler.config.prediction_type)
    return swapped


def _reason_against(scheduler: SchedulerMixin) -> str | None:
    """Why `scheduler` cannot sample from a network trained on a variance-preserving schedule, or None."""
    config = scheduler.config
    for ancestor in type(scheduler).__mro__:
        if ancestor.__name__ in _UNUSABLE:
            return _UNUSABLE[ancestor.__name__]
    if not hasattr(scheduler, "scale_model_input") or not hasattr(scheduler, "init_noise_sigma"):
        return "it is a flow-matching or discrete scheduler, and the network was trained on a diffusion schedule"
    if not hasattr(scheduler, "alphas_cumprod"):
        return "it has a noise parametrisation of its own (EDM, consistency or score SDE) instead of `alphas_cumprod`"
    parameters = list(inspect.signature(scheduler.step).parameters.values())
    further = [parameter.name for parameter in parameters[3:] if parameter.default is parameter.empty]
    if [parameter.name for parameter in parameters[1:3]] != ["timestep", "sample"] or further:
        return "its `step` needs more than the prediction, the timestep and the sample"
    if config.get("use_flow_sigmas"):
        return (
            "`use_flow_sigmas` makes it a flow-matching scheduler, and the network was trained on a diffusion schedule"
        )
    if config.num_train_timesteps != NUM_TRAIN_TIMESTEPS:
        return (
            f"its `num_train_timesteps` is {config.num_train_timesteps}, and the network knows {NUM_TRAIN_TIMESTEPS}"
        )
    if config.get("variance_type") in ("learned", "learned_range"):
        return f"its `variance_type` is {config.variance_type!r}, and the network predicts no variance"
    if config.get("timestep_type") == "continuous":
        return "its `timestep_type` is 'continuous', and the network knows timesteps from 0 to 999"
    return _reason_against_prediction_type(scheduler)


def _reason_against_prediction_type(scheduler: SchedulerMixin) -> str | None:
    prediction_type = scheduler.config.get("prediction_type")
    if prediction_type not in PREDICTION_TYPES:
        return f"its `prediction_type` is {prediction_type!r}, not one of {', '.join(PREDICTION_TYPES)}"
    ancestors = [ancestor.__name__ for ancestor in type(scheduler).__mro__]
    if prediction_type == "sample" and any(name in ancestors for name in _NO_SAMPLE_PREDICTION):
        return "it has no formula for `prediction_type` 'sample'"
    if prediction_type == "epsilon" and scheduler.config.get("rescale_betas_zero_snr"):
        return "with `rescale_betas_zero_snr` its first step has no signal, from which 'epsilon' says nothing"
    if "PNDMScheduler" in ancestors and prediction_type == "epsilon" and not scheduler.config.skip_prk_steps:
        return "its Runge-Kutta steps divide 'epsilon' by almost no signal on this schedule; set `skip_prk_steps`"
    return None


def usable_schedulers(prediction_type: str) -> tuple[list[str], list[str]]:
    """The names in `SCHEDULERS` that can sample from a network, and those that cannot.

    Args:
        prediction_type (`str`): What the network predicts, one of `PREDICTION_TYPES`.
    """
    refused = [
        name
        for name, setup in SCHEDULERS.items()
        if prediction_type == "sample" and setup.class_name in _NO_SAMPLE_PREDICTION
    ]
    return [name for name in SCHEDULERS if name not in refused], refused


def check_scheduler(scheduler: SchedulerMixin, prediction_type: str | None = None, name: str = "scheduler") -> None:
    """Refuse a scheduler that cannot sample from our networks.

    Args:
        scheduler (`SchedulerMixin`): The scheduler.
        prediction_type (`str`, *optional*): What the network predicts; the scheduler must be set to the same.
        name (`str`): What the error calls the scheduler.

    Raises:
        ValueError: with the reason.
    """
    reason = _reason_against(scheduler)
    if reason is None and prediction_type is not None and scheduler.config.prediction_type != prediction_type:
        reason = (
            f"its `prediction_type` is {scheduler.config.prediction_type!r}, and the network's {prediction_type!r}"
        )
    if reason is not None:
        predicts_sample = "sample" in (prediction_type, scheduler.config.get("prediction_type"))
        usable, _ = usable_schedulers("sample" if predicts_sample else "v_prediction")
        raise ValueError(
            f"`{name}` is a {type(scheduler).__name__}, which cannot be used: {reason}. "
            f"These can: {', '.join(usable)} (see `diffusers_tryon.schedules`)."
        )


def check_steps(scheduler: SchedulerMixin, num_inference_steps: int, name: str = "scheduler") -> None:
    """Check a scheduler after its `set_timesteps(num_inference_steps)`.

    DDIM and PNDM step back by `1000 // num_inference_steps` whatever their timesteps are. At 256 steps that is 3 in
    place of 3.9, and samples of a normal distribution end with 1.5 times its deviation: a warning is logged.

    Raises:
        ValueError: an ancestral scheduler's first step is so large that rounding makes a variance negative, and the
            images NaN.
    """
    ancestors = {ancestor.__name__ for ancestor in type(scheduler).__mro__}
    step = NUM_TRAIN_TIMESTEPS // num_inference_steps
    is_uneven = NUM_TRAIN_TIMESTEPS / num_inference_steps > 1.05 * step
    if is_uneven and ancestors & {"DDIMScheduler", "DDIMParallelScheduler", "PNDMScheduler"}:
        logger.warning(
            f"{type(scheduler).__name__} steps back by {step} of {NUM_TRAIN_TIMESTEPS} timesteps, which leaves noise "
            f"after {num_inference_steps} steps. Take {NUM_TRAIN_TIMESTEPS // (step + 1)} or "
            f"{NUM_TRAIN_TIMESTEPS // step}."
        )
    # NaN where the rounding is bad.
    variances = []
    if "EulerAncestralDiscreteScheduler" in ancestors:
        before, after = scheduler.sigmas[:-1] ** 2, scheduler.sigmas[1:] ** 2
        variances = after - ((after * (before - after) / before) ** 0.5) ** 2
    elif "KDPM2AncestralDiscreteScheduler" in ancestors:
        variances = scheduler.sigmas_interpol
    if not all(variance >= 0 for variance in variances):
        raise ValueError(
            f"`{name}`, a {type(scheduler).__name__}, cannot take {num_inference_steps} steps: its first is too large "
            f"for float32. Take another number, at best 20 or more."
        )
