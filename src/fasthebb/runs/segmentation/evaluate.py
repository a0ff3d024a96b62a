"""Scores of a saved segmentation network on images with masks."""

from pathlib import Path
from typing import Any

from fasthebb.data import load_masked
from fasthebb.evaluation import compare_masks
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import EvaluateOptions
from fasthebb.runs.refusal import refuse
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.scoring import masks_of, rounded

_MEANINGLESS = ("label_file", "layers")


def evaluate(options: EvaluateOptions, out: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Score a network on one split of images with masks.

    Args:
        options: what to do.
        out: run folder for ``result.json``, if it is to be kept.
        progress: show a bar.

    Returns:
        The number of ``images``, the scores of `segmentation_scores`, ``interval`` (lower and upper end by score, see
        `segmentation_intervals`) and ``interval_over`` (what was drawn anew: images or groups).

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    refuse(options, _MEANINGLESS, "segmentation")
    folder = None if out is None else RunFolder(out, "evaluate", options)
    network = SavedSegmentation.load(options.weights, "classifier.safetensors")
    model = network.segmenter()
    data = load_masked(
        options.data,
        group=options.group,
        channels=network.model["channels"],
        ignore_value=options.ignore_value,
        strict=options.strict,
        progress=progress,
        testing=options.split != "all",
        classes=network.classes,
    )
    images = data.train if options.split in ("train", "all") else getattr(data, options.split)
    if not len(images):
        raise RunError(f"found no images with masks in the split '{options.split}' of {options.data}: choose another")
    classes = len(network.classes)
    predicted = list(masks_of(model, network.preprocessing, images, classes, tile=options.tile))
    true = [mask for mask in images.masks if mask is not None]
    compared = compare_masks(predicted, true, classes)
    result = {
        "command": "evaluate",
        "task": "segmentation",
        "split": options.split,
        "images": len(images),
        "skipped": len(data.skipped),
        **rounded(compared.scores()),
        "interval": {name: [round(end, 3) for end in ends] for name, ends in compared.intervals(images.groups).items()},
        "interval_over": "images" if images.groups is None else "groups",
    }
    return result if folder is None else folder.finish(result)
