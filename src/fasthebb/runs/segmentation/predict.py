"""Masks of new images, as files that people can use."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from fasthebb.data import load_for_segmentation
from fasthebb.evaluation import objects_table, overlay
from fasthebb.evaluation.objects import COLOURS
from fasthebb.exported import is_exported, load_segmenter
from fasthebb.runs.folder import RunFolder
from fasthebb.runs.options import PredictOptions
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.scoring import probabilities
from fasthebb.training.weights import write_atomically


def predict(options: PredictOptions, out: str | Path | None = None, *, progress: bool = True) -> list[dict[str, Any]]:
    """Predict the mask of every image of a folder.

    Args:
        options: what to do.
        out: run folder; receives for each image ``NAME.mask.png`` (the class of each pixel), ``NAME.overlay.png`` (its
            contours on the image) and ``NAME.probability.tif`` (a page a class but the background, float32), of volumes
            ``NAME.mask.tif`` in the place of the first; and ``objects.csv``, a row an object of all images.
        progress: show a bar.

    Returns:
        One row an image: ``file``, ``objects`` (how many), ``foreground`` (part of its pixels, 0 to 1).

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    folder = None if out is None else RunFolder(out, "predict", options)
    network = (_of_exported if is_exported(options.weights) else _of_run)(options.weights)
    classes = len(network.classes)
    images, skipped = load_for_segmentation(
        options.images, channels=network.channels, strict=options.strict, progress=progress
    )
    rows, objects = [], []
    for name, image in zip(images.names, images.images, strict=True):
        likely = probabilities(network.model, network.preprocess, image, classes, tile=options.tile)
        mask = likely.argmax(0)
        found = [{"file": name, **row} for row in objects_table(mask, names=network.classes)]
        objects += found
        foreground = float((mask > 0).float().mean())
        rows.append({"file": name, "objects": len(found), "foreground": round(foreground, 4)})
        if folder is not None:
            _write(folder, name, image, mask, likely)
    if folder is not None:
        folder.write("objects.csv", _table(objects))
        folder.write("predictions.csv", _table(rows))
        folder.finish({"command": "predict", "images": len(rows), "skipped": [path for path, _ in skipped]})
    return rows


@dataclass(frozen=True)
class _Known:
    """A network, and what its images go through before it."""

    model: nn.Module
    preprocess: Callable[[Tensor], Tensor]
    classes: list[str]
    channels: int


def _of_run(weights: str) -> _Known:
    network = SavedSegmentation.load(weights, "classifier.safetensors")
    return _Known(network.segmenter(), network.preprocessing, network.classes, network.model["channels"])


def _of_exported(weights: str) -> _Known:
    """The same with a graph that has the preprocessing in it."""
    model = load_segmenter(weights)
    return _Known(model, lambda images: images, model.description.classes, model.description.channels)


def _write(folder: RunFolder, name: str, image: Tensor, mask: Tensor, likely: Tensor) -> None:
    """What is kept of an image, below the folder under the image's own name."""
    where = folder.path / "masks" / Path(name).with_suffix("").relative_to(Path(name).anchor)
    pixels = mask.numpy().astype(np.uint8)

    slices = likely[1:].flatten(0, -3).numpy()  # a class after the other, of volumes slice by slice
    mask_file = ("mask.png", _png(_coloured(pixels))) if mask.dim() == 2 else ("mask.tif", _tiff(pixels))
    overlay_file = ("overlay.png", _png(overlay(image, mask)))
    for ending, content in (mask_file, overlay_file, ("probability.tif", _tiff(slices))):
        file = where.with_name(f"{where.name}.{ending}")
        write_atomically(file, lambda file, content=content: file.write(content))  # type: ignore[misc]


def _coloured(pixels: np.ndarray[Any, Any]) -> Image.Image:
    """The class of each pixel, which a viewer shows in the class's colour and a program reads as its number."""
    picture = Image.fromarray(pixels)
    picture.putpalette([0, 0, 0, *(part for row in range(255) for part in COLOURS[row % len(COLOURS)])])
    return picture


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


def _tiff(pages: np.ndarray[Any, Any]) -> bytes:
    first, *others = [Image.fromarray(page) for page in pages]
    content = io.BytesIO()
    first.save(content, format="TIFF", save_all=True, append_images=others)
    return content.getvalue()


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
