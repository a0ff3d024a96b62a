"""``fasthebb finetune``: a classifier from few labels, on pre-trained features or from random weights."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fasthebb.data import Batches, ImageData, ImageSet, Preprocessing, load_images
from fasthebb.evaluation import classification_scores, predict_logits
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.saved import SavedNetwork, network_options
from fasthebb.training import Classifier, fit, make_trainer

_FROM_INIT = ("model", "width", "hidden", "image_size", "channels", "whiten")


def finetune(options: FinetuneOptions, out: str | Path, *, progress: bool = True) -> dict[str, Any]:
    """Train a classifier and leave ``classifier.safetensors`` in ``out``; called again, go on or give the result.

    Args:
        options: what to do.
        out: run folder.
        progress: show bars and a summary of the data.

    Returns:
        The content of ``result.json``: ``labels`` used, scores on the test images (``top1``, ``balanced_accuracy``,
        ``macro_f1`` and, from six classes on, ``top5``; per cent), those on ``validation``, ``finetune_seconds``.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    folder = RunFolder(out, "finetune", options)
    finished = folder.result()
    if finished is not None:
        return finished
    init = None if options.init is None else SavedNetwork.load(options.init, "encoder.safetensors")
    if init is not None:
        _refuse_conflicts(options, init)
        described = dict(init.model)
    else:
        described = network_options(
            options.model,
            width=options.width,
            hidden=options.hidden,
            image_size=options.image_size,
            channels=options.channels,
        )
    data = load_images(
        options.data,
        unlabelled=options.unlabelled,
        label_file=options.label_file,
        labels=options.labels,
        group=options.group,
        image_size=options.image_size if init is None else init.model["image_size"],
        default_size=described["image_size"],
        channels=options.channels if init is None else init.model["channels"],
        seed=options.seed,
        strict=options.strict,
        progress=progress,
    )
    if progress:
        print(data.summary())
    torch.manual_seed(options.seed)
    network = _untrained(described, data, bool(options.whiten)) if init is None else init
    model = network.build(len(data.classes), options.dropout)
    start = time.perf_counter()
    module = Classifier(
        model,
        classes=len(data.classes),
        epochs=options.epochs,
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        probe=options.probe,
        seed=options.seed,
    )
    trainer = make_trainer(
        epochs=options.epochs,
        out=folder.path,
        precision=options.precision,
        progress=progress,
        deterministic=options.deterministic,
    )
    batches = Batches(
        data.train,
        network.preprocessing,
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        augment=data.train.images.shape[1] >= 3 if options.augment is None else options.augment,
    )
    fit(trainer, module, batches, ckpt=folder.checkpoint)
    seconds = time.perf_counter() - start

    def score(images: ImageSet) -> dict[str, float]:
        ordered = Batches(images, network.preprocessing, batch_size=256, shuffle=False)
        return classification_scores(*predict_logits(model, ordered), len(data.classes))

    scores = score(data.test)
    network.with_weights(model.state_dict(), data.classes).save(folder.path / "classifier.safetensors")
    return folder.finish(
        {
            "command": "finetune",
            "init": options.init,
            "labels": len(data.train),
            "seed": options.seed,
            **{name: round(value, 3) for name, value in scores.items()},
            "test_images": len(data.test),
            "validation": {name: round(value, 3) for name, value in score(data.validation).items()}
            if len(data.validation)
            else None,
            "finetune_seconds": round(seconds, 1),
        }
    )


def _untrained(described: Mapping[str, Any], data: ImageData, whiten: bool) -> SavedNetwork:
    """The network for backprop alone: biases and plain batch norm."""
    images = data.unlabelled.images
    return SavedNetwork(
        {**described, "channels": images.shape[1], "hebbian": False}, Preprocessing.fit(images, whiten=whiten), {}
    )


def _refuse_conflicts(options: FinetuneOptions, init: SavedNetwork) -> None:
    """Options that describe the network must not contradict the weights."""
    known = {**init.model, "model": init.model["name"], "whiten": init.preprocessing.whitening is not None}
    for name in _FROM_INIT:
        asked = getattr(options, name)
        if asked is not None and asked != known[name]:
            raise RunError(
                f"--{name.replace('_', '-')} {asked} does not fit {options.init}, which was pre-trained with "
                f"{known[name]}: leave the option out, or pre-train again"
            )
