# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""People, poses and person masks by the networks inside MediaPipe's wheel, which need no download.

The last release whose wheel holds them is 0.10.21 (Apache-2.0, extra `mediapipe`). Its ready-made solution takes the
surest person of a picture; the two networks beneath it (BlazePose, arXiv:2006.10204) are run here one by one: a
detector that proposes people wherever they are, and a network that finds the landmarks and the mask of the one person
in a square.
"""

import json
import math
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from PIL import Image
from scipy import ndimage

from ..files import written_beside
from ..poses import NUM_KEYPOINTS, mediapipe33_to_openpose18, normalize_keypoints
from .backends import PoseEstimate
from .boxes import overlap
from .network_backend import check_boxes, check_images, check_threshold
from .sources import fetch, read_json_object


_DETECTION_GRAPH = """
    input_stream: "image"
    output_stream: "detections"
    node {
        calculator: "PoseDetectionCpu"
        input_stream: "IMAGE:image"
        output_stream: "DETECTIONS:detections"
    }
"""
_LANDMARK_GRAPH = """
    input_stream: "image"
    input_stream: "square"
    input_side_packet: "model_complexity"
    input_side_packet: "enable_segmentation"
    output_stream: "landmarks"
    output_stream: "alignment_points"
    output_stream: "mask"
    node {
        calculator: "PoseLandmarkByRoiCpu"
        input_side_packet: "MODEL_COMPLEXITY:model_complexity"
        input_side_packet: "ENABLE_SEGMENTATION:enable_segmentation"
        input_stream: "IMAGE:image"
        input_stream: "ROI:square"
        output_stream: "LANDMARKS:landmarks"
        output_stream: "AUXILIARY_LANDMARKS:alignment_points"
        output_stream: "SEGMENTATION_MASK:mask"
    }
"""
_DETECTION_THRESHOLD = "posedetectioncpu__TensorsToDetectionsCalculator.min_score_thresh"
# Notices of MediaPipe's libraries that tell a user nothing; it writes them while it loads.
_NOTICES = (
    b"Created TensorFlow Lite XNNPACK delegate",
    b"All log messages before absl::InitializeLog()",
    b"Feedback manager requires a model with a single signature",
    b"Using NORM_RECT without IMAGE_DIMENSIONS",
)
# What the detector proposes is looked for again in a view of its own size, so its first score may be low: several
# people in one picture share what it gives a single one.
_PROPOSAL_THRESHOLD = 0.3
_SETTINGS_FILE = "mediapipe_detector.json"
# Room around a box in which its person is looked for, as a share of its longer side. It is black beyond the image
# where the box does not touch the edge: backs of people who fill the picture are found better so (on renders 0.91
# instead of 0.87 of their joints). About somebody who is cut off below there is none: with black around, a bust is
# taken for a whole person and the chest for the hips.
_ROOM = 0.25
_TOUCHING = 0.02
_CUT_OFF = 0.01
# Two squares are of one person if their middles are apart by less than this share of their sides and their sides by
# less than this factor.
_SAME_PLACE = 0.08
_SAME_SIZE = 1.6
# As many views of one size, each half a view from the next, are searched for people who are small in the picture.
_MOST_VIEWS = 12
# The landmark network was trained on squares that are this much larger than the circle around a person.
_SQUARE_MARGIN = 1.25
# Pixels of the side of a picture that is given to the landmark network, which works with 256.
_LANDMARK_VIEW_SIZE = 384
# Whoever redirects the process's stderr must be alone: two at once would restore each other's file.
_LOADING = threading.Lock()


class _Square(NamedTuple):
    """A square around a person: its middle and its side in pixels, turned by radians as the person leans."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def around(cls, hips: np.ndarray, rim: np.ndarray) -> "_Square":
        """The square of a person given by the middle of the hips and a point above the head on the circle around the
        whole person, stretched out."""
        right, down = rim - hips
        return cls(*hips, 2 * _SQUARE_MARGIN * float(np.hypot(right, down)), float(np.arctan2(right, -down)))

    @classmethod
    def of_box(cls, box: np.ndarray) -> "_Square":
        """The square of somebody upright who fills a box (4,)."""
        x, y = (box[:2] + box[2:]) / 2
        return cls(x, y, _SQUARE_MARGIN * float((box[2:] - box[:2]).max()), 0.0)

    def is_near(self, other: "_Square") -> bool:
        """Whether both are of one person: middles of the hips close together for people of their size."""
        smaller, larger = sorted([self.side, other.side])
        apart = float(np.hypot(self.x - other.x, self.y - other.y))
        return apart < _SAME_PLACE * larger and larger < _SAME_SIZE * smaller

    def circle_box(self) -> np.ndarray:
        """The box (4,) of the circle around the person."""
        radius = self.side / (2 * _SQUARE_MARGIN)
        return np.array([self.x - radius, self.y - radius, self.x + radius, self.y + radius])


class _Look(NamedTuple):
    """What the landmark network sees in a square.

    Attributes:
        landmarks: (33, 3) of x and y in pixels of the image and a visibility.
        mask: (H, W) float32 in [0, 1] of the image.
        square: where it would look next.
    """

    landmarks: np.ndarray
    mask: np.ndarray
    square: _Square

    def box(self) -> np.ndarray | None:
        """Left, top, right and bottom of the person (4,): of the landmarks in the image and of what carries them in
        the mask. None if the image shows none of them."""
        height, width = self.mask.shape
        points = self.landmarks[self.landmarks[:, 2] > 0.5, :2]
        inside = points[((points >= 0) & (points < (width, height))).all(axis=1)]
        if not len(inside):
            return None
        parts, _ = ndimage.label(self.mask > 0.5)
        columns, rows = inside.astype(int).T
        carrying = np.unique(parts[rows, columns])
        ys, xs = np.nonzero(np.isin(parts, carrying[carrying > 0]))
        corners = np.concatenate([inside, np.stack([xs, ys], axis=1), np.stack([xs + 1, ys + 1], axis=1)])
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)])

    def is_part_of(self, other: "_Look") -> bool:
        """Whether both show the same person, one of them perhaps a part only: most of the smaller mask is shared."""
        own, others = self.mask > 0.5, other.mask > 0.5
        return bool((own & others).sum() >= 0.5 * min(own.sum(), others.sum()))


def _import_mediapipe() -> Any:
    try:
        from mediapipe.framework import calculator_pb2
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python import solution_base
    except ImportError as error:
        raise ImportError(
            "MediaPipe 0.10.21 is not installed: `pip install diffusers-tryon[mediapipe]`. It has wheels for Python "
            "3.12 and earlier."
        ) from error
    return calculator_pb2, rect_pb2, solution_base


def _load() -> tuple[Any, Any]:
    """The detector and the landmark network, each having seen an empty picture, with which loading ends."""
    calculator_pb2, rect_pb2, solution_base = _import_mediapipe()
    from google.protobuf import text_format

    with _LOADING, _without_notices():
        detector = solution_base.SolutionBase(
            graph_config=text_format.Parse(_DETECTION_GRAPH, calculator_pb2.CalculatorGraphConfig()),
            calculator_params={_DETECTION_THRESHOLD: _PROPOSAL_THRESHOLD},
            outputs=["detections"],
        )
        landmarker = solution_base.SolutionBase(
            graph_config=text_format.Parse(_LANDMARK_GRAPH, calculator_pb2.CalculatorGraphConfig()),
            side_inputs={"model_complexity": 1, "enable_segmentation": True},
            outputs=["landmarks", "alignment_points", "mask"],
        )
        empty = np.zeros((64, 64, 3), dtype=np.uint8)
        detector.process(empty)
        whole = rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1.0, height=1.0)
        landmarker.process({"image": empty, "square": whole})
    return detector, landmarker


def _points(landmarks: Any, left: int, top: int, side: int) -> np.ndarray:
    """MediaPipe's landmarks of a square view as (N, 3) of x and y in pixels of the image and a visibility."""
    points = np.array([(point.x, point.y, point.visibility) for point in landmarks.landmark])
    return points * (side, side, 1) + (left, top, 0)


def _tiles(height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of square views of an image, each half a view from the next, ever smaller."""
    side = max(height, width) // 2
    while True:
        rows, columns = (
            np.linspace(0, max(length - side, 0), 1 + math.ceil(max(length - side, 0) / (side / 2)))
            .round()
            .astype(int)
            for length in (height, width)
        )
        if len(rows) * len(columns) > _MOST_VIEWS:
            return
        for top in rows.tolist():
            for left in columns.tolist():
                yield left, top, side
        side //= 2


def _room_around(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Left, top, right and bottom (4,) int of the view in which the person of a box (4,) is looked for."""
    longer = (box[2:] - box[:2]).max()
    room, edges = _ROOM * longer, np.array([0, 0, width, height])
    view = box + room * np.array([-1, -1, 1, 1])
    if box[3] >= height - _CUT_OFF * longer:
        view = np.clip(view, 0, np.tile(edges[2:], 2))
    return np.where(np.abs(box - edges) <= _TOUCHING * longer, edges, view).round().astype(int)


def _cut(image: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A rectangle of an image, which is black where it reaches outside."""
    height, width = image.shape[:2]
    view = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
    rows = slice(max(top, 0), min(bottom, height))
    columns = slice(max(left, 0), min(right, width))
    view[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    return view


def _cut_continued(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of an image, which its edge continues outside."""
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    # Several times faster than one index of both.
    return image.take(columns, axis=1).take(rows, axis=0)


@contextmanager
def _without_notices() -> Iterator[None]:
    """Drop MediaPipe's notices from what anybody writes to the file descriptor of stderr meanwhile.

    Its libraries write there themselves, whatever Python's logging is told. Everything else is written afterwards.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not any(notice in line for notice in _NOTICES):
                    os.write(2, line)


class _Networks:
    """Both networks, loaded at the first use; a copy in another process loads its own.

    A network takes one picture at a time, so threads wait for each other.
    """

    # The process that has run MediaPipe, None if none has among this one and its forefathers.
    _used_in: ClassVar[int | None] = None

    def __init__(self) -> None:
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple]:
        return type(self), ()

    def close(self) -> None:
        """Free the networks; the next use loads them again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            for graph in loaded or ():
                graph.close()

    @contextmanager
    def _graphs(self) -> Iterator[tuple[Any, Any]]:
        """The detector and the landmark network, for one thread at a time."""
        if _Networks._used_in not in (None, os.getpid()):
            # Its library would abort here, which kills the process without a word of Python.
            raise RuntimeError(
                "MediaPipe cannot run in a process that was forked from one that has run it. Start workers with "
                '"spawn" (`multiprocessing.get_context("spawn")`, `DataLoader(multiprocessing_context="spawn")`), or '
                "use it in the workers only."
            )
        with self._lock:
            if self._loaded is None:
                self._loaded = _load()
                _Networks._used_in = os.getpid()
            yield self._loaded

    def propose(self, image: np.ndarray, left: int = 0, top: int = 0) -> list[tuple[float, _Square]]:
        """Scores and squares of what may be people, the surest first. `left` and `top` are added to their places."""
        height, width = image.shape[:2]
        with self._graphs() as (detector, _):
            found = detector.process(np.ascontiguousarray(image)).detections or []
        proposals = []
        for detection in found:
            points = detection.location_data.relative_keypoints
            hips, rim = (np.array([point.x * width + left, point.y * height + top]) for point in points[:2])
            proposals.append((detection.score[0], _Square.around(hips, rim)))
        return sorted(proposals, reverse=True)

    def find(self, image: np.ndarray, box: np.ndarray) -> tuple[float, _Square] | None:
        """Score and square of the person who agrees best with a box (4,)."""
        left, top, right, bottom = _room_around(box, *image.shape[:2])
        proposals = self.propose(_cut(image, left, top, right, bottom), left, top)
        return max(proposals, key=lambda proposal: proposal[0] * overlap(proposal[1].circle_box(), box), default=None)

    def look(self, image: np.ndarray, square: _Square) -> _Look | None:
        """Landmarks and mask of the person in a square of an image, None if there seems to be nobody."""
        _, rect_pb2, _ = _import_mediapipe()
        height, width = image.shape[:2]
        # Upright, large enough for the square however it is turned.
        side = int(np.ceil(square.side * (abs(np.cos(square.angle)) + abs(np.sin(square.angle)))))
        left, top = round(square.x - side / 2), round(square.y - side / 2)
        view = _cut_continued(image, left, top, side)
        if side > _LANDMARK_VIEW_SIZE:
            view = np.asarray(Image.fromarray(view).resize((_LANDMARK_VIEW_SIZE,) * 2, Image.Resampling.BILINEAR))
        share = square.side / side
        rectangle = rect_pb2.NormalizedRect(
            x_center=(square.x - left) / side,
            y_center=(square.y - top) / side,
            width=share,
            height=share,
            rotation=square.angle,
        )
        with self._graphs() as (_, landmarker):
            seen = landmarker.process({"image": np.ascontiguousarray(view), "square": rectangle})
        if seen.landmarks is None:
            return None
        landmarks = _points(seen.landmarks, left, top, side)
        hips, rim = _points(seen.alignment_points, left, top, side)[:2, :2]
        seen_mask = np.asarray(Image.fromarray(seen.mask).resize((side, side), Image.Resampling.BILINEAR))
        mask = np.zeros((height, width), dtype=np.float32)
        rows = slice(max(top, 0), min(top + side, height))
        columns = slice(max(left, 0), min(left + side, width))
        mask[rows, columns] = seen_mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return _Look(landmarks, mask, _Square.around(hips, rim))

    def look_twice(self, image: np.ndarray, square: _Square) -> _Look | None:
        """What is seen in a square, looked at again where the person turned out to be."""
        first = self.look(image, square)
        if first is None:
            return None
        return self.look(image, first.square) or first


class MediaPipePoseEstimator:
    """Pose and person mask by MediaPipe (a `PoseEstimator`).

    The person is looked for in the box with some room around, so that a small one fills the network's view; a second
    look at where the first one found the body corrects it.
    """

    def __init__(self) -> None:
        self._networks = _Networks()

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[PoseEstimate]:
        """Find the pose and the mask of one person in each image.

        Args:
            images (sequence of `np.ndarray`): (H, W, 3) uint8 RGB, of any sizes.
            boxes (sequence of `np.ndarray`): (4,) left, top, right and bottom in pixels of the person in each.

        Returns:
            list of `PoseEstimate`, always with a mask.

        Raises:
            ValueError: images or boxes of other shapes.
            ImportError: MediaPipe is not installed.
            RuntimeError: this process was forked from one that has run MediaPipe.
        """
        check_images(images)
        check_boxes(images, boxes)
        return [self._estimate(image, np.asarray(box, dtype=float)) for image, box in zip(images, boxes)]

    def _estimate(self, image: np.ndarray, box: np.ndarray) -> PoseEstimate:
        height, width = image.shape[:2]
        found = self._networks.find(image, box)
        seen = self._networks.look_twice(image, _Square.of_box(box) if found is None else found[1])
        if seen is None:
            return PoseEstimate(np.zeros((NUM_KEYPOINTS, 3), np.float32), np.zeros((height, width), np.float32))
        pose = normalize_keypoints(mediapipe33_to_openpose18(seen.landmarks), height, width)
        return PoseEstimate(pose, seen.mask)

    def close(self) -> None:
        """Free the networks' memory; the next use loads them again."""
        self._networks.close()

    def save_pretrained(self, folder: str | Path) -> None:
        """Make the folder, which stays empty: the networks are MediaPipe's and there are no settings."""
        Path(folder).mkdir(parents=True, exist_ok=True)

    @classmethod
    def from_pretrained(cls, source: str | Path, subfolder: str = "", **options: Any) -> Self:
        """Make an estimator. Nothing is read: the arguments are those of the back ends that load something."""
        return cls()


class MediaPipePersonDetector:
    """Finds people by MediaPipe (a `PersonDetector`).

    The network proposes people in the whole image and in squares of it, where small ones fill more of the view. Each
    is looked for again in a view of the person's own size, and the landmark network tells whether somebody is there
    and how far the person reaches.

    Args:
        threshold (`float`, defaults to 0.5): the least score of what counts as a person, in [0, 1].
    """

    def __init__(self, threshold: float = 0.5) -> None:
        check_threshold(threshold)
        self.threshold = threshold
        self._networks = _Networks()

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find all people in each image.

        Args:
            images (sequence of `np.ndarray`): (H, W, 3) uint8 RGB, of any sizes.

        Returns:
            list of `np.ndarray`: (N, 5) float32 of left, top, right and bottom in pixels and a score in [0, 1] for
            each image, (0, 5) if there is nobody.

        Raises:
            ValueError: images of other shapes.
            ImportError: MediaPipe is not installed.
            RuntimeError: this process was forked from one that has run MediaPipe.
        """
        check_images(images)
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        people: list[_Look] = []
        boxes = []
        for _, proposed in self._proposals(image):
            if any(proposed.is_near(one.square) for one in people):
                continue
            found = self._networks.find(image, np.clip(proposed.circle_box(), 0, (width, height) * 2))
            if found is None or found[0] < self.threshold or any(found[1].is_near(one.square) for one in people):
                continue
            seen = self._networks.look_twice(image, found[1])
            if seen is None or any(seen.is_part_of(one) for one in people):
                continue
            box = seen.box()
            if box is not None:
                people.append(seen)
                boxes.append(np.append(box, found[0]))
        return np.array(boxes, dtype=np.float32).reshape(-1, 5)

    def _proposals(self, image: np.ndarray) -> list[tuple[float, _Square]]:
        """What may be people in the whole image and in squares of it, the surest first."""
        proposals = self._networks.propose(image)
        for left, top, side in _tiles(*image.shape[:2]):
            proposals += self._networks.propose(image[top : top + side, left : left + side], left, top)
        return sorted(proposals, reverse=True)

    def close(self) -> None:
        """Free the networks' memory; the next use loads them again."""
        self._networks.close()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the threshold to a folder for `from_pretrained`."""
        with written_beside(Path(folder) / _SETTINGS_FILE) as file:
            file.write_text(json.dumps({"threshold": self.threshold}) + "\n")

    @classmethod
    def from_pretrained(
        cls, source: str | Path, subfolder: str = "", device: Any = None, dtype: Any = None, **hub_options: Any
    ) -> Self:
        """Make a detector with a saved threshold.

        Args:
            source (`str` or `Path`): A folder, or the id of a repository on the Hub, "user/name".
            subfolder (`str`, *optional*): The folder inside `source`.
            device, dtype: Taken as every back end takes them; MediaPipe runs on the CPU in its own precision.
            **hub_options: `revision`, `cache_dir`, `token` and `local_files_only` as in `huggingface_hub`.

        Raises:
            ValueError: no such folder or repository, no access to it, the file missing or foreign.
            OSError: the Hub cannot be reached, and the cache does not hold the file.
        """
        folder = fetch(source, [str(Path(subfolder) / _SETTINGS_FILE)], **hub_options) / subfolder
        settings = read_json_object(folder, _SETTINGS_FILE, source)
        if set(settings) != {"threshold"}:
            raise ValueError(f'The file {folder / _SETTINGS_FILE} must hold {{"threshold": number}}, got {settings}.')
        return cls(**settings)
