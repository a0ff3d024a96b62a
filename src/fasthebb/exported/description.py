"""What an exported file says of itself, whatever its format."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

FORMAT = "fasthebb exported 1"
_COUNTS = {2: "two", 3: "three"}


class ExportError(ValueError):
    """A user's mistake about an exported file, in one line: what was found, what was expected, what to do."""


@dataclass(frozen=True)
class Description:
    """What has to be known to use a classifier: it takes ``(N, channels, image_size, image_size)``, float32 in [0, 1].

    Attributes:
        classes: names in the order of the outputs.
        channels: of an image.
        image_size: height and width in pixels.
        resizes: whether it takes images of any size, ``(N, channels, H, W)``, and makes that of them.

    >>> described = Description(["ant", "bee"], channels=3, image_size=32)
    >>> Description.read(described.texts(), Path("model.onnx")) == described
    True
    """

    classes: list[str]
    channels: int
    image_size: int
    resizes: bool = False
    task: ClassVar[str] = "classification"

    def example(self) -> Tensor:
        """Images to take the graph with; sides that differ are not taken for one."""
        height, width = (self.image_size + 3, self.image_size + 8) if self.resizes else [self.image_size] * 2
        return torch.zeros(2, self.channels, height, width)

    def free(self) -> dict[int, Any]:
        """The axes of the images that may have any length, for `torch.export`."""
        return {axis: torch.export.Dim(name, min=1) for axis, name in self.names().items()}

    def names(self) -> dict[int, str]:
        """Their names in an ONNX file."""
        return {0: "batch", **({2: "height", 3: "width"} if self.resizes else {})}

    def fits(self, takes: list[Any], gives: list[Any]) -> bool:
        """Whether a graph takes and gives such shapes; axes that may have any length are not numbers in it."""
        sides = ["height", "width"] if self.resizes else [self.image_size, self.image_size]
        return takes[1:] == [self.channels, *sides] and gives[1:] == [len(self.classes)]

    def texts(self) -> dict[str, str]:
        """Texts by name, to be kept in a file."""
        return {
            "format": FORMAT,
            "classes": json.dumps(self.classes),
            "channels": json.dumps(self.channels),
            "image_size": json.dumps(self.image_size),
            **({"resizes": "true"} if self.resizes else {}),
        }

    @staticmethod
    def read(texts: Mapping[str, Any], file: Path) -> "Description":
        """The inverse of `texts`, for what may be no file of ours.

        Raises:
            ExportError: it is none, or was changed.
        """
        classes, (channels, size) = _values(texts, file, ("channels", "image_size"))
        return Description(classes, channels, size, resizes=texts.get("resizes") == "true")


@dataclass(frozen=True)
class SegmentationDescription:
    """What has to be known to use a network that says the class of each pixel.

    It takes ``(N, channels, *size)``, float32 in [0, 1], where each side is a multiple of `multiple`, at least the
    double.

    Attributes:
        classes: names in the order of the outputs, the background's first.
        channels: of an image.
        dims: 2 for images, 3 for volumes.
        multiple: what the sides are multiples of, in pixels.

    >>> described = SegmentationDescription(["background", "nucleus"], channels=1, dims=2, multiple=16)
    >>> SegmentationDescription.read(described.texts(), Path("model.onnx")) == described
    True
    """

    classes: list[str]
    channels: int
    dims: int
    multiple: int
    task: ClassVar[str] = "segmentation"

    def example(self) -> Tensor:
        """Images to take the graph with; sides that differ are not taken for one."""
        return torch.zeros(2, self.channels, *(self.multiple * count for count in range(2, 2 + self.dims)))

    def free(self) -> dict[int, Any]:
        """The axes of the images that may have any length, for `torch.export`."""
        sides = {axis: self.multiple * torch.export.Dim(f"tiles{axis}", min=2) for axis in range(2, 2 + self.dims)}
        return {0: torch.export.Dim("batch", min=1), **sides}

    def names(self) -> dict[int, str]:
        """Their names in an ONNX file."""
        sides = ("height", "width") if self.dims == 2 else ("depth", "height", "width")
        return {0: "batch", **dict(enumerate(sides, start=2))}

    def fits(self, takes: list[Any], gives: list[Any]) -> bool:
        """Whether a graph takes and gives such shapes; axes that may have any length are not numbers in it."""
        free = all(isinstance(side, str) for side in takes[2:])
        return (
            takes[1:2] == [self.channels] and gives[1:2] == [len(self.classes)] and free and len(takes) == self.dims + 2
        )

    def texts(self) -> dict[str, str]:
        """Texts by name, to be kept in a file."""
        return {
            "format": FORMAT,
            "task": self.task,
            "classes": json.dumps(self.classes),
            "channels": json.dumps(self.channels),
            "dims": json.dumps(self.dims),
            "multiple": json.dumps(self.multiple),
        }

    @staticmethod
    def read(texts: Mapping[str, Any], file: Path) -> "SegmentationDescription":
        """The inverse of `texts`, for what may be no file of ours.

        Raises:
            ExportError: it is none, or was changed.
        """
        classes, (channels, dims, multiple) = _values(texts, file, ("channels", "dims", "multiple"))
        if dims not in (2, 3):
            raise ExportError(f"found images of {dims} dimensions in {file}, expected 2 or 3: export it again")
        return SegmentationDescription(classes, channels, dims, multiple)


def read_description(texts: Mapping[str, Any], file: Path) -> Description | SegmentationDescription:
    """Either of the two.

    Raises:
        ExportError: it is none, or was changed.
    """
    segmenting = texts.get("task") == SegmentationDescription.task
    return (SegmentationDescription if segmenting else Description).read(texts, file)


def _values(texts: Mapping[str, Any], file: Path, numbers: Sequence[str]) -> tuple[list[str], list[int]]:
    """The names of the classes, and positive numbers."""
    if texts.get("format") != FORMAT:
        raise ExportError(
            f"{file} was not exported by fasthebb: it does not say which classes its outputs are; write it with "
            "fasthebb.hub.HebbianModel.export"
        )
    try:
        classes, *values = (json.loads(texts[name]) for name in ("classes", *numbers))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{file} does not describe its images and classes: export it again") from error
    named = isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)
    if not named or not all(type(value) is int and value >= 1 for value in values):
        listed = ", ".join(f"{name} {value!r}" for name, value in zip(numbers, values, strict=True))
        raise ExportError(
            f"found {listed} and classes {str(classes)[:60]} in {file}, expected {_COUNTS[len(numbers)]} numbers and "
            "names: export it again"
        )
    return classes, values
