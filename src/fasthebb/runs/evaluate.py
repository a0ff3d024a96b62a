"""``fasthebb evaluate``: scores of a saved classifier on labelled images."""

from pathlib import Path
from typing import Any

from fasthebb.data import Batches, load_for_scoring
from fasthebb.evaluation import classification_scores, predict_logits
from fasthebb.runs.folder import RunFolder
from fasthebb.runs.options import EvaluateOptions
from fasthebb.runs.saved import SavedNetwork


def evaluate(options: EvaluateOptions, out: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Score a classifier on one split of labelled images.

    Args:
        options: what to do.
        out: run folder for ``result.json``, if it is to be kept.
        progress: show a bar.

    Returns:
        Scores in per cent and the number of ``images``.

    Raises:
        ValueError: for a user's mistake, in one line; also if an image is of a class that the classifier does not know.
    """
    folder = None if out is None else RunFolder(out, "evaluate", options)
    network = SavedNetwork.load(options.weights, "classifier.safetensors")
    model = network.classifier()
    images, skipped = load_for_scoring(
        options.data,
        network.classes,
        split=options.split,
        label_file=options.label_file,
        group=options.group,
        image_size=network.model["image_size"],
        channels=network.model["channels"],
        strict=options.strict,
        progress=progress,
    )
    batches = Batches(images, network.preprocessing, batch_size=options.batch_size, shuffle=False)
    scores = classification_scores(*predict_logits(model, batches), len(network.classes))
    result = {
        "command": "evaluate",
        "split": options.split,
        "images": len(images),
        "skipped": len(skipped),
        **{name: round(value, 3) for name, value in scores.items()},
    }
    return result if folder is None else folder.finish(result)
