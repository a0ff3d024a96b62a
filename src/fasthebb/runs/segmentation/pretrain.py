"""``fasthebb pretrain --task segmentation``: the layers of a U-Net learn from images alone."""

import time
from pathlib import Path
from typing import Any

import torch

from fasthebb.data import MaskedData, Preprocessing, load_masked
from fasthebb.models import SegmentationNetwork
from fasthebb.runs.folder import RunFolder, settings
from fasthebb.runs.options import PretrainOptions
from fasthebb.runs.pretrain import COMPETITIVE_EPOCHS, HEBBIAN_EPOCHS, learning_layers, let_go, readouts, usual_lr
from fasthebb.runs.refusal import refuse
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.described import crops, described
from fasthebb.runs.tracked import loggers_of
from fasthebb.runs.trainers import trainer_of
from fasthebb.training import (
    HebbianPretraining,
    SegmentationVAE,
    fit,
    reestimate_batch_norm,
    trained_seconds,
)

CROPS_AN_EPOCH = 2000
VAE_EPOCHS, VAE_LR = 10, 1e-3
_MEANINGLESS = ("select", "hidden", "image_size", "norms", "label_file", "stream", "workers", "preset")


def pretrain(
    options: PretrainOptions, out: str | Path, *, progress: bool = True, data: MaskedData | None = None
) -> dict[str, Any]:
    """Pre-train a network and leave ``encoder.safetensors`` in ``out``; called again, go on or give the result.

    An epoch is `CROPS_AN_EPOCH` crops, or as many as there are images if these are more. Masks are not read.

    Args:
        options: what to do.
        out: run folder.
        progress: show bars and a summary of the data.
        data: the images, where they have been read already.

    Returns:
        The content of ``result.json``: ``pretrain_seconds``, number of ``images``, ``layers`` read-outs.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    refuse(options, _MEANINGLESS, "segmentation")
    if options.method not in ("hebbian", "vae"):
        refuse(options, ["method"], "segmentation")
    folder = RunFolder(out, "pretrain", options)
    finished = folder.result()
    if finished is not None:
        return finished
    if data is None:
        data = load_masked(
            options.data,
            unlabelled=options.unlabelled,
            group=options.group,
            channels=options.channels,
            ignore_value=options.ignore_value,
            seed=options.seed,
            strict=options.strict,
            progress=progress,
            need_masks=False,
        )
        if progress:
            print(data.summary())
    images, hebbian = data.unlabelled, options.method == "hebbian"
    whiten = hebbian and options.rule.competitive if options.whiten is None else options.whiten
    preprocessing = Preprocessing.fit(images, whiten=whiten)
    torch.manual_seed(options.seed)
    network = described(options, images, hebbian=hebbian)
    model = SavedSegmentation(network, preprocessing, {}).build(max(2, len(data.classes)))
    module = learning(options, model)
    loggers = loggers_of(options, folder.path)
    trainer = trainer_of(options, folder.path, epochs=module.total_epochs, progress=progress, loggers=loggers)
    batches = steps_an_epoch(options, len(images))
    shown = crops(options, images, preprocessing, batches=batches, augment=options.augment, seed=options.seed)
    fit(trainer, module, shown, None, ckpt=folder.checkpoint)
    notes = {"data": options.data, "method": options.method}
    if isinstance(module, HebbianPretraining):
        notes |= let_go(options, module.plasticity)
    start = time.perf_counter()
    shown.set_epoch(0)
    reestimate_batch_norm(model.features, shown)
    seconds = trained_seconds(folder.path) + time.perf_counter() - start
    tensors = {name: value for name, value in model.state_dict().items() if name.startswith("features.")}
    notes["pretrain_seconds"] = f"{seconds:.1f}"
    SavedSegmentation(network, preprocessing, tensors, notes=notes).save(folder.path / "encoder.safetensors")
    return folder.finish(
        {
            "command": "pretrain",
            "task": "segmentation",
            "method": options.method,
            "rule": settings(options)["rule"] if hebbian else None,
            "images": len(images),
            "skipped": len(data.skipped),
            "epochs": module.total_epochs,
            "labels_spent": 0,
            "pretrain_seconds": round(seconds, 2),
            "layers": readouts(trainer),
        }
    )


def steps_an_epoch(options: PretrainOptions, images: int) -> int:
    """Of so many images, each of which gives at least one crop."""
    return -(-max(CROPS_AN_EPOCH, images) // options.batch_size)


def learning(options: PretrainOptions, model: SegmentationNetwork) -> HebbianPretraining | SegmentationVAE:
    """The Lightning module that pre-trains ``model`` as the options ask for."""
    if options.method == "vae":
        return SegmentationVAE(
            model,
            epochs=VAE_EPOCHS if options.epochs is None else options.epochs,
            seed=options.seed,
            lr=VAE_LR if options.lr is None else options.lr,
        )
    layers = learning_layers(options)
    epochs = COMPETITIVE_EPOCHS if options.rule.competitive else HEBBIAN_EPOCHS
    return HebbianPretraining(
        model,
        dict.fromkeys(layers, options.rule) if layers else options.rule,
        lr=usual_lr(options.rule) if options.lr is None else options.lr,
        order=options.order,
        transposed=options.transposed,
        epochs=epochs if options.epochs is None else options.epochs,
        seed=options.seed,
    )
