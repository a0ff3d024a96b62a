"""``fasthebb predict``: the class of new images, as a table."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fasthebb.data import Batches, ImageSet, load_folder_for_prediction
from fasthebb.evaluation import predict_logits
from fasthebb.exported import is_exported, load_exported
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import PredictOptions
from fasthebb.runs.saved import SavedNetwork


@dataclass(frozen=True)
class _Found:
    """What a classifier makes of the images: ``(N, classes)`` probabilities."""

    images: ImageSet
    skipped: list[tuple[str, str]]
    classes: list[str]
    probabilities: Tensor


def predict(options: PredictOptions, out: str | Path | None = None, *, progress: bool = True) -> list[dict[str, Any]]:
    """Predict the class of every image of a folder.

    Args:
        options: what to do; the weights may also be an exported file, see `fasthebb.exported`.
        out: run folder for ``predictions.csv`` and ``predictions.json``, if they are to be kept.
        progress: say which images could not be read.

    Returns:
        One row an image: ``file``, ``class``, ``probability`` (0 to 1).

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    folder = None if out is None else RunFolder(out, "predict", options)
    found = _of_exported(options) if is_exported(options.weights) else _of_network(options)
    images, skipped, classes = found.images, found.skipped, found.classes
    probabilities, winners = found.probabilities.max(dim=1)
    rows = [
        {"file": name, "class": classes[winner], "probability": round(probability, 4)}
        for name, winner, probability in zip(images.names, winners.tolist(), probabilities.tolist(), strict=True)
    ]
    if folder is not None:
        table = io.StringIO()
        writer = csv.DictWriter(table, ["file", "class", "probability"])
        writer.writeheader()
        writer.writerows(rows)
        folder.write("predictions.csv", table.getvalue())
        folder.write("predictions.json", json.dumps(rows, indent=2) + "\n")
        folder.finish({"command": "predict", "images": len(rows), "skipped": [path for path, _ in skipped]})
    return rows


def _of_network(options: PredictOptions) -> _Found:
    network = SavedNetwork.load(options.weights, "classifier.safetensors")
    model = network.classifier()
    images, skipped = load_folder_for_prediction(
        options.images,
        image_size=network.model["image_size"],
        channels=network.model["channels"],
        strict=options.strict,
    )
    batches = Batches(images, network.preprocessing, batch_size=options.batch_size, shuffle=False)
    logits, _ = predict_logits(model, batches)
    return _Found(images, skipped, network.classes, logits.softmax(dim=1))


def _of_exported(options: PredictOptions) -> _Found:
    """The same with a graph that has the preprocessing in it."""
    if options.batch_size < 1:
        raise RunError(f"found the batch size {options.batch_size}, expected at least 1")
    classifier = load_exported(options.weights)
    described = classifier.description
    images, skipped = load_folder_for_prediction(
        options.images, image_size=described.image_size, channels=described.channels, strict=options.strict
    )
    parts = [classifier(part) for part in torch.split(images.images, options.batch_size)]
    return _Found(images, skipped, described.classes, torch.cat(parts))
