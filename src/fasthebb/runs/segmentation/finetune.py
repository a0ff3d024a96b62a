"""``fasthebb finetune --task segmentation``: a class for each pixel, from few masks."""

from pathlib import Path
from shutil import rmtree
from typing import Any

from fasthebb.data import MaskedData, Preprocessing, draw_masks, load_masked
from fasthebb.evaluation import compare_masks
from fasthebb.runs.folder import RunError, RunFolder, given, shown
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.refusal import refuse, refuse_impossible
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.described import described
from fasthebb.runs.segmentation.scoring import rounded
from fasthebb.runs.segmentation.shown import show
from fasthebb.runs.segmentation.training import MaskTraining, true_masks
from fasthebb.runs.tracked import loggers_of
from fasthebb.training import trained_seconds

ESTIMATING = "folds"
"""Folder of the cross-validation, while a run is under way."""
_MEANINGLESS = (
    "label_file",
    "stream",
    "workers",
    "probe",
    "taught",
    "ridge",
    "views",
    "norms",
    "student",
    "rounds",
    "rule",
    "read",
    "side",
    "code",
    "select",
    "momentum",
    "class_weights",
    "hidden",
    "image_size",
)
_FROM_INIT = {"model": "name", "depth": "depth", "norm": "norm"}


def finetune(
    options: FinetuneOptions,
    out: str | Path,
    *,
    progress: bool = True,
    data: MaskedData | None = None,
    init: SavedSegmentation | None = None,
) -> dict[str, Any]:
    """Train a network with masks and leave ``classifier.safetensors`` in ``out``; called again, go on.

    Args:
        options: what to do.
        out: run folder.
        progress: show bars and a summary of the data.
        data: the images with every mask, where they have been read already.
        init: what ``options.init`` names, where it has been read already.

    Returns:
        The content of ``result.json``: ``labels`` (masks used), scores on the test images (those of
        `segmentation_scores`), those on ``validation``, ``finetune_seconds``.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    refuse_impossible(options)
    refuse(options, _MEANINGLESS, "segmentation")
    if options.cv and options.cv < 2:
        raise RunError(f"found --cv {options.cv}, expected at least 2 folds, or 0 for none")
    folder = RunFolder(out, "finetune", options)
    finished = folder.result()
    if finished is not None:
        return finished
    if init is None and options.init is not None:
        init = SavedSegmentation.load(options.init, "encoder.safetensors")
    if init is not None:
        _refuse_conflicts(options, init)
    draw_seed = options.seed if options.draw_seed is None else options.draw_seed
    if data is None:
        data = load_masked(
            options.data,
            unlabelled=options.unlabelled,
            labels=options.labels,
            group=options.group,
            channels=options.channels if init is None else init.model["channels"],
            ignore_value=options.ignore_value,
            seed=draw_seed,
            strict=options.strict,
            progress=progress,
            testing=options.cv == 0,
        )
        if progress:
            print(data.summary())
    elif options.labels is not None:
        data = draw_masks(data, options.labels, draw_seed)
    network = init or untrained(options, data)
    if network.normalised():
        raise RunError(
            f"{options.init} hands on x.w / |w|, which --task segmentation has not: pre-train with --fold true"
        )
    training = MaskTraining(options, data, network, progress)
    classes = len(data.classes)
    validation: dict[str, float | None] | None = None
    scores: dict[str, float | None] = {}
    shown: list[dict[str, Any]] = []
    if options.cv:
        scores = training.cross_validate(folder.path / ESTIMATING, options.cv, draw_seed)
    trained = training.run(data.train, folder.path, loggers_of(options, folder.path))
    if len(data.validation):
        predicted = training.predict(trained, data.validation)
        validation = rounded(compare_masks(predicted, true_masks(data.validation), classes).scores())
    if len(data.test) and not options.cv:
        predicted = training.predict(trained, data.test)
        compared = compare_masks(predicted, true_masks(data.test), classes)
        scores = rounded(compared.scores())
        shown = show(folder, data.test, predicted, [value or 0.0 for value in compared.per_image()["dice"]])
    network.with_weights(trained.state_dict(), data.classes).save(folder.path / "classifier.safetensors")
    result = folder.finish(
        {
            "command": "finetune",
            "task": "segmentation",
            "init": options.init,
            "labels": len(data.train),
            "labels_spent": len(data.train),
            "labelled": data.train.names,
            "seeds": {"weights": options.seed, "order": options.seed, "draw": draw_seed},
            "select": options.select,
            "epochs": training.epochs,
            **scores,
            "shown": shown,
            "scored_by": f"{options.cv}-fold cross-validation" if options.cv else "test images",
            "test_images": 0 if options.cv else len(data.test),
            "validation": validation,
            "finetune_seconds": round(trained_seconds(folder.path), 2),
        }
    )
    rmtree(folder.path / ESTIMATING, ignore_errors=True)
    return result


def untrained(options: FinetuneOptions, data: MaskedData) -> SavedSegmentation:
    """The network for backprop alone."""
    preprocessing = Preprocessing.fit(data.unlabelled, whiten=bool(options.whiten))
    return SavedSegmentation(described(options, data.unlabelled, hebbian=False), preprocessing, {})


def _refuse_conflicts(options: FinetuneOptions, init: SavedSegmentation) -> None:
    """Options that describe the network must not contradict the weights."""
    for option, name in _FROM_INIT.items():
        asked = getattr(options, option)
        known = init.model.get(name)
        if asked is not None and asked != known:
            raise RunError(
                f"{given(option, asked)} does not fit {options.init}, which was pre-trained with {shown(known)}: leave "
                "the option out, or pre-train again"
            )
