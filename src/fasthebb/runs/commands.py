"""The commands as functions, by the task that the options or the weights are of."""

from pathlib import Path
from typing import Any

from fasthebb.exported import exported_task, is_exported
from fasthebb.runs import segmentation
from fasthebb.runs.evaluate import evaluate as _evaluate
from fasthebb.runs.finetune import finetune as _finetune
from fasthebb.runs.folder import RunError
from fasthebb.runs.options import EvaluateOptions, FinetuneOptions, PredictOptions, PretrainOptions
from fasthebb.runs.predict import predict as _predict
from fasthebb.runs.pretrain import pretrain as _pretrain
from fasthebb.runs.processes import joined, speaks
from fasthebb.runs.saved import task_of
from fasthebb.runs.tracked import refuse_unknown_logger


def pretrain(options: PretrainOptions, out: str | Path, **more: Any) -> dict[str, Any]:
    """Pre-train a network and leave ``encoder.safetensors`` in ``out``; called again, go on or give the result.

    Args:
        options: what to do.
        out: run folder.
        more: ``progress``: show bars and a summary of the data. ``data``: the images, where they have been read
            already, `ImageData` or, for segmentation, `MaskedData`.

    Returns:
        The content of ``result.json``: ``pretrain_seconds``, number of ``images``, ``layers`` read-outs.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    refuse_unknown_logger(options)
    options = joined(options)
    more["progress"] = more.get("progress", True) and speaks()
    run = segmentation.pretrain if options.task == "segmentation" else _pretrain
    return run(options, out, **more)


def finetune(options: FinetuneOptions, out: str | Path, **more: Any) -> dict[str, Any]:
    """Train with labels or masks and leave ``classifier.safetensors`` in ``out``; called again, go on.

    Args:
        options: what to do.
        out: run folder.
        more: ``progress``: show bars and a summary of the data. ``data``: the images with every label, where they have
            been read already. ``init``: what ``options.init`` names, where it has been read already.

    Returns:
        The content of ``result.json``: ``labels`` used, scores on the test images in per cent (those of
        `classification_scores` or `segmentation_scores`), those on ``validation``, ``finetune_seconds``.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    refuse_unknown_logger(options)
    options = joined(options)
    more["progress"] = more.get("progress", True) and speaks()
    run = segmentation.finetune if options.task == "segmentation" else _finetune
    return run(options, out, **more)


def evaluate(options: EvaluateOptions, out: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Score a network on one split of images with labels or masks, whichever it was trained with.

    Args:
        options: what to do.
        out: run folder for ``result.json``, if it is to be kept.
        progress: show a bar.

    Returns:
        Scores in per cent, with intervals; see `fasthebb.runs.evaluate.evaluate` and
        `fasthebb.runs.segmentation.evaluate.evaluate`.

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    if task_of(options.weights, "classifier.safetensors") == "segmentation":
        return segmentation.evaluate(options, out, progress=progress)
    _refuse_options_of_masks(options)
    return _evaluate(options, out, progress=progress)


def predict(options: PredictOptions, out: str | Path | None = None, *, progress: bool = True) -> list[dict[str, Any]]:
    """Predict the class of every image of a folder, or of each of its pixels, whichever the network was trained for.

    Args:
        options: what to do.
        out: run folder for what was predicted, if it is to be kept.
        progress: say which images could not be read.

    Returns:
        One row an image: ``file``, and ``class`` and ``probability``, or ``objects`` and ``foreground``.

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    exported = is_exported(options.weights)
    task = exported_task(options.weights) if exported else task_of(options.weights, "classifier.safetensors")
    if task == "segmentation":
        return segmentation.predict(options, out, progress=progress)
    _refuse_options_of_masks(options)
    return _predict(options, out, progress=progress)


def _refuse_options_of_masks(options: EvaluateOptions | PredictOptions) -> None:
    for name in ("tile", "ignore_value"):
        if (value := getattr(options, name, None)) is not None:
            option = name.replace("_", "-")
            raise RunError(
                f"found --{option} {value}, which is for segmentation, and {options.weights} classifies whole images: "
                "leave it out"
            )
