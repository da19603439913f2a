# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A batch from its manifest to its tables, in one process or several."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState
from tqdm.auto import tqdm

from .. import __version__
from ..evaluation.generation import describe_model, picture_size
from ..evaluation.layout import claim_folder
from ..pipelines.pipeline_tryon_cascade import TryOnCascadePipeline
from ..preprocessing.preprocessor import TryOnPreprocessor
from .folder import BatchFolder
from .generation import BatchGenerator, cut_chunks
from .manifest import BatchRow, Manifest
from .photographs import Photographs


class BatchReport(NamedTuple):
    """
    Attributes:
        made: pictures of this call.
        results: pictures of the manifest's rows, of this call and earlier ones.
        failures: rows that no picture could be made of.
    """

    made: int
    results: int
    failures: int


def run_batch(
    out: str | Path,
    manifest: Manifest,
    pipeline: TryOnCascadePipeline,
    call_arguments: dict[str, Any],
    processes: PartialState,
    seed: int = 0,
    batch_size: int = 8,
    crops: bool = False,
    load_preprocessor: Callable[[], TryOnPreprocessor] = TryOnPreprocessor.from_pretrained,
    optimize: bool = False,
    preprocessor_name: str = "",
) -> BatchReport:
    """Make every picture of a manifest that is not there yet, and the tables.

    An interrupted call is repeated and goes on where it stopped; rows that failed are tried again. The pictures do not
    depend on the number of processes, and on `batch_size` only in the rounding of sums. Tables are also written after
    an interruption.

    Args:
        out (`str` or `Path`): the folder, see `folder.py`; made if missing.
        manifest (`Manifest`): from `list_rows`.
        pipeline (`TryOnCascadePipeline`): the model.
        call_arguments (`dict`): further arguments of its call.
        processes (`PartialState`): of `evaluation.processes.joined_processes`.
        seed (`int`): of the noise; every row has its own, which follows from this and its id.
        batch_size (`int`): pictures that are made together, and photographs that are looked at together.
        crops (`bool`): keep the networks' pictures also of people in photographs, in place of whole photographs.
        load_preprocessor (`Callable`): called if there are photographs to prepare.
        optimize (`bool`, defaults to `False`): optimise the pipeline with `pipeline.optimize`, in its dtype.
        preprocessor_name (`str`): tells the preprocessor from others.

    Raises:
        ValueError: the folder holds pictures that were made otherwise (every difference is named) or something else.
    """
    folder = BatchFolder(Path(out))
    described = {
        "model": describe_model(pipeline, call_arguments),
        "seed": seed,
        "pictures": "crops" if crops else "whole photographs",
        "preprocessor": preprocessor_name,
        "diffusers_tryon": __version__,
    }
    if optimize:
        # After the weights were described: packed ones cannot be read.
        described["model"]["optimized"] = str(pipeline.optimize(pipeline.dtype))
    # As it will be read.
    described = json.loads(json.dumps(described, default=str))
    claim_folder(folder.path, described, processes.process_index, purpose="a batch")
    rows = manifest.rows
    pending = [row for row in rows if not folder.is_done(row)]
    processes.wait_for_everyone()  # all see the same before anything changes
    if processes.is_main_process:
        folder.begin(pending)
    processes.wait_for_everyone()
    before = folder.count_finished()
    photographs = Photographs(folder.prepared, manifest, picture_size(pipeline, call_arguments))
    try:
        _prepare(photographs, pending, load_preprocessor, batch_size, processes)
        generator = BatchGenerator(manifest, folder, photographs, pipeline, call_arguments, seed, crops)
        chunks = cut_chunks(pending, batch_size, processes.process_index, processes.num_processes)
        done = len(rows) - len(pending)
        hidden = not processes.is_main_process
        with tqdm(total=len(rows), initial=done, desc="try-on", unit="picture", disable=hidden) as bar:

            def show_progress() -> None:
                bar.update(done + folder.count_finished() - before - bar.n)

            generator.make(chunks, on_progress=show_progress if processes.is_main_process else lambda: None)
            processes.wait_for_everyone()
            if processes.is_main_process:
                show_progress()
    finally:
        if processes.is_main_process:
            results, failures = folder.write_tables(manifest)
    return BatchReport(results - done, results, failures) if processes.is_main_process else BatchReport(0, 0, 0)


def _prepare(
    photographs: Photographs,
    rows: list[BatchRow],
    load_preprocessor: Callable[[], TryOnPreprocessor],
    batch_size: int,
    processes: PartialState,
) -> None:
    """Prepare the photographs of rows: first the garments', whose categories people are prepared for."""
    if not any(row.person.photo is not None or row.garment.photo is not None for row in rows):
        return
    share = (
        load_preprocessor(),
        batch_size,
        processes.process_index,
        processes.num_processes,
        processes.is_main_process,
    )
    photographs.prepare_garments((row.garment for row in rows), *share)
    processes.wait_for_everyone()
    photographs.prepare_people(((row.person, row.garment) for row in rows), *share)
    processes.wait_for_everyone()
