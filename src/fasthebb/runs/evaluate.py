"""``fasthebb evaluate``: scores of a saved classifier on labelled images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fasthebb.data import Batches, ImageSet, load_for_scoring
from fasthebb.evaluation import bootstrap_intervals, class_report, classification_scores, layer_scores, predict_logits
from fasthebb.models import Network
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import EvaluateOptions
from fasthebb.runs.saved import SavedNetwork


def evaluate(options: EvaluateOptions, out: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Score a classifier on one split of labelled images.

    Args:
        options: what to do.
        out: run folder for ``result.json``, if it is to be kept.
        progress: show a bar.

    Returns:
        The number of ``images``, the scores of `classification_scores` in per cent, ``interval`` (lower and upper end
        by score, see `bootstrap_intervals`) and ``interval_over`` (what was drawn anew: images or groups), ``recall``
        by class name (None where a class has no images), ``confusion`` (counts, rows are true classes, in the order of
        ``recall``) and, if asked for, ``layers`` (see `layer_scores`) and the number of ``reference_images`` for them.

    Raises:
        ValueError: for a user's mistake, in one line; also if an image is of a class that the classifier does not know.
    """
    if options.layers and options.split not in ("test", "validation"):
        raise RunError(
            f"--layers compares the images that it scores with the training images, which --split {options.split} "
            "contains: choose --split test or validation"
        )
    folder = None if out is None else RunFolder(out, "evaluate", options)
    network = SavedNetwork.load(options.weights, "classifier.safetensors")
    model = network.classifier()
    images, skipped = _load(options, network, options.split, progress)
    classes = len(network.classes)
    logits, labels = predict_logits(model, _batches(options, network, images))
    scores = classification_scores(logits, labels, classes)
    intervals = bootstrap_intervals(logits, labels, classes, groups=images.groups)
    report = class_report(logits, labels, classes)
    result = {
        "command": "evaluate",
        "split": options.split,
        "images": len(images),
        "skipped": len(skipped),
        **_rounded(scores),
        "interval": {name: [round(end, 3) for end in ends] for name, ends in intervals.items()},
        "interval_over": "images" if images.groups is None else "groups",
        "recall": _rounded(dict(zip(network.classes, report["recall"], strict=True))),
        "confusion": report["confusion"],
        **(_by_layer(options, network, model, images, progress) if options.layers else {}),
    }
    return result if folder is None else folder.finish(result)


def _load(
    options: EvaluateOptions,
    network: SavedNetwork,
    split: Literal["test", "validation", "train", "all"],
    progress: bool,
) -> tuple[ImageSet, list[tuple[str, str]]]:
    return load_for_scoring(
        options.data,
        network.classes,
        split=split,
        label_file=options.label_file,
        group=options.group,
        image_size=network.model["image_size"],
        channels=network.model["channels"],
        strict=options.strict,
        progress=progress,
    )


def _batches(options: EvaluateOptions, network: SavedNetwork, images: ImageSet) -> Batches:
    return Batches(images, network.preprocessing, batch_size=options.batch_size, shuffle=False)


def _by_layer(
    options: EvaluateOptions, network: SavedNetwork, model: Network, images: ImageSet, progress: bool
) -> dict[str, Any]:
    reference, _ = _load(options, network, "train", progress)
    rows = layer_scores(
        model,
        _batches(options, network, reference),
        _batches(options, network, images),
        groups=reference.groups,
    )
    return {"reference_images": len(reference), "layers": [_rounded(row) for row in rows]}


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every float to three decimals, also within."""
    return {
        name: round(value, 3) if isinstance(value, float) else _rounded(value) if isinstance(value, dict) else value
        for name, value in values.items()
    }
