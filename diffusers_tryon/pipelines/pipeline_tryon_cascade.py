# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The TryOnDiffusion cascade (arXiv 2306.08276) as a Diffusers pipeline: a base stage and a super-resolution stage."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import replace_example_docstring

from diffusers_tryon.composition import AGNOSTIC_FILL, GARMENT_BACKGROUND
from diffusers_tryon.image_processor import OUTPUT_TYPES, ImageInput, TryOnImageProcessor
from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.pipelines.activation_memory import fits_memory
from diffusers_tryon.pipelines.guidance import (
    DEFAULT_GUIDANCE_SCALE,
    network_passes,
    predict,
    step_garment_features,
)
from diffusers_tryon.pipelines.hub_download import download_components
from diffusers_tryon.pipelines.inputs import (
    MAX_GUIDANCE_SCALE,
    PoseInput,
    PreparedCall,
    StageInputs,
    StagePlan,
    batch_size,
    check_count,
    check_generator,
    check_low_res_latents,
    check_noise_level,
    check_number,
    check_person_is_visible,
    expand_rows,
    level_tensor,
    pose_tensor,
)
from diffusers_tryon.pipelines.lora import TryOnLoraLoaderMixin
from diffusers_tryon.pipelines.noise_streams import NoiseStreams
from diffusers_tryon.pipelines.optimization import OptimizationMixin
from diffusers_tryon.pipelines.own_classes import OwnClassesMixin
from diffusers_tryon.pipelines.photos import PhotosMixin
from diffusers_tryon.pipelines.pipeline_output import EncodedGarment, TryOnCascadePipelineOutput
from diffusers_tryon.pipelines.stages import STAGES, CascadeStagesMixin
from diffusers_tryon.schedules import DEFAULT_STEPS, check_steps


EXAMPLE_DOC_STRING = """
    Examples:
        ```py
        >>> import torch
        >>> from diffusers.utils import load_image
        >>> from diffusers_tryon import TryOnCascadePipeline
        >>> from diffusers_tryon.poses import load_pose

        >>> pipe = TryOnCascadePipeline.from_pretrained("path/or/hub-id")
        >>> output = pipe(
        ...     agnostic_image=load_image("person_agnostic.png"),
        ...     garment_image=load_image("garment.png"),
        ...     person_pose=load_pose("person.json"),
        ...     generator=torch.Generator().manual_seed(0),
        ... )
        >>> output.images[0].save("tryon.png")
        >>> output.stages["base"][0].save("tryon_base.png")
        ```
"""


class TryOnCascadePipeline(
    OwnClassesMixin, DiffusionPipeline, CascadeStagesMixin, PhotosMixin, TryOnLoraLoaderMixin, OptimizationMixin
):
    r"""
    Puts a garment on a person: a base stage makes a small image from noise, a super-resolution stage a larger one from
    noise and the small one (paper, section 3.3). Everything happens in pixel space.

    Args:
        base_unet ([`ParallelUNetModel`] or [`ReferenceParallelUNetModel`]): network of the base stage.
        base_scheduler ([`SchedulerMixin`]): scheduler of the base stage, any of those in
            `diffusers_tryon.schedules.SCHEDULERS`.
        image_noising_scheduler ([`DDPMScheduler`]): schedule of the noise that may be added to conditioning images.
        sr_unet ([`ParallelUNetModel`] or [`ReferenceParallelUNetModel`], *optional*): network of the super-resolution
            stage, with `low_res_conditioning`.
        sr_scheduler ([`SchedulerMixin`], *optional*): scheduler of the super-resolution stage, an object of its own.
    """

    model_cpu_offload_seq = "base_unet->sr_unet"
    _optional_components = ["sr_unet", "sr_scheduler"]
    _callback_tensor_inputs = ["latents", "agnostic_image", "person_pose", "garment_pose", "low_res_image"]

    def __init__(
        self,
        base_unet: ParallelUNetModel | ReferenceParallelUNetModel,
        base_scheduler: SchedulerMixin,
        image_noising_scheduler: DDPMScheduler,
        sr_unet: ParallelUNetModel | ReferenceParallelUNetModel | None = None,
        sr_scheduler: SchedulerMixin | None = None,
    ):
        super().__init__()
        self.register_modules(
            base_unet=base_unet,
            base_scheduler=base_scheduler,
            image_noising_scheduler=image_noising_scheduler,
            sr_unet=sr_unet,
            sr_scheduler=sr_scheduler,
        )
        self.image_processor = TryOnImageProcessor()

    def __setattr__(self, name: str, value: Any) -> None:
        # Diffusers leaves the saved index at "none" when an optional component is set after loading, and the next
        # save_pretrained would drop it.
        if name in self._optional_components and value is not None and self.config[name][0] is None:
            self.register_modules(**{name: value})
        else:
            super().__setattr__(name, value)

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        r"""
        Download a pipeline from the Hub into the cache; `from_pretrained` calls this.

        Args:
            pretrained_model_name (`str`): "user/name".
            **kwargs: `variant`, `use_safetensors`, `revision`, `cache_dir`, `token`, `local_files_only` and
                `force_download` as in `from_pretrained`. Components given here (also as `None`) are not downloaded.

        Returns:
            `str`: the folder in the cache.
        """
        expected, _ = cls._get_signature_keys(cls)
        options = (
            "variant",
            "use_safetensors",
            "revision",
            "cache_dir",
            "token",
            "local_files_only",
            "force_download",
        )
        return download_components(
            pretrained_model_name,
            [name for name in expected if name not in kwargs],
            config_name=cls.config_name,
            **{name: kwargs[name] for name in options if name in kwargs},
        )

    # State of the running call, for callbacks

    @property
    def guidance_scale(self) -> float:
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        """Timesteps of all stages of the call together."""
        return self._num_timesteps

    @property
    def current_timestep(self) -> torch.Tensor | None:
        return self._current_timestep

    @property
    def interrupt(self) -> bool:
        """Set `_interrupt` in a callback to stop: the running stage's image, as it is then, is the last one."""
        return self._interrupt

    # 1. Checks and plans

    def check_inputs(
        self,
        garment_image: ImageInput | None,
        person_pose: PoseInput | None,
        garment_pose: PoseInput | None,
        garment_features: EncodedGarment | None,
        low_res_image: ImageInput | None,
        low_res_latents: torch.Tensor | None,
        noise_levels: dict[str, int | None],
        num_images_per_prompt: int,
        guidance_scale: float,
        guidance_rescale: float,
        eta: float,
        output_type: str,
        callback_on_step_end_tensor_inputs: list[str],
    ) -> None:
        """Check what does not depend on the stages; raises a `ValueError` that names the argument."""
        if person_pose is None:
            raise ValueError("`person_pose` must be given.")
        if (garment_image is None) == (garment_features is None):
            raise ValueError("Exactly one of `garment_image` and `garment_features` must be given.")
        if garment_features is not None:
            if not isinstance(garment_features, EncodedGarment):
                raise ValueError(f"`garment_features` must come from `encode_garment`, got {type(garment_features)}.")
            if garment_pose is not None or noise_levels["garment_noise_level"] is not None:
                raise ValueError("`garment_pose` and `garment_noise_level` are part of `garment_features` already.")
        if low_res_image is not None and low_res_latents is not None:
            raise ValueError("Only one of `low_res_image` and `low_res_latents` can be given.")
        for name, level in noise_levels.items():
            self._check_noise(level, name)
        check_count(num_images_per_prompt, "num_images_per_prompt")
        check_number(guidance_scale, "guidance_scale", 0, MAX_GUIDANCE_SCALE)
        check_number(guidance_rescale, "guidance_rescale", 0, 1)
        check_number(eta, "eta", 0, 1)
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"`output_type` must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}.")
        unknown = [name for name in callback_on_step_end_tensor_inputs if name not in self._callback_tensor_inputs]
        if unknown:
            raise ValueError(
                f"`callback_on_step_end_tensor_inputs` must be among {', '.join(self._callback_tensor_inputs)}, got "
                f"{', '.join(unknown)}."
            )

    def _check_noise(self, level: int | None, name: str) -> None:
        check_noise_level(level, name)
        # Other schedulers scale the image differently when they add noise.
        if level is not None and not isinstance(self.image_noising_scheduler, DDPMScheduler):
            raise ValueError(
                f"`{name}` needs a DDPMScheduler as `image_noising_scheduler`, got "
                f"{type(self.image_noising_scheduler).__name__}."
            )

    # 2. Inputs of a stage

    def add_image_noise(
        self, image: torch.Tensor, level: torch.Tensor | None, stream: str, streams: NoiseStreams
    ) -> torch.Tensor:
        """Noise conditioning images, (B, 3, H, W) in [-1, 1], to a level 0 to 999; None leaves them as they are."""
        if level is None:
            return image
        noise = streams.normal(stream, tuple(image.shape), image.device)
        return self.image_noising_scheduler.add_noise(image, noise, level.long().expand(len(image)))

    def prepare_latents(
        self, plan: StagePlan, num_rows: int, streams: NoiseStreams, device: torch.device
    ) -> torch.Tensor:
        """The noise that a stage starts from, float32 whatever the network's dtype: sigmas go up to 20291."""
        latents = plan.latents
        if latents is None:
            latents = streams.normal(f"{plan.name}.latents", (num_rows, 3, plan.height, plan.width), device)
        return latents.to(device=device, dtype=torch.float32) * plan.scheduler.init_noise_sigma

    def prepare_extra_step_kwargs(
        self, scheduler: SchedulerMixin, generator: torch.Generator | list[torch.Generator], eta: float
    ) -> dict[str, Any]:
        """`eta` and `generator` for schedulers whose `step` takes them."""
        accepted = inspect.signature(scheduler.step).parameters
        offered = {"eta": eta, "generator": generator}
        return {name: value for name, value in offered.items() if name in accepted}

    def prepare_inputs(
        self,
        plan: StagePlan,
        agnostic_image: ImageInput,
        agnostic_mask: ImageInput | None,
        garment_image: ImageInput | None,
        garment_features: EncodedGarment | None,
        person_pose: torch.Tensor,
        garment_pose: torch.Tensor | None,
        agnostic_noise_level: int | None,
        garment_noise_level: int | None,
    ) -> StageInputs:
        """Bring a stage's inputs to its size and to the device, in as many rows as they have, without noise."""
        device, size = self._execution_device, (plan.height, plan.width)
        agnostic = self.image_processor.preprocess(agnostic_image, *size, "agnostic_image", AGNOSTIC_FILL).to(device)
        mask = garment = features = None
        if agnostic_mask is not None:
            mask = self.image_processor.preprocess_mask(agnostic_mask, *size).to(device)
        if garment_image is not None:
            garment = self._garment_pixels(garment_image, *size).to(device)
        if garment_features is not None:
            self._check_encoded_garment(garment_features, plan)
            features = garment_features.features[plan.name]
        return StageInputs(
            agnostic_image=agnostic,
            kept_image=agnostic,
            mask=mask,
            person_pose=person_pose.to(device),
            garment_image=garment,
            garment_features=features,
            garment_pose=None if garment_pose is None else garment_pose.to(device),
            agnostic_noise_level=level_tensor(agnostic_noise_level, device),
            garment_noise_level=level_tensor(garment_noise_level, device),
        )

    def noise_inputs(self, plan: StagePlan, inputs: StageInputs, streams: NoiseStreams) -> StageInputs:
        """Noise a stage's agnostic and garment images to the levels that they are given."""
        agnostic, garment = inputs.agnostic_image, inputs.garment_image
        agnostic = self.add_image_noise(agnostic, inputs.agnostic_noise_level, f"{plan.name}.agnostic_noise", streams)
        if garment is not None:
            garment = self.add_image_noise(garment, inputs.garment_noise_level, f"{plan.name}.garment_noise", streams)
        return inputs._replace(agnostic_image=agnostic, garment_image=garment)

    def add_low_res(
        self, image: torch.Tensor, plan: StagePlan, inputs: StageInputs, noise_level: int | None, streams: NoiseStreams
    ) -> StageInputs:
        """Add the previous stage's image, in [-1, 1], to a stage's inputs: first upsampled, then noised."""
        image = self.image_processor.upsample_low_res(image, plan.height, plan.width, plan.unet.low_res_interpolation)
        level = level_tensor(noise_level, image.device)
        image = self.add_image_noise(image, level, f"{plan.name}.low_res_noise", streams)
        return inputs._replace(low_res_image=image, low_res_noise_level=level)

    @torch.no_grad()
    def encode_garment(
        self,
        garment_image: ImageInput,
        garment_pose: PoseInput | None = None,
        garment_noise_level: int | None = None,
        height: int | None = None,
        width: int | None = None,
        last_stage: str | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> EncodedGarment:
        r"""
        Run the garment streams once, for trying the same garments on many people.

        A call with the result as `garment_features` and a generator in the same state gives the same images as a call
        with the garment's image.

        Args:
            garment_image, garment_pose, garment_noise_level, height, width, last_stage, generator: as in the call.

        Returns:
            [`EncodedGarment`]

        Raises:
            ValueError: on bad input, or if a network's garment stream sees the timestep (`garment_time_conditioning`)
                and so has nothing to keep.
        """
        self._check_noise(garment_noise_level, "garment_noise_level")
        names = self.stage_names(last_stage=last_stage)
        unets = {name: getattr(self, f"{name}_unet") for name in names}
        for name, unet in unets.items():
            if unet.config.garment_time_conditioning:
                raise ValueError(
                    f"The garment stream of `{name}_unet` sees the timestep (`garment_time_conditioning`), so its "
                    f"features cannot be computed ahead: pass `garment_image` to the call."
                )
        device, sizes = self._execution_device, self.stage_sizes(names[-1], height, width)
        pose = None if garment_pose is None else pose_tensor(garment_pose, "garment_pose").to(device)
        images = {name: self._garment_pixels(garment_image, *sizes[name]) for name in names}
        rows = {"garment_image": len(images[names[-1]])} | ({} if pose is None else {"garment_pose": len(pose)})
        num_rows = batch_size(rows)
        check_generator(generator, num_rows)
        streams = NoiseStreams(generator)
        pose = None if pose is None else expand_rows(pose, num_rows)
        level = level_tensor(garment_noise_level, device)
        features = {}
        for name, unet in unets.items():
            image = expand_rows(images[name].to(device), num_rows)
            image = self.add_image_noise(image, level, f"{name}.garment_noise", streams)
            features[name] = unet.encode_garment(image.to(unet.dtype), pose, level)
        self.maybe_free_model_hooks()
        return EncodedGarment(features, sizes, pose, garment_noise_level)

    def _garment_pixels(self, garment_image: ImageInput, height: int, width: int) -> torch.Tensor:
        return self.image_processor.preprocess(garment_image, height, width, "garment_image", GARMENT_BACKGROUND)

    def _check_encoded_garment(self, encoded: EncodedGarment, plan: StagePlan) -> None:
        size = encoded.sizes.get(plan.name)
        if size != (plan.height, plan.width):
            made_for = f"of {size[0]} x {size[1]} pixels" if size else "without this stage"
            raise ValueError(
                f"`garment_features` were encoded {made_for}, but the stage {plan.name!r} makes "
                f"{plan.height} x {plan.width} pixels."
            )

    # 3. All that comes before the stages

    def prepare_call(
        self,
        agnostic_image: ImageInput,
        garment_image: ImageInput | None,
        person_pose: PoseInput | None,
        garment_pose: PoseInput | None,
        agnostic_mask: ImageInput | None,
        low_res_image: ImageInput | None,
        low_res_latents: torch.Tensor | None,
        garment_features: EncodedGarment | None,
        height: int | None,
        width: int | None,
        stage_settings: dict[str, tuple[int, float | None, float, float, torch.Tensor | None]],
        guidance_rescale: float,
        noise_levels: dict[str, int | None],
        num_images_per_prompt: int,
        eta: float,
        generator: torch.Generator | list[torch.Generator] | None,
        last_stage: str | None,
        output_type: str,
        callback_on_step_end_tensor_inputs: list[str],
    ) -> PreparedCall:
        """Check the arguments of a call, plan its stages, and bring their inputs to sizes, rows and noise.

        Args:
            stage_settings (`dict[str, tuple]`): by the stage's name its steps, guidance scale, start and stop, and the
                noise to start from.
            noise_levels (`dict[str, int | None]`): by the argument's name.

        Raises:
            ValueError: on any input that does not fit, naming the argument.
        """
        self.check_inputs(
            garment_image,
            person_pose,
            garment_pose,
            garment_features,
            low_res_image,
            low_res_latents,
            noise_levels,
            num_images_per_prompt,
            stage_settings["base"][1],
            guidance_rescale,
            eta,
            output_type,
            callback_on_step_end_tensor_inputs,
        )
        starts_above_base = low_res_image is not None or low_res_latents is not None
        names = self.stage_names(STAGES[1] if starts_above_base else STAGES[0], last_stage)
        for name, argument in (("base", "latents"), ("sr", "sr_latents")):
            if stage_settings[name][-1] is not None and name not in names:
                raise ValueError(f"`{argument}` are given, but the stage {name!r} does not run.")
        sizes = self.stage_sizes(names[-1], height, width)
        plans = [
            StagePlan(
                name,
                getattr(self, f"{name}_unet"),
                getattr(self, f"{name}_scheduler"),
                *sizes[name],
                *stage_settings[name],
            )
            for name in names
        ]

        # Poses and images as tensors, images of each stage's size
        person_pose = pose_tensor(person_pose, "person_pose")
        check_person_is_visible(person_pose)
        if garment_features is not None:
            garment_pose = garment_features.pose
            noise_levels = {**noise_levels, "garment_noise_level": garment_features.noise_level}
        elif garment_pose is not None:
            garment_pose = pose_tensor(garment_pose, "garment_pose")
        inputs = [
            self.prepare_inputs(
                plan,
                agnostic_image,
                agnostic_mask,
                garment_image,
                garment_features,
                person_pose,
                garment_pose,
                noise_levels["agnostic_noise_level"],
                noise_levels["garment_noise_level"],
            )
            for plan in plans
        ]
        images = low_res_latents
        if low_res_image is not None:
            images = self.image_processor.preprocess(low_res_image, *sizes["base"], "low_res_image")
        elif low_res_latents is not None:
            check_low_res_latents(low_res_latents, sizes["base"])

        # One row for each image to make, and its noise
        num_entries = batch_size(inputs[0].num_rows())
        num_rows = num_entries * num_images_per_prompt
        check_generator(generator, num_rows)
        for plan in plans:
            plan.check("" if plan.name == STAGES[0] else f"{plan.name}_", num_rows)
        streams = NoiseStreams(generator)
        inputs = [self.noise_inputs(plan, item.expanded(num_rows), streams) for plan, item in zip(plans, inputs)]
        if images is not None:
            if len(images) not in (1, num_entries, num_rows):
                raise ValueError(
                    f"The low-resolution image must hold one, {num_entries} (one for each entry of the batch) or "
                    f"{num_rows} (one for each image to make), got {len(images)}."
                )
            images = expand_rows(images.to(device=self._execution_device, dtype=torch.float32), num_rows)
        return PreparedCall(plans, inputs, images, streams)

    def set_timesteps(self, plan: StagePlan) -> None:
        """Make a stage's scheduler ready for its steps."""
        plan.scheduler.set_timesteps(plan.num_inference_steps, device=self._execution_device)
        check_steps(plan.scheduler, plan.num_inference_steps, f"{plan.name}_scheduler")
        if hasattr(plan.scheduler, "set_begin_index"):
            plan.scheduler.set_begin_index(0)

    # 4. One stage

    def encode_once(self, plan: StagePlan, inputs: StageInputs) -> StageInputs:
        """Replace a stage's garment images by their features, unless its garment stream sees the timestep."""
        if inputs.garment_image is None or plan.unet.config.garment_time_conditioning:
            return inputs
        image = inputs.garment_image.to(plan.unet.dtype)
        features = plan.unet.encode_garment(image, inputs.garment_pose, inputs.garment_noise_level)
        return inputs._replace(garment_image=None, garment_features=features)

    def _run_stage(
        self,
        plan: StagePlan,
        inputs: StageInputs,
        streams: NoiseStreams,
        eta: float,
        guidance_rescale: float,
        sequential_guidance: bool | None,
        garment_refresh_interval: int,
        encoder_refresh_interval: int,
        first_step: int,
        on_step_end: Callable | None,
        callback_tensors: list[str],
        description: str,
    ) -> torch.Tensor:
        """Sample one stage's images, (B, 3, H, W) float32 in [-1, 1]. `first_step` is its first step in the call."""
        scheduler, device = plan.scheduler, inputs.agnostic_image.device
        latents = self.prepare_latents(plan, len(inputs.agnostic_image), streams, device)
        step_kwargs = self.prepare_extra_step_kwargs(scheduler, streams.generator(f"{plan.name}.steps"), eta)
        timesteps = scheduler.timesteps
        # Cut as Diffusers' guiders cut.
        guided_steps = range(int(plan.guidance_start * len(timesteps)), int(plan.guidance_stop * len(timesteps)))
        if plan.guidance_scale is not None:
            self._guidance_scale = plan.guidance_scale
        inputs = self.encode_once(plan, inputs)
        if sequential_guidance is None:
            num_rows = 2 * len(inputs.agnostic_image)
            sequential_guidance = not fits_memory(plan.unet, num_rows, plan.height, plan.width, device)
        # What steps share, kept until something it was made of changes.
        passes, features, person_features = {}, None, ()

        # Schedulers of order 2 call the network about twice a step, PNDM some times before its first.
        num_warmup_steps = len(timesteps) - plan.num_inference_steps * scheduler.order
        with self.progress_bar(total=plan.num_inference_steps) as progress_bar:
            progress_bar.set_description(description)
            for i, timestep in enumerate(timesteps):
                if self.interrupt:
                    break
                self._current_timestep = timestep
                model_input = scheduler.scale_model_input(latents, timestep)
                scale = self.guidance_scale if self.do_classifier_free_guidance and i in guided_steps else None
                is_guided = scale is not None
                if is_guided not in passes:
                    # Also where guidance begins or ends, as other rows then run.
                    passes = {is_guided: network_passes(plan.unet, inputs, is_guided, sequential_guidance)}
                    person_features = ()
                if features is None or i % garment_refresh_interval == 0:
                    features = step_garment_features(plan.unet, timestep.float(), inputs)
                prediction = predict(
                    plan.unet,
                    model_input,
                    timestep.float(),
                    passes[is_guided],
                    features,
                    scale,
                    guidance_rescale,
                    () if i % encoder_refresh_interval == 0 else person_features,
                    return_person_features=encoder_refresh_interval > 1,
                )
                person_features = prediction.person_features
                latents = scheduler.step(prediction.sample, timestep, latents, **step_kwargs, return_dict=False)[0]

                if on_step_end is not None:
                    tensors = {"latents": latents, **inputs._asdict()}
                    changed = on_step_end(
                        self, first_step + i, timestep, {name: tensors[name] for name in callback_tensors}
                    )
                    if not isinstance(changed, dict):
                        raise ValueError(f"`callback_on_step_end` must return a dict of tensors, got {changed!r}.")
                    latents = changed.pop("latents", latents)
                    changed = {name: changed[name] for name in callback_tensors if name in changed}
                    if changed:
                        inputs = inputs._replace(**changed)
                        passes, features = {}, None
                if i == len(timesteps) - 1 or (i + 1 > num_warmup_steps and (i + 1) % scheduler.order == 0):
                    progress_bar.update()

        return self.finish_stage(latents, inputs)

    def finish_stage(self, latents: torch.Tensor, inputs: StageInputs) -> torch.Tensor:
        """A stage's images in [-1, 1] of its last latents, (B, 3, H, W), with what must not change put back."""
        # Not every scheduler ends within the range, and the next stage was trained on images in it.
        images = latents.clamp(-1.0, 1.0)
        if inputs.mask is not None:
            images = torch.where(inputs.mask, images, inputs.kept_image)
        return images

    # 5. The call

    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(
        self,
        agnostic_image: ImageInput,
        garment_image: ImageInput | None = None,
        person_pose: PoseInput | None = None,
        garment_pose: PoseInput | None = None,
        agnostic_mask: ImageInput | None = None,
        low_res_image: ImageInput | None = None,
        low_res_latents: torch.Tensor | None = None,
        garment_features: EncodedGarment | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = DEFAULT_STEPS["base"],
        sr_num_inference_steps: int = DEFAULT_STEPS["sr"],
        guidance_scale: float = DEFAULT_GUIDANCE_SCALE,
        sr_guidance_scale: float | None = None,
        guidance_rescale: float = 0.0,
        guidance_start: float = 0.0,
        guidance_stop: float = 1.0,
        sr_guidance_start: float | None = None,
        sr_guidance_stop: float | None = None,
        sequential_guidance: bool | None = None,
        garment_refresh_interval: int = 1,
        encoder_refresh_interval: int = 1,
        agnostic_noise_level: int | None = None,
        garment_noise_level: int | None = None,
        low_res_noise_level: int | None = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        sr_latents: torch.Tensor | None = None,
        last_stage: str | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] = ["latents"],
    ) -> TryOnCascadePipelineOutput | tuple:
        r"""
        Try garments on.

        Images are PIL images, arrays (H, W, 3) or (B, H, W, 3) or tensors (3, H, W) or (B, 3, H, W), uint8 or floating
        point in [0, 1], or lists of these; they are resized to each stage. Poses are tensors, arrays or lists of
        (18, 3) or (B, 18, 3): x and y in [0, 1] of the image and visibility, OpenPose order. Each input has B entries,
        or one for all.

        Args:
            agnostic_image: the person with the clothes to be replaced painted over in grey (128). Transparent parts of
                a PIL image become that grey.
            garment_image: the garment cut out, on white. Transparent parts of a PIL image become white. Required
                unless `garment_features` are given.
            person_pose: the person's pose, required.
            garment_pose (*optional*): the pose of the person in the garment's photo. `None`, or a pose without visible
                points, is a garment laid flat.
            agnostic_mask (*optional*): the painted part of `agnostic_image`, (H, W) or (B, H, W): bool, or the image
                types. After each stage, every pixel outside it becomes that of the agnostic image as
                `image_processor.preprocess` resized it to that stage: PIL output holds exactly its values there.
            low_res_image (*optional*): start at the super-resolution stage with this image in place of the base
                stage's. It is resized to the base stage's size.
            low_res_latents (`torch.Tensor`, *optional*): the same as the base stage returns it with `output_type`
                "latent": (B, 3, h, w) in [-1, 1], at the base stage's size.
            garment_features ([`EncodedGarment`], *optional*): from `encode_garment`, in place of `garment_image`,
                `garment_pose` and `garment_noise_level`.
            height, width (`int`, *optional*): size of the images of the last stage; earlier stages keep the ratio of
                the networks' `sample_size`, which is the default.
            num_inference_steps, sr_num_inference_steps (`int`): denoising steps of each stage.
            guidance_scale (`float`, defaults to 2.0): weight of classifier-free guidance, `null + scale *
                (conditional - null)`; the paper uses 2. Up to 1 there is none, and no null rows are computed.
            sr_guidance_scale (`float`, *optional*): that of the super-resolution stage, `guidance_scale` if not given.
            guidance_rescale (`float`, defaults to 0.0): share in [0, 1] of the rescaling against overexposure of
                "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891, section 3.4).
            guidance_start, guidance_stop (`float`): fractions of the steps between which guidance is on.
            sr_guidance_start, sr_guidance_stop (`float`, *optional*): those of the super-resolution stage; the base
                stage's if not given.
            sequential_guidance (`bool`, *optional*): run the network on the null rows and on the conditional rows one
                after the other: less memory for activations, and the same images within rounding. If not given, a
                stage does so where both together would not fit the memory that is free when it begins.
            garment_refresh_interval (`int`, defaults to 1): run garment streams that see the timestep
                (`garment_time_conditioning`) only at every so manieth call of the network, and keep their features in
                between. An approximation if above 1; other networks' garment streams run once and for all anyway.
            encoder_refresh_interval (`int`, defaults to 1): run the way down of the person stream only at every so
                manieth call of the network, and reuse what it leaves in between ("Faster Diffusion", arXiv
                2312.09608). An approximation if above 1.
            agnostic_noise_level, garment_noise_level, low_res_noise_level (`int`, *optional*): level 0 to 999 on the
                `image_noising_scheduler` of noise to add to that conditioning image, and to tell the network. `None`
                adds none, and the network takes it for level 0.
            num_images_per_prompt (`int`, defaults to 1): images for each entry of the batch.
            eta (`float`, defaults to 0.0): eta of DDIM and TCD, in [0, 1]; other schedulers do not use it.
            generator (`torch.Generator` or list, *optional*): for reproducible images; a list has one for each image.
                One number is drawn from each, and the start noise, the scheduler's noise and that of the conditioning
                images follow from it separately in every stage. So starting at the super-resolution stage, or from
                `garment_features`, gives the noise of a whole run. DPMSolverSDEScheduler ignores it.
            latents, sr_latents (`torch.Tensor`, *optional*): standard normal noise for a stage to start from,
                (B * `num_images_per_prompt`, 3, height, width) of that stage.
            last_stage (`str`, *optional*): "base" or "sr", the stage to stop after. Defaults to the last one loaded.
            output_type (`str`, defaults to "pil"): "pil", "np" (B, H, W, 3) in [0, 1], "pt" (B, 3, H, W) in [0, 1], or
                "latent", the float32 tensor (B, 3, H, W) in [-1, 1].
            return_dict (`bool`, defaults to `True`): whether to return an output object or a tuple.
            callback_on_step_end (*optional*): called after each step as `callback(pipe, step, timestep, tensors)`; the
                step counts through all stages. It returns a dictionary with the tensors, changed or not.
            callback_on_step_end_tensor_inputs (`list[str]`): names of the tensors that the callback gets, among
                `_callback_tensor_inputs`.

        Examples:

        Returns:
            [`TryOnCascadePipelineOutput`] or `tuple`: the images, every stage's images and the seconds each stage
            took; as a tuple only the images and the stages.

        Raises:
            ValueError: on any input that does not fit, naming the argument.
        """
        if isinstance(callback_on_step_end, (PipelineCallback, MultiPipelineCallbacks)):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs

        # 1. Check what was asked, plan the stages and bring the inputs to each
        check_count(garment_refresh_interval, "garment_refresh_interval")
        check_count(encoder_refresh_interval, "encoder_refresh_interval")
        call = self.prepare_call(
            agnostic_image,
            garment_image,
            person_pose,
            garment_pose,
            agnostic_mask,
            low_res_image,
            low_res_latents,
            garment_features,
            height,
            width,
            {
                "base": (num_inference_steps, guidance_scale, guidance_start, guidance_stop, latents),
                "sr": (
                    sr_num_inference_steps,
                    sr_guidance_scale,
                    guidance_start if sr_guidance_start is None else sr_guidance_start,
                    guidance_stop if sr_guidance_stop is None else sr_guidance_stop,
                    sr_latents,
                ),
            },
            guidance_rescale,
            {
                "agnostic_noise_level": agnostic_noise_level,
                "garment_noise_level": garment_noise_level,
                "low_res_noise_level": low_res_noise_level,
            },
            num_images_per_prompt,
            eta,
            generator,
            last_stage,
            output_type,
            callback_on_step_end_tensor_inputs,
        )
        plans, images, streams = call.plans, call.low_res_image, call.streams

        # 2. Run the stages
        for plan in plans:
            self.set_timesteps(plan)
        self._num_timesteps = sum(len(plan.scheduler.timesteps) for plan in plans)
        self._guidance_scale = guidance_scale
        self._current_timestep = None
        self._interrupt = False
        stages, seconds, first_step = {}, {}, 0
        for number, (plan, item) in enumerate(zip(plans, call.inputs)):
            if self.interrupt:
                break
            start = time.perf_counter()
            if images is not None:
                item = self.add_low_res(images, plan, item, low_res_noise_level, streams)
            images = self._run_stage(
                plan,
                item,
                streams,
                eta,
                guidance_rescale,
                sequential_guidance,
                garment_refresh_interval,
                encoder_refresh_interval,
                first_step,
                callback_on_step_end,
                callback_on_step_end_tensor_inputs,
                f"{plan.name} ({number + 1}/{len(plans)})",
            )
            first_step += len(plan.scheduler.timesteps)
            if images.device.type != "cpu":
                torch.accelerator.synchronize(images.device)
            seconds[plan.name] = time.perf_counter() - start
            stages[plan.name] = self.image_processor.postprocess(images, output_type)
        self._current_timestep = None

        # 3. Offload all models
        self.maybe_free_model_hooks()

        output = stages[list(stages)[-1]]
        if not return_dict:
            return (output, stages)
        return TryOnCascadePipelineOutput(images=output, stages=stages, seconds=seconds)
