# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the app."""

import pytest

from diffusers_tryon.preprocessing.preprocessor import TryOnPreprocessor


@pytest.fixture(scope="session")
def offline_preprocessor() -> TryOnPreprocessor:
    """The networks that come with the package, without MediaPipe whether it is installed or not: they are quick."""
    from diffusers_tryon.checkpoints import shipped_checkpoint
    from diffusers_tryon.preprocessing.parser_detector import ParserPersonDetector
    from diffusers_tryon.preprocessing.small_pose import SmallPoseEstimator

    detector = ParserPersonDetector.from_pretrained(shipped_checkpoint("tryon-parser-small"), keep_aspect=True)
    estimator = SmallPoseEstimator.from_pretrained(shipped_checkpoint("tryon-pose-small"))
    return TryOnPreprocessor.from_pretrained("offline", pose_estimator=estimator, person_detector=detector)
