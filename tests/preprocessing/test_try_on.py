# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Two photographs in, one picture out, through a real pipeline with tiny networks."""

import warnings

import numpy as np
import pytest
import torch
from rendered_backends import rendered_photo, truth_preprocessor
from tiny_cascade import SR_SIZE, tiny_cascade

from diffusers_tryon.preprocessing.errors import NoPersonError, PreprocessingWarning


STEPS = {"num_inference_steps": 2, "sr_num_inference_steps": 2, "category": "upper"}


@pytest.fixture(scope="module")
def pipe():
    return tiny_cascade()


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreprocessingWarning)
        yield


def test_one_call_does_what_its_three_steps_do(pipe):
    person, garment = rendered_photo(1, "upper"), rendered_photo(6, "upper")
    preprocessor = truth_preprocessor([person, garment])
    output = pipe.try_on(
        person["image"], garment["image"], preprocessor, **STEPS, generator=torch.Generator().manual_seed(0)
    )
    prepared = preprocessor(person["image"], garment["image"], category="upper", size=SR_SIZE)
    steps = {name: value for name, value in STEPS.items() if name != "category"}
    expected = pipe(**prepared.conditions, **steps, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(np.asarray(output.crops[0]), np.asarray(expected.images[0]))
    np.testing.assert_array_equal(np.asarray(output.images[0]), np.asarray(prepared.paste_back(expected.images)[0]))
    assert output.images[0].size == person["image"].shape[1::-1]
    assert set(output.stages) == {"base", "sr"}


def test_the_photograph_changes_in_the_hidden_region_alone(pipe):
    person, garment = rendered_photo(1, "upper"), rendered_photo(6, "upper")
    output = pipe.try_on(person["image"], garment["image"], truth_preprocessor([person, garment]), **STEPS)
    changed = (np.asarray(output.images[0]) != person["image"]).any(axis=-1)
    prepared = output.prepared.people[0]
    may_change = prepared.crop.mask_to_photo(prepared.hidden)
    assert changed.any()
    assert not (changed & ~may_change).any()


def test_lists_and_several_images_for_each(pipe):
    people, garment = [rendered_photo(1, "upper"), rendered_photo(6, "upper")], rendered_photo(4, "upper")
    preprocessor = truth_preprocessor([*people, garment])
    output = pipe.try_on(
        [photo["image"] for photo in people], garment["image"], preprocessor, **STEPS, num_images_per_prompt=2
    )
    assert len(output.images) == len(output.crops) == 4
    for number, image in enumerate(output.images):
        # The faces are those of the photographs.
        photo = people[number // 2]
        face = photo["parse"] == 1
        may_change = output.prepared.people[number // 2].crop.mask_to_photo(output.prepared.people[number // 2].hidden)
        assert (face & ~may_change).any()
        np.testing.assert_array_equal(np.asarray(image)[face & ~may_change], photo["image"][face & ~may_change])


def test_a_stage_to_stop_after_and_a_size_are_followed(pipe):
    person, garment = rendered_photo(1, "upper"), rendered_photo(6, "upper")
    preprocessor = truth_preprocessor([person, garment])
    base = pipe.try_on(person["image"], garment["image"], preprocessor, **STEPS, last_stage="base")
    assert base.crops[0].size == (16, 16)
    tall = pipe.try_on(person["image"], garment["image"], preprocessor, **STEPS, height=64, width=48)
    assert tall.crops[0].size == (48, 64)


def test_what_cannot_be_used_is_refused(pipe):
    garment = rendered_photo(6, "upper")
    preprocessor = truth_preprocessor([garment])
    scenery = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    with pytest.raises(NoPersonError):
        pipe.try_on(scenery, garment["image"], preprocessor, **STEPS)
    with pytest.raises(ValueError, match="`output_type` cannot be given to `try_on`"):
        pipe.try_on(garment["image"], garment["image"], preprocessor, **STEPS, output_type="pt")
