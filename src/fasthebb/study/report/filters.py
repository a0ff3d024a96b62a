"""Pictures of what the first layers learned."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fasthebb.study.report.inside import pretrained
from fasthebb.study.report.results import Results

MOST = 256
"""Filters that are drawn; there may be more."""
_COLUMNS = 16
_SIDE = 30  # pixels of a drawn filter, at least about
_LARGEST = 64  # pixels of a filter that can be drawn


@dataclass(frozen=True)
class Filters:
    """A first layer, drawn.

    Attributes:
        method: that learned it.
        seed: of the pre-training.
        shape: ``(neurons, channels, height, width)``.
        png: one square a neuron, `MOST` at most.
    """

    method: str
    seed: int
    shape: tuple[int, ...]
    png: bytes

    def in_words(self) -> str:
        """How many of what size."""
        count, channels, height, width = self.shape
        kind = "colour" if channels == 3 else "grey"
        shown = f"the first {MOST} of {count}" if count > MOST else str(count)
        return f"{shown} filters of {height} x {width} {kind} pixels, seed {self.seed}"


def first_layers(folder: Path, results: Results) -> dict[str, Filters | str]:
    """For each pre-trained method the filters of its first seed, or why there are none to show."""
    drawn = {}
    for method in results.methods:
        seeds = sorted({cell.seed for cell in results.cells if cell.method == method and cell.pretrain_epochs})
        if seeds:
            drawn[method] = _of_method(folder, method, seeds)
    return drawn


def first_layer(file: Path) -> tuple[tuple[int, ...], Tensor] | None:
    """Shape and weights ``(at most MOST, 1 or 3, height, width)`` of the first layer of images in a safetensors file.

    Layers are taken in the order of their names, numbers in these by value. None if there is no such layer.

    Raises:
        SafetensorError: the file is damaged.
    """
    with safe_open(str(file), framework="pt") as saved:
        for name in sorted(saved.keys(), key=natural):
            part = saved.get_slice(name)
            shape = tuple(part.get_shape())
            if len(shape) == 4 and shape[0] > 0 and shape[1] in (1, 3) and 0 < max(shape[2:]) <= _LARGEST:
                return shape, part[:MOST]
    return None


def picture(weights: Tensor) -> bytes:
    """A PNG with a square for each of O filters ``(O, 1 or 3, height, width)``.

    Zero is grey, and the largest magnitude of each filter is black or white, so that strong and weak ones are seen
    alike. What lies between the squares is transparent.
    """
    from PIL import Image

    count, _, height, width = weights.shape
    values = torch.nan_to_num(weights.float(), nan=0.0, posinf=0.0, neginf=0.0)
    limits = values.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    shades = (
        (127.5 + 127.5 * values / limits).round().byte().permute(0, 2, 3, 1).numpy()
    )  # (O, height, width, channels)
    zoom = max(1, _SIDE // max(height, width))
    gap = 2
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    tall, wide = height * zoom + gap, width * zoom + gap
    canvas: npt.NDArray[np.uint8] = np.zeros((rows * tall - gap, columns * wide - gap, 4), dtype=np.uint8)
    for index, shade in enumerate(shades):
        top, left = index // columns * tall, index % columns * wide
        square = canvas[top : top + height * zoom, left : left + width * zoom]
        square[..., :3] = shade.repeat(zoom, axis=0).repeat(zoom, axis=1)  # one channel is the same in all three
        square[..., 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _of_method(folder: Path, method: str, seeds: list[int]) -> Filters | str:
    for seed in seeds:
        run = pretrained(folder, method, seed)
        file = None if run is None else run / "encoder.safetensors"
        if file is None or not file.is_file():
            continue
        try:
            found = first_layer(file)
        except (SafetensorError, OSError, RuntimeError, ValueError):
            return f"encoder.safetensors of seed {seed} cannot be read"
        if found is None:
            return "its encoder has no convolution of grey or colour images"
        return Filters(method, seed, found[0], picture(found[1]))
    return "there is no encoder.safetensors"


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
