# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""How long one guided step of a network takes, by option, and how far each option is from float32.

    python benchmarks/unet_step.py
    python benchmarks/unet_step.py --preset paper-128-cached --repeats 5
    python benchmarks/unet_step.py --preset reference-128 --reference ../tryondiffusion
    python benchmarks/unet_step.py --device cuda --batch-size 1 --batch-size 8 --batch-size 32

A guided step is a prediction with every condition and one with none, and their combination. The first row is the step
as the reference implementation takes it: two passes, the garment stream in each, float32. With `--reference`, a folder
with a checkout of fashn-AI/tryondiffusion (MIT; it needs ema-pytorch), it is that implementation itself,
with the same weights as ours. Each further row changes one thing of a row before it; "(approximate)" are those whose
result is another even in exact arithmetic.

Weights are random and so are the inputs. The options of a network take turns within one process, whose first turn
warms up and gives the results to compare; each network has a process of its own. "error" is the norm of the difference
from the float32 result by the norm of that; "TFLOP" are the operations of an option's convolutions, matrix products
and attention, "utilisation" those by time and by what the machine reaches in the same precision in the better of a
matrix product and a convolution, measured in the same process. Autocast casts the weights once a step, for both
passes. At full size a network takes up to 18 GB here, 22 GB with `--reference`. Close other programs first.
"""

import copy
import ctypes
import functools
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Annotated, NamedTuple

import torch
import typer
from diffusers.models.modeling_utils import ModelMixin
from reporting import RESULTS, Report, Table, describe_machine, seconds_of, take_turns, timing_row
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from diffusers_tryon import create_unet
from diffusers_tryon.conversion import convert_reference_unet
from diffusers_tryon.models.chunked_attention import use_chunked_attention
from diffusers_tryon.models.inputs import trained_size
from diffusers_tryon.models.packing import pack_weights
from diffusers_tryon.models.unet_parallel_reference import cosine_log_snr, linear_log_snr
from diffusers_tryon.pipelines.guidance import (
    DEFAULT_GUIDANCE_SCALE,
    network_passes,
    predict,
    step_garment_features,
)
from diffusers_tryon.pipelines.inputs import StageInputs
from diffusers_tryon.pipelines.optimization import cast
from diffusers_tryon.poses import NUM_KEYPOINTS
from diffusers_tryon.process_memory import has_glibc, keep_freed_memory, return_freed_memory
from diffusers_tryon.training.cost import measured_peak_flops, parameter_count


FULL_SIZE = ["reference-128", "reference-256", "paper-128-cached", "paper-256-cached"]
_SEED = 0
# In the middle of the noise, where neither the input nor the prediction dominates.
_TIMESTEP = 500.0
# From one step to the next, at 50 of them.
_APART = 20.0
# Deviation of weights that fresh networks start at zero, which would hide what the layers before them do.
_DEVIATION = 0.02
# Of glibc's malloc.h, and what a process arrives at by itself once it has freed large tensors, bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_USUAL_TRIM_THRESHOLD, _USUAL_MMAP_THRESHOLD = 2**26, 2**25


# What is measured


class Option(NamedTuple):
    """One way to take a step.

    Attributes:
        weights: a layout of `Networks`.
        garment: "twice" runs the garment stream in both passes, "once" for the conditional rows alone, "kept" takes
            its features from before, "alone" runs nothing else.
        conditions_kept: whether poses and noise levels were embedded before.
        encoder_kept: whether the person stream's way down is another step's.
        sequential: whether the null rows run before the others instead of in one batch with them.
        autocast: whether float32 weights compute in bfloat16.
        memory_kept: whether the process keeps memory that is freed.
        guided: whether there are null rows.
        is_exact: whether only rounding tells the result from float32's.
    """

    weights: str
    garment: str = "once"
    conditions_kept: bool = False
    encoder_kept: bool = False
    sequential: bool = False
    autocast: bool = False
    memory_kept: bool = False
    guided: bool = True
    is_exact: bool = True

    @property
    def dtype(self) -> torch.dtype:
        computes_float32 = self.weights in ("reference", "float32") and not self.autocast
        return torch.float32 if computes_float32 else torch.bfloat16

    @property
    def work(self) -> "Option":
        """The same in float32 and without what does not change how many operations it takes."""
        return self._replace(weights="float32", autocast=False, memory_kept=False)


def options_of(device: torch.device, sees_time: bool, has_reference: bool, compiled: bool) -> dict[str, Option]:
    """The options of a network by name; the first is what the others are compared with.

    Args:
        device: where the network is.
        sees_time: whether its garment stream sees the timestep.
        has_reference: whether the reference implementation is there.
        compiled: whether to compile, too.
    """
    as_reference = Option("reference" if has_reference else "float32", "twice", sequential=True)
    name = "reference implementation" if has_reference else "two passes"
    options = {
        name: as_reference,
        f"{name}, bf16 autocast": as_reference._replace(autocast=True),
        "garment once a step": Option("float32"),
        "+ bf16 weights": Option("bfloat16"),
        "+ channels_last": Option("channels_last"),
    }
    if device.type == "cpu":
        options["+ chunked attention"] = Option("chunked")
        options["+ packed weights"] = Option("packed")
        if has_glibc():
            options["+ kept memory"] = Option("packed", memory_kept=True)
    if compiled:
        options["channels_last, compiled"] = Option("compiled")
    if compiled and device.type == "cuda":
        options["+ CUDA graphs"] = Option("graphs")
    fastest = list(options.values())[-1]._replace(conditions_kept=True)
    options |= {"+ conditions kept": fastest, "+ conditions kept, halves in turn": fastest._replace(sequential=True)}
    kept = fastest._replace(garment="kept", is_exact=not sees_time)
    name = "+ garment of another step (approximate)" if sees_time else "+ garment kept"
    options |= {name: kept, f"{name}, halves in turn": kept._replace(sequential=True)}
    if not sees_time:
        fastest = kept
    options["+ way down of another step (approximate)"] = fastest._replace(encoder_kept=True, is_exact=False)
    options["no guidance"] = fastest._replace(guided=False)
    options["garment stream alone"] = fastest._replace(garment="alone")
    return options


# Networks


class Networks:
    """A network in each layout that options need, made when it is first asked for.

    Layouts share the weights that they leave as they are.
    """

    def __init__(self, unet: ModelMixin, reference: torch.nn.Module | None):
        self._made = {"float32": unet, "reference": reference}

    def __getitem__(self, weights: str) -> torch.nn.Module:
        if weights not in self._made:
            self._made[weights] = getattr(self, f"_{weights}")()
        return self._made[weights]

    def _bfloat16(self) -> ModelMixin:
        unet = twin(self["float32"])
        cast(unet, torch.bfloat16)
        return unet

    def _channels_last(self) -> ModelMixin:
        return twin(self["bfloat16"]).to(memory_format=torch.channels_last)

    def _chunked(self) -> ModelMixin:
        unet = twin(self["channels_last"])
        use_chunked_attention(unet)
        return unet

    def _packed(self) -> ModelMixin:
        unet = twin(self["chunked"])
        pack_weights(unet, 2, *trained_size(unet))
        return unet

    def _compiled(self, mode: str | None = None) -> ModelMixin:
        unet = twin(self["channels_last"])
        unet.compile(fullgraph=True, dynamic=False, mode=mode)
        unet.encode_garment = torch.compile(unet.encode_garment, fullgraph=True, dynamic=False, mode=mode)
        return unet

    def _graphs(self) -> ModelMixin:
        return self._compiled("max-autotune")


def twin(unet: ModelMixin) -> ModelMixin:
    """A copy of a network whose parameters are others with the same contents, in the same memory."""
    memo = {id(parameter): torch.nn.Parameter(parameter.detach()) for parameter in unet.parameters()}
    return copy.deepcopy(unet, memo)


def random_networks(
    preset: str, folder: Path | None, device: torch.device
) -> tuple[ModelMixin, torch.nn.Module | None]:
    """Our network with random weights, and, if a checkout is given, the reference's with the same."""
    torch.manual_seed(_SEED)
    if folder is None:
        with device:
            return fill_zeros(create_unet(preset)), None
    with torch.device("meta"):
        kind = "sr" if create_unet(preset).config.low_res_conditioning else "base"
    with device:
        reference = fill_zeros(import_reference(folder).get_unet_by_name(kind))
    config, state_dict = reference.to_config_and_state_dict()
    return convert_reference_unet(state_dict, config), reference


def import_reference(folder: Path) -> ModuleType:
    # It needs torchvision to make pictures of tensors, which no step does, and not every torch has one.
    needs_stand_in = find_spec("torchvision") is None
    if needs_stand_in:
        torchvision, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
        torchvision.transforms, transforms.ToPILImage = transforms, None
        sys.modules |= {"torchvision": torchvision, "torchvision.transforms": transforms}
    sys.path.insert(0, str(folder))
    reference = import_module("tryondiffusion")
    if needs_stand_in:
        del sys.modules["torchvision"], sys.modules["torchvision.transforms"]
    return reference


def fill_zeros(unet: torch.nn.Module) -> torch.nn.Module:
    """Give parameters that a fresh network starts at zero small random values."""
    with torch.no_grad():
        for parameter in unet.parameters():
            if not parameter.any():
                parameter.normal_(std=_DEVIATION)
    return unet.eval()


# Steps


class StepInputs(NamedTuple):
    """What a step reads: the noisy image (B, 3, H, W), the timestep, the conditions."""

    sample: torch.Tensor
    timestep: torch.Tensor
    conditions: StageInputs


def random_inputs(unet: ModelMixin, batch_size: int, device: torch.device) -> StepInputs:
    generator = torch.Generator().manual_seed(_SEED)
    size = trained_size(unet)

    def image() -> torch.Tensor:
        return (2 * torch.rand(batch_size, 3, *size, generator=generator) - 1).to(device)

    def pose() -> torch.Tensor:
        points = torch.rand(batch_size, NUM_KEYPOINTS, 2, generator=generator)
        return torch.cat([points, torch.ones(batch_size, NUM_KEYPOINTS, 1)], dim=2).to(device)

    agnostic = image()
    conditions = StageInputs(
        agnostic_image=agnostic,
        kept_image=agnostic,
        mask=None,
        person_pose=pose(),
        garment_image=image(),
        garment_features=None,
        garment_pose=pose(),
        agnostic_noise_level=None,
        garment_noise_level=None,
        low_res_image=image() if unet.config.low_res_conditioning else None,
    )
    sample = torch.randn(batch_size, 3, *size, generator=generator).to(device)
    return StepInputs(sample, torch.tensor(_TIMESTEP, device=device), conditions)


def step_function(networks: Networks, option: Option, inputs: StepInputs) -> Callable[[], torch.Tensor | None]:
    """A function that takes the step, with all that steps have in common done before."""
    unet = networks[option.weights]
    sample, timestep, conditions = inputs
    if option.weights == "reference":
        return lambda: reference_step(unet, inputs, option.autocast)
    if option.garment == "twice":
        return lambda: two_passes(unet, inputs, option.autocast)
    if option.garment == "alone":
        return lambda: step_garment_features(unet, timestep, conditions) and None
    scale = DEFAULT_GUIDANCE_SCALE if option.guided else None
    prepare = functools.partial(network_passes, unet, conditions, option.guided, option.sequential)
    # Of another step, which matters where the garment stream sees the timestep.
    passes, features, before = prepare(), step_garment_features(unet, timestep + _APART, conditions), ()
    if option.encoder_kept:
        before = predict(unet, sample, timestep + _APART, passes, features, scale, return_person_features=True)
        before = tree_map(torch.clone, before.person_features)
    # Cloned, as above, because CUDA graphs write their next results over these.
    features = tree_map(torch.clone, features)

    def step() -> torch.Tensor:
        these = passes if option.conditions_kept else prepare()
        garment = features if option.garment == "kept" else step_garment_features(unet, timestep, conditions)
        return predict(unet, sample, timestep, these, garment, scale, person_features=before).sample

    return step


def two_passes(unet: ModelMixin, inputs: StepInputs, is_autocast: bool) -> torch.Tensor:
    sample, timestep, conditions = inputs
    names = ("agnostic_image", "garment_image", "person_pose", "garment_pose", "low_res_image")
    arguments = {name: getattr(conditions, name) for name in names}
    keep_nothing = torch.zeros(len(sample), dtype=torch.bool, device=sample.device)
    with precision(sample.device, is_autocast):
        conditional = unet(sample, timestep, **arguments).sample
        null = unet(sample, timestep, **arguments, conditioning_mask=keep_nothing).sample
    return (null + DEFAULT_GUIDANCE_SCALE * (conditional - null)).float()


def precision(device: torch.device, is_autocast: bool) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if is_autocast else nullcontext()


def reference_step(reference: torch.nn.Module, inputs: StepInputs, is_autocast: bool) -> torch.Tensor:
    """The step of the reference implementation, which wants log signal-to-noise ratios for timesteps and levels."""
    sample, timestep, conditions = inputs
    no_noise = linear_log_snr(torch.zeros(len(sample), device=sample.device))
    arguments = {
        "time": cosine_log_snr(timestep.expand(len(sample))),
        "ca_images": conditions.agnostic_image,
        "ca_noise_times": no_noise,
        "garment_images": conditions.garment_image,
        "garment_noise_times": no_noise,
        "person_poses": conditions.person_pose[..., :2],
        "garment_poses": conditions.garment_pose[..., :2],
    }
    if conditions.low_res_image is not None:
        arguments |= {"lowres_cond_img": conditions.low_res_image, "lowres_noise_times": no_noise}
    with precision(sample.device, is_autocast):
        return reference.forward_with_cond_scale(sample, cond_scale=DEFAULT_GUIDANCE_SCALE, **arguments).float()


@functools.cache
def step_flops(preset: str, option: Option) -> int:
    """Operations of a step for one image, counted on tensors without contents."""
    device = torch.device("meta")
    with device:
        unet = create_unet(preset).eval().requires_grad_(False)
    step = step_function(
        Networks(unet, None), option._replace(weights="float32", autocast=False), random_inputs(unet, 1, device)
    )
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


# One network


class Memory:
    """How the process treats memory that it frees."""

    def __init__(self):
        self._is_kept = False

    def switch(self, is_kept: bool) -> bool:
        """Returns whether memory is to be kept from now on and was not before."""
        begins = is_kept and not self._is_kept
        if begins:
            keep_freed_memory()
        elif self._is_kept and not is_kept:
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_THRESHOLD, _USUAL_MMAP_THRESHOLD)
            libc.mallopt(_M_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
            return_freed_memory()
        self._is_kept = is_kept
        return begins


class Settings(NamedTuple):
    """Of the measurements of one network."""

    preset: str
    device: str
    batch_sizes: list[int]
    repeats: int
    threads: int
    chosen: list[str] | None
    compiled: bool
    reference: Path | None


def measure_network(settings: Settings) -> list[Table]:
    """A network's tables, one for each batch size, measured in the process that calls."""
    torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    with torch.no_grad():
        peaks = {dtype: measured_peak_flops(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
        unet, reference = random_networks(settings.preset, settings.reference, device)
        networks = Networks(unet, reference)
        options = options_of(device, unet.config.garment_time_conditioning, reference is not None, settings.compiled)
        as_reference = list(options)[:2]
        if settings.chosen is not None:
            options = {name: option for name, option in options.items() if name in (*as_reference, *settings.chosen)}
        flops = {name: step_flops(settings.preset, option.work) for name, option in options.items()}
        return [
            _measure_batch(settings.preset, networks, options, flops, peaks, batch_size, settings.repeats, device)
            for batch_size in settings.batch_sizes
        ]


def _measure_batch(
    preset: str,
    networks: Networks,
    options: dict[str, Option],
    flops: dict[str, int],
    peaks: dict[torch.dtype, float],
    batch_size: int,
    repeats: int,
    device: torch.device,
) -> Table:
    inputs = random_inputs(networks["float32"], batch_size, device)
    memory = Memory()
    truth = step_function(networks, Option("float32"), inputs)()
    errors = {}
    turns = {}
    for name, option in options.items():
        step = step_function(networks, option, inputs)
        result = step()
        comparable = option.guided and result is not None
        errors[name] = ((result - truth).norm() / truth.norm()).item() if comparable else None

        def measure(step: Callable = step, option: Option = option) -> float:
            if memory.switch(option.memory_kept):
                step()
            return seconds_of(step, device)

        turns[name] = measure
    figures = take_turns(turns, repeats, warm_up=0)
    rows = []
    for name, seconds in figures.items():
        work = batch_size * flops[name]
        columns = {
            "images/s": batch_size / median(seconds),
            "TFLOP": work / 1e12,
            "utilisation": work / median(seconds) / peaks[options[name].dtype],
            "error": errors[name],
            "approximate": not options[name].is_exact,
        }
        rows.append(timing_row(name, seconds, next(iter(figures.values())), **columns))
    millions = parameter_count(networks["float32"]) / 1e6
    reached = ", ".join(f"{flops / 1e9:.0f} GFLOP/s in {str(dtype)[6:]}" for dtype, flops in peaks.items())
    return Table(
        f"{preset}, batch of {batch_size}",
        rows,
        f"{millions:.0f} million parameters. The machine reached {reached} in the better of a matrix product and a "
        f"convolution.",
    )


def summary(tables: list[Table]) -> Table:
    """Of each table the first row against the fastest guided step that is exact."""
    rows = []
    for table in tables:
        first, second = table.rows[:2]
        steps = [row for row in table.rows if row["error"] is not None and not row["approximate"]]
        best = min(steps, key=lambda row: row["seconds"])
        rows.append(
            {
                "network": table.title,
                "first row's seconds": first["seconds"],
                "fastest exact option": best["option"],
                "seconds": best["seconds"],
                "times faster than the first row": best["times faster"],
                f"than {second['option']!r}": second["seconds"] / best["seconds"],
                "error": best["error"],
            }
        )
    return Table("Summary", rows)


# The command


def main(
    preset: Annotated[list[str], typer.Option(help="networks")] = FULL_SIZE,  # noqa: B006
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    batch_size: Annotated[list[int], typer.Option(help="images in a step")] = [1],  # noqa: B006
    repeats: Annotated[int, typer.Option(help="turns, of which the median counts")] = 3,
    threads: Annotated[int, typer.Option(help="threads on the CPU")] = torch.get_num_threads(),
    options: Annotated[list[str] | None, typer.Option(help="rows beside the first two; all if not given")] = None,
    compiled: Annotated[bool, typer.Option(help="measure torch.compile, too, which takes minutes")] = False,
    reference: Annotated[Path | None, typer.Option(help="checkout of the reference, for reference presets")] = None,
    name: Annotated[str, typer.Option(help="of the report's files")] = "unet_step",
    out: Annotated[Path, typer.Option(help="folder of the report's files")] = RESULTS,
) -> None:
    """Measure, print the report and write it."""
    torch.set_num_threads(threads)
    tables = []
    # A process per network, for memory that none before has used.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for network in preset:
            folder = reference if network.startswith("reference") else None
            settings = Settings(network, device, batch_size, repeats, threads, options, compiled, folder)
            tables += pool.submit(measure_network, settings).result()
            print(tables[-1].markdown(), flush=True)
    report = Report(
        name=name,
        question="How long does one guided step take?",
        machine=describe_machine(torch.device(device)),
        settings={"repeats": repeats, "guidance scale": DEFAULT_GUIDANCE_SCALE},
        tables=[summary(tables), *tables],
        notes=[
            "Weights and inputs are random. Options of a network took turns in one process.",
            "Every + adds to the rows above it that have one. Errors are those of one step, relative to float32, in norm.",
        ],
    )
    report.write(out)


if __name__ == "__main__":
    typer.run(main)
