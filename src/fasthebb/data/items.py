"""What every kind of source is reduced to: a list of images that can be read, with what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}

# Folders and splits of these names (STL-10 has one) hold training images without labels, not a class.
UNLABELLED_NAMES = frozenset({"unlabelled", "unlabeled", "unsupervised"})


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source, not yet read.

    Attributes:
        name: its path or row as the user would write it.
        key: what identifies it across sources, so that one image given twice is seen to be one.
        read: gives the encoded file, or pixels ``(H, W)`` uint8 where nothing is encoded.
        label: class name, ``None`` where unlabelled.
        split: where its source puts it; "train" where the source does not say.
        group: patient, slide or field; empty where unknown.
    """

    name: str
    key: str
    read: Callable[[], bytes | NDArray[np.uint8]]
    label: str | None = None
    split: Split = "train"
    group: str = ""


@dataclass(frozen=True)
class Source:
    """The items of a source.

    Attributes:
        description: how the summary calls it.
        items: in a fixed order, so that splits and draws repeat.
        classes: class names in the order that the source gives them, ``None`` where it gives none.
        columns: columns that may serve as group.
        grouped: whether the items' groups were read.
        skipped: ``(path, reason)`` of files that are no items.
    """

    description: str
    items: list[Item]
    classes: list[str] | None = None
    columns: list[str] = field(default_factory=list)
    grouped: bool = False
    skipped: list[tuple[str, str]] = field(default_factory=list)


def image_of(images: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
    """One of ``(N, H, W)`` images, for `Item.read` of a source that is read as a whole."""
    return np.asarray(images[row])


def split_in_name(path: str) -> tuple[Split, bool]:
    """The split that a path on the Hub's pattern names, train if none, and whether its labels are to be read.

    Example:
        >>> split_in_name("data/test-00000-of-00001.parquet"), split_in_name("unlabeled-3.tar"), split_in_name("x.tar")
        (('test', True), ('train', False), ('train', True))
    """
    for word in re.split(r"[^a-z]+", path.lower()):
        if word in UNLABELLED_NAMES:
            return "train", False
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word], True
    return "train", True


def class_order(labels: set[str]) -> list[str]:
    """Class names in order: by number when all are whole numbers, by letter otherwise.

    Example:
        >>> class_order({"10", "9"}), class_order({"cat", "ant"})
        (['9', '10'], ['ant', 'cat'])
    """
    if all(re.fullmatch(r"-?\d+", label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
