# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The only place where images change their value range or their size.

Inside the package images are float32 RGB in [-1, 1], (B, 3, H, W). Outside they are PIL images, uint8 in 0..255 or
float in [0, 1]. Nothing is guessed from the values: whatever does not fit its type's range is refused.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


# One image, or a batch: a list, or an array or tensor with a leading batch dimension.
ImageInput = Image.Image | np.ndarray | torch.Tensor | list[Image.Image] | list[np.ndarray] | list[torch.Tensor]

OUTPUT_TYPES = ("pil", "np", "pt", "latent")

# Images whose ratio of width to height is further than this from the wanted one would come out visibly distorted.
_ASPECT_TOLERANCE = 0.02
# Modes in which PIL's conversion to RGB cuts values off instead of scaling them.
_UNSCALED_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class TryOnImageProcessor:
    """Converts images to the range and size the networks work with, and back.

    Resizing is bilinear with antialiasing everywhere, for PIL images, arrays and tensors alike, so that the same
    picture gives the same pixels in whatever form it comes.
    """

    def preprocess(
        self, image: ImageInput, height: int, width: int, name: str = "image", background: int = 255
    ) -> torch.Tensor:
        """Convert images to (B, 3, height, width) float32 in [-1, 1].

        Args:
            image (`ImageInput`): PIL images of any 8-bit mode; arrays (H, W, 3) or (B, H, W, 3) or tensors (3, H, W)
                or (B, 3, H, W), uint8 in 0..255 or floating point in [0, 1]; or a list of any of these.
            height (`int`): Height to return.
            width (`int`): Width to return.
            name (`str`): What errors call the image.
            background (`int`, defaults to 255): The grey value 0..255 on which transparent PIL images are laid.

        Raises:
            ValueError: on another type, shape, value range, NaN, or an aspect ratio that resizing would distort.
        """
        units = [
            self._resize_unit(_unit_image(item, name, background), height, width, name) for item in _items(image, name)
        ]
        return torch.cat(units) * 2.0 - 1.0

    def preprocess_mask(self, mask: ImageInput, height: int, width: int, name: str = "agnostic_mask") -> torch.Tensor:
        """Convert masks to (B, 1, height, width) bool, True where the image may change.

        A pixel of the resized mask is True as soon as a masked pixel contributes to it: the resized agnostic image has
        some of the fill colour there.

        Args:
            mask (`ImageInput`): PIL images; arrays or tensors (H, W) or (B, H, W), with or without one channel (last
                for arrays, before H for tensors): bool, uint8 in 0..255 or floating point in [0, 1]; or a list of
                these. From one half on a value counts as masked.

        Raises:
            ValueError: on another type, shape, value range, NaN, an aspect ratio that resizing would distort, or a
                mask that marks nothing.
        """
        masks = [
            self._resize_unit((_unit_mask(item, name) >= 0.5).float(), height, width, name)
            for item in _items(mask, name)
        ]
        resized = torch.cat(masks) > 1e-6
        if not resized.flatten(1).any(dim=1).all():
            raise ValueError(f"`{name}` marks no pixel that may change: a mask is white (or True) there.")
        return resized

    def postprocess(
        self, images: torch.Tensor, output_type: str = "pil"
    ) -> torch.Tensor | np.ndarray | list[Image.Image]:
        """Convert (B, 3, H, W) in [-1, 1] to an output type.

        Returns:
            "latent": the tensor itself; "pt": (B, 3, H, W) float32 in [0, 1]; "np": (B, H, W, 3) float32 in [0, 1];
            "pil": a list of 8-bit RGB images.
        """
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"`output_type` must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}.")
        if output_type == "latent":
            return images
        unit = (images.float() / 2.0 + 0.5).clamp(0.0, 1.0)
        if output_type == "pt":
            return unit
        arrays = unit.permute(0, 2, 3, 1).cpu().numpy()
        if output_type == "np":
            return arrays
        return [Image.fromarray(array) for array in (arrays * 255.0).round().astype(np.uint8)]

    def downsample(self, image: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Make the low-resolution image of training: (B, C, H, W) to (B, C, height, width), same range."""
        return F.interpolate(image, size=(height, width), mode="bilinear", antialias=True)

    def upsample_low_res(self, image: torch.Tensor, height: int, width: int, mode: str) -> torch.Tensor:
        """Bring a low-resolution image to the size of the stage it conditions, in training and in the pipeline.

        Args:
            image (`torch.Tensor`): (B, C, H, W).
            mode (`str`): The `low_res_interpolation` of the network: "bilinear" or "nearest".
        """
        return F.interpolate(image, size=(height, width), mode=mode)

    @staticmethod
    def _resize_unit(unit: torch.Tensor, height: int, width: int, name: str) -> torch.Tensor:
        """Resize (B, C, H, W) in [0, 1] with antialiasing."""
        from_height, from_width = unit.shape[-2:]
        if (from_height, from_width) == (height, width):
            return unit
        # One pixel of rounding in either size is no distortion.
        tolerance = max(_ASPECT_TOLERANCE * width, 1.0, width / from_width)
        if abs(from_width * height / from_height - width) > tolerance:
            raise ValueError(
                f"`{name}` of height {from_height} and width {from_width} would be distorted at height {height} and "
                f"width {width}. Crop or pad it to that ratio, or pass a `height` and `width` of its ratio."
            )
        return F.interpolate(unit, size=(height, width), mode="bilinear", antialias=True).clamp(0.0, 1.0)


def _items(image: ImageInput, name: str) -> list:
    items = list(image) if isinstance(image, (list, tuple)) else [image]
    if not items:
        raise ValueError(f"`{name}` is an empty list.")
    return items


def _unit_image(image: Image.Image | np.ndarray | torch.Tensor, name: str, background: int) -> torch.Tensor:
    """(B, 3, H, W) float32 in [0, 1] of one item."""
    if isinstance(image, Image.Image):
        image = np.asarray(_flatten_pil(image, name, background))
    if isinstance(image, np.ndarray):
        layout = "an array of shape (H, W, 3) or (B, H, W, 3)"
        tensor = torch.from_numpy(np.array(image, order="C"))
        valid = tensor.ndim in (3, 4) and tensor.shape[-1] == 3
        tensor = tensor.movedim(-1, -3) if valid else tensor
    elif isinstance(image, torch.Tensor):
        layout = "a tensor of shape (3, H, W) or (B, 3, H, W)"
        tensor = image
        valid = tensor.ndim in (3, 4) and tensor.shape[-3] == 3
    else:
        raise ValueError(f"`{name}` must be a PIL image, an array, a tensor or a list of one kind, got {type(image)}.")
    if not valid or tensor.numel() == 0:
        raise ValueError(f"`{name}` must be {layout}, got shape {tuple(image.shape)}.")
    return _unit_values(tensor.reshape(-1, *tensor.shape[-3:]), name)


def _unit_mask(mask: Image.Image | np.ndarray | torch.Tensor, name: str) -> torch.Tensor:
    """(B, 1, H, W) float32 in [0, 1] of one item."""
    if isinstance(mask, Image.Image):
        mask = np.asarray(mask.convert("L"))
    if isinstance(mask, np.ndarray):
        tensor = torch.from_numpy(np.array(mask, order="C"))
        tensor = tensor.squeeze(-1) if tensor.ndim > 2 and tensor.shape[-1] == 1 else tensor
    elif isinstance(mask, torch.Tensor):
        tensor = mask.squeeze(-3) if mask.ndim > 2 and mask.shape[-3] == 1 else mask
    else:
        raise ValueError(f"`{name}` must be a PIL image, an array, a tensor or a list of one kind, got {type(mask)}.")
    if tensor.ndim not in (2, 3) or tensor.numel() == 0:
        raise ValueError(f"`{name}` must have one channel, shape (H, W) or (B, H, W), got shape {tuple(mask.shape)}.")
    if tensor.dtype == torch.bool:
        tensor = tensor.float()
    return _unit_values(tensor.reshape(-1, 1, *tensor.shape[-2:]), name)


def _unit_values(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """uint8 in 0..255 or floating point in [0, 1] to float32 in [0, 1]."""
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255.0
    if not tensor.is_floating_point():
        raise ValueError(f"`{name}` must be uint8 in 0..255 or floating point in [0, 1], got {tensor.dtype}.")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"`{name}` holds NaN or infinite values.")
    low, high = tensor.min().item(), tensor.max().item()
    if low < 0.0 or high > 1.0:
        hint = "Divide values in 0..255 by 255." if low >= 0.0 else "Turn values in [-1, 1] into `value / 2 + 0.5`."
        raise ValueError(
            f"`{name}` of type {tensor.dtype} must lie in [0, 1], got values from {low:.4g} to {high:.4g}. {hint}"
        )
    return tensor.float()


def _flatten_pil(image: Image.Image, name: str, background: int) -> Image.Image:
    """An RGB image; transparent parts show the grey `background`."""
    if image.mode in _UNSCALED_MODES:
        raise ValueError(f"`{name}` is a PIL image of mode {image.mode!r}; convert it to 8 bits per channel first.")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, (background,) * 3 + (255,)), layered).convert("RGB")
