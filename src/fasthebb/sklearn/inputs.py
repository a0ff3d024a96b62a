"""Rows of numbers that may be images, and what stands for "no label"."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ImageShape = tuple[int, int, int]


def checked_shape(found: Any) -> ImageShape:
    """The shape of an image as ``(C, H, W)``, from that or ``(H, W)``.

    Raises:
        ValueError: it is neither.

    >>> checked_shape((8, 8)), checked_shape([3, 32, 32])
    ((1, 8, 8), (3, 32, 32))
    """
    whole = isinstance(found, Sequence) and all(isinstance(side, int | np.integer) and side > 0 for side in found)
    if not whole or len(found) not in (2, 3):
        raise ValueError(f"image_shape: found {found!r}, expected channels, height and width such as (3, 32, 32)")
    channels, height, width = (1, *found) if len(found) == 2 else found
    return int(channels), int(height), int(width)


def as_rows(X: Any, image_shape: Any) -> tuple[Any, ImageShape | None]:
    """Images as rows, everything else as it is, and the shape of the images.

    Args:
        X: ``(N, C, H, W)`` or ``(N, D)``; anything else is left for scikit-learn to refuse.
        image_shape: ``(C, H, W)``, ``(H, W)``, or None where there are no images or `X` says it.

    Raises:
        ValueError: the shape is none of an image, or the images have another one.

    >>> rows, shape = as_rows(np.zeros((5, 3, 4, 4)), None)
    >>> rows.shape, shape
    ((5, 48), (3, 4, 4))
    """
    shape = None if image_shape is None else checked_shape(image_shape)
    if getattr(X, "ndim", 2) != 4:
        return X, shape
    images = np.asarray(X)
    if shape is not None and images.shape[1:] != shape:
        raise ValueError(f"found images of shape {images.shape[1:]}, expected {shape}: (channels, height, width)")
    return images.reshape(len(images), -1), images.shape[1:]


def rows_as_fitted(X: Any, image_shape: ImageShape | None) -> Any:
    """Rows of what an estimator is shown after it was fitted to rows, or to images of this shape.

    Raises:
        ValueError: these are images of another shape, or images at all and it was fitted to none.
    """
    rows, found = as_rows(X, image_shape)
    if found != image_shape:
        raise ValueError(f"found images {found}, expected rows (N, D) as those that were fitted")
    return rows


def check_pixels(count: int, shape: ImageShape | None) -> None:
    """Refuse rows that are not as long as an image.

    Raises:
        ValueError: they are not.
    """
    if shape is not None and count != np.prod(shape):
        raise ValueError(f"found rows of {count} numbers, expected {np.prod(shape)}, those of an image {shape}")


def kinds_of(shape: ImageShape | None) -> list[type[np.floating[Any]]]:
    """Dtypes that are kept; the first is for all others. Images are many numbers of few bits."""
    return [np.float64, np.float32] if shape is None else [np.float32, np.float64]


def meant_as_unlabelled(y: NDArray[Any], unlabelled: int | None) -> int | None:
    """The label that means "unlabelled" among these, None if every label is a class.

    The labels -1 and 1 alone are two classes, as they have been coded since the perceptron, and a warning says so.

    >>> meant_as_unlabelled(np.array([0, -1, 2]), -1), meant_as_unlabelled(np.array(["a", "b"]), -1)
    (-1, None)
    """
    if unlabelled is None or y.dtype.kind not in "iuf":
        return None
    if unlabelled == -1 and set(np.unique(y)) == {-1, 1}:
        warnings.warn(
            "found the labels -1 and 1 alone, which are taken for two classes: unlabelled=None says so without this "
            "warning; for -1 to mean unlabelled, label rows of two classes or more",
            UserWarning,
            stacklevel=3,
        )
        return None
    return unlabelled


def labelled(y: NDArray[Any], unlabelled: int | None) -> NDArray[np.bool_]:
    """Which rows have a label, ``(N,)``.

    >>> labelled(np.array([0, -1, 2]), -1), labelled(np.array(["a", "b"]), None)
    (array([ True, False,  True]), array([ True,  True]))
    """
    if unlabelled is None or y.dtype.kind not in "iuf":
        return np.ones(len(y), dtype=bool)
    return np.asarray(y != unlabelled)
