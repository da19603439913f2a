# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of a batch.

Rows are sorted by garment and cut into chunks of `batch_size`; each process gets as many chunks, one after the other.
So a garment goes through its streams once (once more where the share of a process ends within its rows), whatever
number of people it is for, and only what the chunk at hand needs is kept: memory does not grow with the number of
garments. Every row has noise of its own, which follows from the seed and the row's id.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ..image_files import read_image
from ..models.unet_parallel import GarmentFeatures
from ..pipelines.pipeline_output import EncodedGarment
from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from ..poses import NUM_KEYPOINTS, load_pose
from .folder import BatchFolder
from .manifest import BatchRow, GarmentInput, Manifest
from .photographs import Photographs


_WHITE = 255


class Conditions(NamedTuple):
    """What a row's picture is made of, read: PIL images and poses (18, 3)."""

    agnostic_image: Image.Image
    agnostic_mask: Image.Image | None
    person_pose: np.ndarray
    garment_image: Image.Image
    garment_pose: np.ndarray
    warnings: list[str]


class BatchGenerator:
    """
    Args:
        manifest (`Manifest`), folder (`BatchFolder`): what to make and where.
        photographs (`Photographs`): all of the manifest's photographs, prepared.
        pipeline (`TryOnCascadePipeline`): the model.
        call_arguments (`dict`): further arguments of its call: steps, guidance and the like.
        seed (`int`): of the noise of all rows.
        crops (`bool`): keep the networks' pictures also of people in photographs, in place of whole photographs.
    """

    def __init__(
        self,
        manifest: Manifest,
        folder: BatchFolder,
        photographs: Photographs,
        pipeline: TryOnCascadePipeline,
        call_arguments: dict[str, Any],
        seed: int,
        crops: bool = False,
    ):
        self._manifest, self._folder, self._photographs = manifest, folder, photographs
        self._pipeline, self._arguments = pipeline, call_arguments
        self._seed, self._crops = seed, crops
        names = pipeline.stage_names(last_stage=call_arguments.get("last_stage"))
        self._encodes = not any(getattr(pipeline, f"{name}_unet").config.garment_time_conditioning for name in names)
        self._encoded: dict[GarmentInput, EncodedGarment] = {}

    def make(self, chunks: Sequence[Sequence[BatchRow]], on_progress: Callable[[], None] = lambda: None) -> None:
        """Make the pictures of chunks of rows; what is wrong with a row does not stop the others.

        Args:
            chunks (`Sequence`): from `cut_chunks`.
            on_progress (`Callable`): called after each chunk.
        """
        for chunk in chunks:
            garments = {row.garment for row in chunk}
            self._encoded = {garment: kept for garment, kept in self._encoded.items() if garment in garments}
            rows = []
            for row in chunk:
                try:
                    rows.append((row, self._read(row)))
                # Whatever a file of a row may do, the others go on.
                except Exception as error:
                    self._folder.write_failure(row, error)
            self._make_together(rows)
            on_progress()

    def _read(self, row: BatchRow) -> Conditions:
        """Read a row's files; raises a `ValueError` if one cannot be used."""
        person, garment, path = row.person, row.garment, self._manifest.path
        warnings: list[str] = []
        if garment.photo is not None:
            garment_image, garment_pose, warnings = self._photographs.garment(garment)
        else:
            garment_image = read_image(path(garment.image), "garment_image")
            # A pose without a visible point is a garment laid flat.
            flat = np.zeros((NUM_KEYPOINTS, 3), np.float32)
            garment_pose = flat if garment.pose is None else load_pose(path(garment.pose))
        if person.photo is not None:
            agnostic_image, agnostic_mask, pose, of_person = self._photographs.person(person, garment)
            warnings = list(dict.fromkeys([*of_person, *warnings]))
        else:
            agnostic_image = read_image(path(person.agnostic_image), "agnostic_image")
            mask = person.agnostic_mask
            agnostic_mask = None if mask is None else read_image(path(mask), "agnostic_mask")
            pose = load_pose(path(person.pose))
        return Conditions(agnostic_image, agnostic_mask, pose, garment_image, garment_pose, warnings)

    def _make_together(self, rows: list[tuple[BatchRow, Conditions]]) -> None:
        """Make the pictures of rows in one call; if that fails, of both halves, until it is clear whose fault it is."""
        if not rows:
            return
        try:
            began = time.perf_counter()
            crops = self._call(rows)
            seconds = (time.perf_counter() - began) / len(rows)
            pictures = [self._finished(row, crop) for (row, _), crop in zip(rows, crops, strict=True)]
        except Exception as error:
            if len(rows) == 1:
                self._folder.write_failure(rows[0][0], error)
                return
        else:
            for (row, conditions), picture in zip(rows, pictures, strict=True):
                self._folder.write_result(
                    row,
                    picture,
                    seed=noise_seed(self._seed, row.id),
                    seconds=round(seconds, 3),
                    warnings=conditions.warnings,
                )
            return
        middle = len(rows) // 2
        self._make_together(rows[:middle])
        self._make_together(rows[middle:])

    def _call(self, rows: list[tuple[BatchRow, Conditions]]) -> list[Image.Image]:
        conditions = [of_row for _, of_row in rows]
        masks = None
        if any(item.agnostic_mask is not None for item in conditions):
            masks = [item.agnostic_mask or Image.new("L", item.agnostic_image.size, _WHITE) for item in conditions]
        if self._encodes:
            garments = {"garment_features": self._encode(rows)}
        else:
            garments = {
                "garment_image": [item.garment_image for item in conditions],
                "garment_pose": np.stack([item.garment_pose for item in conditions]),
            }
        return self._pipeline(
            agnostic_image=[item.agnostic_image for item in conditions],
            agnostic_mask=masks,
            person_pose=np.stack([item.person_pose for item in conditions]),
            # On the CPU, so that every device starts from the same noise.
            generator=[torch.Generator().manual_seed(noise_seed(self._seed, row.id)) for row, _ in rows],
            **garments,
            **self._arguments,
        ).images

    def _encode(self, rows: list[tuple[BatchRow, Conditions]]) -> EncodedGarment:
        """The features of the rows' garments, a single row if they share one.

        Each garment goes through alone, so that its features do not depend on the others of a chunk.
        """
        sizes = {name: self._arguments[name] for name in ("height", "width", "last_stage") if name in self._arguments}
        for row, conditions in rows:
            if row.garment not in self._encoded:
                self._encoded[row.garment] = self._pipeline.encode_garment(
                    conditions.garment_image, conditions.garment_pose, **sizes
                )
        garments = [row.garment for row, _ in rows]
        if len(set(garments)) == 1:
            return self._encoded[garments[0]]
        return joined([self._encoded[garment] for garment in garments])

    def _finished(self, row: BatchRow, crop: Image.Image) -> Image.Image:
        if row.person.photo is None or self._crops:
            return crop
        return self._photographs.paste_back(row.person, row.garment, crop)


def cut_chunks(
    rows: Sequence[BatchRow], batch_size: int, process_index: int = 0, num_processes: int = 1
) -> list[Sequence[BatchRow]]:
    """This process's share of rows, in chunks. The chunks do not depend on the number of processes."""
    chunks = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    begin, end = (len(chunks) * number // num_processes for number in (process_index, process_index + 1))
    return chunks[begin:end]


def noise_seed(seed: int, row_id: str) -> int:
    """The seed of a row's noise: `diffusers-tryon run --seed` with it makes the same picture."""
    digest = hashlib.sha256(f"{seed}/{row_id}".encode()).digest()
    # Spreadsheets keep 15 digits of a number.
    return int.from_bytes(digest[:6], "little")


def joined(encoded: Sequence[EncodedGarment]) -> EncodedGarment:
    """Encoded garments of one pipeline and size as the rows of one."""
    first = encoded[0]
    features = {}
    for stage in first.features:
        maps = [item.features[stage] for item in encoded]
        features[stage] = GarmentFeatures(
            tuple(torch.cat(level) for level in zip(*(item.down for item in maps))),
            tuple(torch.cat(level) for level in zip(*(item.up for item in maps))),
        )
    return first._replace(features=features, pose=torch.cat([item.pose for item in encoded]))
