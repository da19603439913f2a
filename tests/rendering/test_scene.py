# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Shading, background, depth and label map of surfaces of a few triangles."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusers_tryon.rendering import assembly
from diffusers_tryon.rendering.cameras import Camera
from diffusers_tryon.rendering.lighting import Light
from diffusers_tryon.rendering.scene import Picture, Request, Setting, render, render_batch, run_steps
from diffusers_tryon.rendering.surfaces import Surface


FROM_THE_CAMERA = np.array([0.0, -1.0, 0.0])
LIGHT = Light(
    key_direction=FROM_THE_CAMERA,
    key_colour=np.full(3, 0.6),
    fill_direction=FROM_THE_CAMERA,
    fill_colour=np.full(3, 0.2),
    sky=np.full(3, 0.5),
    ground=np.full(3, 0.2),
)
SETTING = Setting(LIGHT, np.zeros(3), np.zeros(2))
CAMERA = Camera(np.zeros(3), extent=1.0)


def square(half: float, y: float, label: int, colour: float = 0.5, **properties) -> Surface:
    """A square across the view at depth `y`, facing the camera."""
    vertices = np.array([(-half, y, -half), (half, y, -half), (half, y, half), (-half, y, half)], np.float32)
    return Surface(
        vertices=vertices,
        normals=np.tile(np.float32((0, -1, 0)), (4, 1)),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        labels=np.full(4, label, np.uint8),
        colours=np.full((4, 3), colour, np.float32),
        **properties,
    )


def test_a_square_covers_its_pixels():
    picture = render([square(0.25, 0.0, label=3)], CAMERA, SETTING, 16)
    expected = np.zeros((16, 16), np.uint8)
    expected[4:12, 4:12] = 3
    assert np.array_equal(picture.parse, expected)
    assert (picture.image[expected == 0] == 0).all() and (picture.image[expected == 3] > 90).all()
    assert picture.image.dtype == np.uint8


def test_depth_is_that_of_the_nearest_sample_in_the_camera_s_metres():
    near, far = square(0.2, -0.5, label=6, priority=0.006), square(0.3, 0.25, label=3)
    depth = render([far, near], CAMERA, SETTING, 16).depth
    assert depth.dtype == np.float32 and depth.shape == (16, 16)
    # The camera is 4 metres from the origin.
    assert depth[8, 8] == pytest.approx(3.5, abs=1e-5) and depth[8, 3] == pytest.approx(4.25, abs=1e-5)
    assert np.isinf(depth[0]).all()


def test_glossy_surfaces_are_brighter_where_they_mirror_the_key_light_into_the_camera():
    aside = replace(SETTING, light=replace(LIGHT, key_direction=np.array([1.0, 0.0, 0.0])))
    for setting, brighter in ((SETTING, True), (aside, False)):
        matt, glossy = (render([square(0.2, 0.0, 3, gloss=g)], CAMERA, setting, 16).image[8, 8] for g in (0, 0.2))
        assert ((glossy.astype(int) - matt > 30) == brighter).all()


def test_the_background_is_seen_where_nothing_covers_it_alone():
    background = np.full((16, 16, 3), (1.0, 0.4, 0.0))
    on_black, picture = (render([square(0.25, 0.0, 3)], CAMERA, replace(SETTING, background=colours), 16).image
                         for colours in (np.zeros(3), background))  # fmt: skip
    assert np.array_equal(picture[4:12, 4:12], on_black[4:12, 4:12]) and on_black[4:12, 4:12].max() < 255
    assert (picture[:4] == (255, 102, 0)).all()


def test_a_pixel_half_covered_is_half_as_bright():
    full = render([square(0.25, 0.0, label=3)], CAMERA, SETTING, 16)
    # 17 / 64 of the extent: half a pixel more on every side.
    wider = render([square(0.25 + 1 / 32, 0.0, label=3)], CAMERA, SETTING, 16)
    assert full.image[8, 3].max() == 0
    assert wider.image[8, 3, 0] == pytest.approx(full.image[8, 8, 0] / 2, abs=1)
    assert (wider.label_samples[:, 8, 3] == 3).any() and not (full.label_samples[:, 8, 3] == 3).any()


def test_the_nearer_surface_hides_the_other_unless_it_has_priority():
    near, far = square(0.2, -0.004, label=6), square(0.2, 0.0, label=3)
    assert render([near, far], CAMERA, SETTING, 16).parse[8, 8] == 6
    assert render([near, replace(far, priority=0.006)], CAMERA, SETTING, 16).parse[8, 8] == 3


def test_closed_surfaces_are_not_seen_from_inside():
    away = replace(square(0.2, 0.0, label=3), faces=np.array([[0, 2, 1], [0, 3, 2]]))
    assert (render([away], CAMERA, SETTING, 16).parse == 3).any()
    assert not (render([replace(away, closed=True)], CAMERA, SETTING, 16).parse == 3).any()
    assert (render([square(0.2, 0.0, label=3, closed=True)], CAMERA, SETTING, 16).parse == 3).any()


def test_the_face_decides_from_which_side_a_surface_is_lit():
    front = square(0.2, 0.0, label=3)
    lit = render([front], CAMERA, SETTING, 16).image[8, 8]
    # Seen from behind, it is lit as if its other side were its front.
    for faces in (front.faces, front.faces[:, ::-1]):
        behind = replace(front, faces=faces, normals=-front.normals)
        assert np.array_equal(render([behind], CAMERA, SETTING, 16).image[8, 8], lit)
    # A smooth normal that points away from the camera, as along outlines, is not turned round: no light from the left
    # falls on a square that faces almost to the right.
    into_depth = np.float32([(0.17, 0.98, 0), (0, 0, 0), (0, 0, 1)])
    normals = np.tile(np.float32((0.9, 0.43, 0)), (4, 1))
    outline = replace(front, vertices=front.vertices @ into_depth, normals=normals)
    from_the_left = replace(LIGHT, key_direction=np.array([-1.0, 0, 0]), fill_direction=np.array([-1.0, 0, 0]))
    picture = render([outline], Camera(np.zeros(3), extent=0.2), replace(SETTING, light=from_the_left), 16)
    seen = (picture.label_samples == 3).all(axis=0)
    # Only the light from all around is left.
    assert seen.any() and (picture.image[seen] < 0.5 * lit).all()


def test_a_surface_in_front_of_the_light_casts_a_shadow():
    key_light = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    setting = replace(SETTING, light=replace(LIGHT, key_direction=key_light))
    wall = square(0.6, 0.0, label=3)
    # Half a metre in front and half a metre towards the light: its shadow falls on the middle of the wall.
    blocker = square(0.1, -0.5, label=6)
    blocker = replace(blocker, vertices=blocker.vertices + np.float32((0.5, 0, 0)))
    lit = render([wall], CAMERA, setting, 32).image[16, 16, 0]
    shaded = render([wall, blocker], CAMERA, setting, 32).image
    assert shaded[16, 16, 0] < 0.8 * lit
    assert abs(int(shaded[16, 2, 0]) - int(lit)) <= 2


def test_the_background_is_seen_where_nothing_is_drawn():
    elsewhere = Camera(np.array([5.0, 0.0, 0.0]), extent=1.0)
    painted = np.random.default_rng(0).random((16, 16, 3))
    nothing = render([square(0.1, 0.0, label=3)], elsewhere, replace(SETTING, background=painted), 16)
    assert np.abs(nothing.image - 255 * painted).max() <= 0.5
    assert np.isinf(nothing.depth).all()


def some_requests() -> list[Request]:
    aside, away = Camera(np.array([0.1, 0, 0]), extent=0.9), Camera(np.array([5.0, 0, 0]), extent=1.0)
    grey = replace(SETTING, background=np.full((16, 16, 3), 0.5))
    return [
        Request([square(0.2, 0.0, 3), square(0.1, -0.3, 6, priority=0.006)], CAMERA, SETTING, 16),
        Request([square(0.4, 0.3, 4, colour=0.7, gloss=0.2)], aside, SETTING, 16),
        Request([square(0.1, 0.0, 5)], away, SETTING, 16),
        Request([square(0.3, 0.1, 2, closed=True)], CAMERA, grey, 16),
    ]


def assert_equal_pictures(first: list[Picture], second: list[Picture]):
    assert len(first) == len(second)
    for picture, other in zip(first, second):
        for name in ("image", "label_samples", "depth"):
            assert np.array_equal(getattr(picture, name), getattr(other, name)), name


def test_a_batch_equals_single_pictures_bit_for_bit():
    requests = some_requests()
    singles = [render(request.surfaces, request.camera, request.setting, 16) for request in requests]
    assert_equal_pictures(render_batch(requests), singles)


class ElsewhereTensor(torch.Tensor):
    """Stands for a tensor on another device: it has to be fetched before NumPy may look at it, and meets only its
    like."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        assert name not in ("numpy", "__array__", "tolist", "item"), f"{name} of a tensor on another device"
        if function is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        return super().__torch_function__(function, types, args, kwargs or {})

    def __array__(self, *_):
        raise AssertionError("a tensor on another device was given to NumPy")


def test_nothing_leaves_the_device_but_what_is_fetched(monkeypatch):
    """There may be no GPU where this runs: tensors that must not be read stand for one."""
    devices = []

    def elsewhere(rasterizer):
        def call(*arguments):
            *tensors, shape = arguments
            devices.extend(tensor.device for tensor in tensors)
            result = rasterizer(*(tensor.as_subclass(ElsewhereTensor) for tensor in tensors), shape)
            parts = result if isinstance(result, tuple) else (result,)
            assert all(isinstance(part, ElsewhereTensor) for part in parts)
            return result

        return call

    expected = render_batch(some_requests())
    for name in ("rasterize", "rasterize_depth"):
        monkeypatch.setattr(assembly, name, elsewhere(getattr(assembly, name)))
    assert_equal_pictures(render_batch(some_requests()), expected)
    assert len(devices) == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_bits():
    assert_equal_pictures(render_batch(some_requests(), "cuda"), render_batch(some_requests()))


def test_steps_run_side_by_side_and_each_goes_on_with_its_own_pictures():
    sizes_drawn = []

    def take(requests: list[Request]):
        pictures = []
        for request in requests:
            pictures.append((yield request))
            sizes_drawn.append(len(pictures))
        return pictures

    requests = some_requests()
    results = run_steps([take(requests[:1]), take([]), take(requests[1:])])
    assert results[1] == [] and sizes_drawn == [1, 1, 2, 3]
    assert_equal_pictures([*results[0], *results[2]], render_batch(requests))


def test_the_most_frequent_label_wins():
    samples = np.array([[[3, 3, 6, 6], [6, 3, 3, 3], [0, 6, 6, 3]]], np.uint8).transpose(2, 0, 1)
    picture = Picture(np.zeros((1, 3, 3), np.uint8), samples, np.zeros((1, 3), np.float32))
    assert np.array_equal(picture.parse, [[3, 3, 6]])
