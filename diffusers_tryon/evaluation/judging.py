# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Judges the pictures of a folder, one by one, in one or several processes.

A picture is judged alone: its figures depend on this picture and its case, not on what is judged with it. So it does
not matter which process does, and an interrupted call goes on with the pictures that have no figures yet.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..image_files import read_image
from ..rendering.samples import one_torch_thread
from .errors import UnavailableError
from .figures import FIGURES_FOLDER, REFERENCE, REGION_SUFFIX, figures_path, read_figures, write_figures
from .folders import read_pair
from .layout import METHODS, CaseRecord, case_ids, claim_folder, picture_path
from .paired_metrics import largest_change, paired_figures, torchmetrics_functions
from .perceptual import LpipsMetric
from .protocols import Protocol, describe
from .rendered_metrics import RENDERED_METRICS, RenderedNetworks, rendered_figures
from .summary import Figures


_RENDERED = "rendered"
_AGNOSTIC = "agnostic"
_BY_TORCHMETRICS = ("ssim", "ms_ssim", "lpips")


class Judge:
    """Measures the pictures of a folder by a protocol.

    Args:
        folder (`Path`): of an evaluation, see `layout`, with all of its pictures.
        protocol (`Protocol`): what is measured and how.
        is_paired (`bool`): whether `reference/` shows what the pictures should show; else it is a set of photographs
            for distances.

    Attributes:
        methods (`list[str]`): those whose pictures the folder has.
        paired, kept, rendered (`list[str]`): figures that a picture gets: by comparison with the true picture, with what
            was to be kept, and by networks for rendered people.
        unavailable (`dict[str, str]`): metrics of the protocol that cannot be measured, with the reason.
    """

    def __init__(self, folder: Path, protocol: Protocol, is_paired: bool):
        self.folder, self.protocol, self.is_paired = folder, protocol, is_paired
        self.unavailable: dict[str, str] = {}
        self.methods = [method for method in METHODS if (folder / method).is_dir()]
        metrics = list(protocol.paired_metrics)
        if metrics and not is_paired:
            self._leave_out(metrics, metrics, "what the pictures should show is not known")
        if metrics:
            try:
                torchmetrics_functions()
            except UnavailableError as error:
                self._leave_out(metrics, _BY_TORCHMETRICS, str(error))
        self._lpips = None
        if "lpips" in metrics:
            try:
                self._lpips = LpipsMetric(protocol.lpips)
            except UnavailableError as error:
                self._leave_out(metrics, ["lpips"], str(error))
        self._available = replace(protocol, paired_metrics=tuple(metrics))
        self._has_regions = protocol.regions and (folder / "mask").is_dir()
        self.paired = metrics + [name + REGION_SUFFIX for name in metrics if self._has_regions]
        has_kept = self._has_regions and protocol.name == _RENDERED and (folder / _AGNOSTIC).is_dir()
        self.kept = ["outside"] if has_kept else []
        self._networks, self.rendered = None, []
        if protocol.name == _RENDERED and (folder / "parse").is_dir():
            self._networks, self.rendered = RenderedNetworks(), list(RENDERED_METRICS)
            self.methods.append(REFERENCE)

    def names(self, method: str) -> list[str]:
        """The figures that a picture of a method gets."""
        return self.rendered if method == REFERENCE else self.paired + self.kept + self.rendered

    def figures(self, method: str, case_id: str) -> dict[str, float]:
        """The figures of a picture, by the names above, NaN where it has not the figure."""
        found = {}
        if method != REFERENCE and self.paired:
            found |= self._compared_with_truth(method, case_id)
        if method != REFERENCE and self.kept:
            found["outside"] = self._change_outside(method, case_id)
        if self.rendered:
            found |= self._seen_by_networks(method, case_id)
        return {name: found[name] for name in self.names(method)}

    def _compared_with_truth(self, method: str, case_id: str) -> dict[str, float]:
        paths = [picture_path(self.folder, kind, case_id) for kind in (method, REFERENCE, "mask")]
        image, reference, region = read_pair(self._available, *(paths if self._has_regions else paths[:2]))
        return paired_figures(image, reference, region, self._available, self._lpips)

    def _change_outside(self, method: str, case_id: str) -> float:
        paths = [picture_path(self.folder, kind, case_id) for kind in (method, _AGNOSTIC, "mask")]
        return largest_change(*read_pair(self._available, *paths))

    def _seen_by_networks(self, method: str, case_id: str) -> dict[str, float]:
        pictures = [
            np.asarray(read_image(picture_path(self.folder, kind, case_id), kind))
            for kind in (method, REFERENCE, "parse", "mask")
        ]
        return rendered_figures(*pictures, CaseRecord.read(self.folder, case_id), self._networks)

    def _leave_out(self, metrics: list[str], unavailable: Iterable[str], reason: str) -> None:
        """Move metrics to the unavailable ones."""
        for name in [name for name in metrics if name in unavailable]:
            metrics.remove(name)
            self.unavailable[name] = " ".join(reason.split())


def judge_pictures(judge: Judge, process_index: int = 0, num_processes: int = 1, show_progress: bool = True) -> None:
    """Judge this process's share of the pictures; what has its figures already is not judged again, unless the picture
    is newer than they are.

    In one thread, so that the machine's cores do not move the last bits.

    Raises:
        ValueError: a picture does not fit its reference, or the folder holds figures of another protocol.
    """
    claim_folder(
        judge.folder / FIGURES_FOLDER,
        dict(describe(judge.protocol)),
        process_index,
        "figures, to be removed for others of the same pictures, that were measured",
    )
    own = case_ids(judge.folder)[process_index::num_processes]
    with one_torch_thread():
        for case_id in tqdm(own, desc="judging", unit="case", disable=not show_progress):
            for method in judge.methods:
                if not _is_judged(judge, method, case_id):
                    write_figures(judge.folder, method, case_id, judge.figures(method, case_id))


def _is_judged(judge: Judge, method: str, case_id: str) -> bool:
    known = read_figures(judge.folder, method, case_id)
    if known is None or not known.keys() >= set(judge.names(method)):
        return False
    picture, figures = picture_path(judge.folder, method, case_id), figures_path(judge.folder, method, case_id)
    return picture.stat().st_mtime_ns <= figures.stat().st_mtime_ns


def collect(judge: Judge) -> Figures:
    """The figures of all pictures, once all processes have judged."""
    figures = {}
    for method in filter(judge.names, judge.methods):
        figures[method] = {}
        for case_id in case_ids(judge.folder):
            found = read_figures(judge.folder, method, case_id)
            figures[method][case_id] = {name: found[name] for name in judge.names(method)}
    return figures
