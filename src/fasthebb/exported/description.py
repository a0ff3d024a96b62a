"""What an exported file says of itself, whatever its format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = "fasthebb exported 1"


class ExportError(ValueError):
    """A user's mistake about an exported file, in one line: what was found, what was expected, what to do."""


@dataclass(frozen=True)
class Description:
    """What has to be known to use a classifier: it takes ``(N, channels, image_size, image_size)``, float32 in [0, 1].

    Attributes:
        classes: names in the order of the outputs.
        channels: of an image.
        image_size: height and width in pixels.

    >>> described = Description(["ant", "bee"], channels=3, image_size=32)
    >>> Description.read(described.texts(), Path("model.onnx")) == described
    True
    """

    classes: list[str]
    channels: int
    image_size: int

    def texts(self) -> dict[str, str]:
        """Texts by name, to be kept in a file."""
        return {
            "format": FORMAT,
            "classes": json.dumps(self.classes),
            "channels": json.dumps(self.channels),
            "image_size": json.dumps(self.image_size),
        }

    @staticmethod
    def read(texts: Mapping[str, Any], file: Path) -> "Description":
        """The inverse of `texts`, for what may be no file of ours.

        Raises:
            ExportError: it is none, or was changed.
        """
        if texts.get("format") != FORMAT:
            raise ExportError(
                f"{file} was not exported by fasthebb: it does not say which classes its outputs are; write it with "
                "fasthebb.hub.HebbianModel.export"
            )
        try:
            classes, channels, size = (json.loads(texts[name]) for name in ("classes", "channels", "image_size"))
        except (KeyError, TypeError, ValueError) as error:
            raise ExportError(f"{file} does not describe its images and classes: export it again") from error
        named = isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)
        if not named or type(channels) is not int or type(size) is not int or min(channels, size) < 1:
            raise ExportError(
                f"found channels {channels!r}, image_size {size!r} and classes {str(classes)[:60]} in {file}, expected "
                "two numbers and names: export it again"
            )
        return Description(classes, channels, size)
