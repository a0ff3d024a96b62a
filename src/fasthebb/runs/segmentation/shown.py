"""The test images in which a network did best, middling and worst, as pictures."""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from fasthebb.data import MaskedSet
from fasthebb.evaluation import overlay
from fasthebb.runs.folder import RunFolder
from fasthebb.training.weights import write_atomically

SIDE = 256
"""Longer side in pixels that a picture is reduced to."""


def show(
    folder: RunFolder, images: MaskedSet, predicted: Sequence[Tensor], dice: Sequence[float]
) -> list[dict[str, Any]]:
    """Leave ``overlays/best.png``, ``median.png``, ``worst.png``: the prediction's contours left, the mask's right.

    Args:
        folder: of the run.
        images: N, with masks.
        predicted: N masks.
        dice: N, per cent.

    Returns:
        For each ``which``, the ``name`` of its image and its ``dice``.
    """
    order = sorted(range(len(dice)), key=lambda row: dice[row])
    shown = []
    for which, row in (("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])):
        mask = images.masks[row]
        assert mask is not None
        sides = [_reduced(overlay(images.images[row], one)) for one in (predicted[row], mask)]
        both = Image.new("RGB", (2 * sides[0].width + 4, sides[0].height), "white")
        both.paste(sides[0], (0, 0))
        both.paste(sides[1], (sides[0].width + 4, 0))
        content = io.BytesIO()
        both.save(content, format="PNG")
        png = content.getvalue()
        write_atomically(folder.path / "overlays" / f"{which}.png", lambda file, png=png: file.write(png))  # type: ignore[misc]
        shown.append({"which": which, "name": images.names[row], "dice": round(dice[row], 3)})
    return shown


def _reduced(picture: Image.Image) -> Image.Image:
    """With a longer side of at most `SIDE`."""
    factor = SIDE / max(picture.size)
    if factor >= 1:
        return picture.convert("RGB")
    width, height = (max(1, round(factor * side)) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
