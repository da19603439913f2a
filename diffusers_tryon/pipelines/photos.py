# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""From photographs to a try-on in one call."""

from typing import Any

from diffusers_tryon.pipelines.pipeline_output import TryOnPhotosOutput
from diffusers_tryon.preprocessing.photos import PhotoInput
from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor


_MADE_HERE = (
    "agnostic_image",
    "agnostic_mask",
    "garment_image",
    "garment_features",
    "person_pose",
    "garment_pose",
    "output_type",
    "return_dict",
)


class PhotosMixin:
    """`try_on` for a pipeline whose call takes the conditions that a preprocessor makes."""

    def try_on(
        self,
        person_photo: PhotoInput | list[PhotoInput],
        garment_photo: PhotoInput | list[PhotoInput],
        preprocessor: TryOnPreprocessor | None = None,
        category: str = "auto",
        garment_type: str = "auto",
        person_index: int | None = None,
        **call_arguments: Any,
    ) -> TryOnPhotosOutput:
        r"""
        Show the people of photographs in the garments of others.

        ```py
        >>> pipe.try_on("person.jpg", "garment.jpg").images[0].save("tryon.png")
        ```

        Args:
            person_photo, garment_photo, category, garment_type, person_index: as in a call of `preprocessor`.
            preprocessor ([`TryOnPreprocessor`], *optional*): what looks at the photographs; by default
                `TryOnPreprocessor.from_pretrained("offline")`. Load one yourself to use it for many calls.
            **call_arguments: of the pipeline's call, such as `generator` or `num_inference_steps`. Of the conditions
                none can be given, nor `output_type`.

        Returns:
            [`TryOnPhotosOutput`]: the photographs with the try-on pasted in, the networks' own pictures, and all that
            preprocessing found.

        Raises:
            PreprocessingError: a photograph cannot be used; see [`TryOnPreprocessor`].
            ValueError: any other argument that does not fit.
        """
        refused = [name for name in _MADE_HERE if name in call_arguments]
        if refused:
            raise ValueError(f"`{refused[0]}` cannot be given to `try_on`, which makes it from the photographs.")
        preprocessor = preprocessor or TryOnPreprocessor.from_pretrained("offline")
        last_stage = self.stage_names(last_stage=call_arguments.get("last_stage"))[-1]
        size = self.stage_sizes(last_stage, call_arguments.get("height"), call_arguments.get("width"))[last_stage]
        prepared = preprocessor(person_photo, garment_photo, category, garment_type, size, person_index)
        output = self(**prepared.conditions, **call_arguments)
        return TryOnPhotosOutput(
            images=prepared.paste_back(output.images),
            crops=output.images,
            stages=output.stages,
            seconds=output.seconds,
            prepared=prepared,
        )
