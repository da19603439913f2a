# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A network of transformers and its image processor, loaded and saved together with the settings of a back end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import BaseImageProcessor, PreTrainedModel

from .sources import fetch_network, read_json_object


# Of config.json, where the settings of a back end are kept beside those of its network.
_SETTINGS_KEY = "tryon_backend"


class NetworkBackend:
    """What the back ends that are networks of transformers have in common.

    A folder holds config.json, the weights and preprocessor_config.json as transformers writes them, so a checkpoint
    of the Hub is loaded as it is. The settings of the back end are kept in config.json.

    Attributes:
        model_class, image_processor_class: the classes of transformers. Image processors are those that work with PIL,
            since torchvision is not needed here.
        model_types: values of `model_type` in config.json that are accepted.
        setting_names: the arguments of the constructor beside the network and its image processor, each an attribute.
    """

    model_class: ClassVar[type]
    image_processor_class: ClassVar[type]
    model_types: ClassVar[tuple[str, ...]]
    setting_names: ClassVar[tuple[str, ...]]

    def __init__(self, model: PreTrainedModel, image_processor: BaseImageProcessor):
        size = image_processor.size
        if not (size["height"] and size["width"]):
            raise ValueError(
                "`image_processor` must bring all images to one height and width, so that they can be a batch; its "
                f"`size` is {size}."
            )
        self.model = model.eval()
        self.image_processor = image_processor

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        subfolder: str = "",
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> Self:
        """Load a network, its image processor and the settings saved with it.

        Args:
            source (`str` or `Path`): A folder, or the id of a repository on the Hub, "user/name".
            subfolder (`str`, *optional*): The folder inside `source`.
            device (`str` or `torch.device`, defaults to `"cpu"`): Where the network runs.
            dtype (`torch.dtype`, defaults to `torch.float32`): Of its weights.
            **options: `revision`, `cache_dir`, `token` and `local_files_only` as in `huggingface_hub`; settings of the
                back end that replace the saved ones.

        Raises:
            ValueError: no such folder or repository, no access to it, a file missing or foreign, another kind of
                network, weights missing.
            OSError: the Hub cannot be reached, and the cache does not hold the files.
        """
        settings = {name: options.pop(name) for name in cls.setting_names if name in options}
        folder = fetch_network(source, subfolder, **options)
        config = read_json_object(folder, "config.json", source)
        if config.get("model_type") not in cls.model_types:
            raise ValueError(
                f"{cls.__name__} needs a network of type {' or '.join(cls.model_types)}, the config.json of {source} "
                f"says {config.get('model_type')!r}."
            )
        saved = config.get(_SETTINGS_KEY, {})
        foreign = sorted(set(saved) - set(cls.setting_names))
        if foreign:
            raise ValueError(
                f"{cls.__name__} has no settings {', '.join(foreign)}, which the config.json of {source} has: another "
                "back end saved it."
            )
        read_json_object(folder, "preprocessor_config.json", source)
        try:
            model, info = cls.model_class.from_pretrained(folder, dtype=dtype, output_loading_info=True)
        except SafetensorError as error:
            raise ValueError(f"The weights of {source} are damaged: {error} Get them once more.") from error
        except OSError as error:
            raise ValueError(f"The weights of {source} cannot be loaded: {error}") from error
        if info["missing_keys"]:
            raise ValueError(
                f"{source} lacks weights that {cls.model_class.__name__} needs, so it is a checkpoint for another "
                f"task: {', '.join(sorted(info['missing_keys'])[:3])}."
            )
        image_processor = cls.image_processor_class.from_pretrained(folder)
        return cls(model.to(device), image_processor, **saved | settings)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the network, its image processor and the settings to a folder for `from_pretrained`."""
        settings = {name: getattr(self, name) for name in self.setting_names}
        setattr(self.model.config, _SETTINGS_KEY, settings)
        self.model.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)

    def _inputs(self, images: Sequence[np.ndarray], **arguments: Any) -> torch.Tensor:
        """The images as the network takes them, (N, 3, height, width) of its dtype and on its device."""
        inputs = self.image_processor(
            images=list(images), input_data_format="channels_last", return_tensors="pt", **arguments
        )
        return inputs["pixel_values"].to(self.model.device, self.model.dtype)


def check_images(images: Sequence[np.ndarray]) -> None:
    """Raise a `ValueError` unless all images are uint8 (H, W, 3)."""
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            shown = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"`images[{number}]` must be a uint8 RGB array of shape (H, W, 3), got {shown}.")


def check_boxes(images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> None:
    """Raise a `ValueError` unless there is a box (4,) of some size for every image."""
    if len(boxes) != len(images):
        raise ValueError(f"`boxes` must hold one box for each of the {len(images)} images, got {len(boxes)}.")
    for number, box in enumerate(boxes):
        box = np.asarray(box)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] - box[:2]).min() <= 0:
            raise ValueError(
                f"`boxes[{number}]` must be left, top, right and bottom in pixels, left of right and top above "
                f"bottom, got {box.tolist()}."
            )


def check_threshold(threshold: float) -> None:
    """Raise a `ValueError` unless `threshold` is a number from 0 to 1."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be from 0 to 1, got {threshold!r}.")
