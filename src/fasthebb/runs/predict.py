"""``fasthebb predict``: the class of new images, as a table."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from fasthebb.data import Batches, load_folder_for_prediction
from fasthebb.evaluation import predict_logits
from fasthebb.runs.folder import RunFolder
from fasthebb.runs.options import PredictOptions
from fasthebb.runs.saved import SavedNetwork


def predict(options: PredictOptions, out: str | Path | None = None, *, progress: bool = True) -> list[dict[str, Any]]:
    """Predict the class of every image of a folder.

    Args:
        options: what to do.
        out: run folder for ``predictions.csv`` and ``predictions.json``, if they are to be kept.
        progress: say which images could not be read.

    Returns:
        One row an image: ``file``, ``class``, ``probability`` (0 to 1).

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    folder = None if out is None else RunFolder(out, "predict", options)
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
    probabilities, winners = logits.softmax(dim=1).max(dim=1)
    rows = [
        {"file": name, "class": network.classes[winner], "probability": round(probability, 4)}
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
