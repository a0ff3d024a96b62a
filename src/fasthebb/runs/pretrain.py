"""``fasthebb pretrain``: hidden layers learn from images alone."""

import time
from pathlib import Path
from typing import Any

import torch

from fasthebb.data import Batches, Preprocessing, load_images
from fasthebb.models import build_model
from fasthebb.runs.folder import RunFolder, settings
from fasthebb.runs.options import PretrainOptions
from fasthebb.runs.saved import SavedNetwork, network_options
from fasthebb.training import HebbianPretraining, fit, make_trainer, reestimate_batch_norm


def pretrain(options: PretrainOptions, out: str | Path, *, progress: bool = True) -> dict[str, Any]:
    """Pre-train a network and leave ``encoder.safetensors`` in ``out``; called again, go on or give the result.

    Args:
        options: what to do.
        out: run folder.
        progress: show bars and a summary of the data.

    Returns:
        The content of ``result.json``: ``pretrain_seconds``, number of ``images``, ``layers`` read-outs.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    folder = RunFolder(out, "pretrain", options)
    finished = folder.result()
    if finished is not None:
        return finished
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
        group=options.group,
        image_size=options.image_size,
        default_size=described["image_size"],
        channels=options.channels,
        seed=options.seed,
        strict=options.strict,
        progress=progress,
        need_labels=False,
    )
    if progress:
        print(data.summary())
    images = data.unlabelled
    whiten = options.rule.competitive if options.whiten is None else options.whiten
    preprocessing = Preprocessing.fit(images.images, whiten=whiten)
    torch.manual_seed(options.seed)
    described |= {"channels": images.images.shape[1], "hebbian": True}
    model = build_model(**described)
    start = time.perf_counter()
    module = HebbianPretraining(
        model, options.rule, lr=options.lr, order=options.order, epochs=options.epochs, seed=options.seed
    )
    trainer = make_trainer(
        epochs=module.total_epochs,
        out=folder.path,
        precision=options.precision,
        progress=progress,
        deterministic=options.deterministic,
    )
    batches = Batches(
        images,
        preprocessing,
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        augment=options.augment,
    )
    fit(trainer, module, batches, ckpt=folder.checkpoint)
    module.plasticity.detach()
    reestimate_batch_norm(
        model.features, Batches(images, preprocessing, batch_size=options.batch_size, shuffle=True, seed=options.seed)
    )
    seconds = time.perf_counter() - start
    rule = settings(options)["rule"]
    tensors = {name: value for name, value in model.state_dict().items() if name.startswith("features.")}
    notes = {"rule": str(rule), "data": options.data, "pretrain_seconds": f"{seconds:.1f}"}
    SavedNetwork(described, preprocessing, tensors, notes=notes).save(folder.path / "encoder.safetensors")
    return folder.finish(
        {
            "command": "pretrain",
            "rule": rule,
            "images": len(images),
            "skipped": len(data.skipped),
            "epochs": module.total_epochs,
            "pretrain_seconds": round(seconds, 1),
            "layers": {
                name: float(value) for name, value in trainer.logged_metrics.items() if name.startswith("layer/")
            },
        }
    )
