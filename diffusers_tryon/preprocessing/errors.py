# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a photograph: errors where no answer would make sense, warnings where it may be a bad one."""


class PreprocessingError(ValueError):
    """A photograph that no conditions can be made of. The message names the photograph and says what to do."""


class UnreadablePhotoError(PreprocessingError):
    """No picture, a broken or truncated file, or a kind of picture that is not read."""


class PhotoTooSmallError(PreprocessingError):
    """Too few pixels to see anything."""


class NoPersonError(PreprocessingError):
    """Nobody is in the photograph, or nobody at the index that was asked for."""


class NoShouldersError(PreprocessingError):
    """The part of the person that the garment goes on is not in view: no shoulders, or no hips for a lower garment."""


class NoGarmentError(PreprocessingError):
    """No garment of the category is in the photograph, or none that can be told from its background."""


class ImplausibleGarmentError(PreprocessingError):
    """What was taken for the garment cannot be one: a speck, or nearly the whole picture."""


class PreprocessingWarning(UserWarning):
    """Something about a photograph that may spoil the result; its message says what to do."""


class SeveralPeopleWarning(PreprocessingWarning):
    """Several people are in the photograph; the message says which one was taken and how to choose another."""


class BackViewWarning(PreprocessingWarning):
    """Of the person and the garment one is seen from behind, and the other is not."""


class BlurredPhotoWarning(PreprocessingWarning):
    """The photograph is blurred."""


class LowResolutionWarning(PreprocessingWarning):
    """The crop around the person or the garment is less than half as high as the networks' pictures."""


class ReducedPhotoWarning(PreprocessingWarning):
    """The photograph is so large that it was read at a smaller size."""


class UncertainAnswerWarning(PreprocessingWarning):
    """An answer that is not sure: a guessed category, little of the garment or the end of it out of view."""
