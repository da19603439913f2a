# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""RT-DETR, ViTPose and SegFormer as back ends, tiny, with answers that are known from the picture or written out."""

import numpy as np
import pytest
import torch
from colour_networks import BLUE, GREEN, RED, colour_segformer, colour_vitpose, picture
from PIL import Image
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
    SegformerImageProcessorPil,
    VitPoseImageProcessorPil,
)

from diffusers_tryon.label_maps import LABEL_MAPS
from diffusers_tryon.poses import KEYPOINT_NAMES
from diffusers_tryon.preprocessing.parser_detector import ParserPersonDetector
from diffusers_tryon.preprocessing.transformers_backends import (
    RTDetrPersonDetector,
    SegformerParser,
    ViTPoseEstimator,
)


def noise(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


# ---------------------------------------------------------------------------------------------------------- RT-DETR


def tiny_detector(labels: tuple[str, ...] = ("dog", "person"), threshold: float = 0.0) -> RTDetrPersonDetector:
    torch.manual_seed(0)
    resnet = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=resnet,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 8, 8],
        d_model=16,
        num_queries=20,
        decoder_in_channels=[16, 16, 16],
        decoder_layers=1,
        encoder_layers=1,
        decoder_attention_heads=2,
        encoder_attention_heads=2,
        decoder_ffn_dim=16,
        encoder_ffn_dim=16,
        num_denoising=0,
        feat_strides=[8, 16, 32],
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = RTDetrForObjectDetection(config)
    with torch.no_grad():
        # Larger than weights before training are, so that the picture decides on boxes, labels and scores.
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
        for layer in model.model.decoder.class_embed:
            layer.bias.fill_(3.5)
    return RTDetrPersonDetector(model, RTDetrImageProcessorPil(size={"height": 64, "width": 64}), threshold)


def people_written_out(detector: RTDetrPersonDetector, image: np.ndarray, label: int) -> np.ndarray:
    """People in one image from what the network gives, one query and label after the other."""
    pixels = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), np.float32) / 255
    with torch.no_grad():
        outputs = detector.model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    logits, boxes = outputs.logits[0], outputs.pred_boxes[0]
    pairs = [(float(logits[query, kind]), query, kind) for query in range(20) for kind in range(2)]
    people = []
    for logit, query, kind in sorted(pairs, reverse=True)[:20]:
        score = 1 / (1 + np.exp(-logit))
        if kind != label or score <= detector.threshold:
            continue
        x, y, box_width, box_height = boxes[query].tolist()
        height, width = image.shape[:2]
        left, right = (min(max((x + side * box_width / 2) * width, 0), width) for side in (-1, 1))
        top, bottom = (min(max((y + side * box_height / 2) * height, 0), height) for side in (-1, 1))
        people.append((left, top, right, bottom, score))
    return np.array(people, np.float32).reshape(-1, 5)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_people_are_those_of_the_networks_output_in_pixels(threshold):
    detector = tiny_detector(threshold=threshold)
    images = noise((64, 80), (120, 90), (65, 66))
    found = detector.detect(images)
    counts = set()
    for image, people in zip(images, found):
        expected = people_written_out(detector, image, label=1)
        assert people.dtype == np.float32 and people.shape == expected.shape
        np.testing.assert_allclose(people, expected, atol=1e-3)
        assert (np.diff(people[:, 4]) <= 0).all(), "the most certain first"
        assert (people[:, :2] >= 0).all() and (people[:, 2:4] <= image.shape[1::-1]).all()
        counts.add(len(people))
    assert max(counts) > 0 and max(counts) < 20


@torch.no_grad()
def test_boxes_of_a_network_that_answers_with_its_anchors():
    """Without weights RT-DETR's boxes are its anchors: squares of 5, 10 and 20 % around the cells of its maps."""
    detector = tiny_detector(("person", "dog"))
    for module in (detector.model.model.enc_bbox_head, *detector.model.model.decoder.bbox_embed):
        for parameter in module.parameters():
            parameter.zero_()
    for layer in detector.model.model.decoder.class_embed:
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([2.0, -2.0]))
    (people,) = detector.detect(noise((200, 100)))
    np.testing.assert_allclose(people[:, 4], 1 / (1 + np.exp(-2)), atol=1e-6)
    inner = people[(people[:, 0] > 0) & (people[:, 2] < 100) & (people[:, 1] > 0) & (people[:, 3] < 200)]
    assert len(inner) >= 10
    for left, top, right, bottom, _ in inner:
        level = int(np.argmin([abs(right - left - 100 * side) for side in (0.05, 0.1, 0.2)]))
        side, cells = (0.05, 0.1, 0.2)[level], (8, 4, 2)[level]
        np.testing.assert_allclose([right - left, bottom - top], [100 * side, 200 * side], atol=0.01)
        column, row = (left + right) / 200 * cells, (top + bottom) / 400 * cells
        np.testing.assert_allclose([column % 1, row % 1], 0.5, atol=0.01)


def test_nobody_is_an_empty_array_and_no_image_an_empty_list():
    detector = tiny_detector(threshold=1.0)
    (people,) = detector.detect(noise((64, 64)))
    assert people.shape == (0, 5) and people.dtype == np.float32
    assert detector.detect([]) == []


def test_a_detector_without_people_is_refused():
    with pytest.raises(ValueError, match='one label "person"'):
        tiny_detector(("cat", "dog"))


# ---------------------------------------------------------------------------------------------------------- ViTPose


def vitpose(threshold: float = 0.3, num_experts: int = 1) -> ViTPoseEstimator:
    return ViTPoseEstimator(colour_vitpose(num_experts), VitPoseImageProcessorPil(), threshold)


# A person of 150 x 250 pixels around (200, 160) in a picture of 320 x 400.
BOX = np.array([125.0, 35.0, 275.0, 285.0])


def _place(row: int, column: int) -> tuple[float, float]:
    """x and y of the middle of a patch of the network's crop, which is 1.25 times as high as the box and 3/4 as wide.

    Patches have 16 pixels of 256 x 192, the first of them two beyond the edge.
    """
    x, y = 200 + 234.375 * ((16 * column + 6) / 192 - 0.5), 160 + 312.5 * ((16 * row + 6) / 256 - 0.5)
    return x, y


# Where what has each colour lies.
PLACES = {GREEN: _place(4, 6), RED: _place(8, 4), BLUE: _place(11, 8)}


def person(**brightness: float) -> np.ndarray:
    return picture(320, 400, [(c, *PLACES[c], brightness.get(str(c), 1.0)) for c in PLACES], radius=20)


def colour_of(name: str) -> int:
    return RED if "right" in name else BLUE if "left" in name else GREEN


@pytest.mark.parametrize("num_experts", [1, 2])
def test_joints_are_found_where_the_heat_maps_have_them(num_experts):
    (estimate,) = vitpose(num_experts=num_experts).estimate([person()], [BOX])
    assert estimate.person_mask is None
    assert estimate.keypoints.shape == (18, 3) and estimate.keypoints.dtype == np.float32
    for name, (x, y, confidence) in zip(KEYPOINT_NAMES, estimate.keypoints.tolist()):
        if name == "neck":
            # Between the shoulders, one of which is on each side.
            expected = np.mean([PLACES[RED], PLACES[BLUE]], axis=0)
        else:
            expected = PLACES[colour_of(name)]
        np.testing.assert_allclose([x * 400, y * 320], expected, atol=4.0, err_msg=name)
        assert 0.6 < confidence <= 1, name


def test_uncertain_joints_are_zeros():
    dim = person(**{str(RED): 0.8})
    (sure,) = vitpose(threshold=0.0).estimate([dim], [BOX])
    confidences = sure.keypoints[:, 2]
    assert 0.05 < confidences[KEYPOINT_NAMES.index("right_hip")] < 0.4
    (estimate,) = vitpose(threshold=0.4).estimate([dim], [BOX])
    for name, keypoint in zip(KEYPOINT_NAMES, estimate.keypoints):
        missing = name == "neck" or colour_of(name) == RED
        assert (keypoint == 0).all() == missing, name


def test_joints_outside_the_image_are_zeros():
    """What the network sees outside of the image: its first cell always answers green."""
    estimator = vitpose()
    with torch.no_grad():
        estimator.model.backbone.embeddings.position_embeddings[0, 1, GREEN] = 8.0
    image = person() * np.array([1, 0, 1], np.uint8)
    inner, edge = estimator.estimate([image, image], [BOX, np.array([0.0, 0.0, 150.0, 250.0])])
    # The upper left corner of the network's crop, which is 1.25 times the box and as high as 4/3 of its width.
    x, y = inner.keypoints[0, :2] * (400, 320)
    assert abs(x - (200 - 0.625 * 187.5)) < 15 and abs(y - (160 - 0.625 * 250)) < 15
    assert (edge.keypoints[0] == 0).all()


def test_a_batch_of_poses_equals_single_images():
    torch.manual_seed(0)
    estimator = vitpose(threshold=0.0)
    images = [*noise((70, 90), (200, 64)), person()]
    boxes = [np.array([10.0, 5, 60, 70]), np.array([0, 20, 64, 200]), BOX]
    together = estimator.estimate(images, boxes)
    for image, box, estimate in zip(images, boxes, together):
        np.testing.assert_allclose(estimate.keypoints, estimator.estimate([image], [box])[0].keypoints, atol=1e-5)
    assert estimator.estimate([], []) == []


def test_a_pose_network_of_another_keypoint_set_is_refused():
    model = colour_vitpose()
    model.config.num_labels = 133
    with pytest.raises(ValueError, match="17 keypoints of COCO, got 133"):
        ViTPoseEstimator(model, VitPoseImageProcessorPil())


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([], "one box for each of the 1 images, got 0"),
        ([np.array([10.0, 10, 10, 50])], r"`boxes\[0\]` must be left, top"),
        ([np.array([10.0, 10, 30])], r"`boxes\[0\]` must be left, top"),
        ([np.array([10.0, 10, np.nan, 50])], r"`boxes\[0\]` must be left, top"),
    ],
)
def test_wrong_boxes_are_refused(boxes, message):
    with pytest.raises(ValueError, match=message):
        vitpose().estimate(noise((64, 64)), boxes)


# --------------------------------------------------------------------------------------------------------- SegFormer

# Labels of FASHN-18 by their colours; a bias lets the first label win where none is bright.
_COLOUR_OF_FASHN = [{"hair": GREEN, "top": RED, "pants": BLUE}.get(name) for name in LABEL_MAPS["fashn"]]
HAIR, TOP, PANTS = (list(LABEL_MAPS["fashn"]).index(name) for name in ("hair", "top", "pants"))


def parser(height: int = 96, width: int = 64, **settings) -> SegformerParser:
    model = colour_segformer(_COLOUR_OF_FASHN, bias=-0.5)
    processor = SegformerImageProcessorPil(size={"height": height, "width": width})
    return SegformerParser(model, processor, **{"label_map": "fashn", **settings})


def dressed(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles in the colours of hair, a top and pants, and their label map."""
    labels = np.zeros((height, width), np.uint8)
    rows = [round(height * share) for share in (0.1, 0.3, 0.6, 0.95)]
    columns = slice(round(width * 0.25), round(width * 0.75))
    for label, top, bottom in zip((HAIR, TOP, PANTS), rows, rows[1:]):
        labels[top:bottom, columns] = label
    image = np.zeros((height, width, 3), np.uint8)
    for label, colour in ((HAIR, GREEN), (TOP, RED), (PANTS, BLUE)):
        image[..., colour][labels == label] = 255
    return image, labels


def far_from_outlines(labels: np.ndarray, distance: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(labels, distance, mode="edge"), (2 * distance + 1,) * 2)
    return windows.min(axis=(2, 3)) == windows.max(axis=(2, 3))


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_labels_lie_where_the_picture_has_them(keep_aspect):
    sizes = (120, 80), (90, 200), (64, 64)
    shown = [dressed(*size) for size in sizes]
    parses = parser(keep_aspect=keep_aspect).parse([image for image, _ in shown])
    for (_, labels), parse in zip(shown, parses):
        assert parse.dtype == np.uint8 and parse.shape == labels.shape
        # A cell of the network's answer is four pixels of its input.
        pixels = max(labels.shape[0] / 96, labels.shape[1] / 64) * 4
        certain = far_from_outlines(labels, round(pixels))
        assert certain.mean() > 0.25
        np.testing.assert_array_equal(parse[certain], labels[certain])


def test_a_kept_aspect_is_not_stretched():
    """Of a wide picture the network sees a third of the height at the same width."""
    seen = []
    wide = parser(keep_aspect=True)
    wide.model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(args[0]), with_kwargs=True)
    image = np.full((32, 64, 3), 255, np.uint8)
    wide.parse([image])
    white = (seen[0][0] > 0).all(dim=0)
    rows, columns = white.any(dim=1), white.any(dim=0)
    assert columns.all() and rows.sum() == 32 and rows[32:64].all()


def test_a_batch_of_labels_equals_single_images():
    images = noise((70, 90), (200, 64), (65, 65))
    segformer = parser(keep_aspect=True)
    for image, parse in zip(images, segformer.parse(images)):
        np.testing.assert_array_equal(parse, segformer.parse([image])[0])
    assert segformer.parse([]) == []


def test_labels_are_those_that_the_image_processor_makes_of_the_network():
    backend = parser()
    (image,) = noise((70, 90))
    inputs = backend.image_processor(images=[image], input_data_format="channels_last", return_tensors="pt")
    with torch.inference_mode():
        outputs = backend.model(**inputs)
    (expected,) = backend.image_processor.post_process_semantic_segmentation(outputs, target_sizes=[(70, 90)])
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(backend.parse([image])[0], expected)


def test_the_label_map_is_told_by_the_names_of_the_labels():
    names = [name.capitalize() for name in LABEL_MAPS["atr"]]
    model = colour_segformer([None] * 18, id2label=dict(enumerate(names)), num_labels=18)
    assert SegformerParser(model, SegformerImageProcessorPil()).label_map == "atr"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_map": None}, "`label_map` must be given, one of cihp"),
        ({"label_map": "ade20k"}, "`label_map` must be one of cihp, .*, got 'ade20k'"),
        ({"label_map": "cihp"}, "`label_map` cihp has 20 labels, the network has 18"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        parser(**settings)


def test_image_processors_that_keep_sizes_are_refused():
    with pytest.raises(ValueError, match="`image_processor` must bring all images to one height and width"):
        SegformerParser(colour_segformer([None] * 18), SegformerImageProcessorPil(size={"shortest_edge": 64}), "fashn")


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), Image.new("RGB", (64, 64))],
)
def test_what_is_no_uint8_picture_is_refused(image):
    good = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r"`images\[1\]` must be a uint8 RGB array"):
        parser().parse([good, image])


# ------------------------------------------------------------------------------------------ people found by a parser


def test_people_found_by_a_parser():
    """Two people beside each other, one far behind, a patch that only looks like cloth, and a speck."""
    image = np.zeros((200, 300, 3), np.uint8)
    large, _ = dressed(180, 100)
    small, _ = dressed(100, 60)
    image[10:190, 20:120] = large
    image[60:160, 180:240] = small
    image[60:110, 255:285], _ = dressed(50, 30)
    image[150:190, 250:290, RED] = 255
    image[5:8, 200:203, RED] = 255
    detector = ParserPersonDetector(parser(200, 300))
    (people,) = detector.detect([image])
    expected = [[45, 28, 95, 181, 2 / 3], [195, 70, 225, 155, 2 / 3]]
    np.testing.assert_allclose(people, expected, atol=5)
    assert people.dtype == np.float32
    nobody, again = detector.detect([np.zeros((64, 64, 3), np.uint8), image])
    assert nobody.shape == (0, 5)
    np.testing.assert_array_equal(again, people)


# ------------------------------------------------------------------------------------------------ saving and loading


def _answers(backend, images: list[np.ndarray]) -> list[np.ndarray]:
    if isinstance(backend, ViTPoseEstimator):
        boxes = [np.array([0.0, 0.0, image.shape[1], image.shape[0]]) for image in images]
        return [estimate.keypoints for estimate in backend.estimate(images, boxes)]
    return backend.parse(images) if isinstance(backend, SegformerParser) else backend.detect(images)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (lambda: tiny_detector(threshold=0.5), {"threshold": 0.5}),
        (lambda: vitpose(threshold=0.1), {"threshold": 0.1}),
        (lambda: parser(keep_aspect=True), {"label_map": "fashn", "keep_aspect": True}),
    ],
)
def test_saved_and_loaded_answers_are_the_same(make, settings, tmp_path):
    backend = make()
    backend.save_pretrained(tmp_path / "deep" / "folder")
    loaded = type(backend).from_pretrained(tmp_path, subfolder="deep/folder")
    assert {name: getattr(loaded, name) for name in backend.setting_names} == settings
    images = [*noise((80, 70)), dressed(64, 90)[0], person()]
    answers = _answers(loaded, images)
    assert any(answer.any() for answer in answers)
    for answer, expected in zip(answers, _answers(backend, images)):
        np.testing.assert_array_equal(answer, expected)
    half = type(backend).from_pretrained(tmp_path / "deep" / "folder", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    _answers(half, images)


def test_settings_given_replace_the_saved_ones(tmp_path):
    vitpose(threshold=0.1).save_pretrained(tmp_path)
    assert ViTPoseEstimator.from_pretrained(tmp_path, threshold=0.5).threshold == 0.5
    with pytest.raises(ValueError, match="Unknown options treshold"):
        ViTPoseEstimator.from_pretrained(tmp_path, treshold=0.5)
    with pytest.raises(ValueError, match="`threshold` must be from 0 to 1, got 5"):
        ViTPoseEstimator.from_pretrained(tmp_path, threshold=5)
