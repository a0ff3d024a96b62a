"""``fasthebb finetune --task segmentation``: a class for each pixel, from few masks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fasthebb.data import Augmentation, Crops, MaskedData, MaskedSet, Preprocessing, draw_masks, load_masked
from fasthebb.evaluation import compare_masks
from fasthebb.models import SegmentationNetwork
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.refusal import refuse
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.described import crops, described
from fasthebb.runs.segmentation.scoring import masks_of, rounded
from fasthebb.runs.segmentation.shown import show
from fasthebb.training import (
    CrossConsistency,
    CrossPseudo,
    LabelledAndUnlabelled,
    MeanTeacher,
    RectifiedPyramid,
    Segmenter,
    fit,
    make_trainer,
    trained_seconds,
)

STEPS = 50
"""An epoch is so many steps: there may be five masks."""
LR, WEIGHT_DECAY = 1e-3, 1e-4
AUGMENT: Augmentation = "hard"
_MEANINGLESS = (
    "label_file",
    "probe",
    "taught",
    "ridge",
    "views",
    "student",
    "rule",
    "code",
    "cv",
    "select",
    "momentum",
    "class_weights",
    "hidden",
    "image_size",
)
_FROM_INIT = {"model": "name", "depth": "depth", "norm": "norm"}
_SEMI: dict[str, type[Segmenter]] = {
    "mean-teacher": MeanTeacher,
    "cross-pseudo": CrossPseudo,
    "cross-consistency": CrossConsistency,
    "rectified-pyramid": RectifiedPyramid,
}


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
    refuse(options, _MEANINGLESS, "segmentation")
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
        )
        if progress:
            print(data.summary())
    elif options.labels is not None:
        data = draw_masks(data, options.labels, draw_seed)
    network = init or _untrained(options, data)
    torch.manual_seed(options.seed)
    model = network.build(len(data.classes), options.dropout)
    if network.normalised():
        raise RunError(
            f"{options.init} hands on x.w / |w|, which --task segmentation has not: pre-train with --fold true"
        )
    module = _module(options, model, network, len(data.classes))
    trainer = make_trainer(
        epochs=options.epochs,
        out=folder.path,
        precision=options.precision,
        progress=progress,
        deterministic=options.deterministic,
    )
    fit(trainer, module, _batches(options, data, network.preprocessing), None, ckpt=folder.checkpoint)
    trained = module.network().to(trainer.strategy.root_device)
    how = {"batch_size": 4, "precision": options.precision}
    classes = len(data.classes)
    validation: dict[str, float | None] | None = None
    test: dict[str, float | None] = {}
    shown: list[dict[str, Any]] = []
    if len(data.validation):
        predicted = list(masks_of(trained, network.preprocessing, data.validation, classes, **how))
        validation = rounded(compare_masks(predicted, _true(data.validation), classes).scores())
    if len(data.test):
        predicted = list(masks_of(trained, network.preprocessing, data.test, classes, **how))
        compared = compare_masks(predicted, _true(data.test), classes)
        test = rounded(compared.scores())
        shown = show(folder, data.test, predicted, [value or 0.0 for value in compared.per_image()["dice"]])
    network.with_weights(trained.state_dict(), data.classes).save(folder.path / "classifier.safetensors")
    return folder.finish(
        {
            "command": "finetune",
            "task": "segmentation",
            "init": options.init,
            "labels": len(data.train),
            "labels_spent": len(data.train),
            "labelled": data.train.names,
            "seeds": {"weights": options.seed, "order": options.seed, "draw": draw_seed},
            "select": options.select,
            "epochs": options.epochs,
            **test,
            "shown": shown,
            "scored_by": "test images",
            "test_images": len(data.test),
            "validation": validation,
            "finetune_seconds": round(trained_seconds(folder.path), 2),
        }
    )


def _module(
    options: FinetuneOptions, model: SegmentationNetwork, network: SavedSegmentation, classes: int
) -> Segmenter:
    """The training of ``model``; two networks that teach each other start as differently as they can."""
    more: dict[str, Any] = {}
    if options.semi == "cross-pseudo":
        torch.manual_seed(options.seed + 1)
        more["second"] = network.build(classes, options.dropout)
    return _SEMI.get(options.semi, Segmenter)(
        model,
        lr=LR if options.lr is None else options.lr,
        weight_decay=WEIGHT_DECAY if options.weight_decay is None else options.weight_decay,
        features_lr=options.features_lr,
        frozen=options.frozen,
        seed=options.seed,
        **more,
    )


def _batches(options: FinetuneOptions, data: MaskedData, preprocessing: Preprocessing) -> Iterable[Any]:
    augment = AUGMENT if options.augment is None else options.augment

    def of(images: MaskedSet, seed: int) -> Crops:
        return crops(options, images, preprocessing, batches=STEPS, augment=augment, seed=seed)

    labelled = of(data.train, options.seed)
    return (
        labelled if options.semi == "none" else LabelledAndUnlabelled(labelled, of(data.unlabelled, options.seed + 1))
    )


def _untrained(options: FinetuneOptions, data: MaskedData) -> SavedSegmentation:
    """The network for backprop alone."""
    preprocessing = Preprocessing.fit(data.unlabelled, whiten=bool(options.whiten))
    return SavedSegmentation(described(options, data.unlabelled, hebbian=False), preprocessing, {})


def _true(images: MaskedSet) -> list[Tensor]:
    return [mask for mask in images.masks if mask is not None]


def _refuse_conflicts(options: FinetuneOptions, init: SavedSegmentation) -> None:
    """Options that describe the network must not contradict the weights."""
    for option, name in _FROM_INIT.items():
        asked = getattr(options, option)
        known = init.model.get(name)
        if asked is not None and asked != known:
            raise RunError(
                f"--{option} {asked} does not fit {options.init}, which was pre-trained with {known}: leave the option "
                "out, or pre-train again"
            )
