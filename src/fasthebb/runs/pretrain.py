"""``fasthebb pretrain``: hidden layers learn from images alone."""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn

from fasthebb import Plasticity, Rule
from fasthebb.data import AnyData, AnySet, Batches, Preprocessing, StreamBatches, StreamSet, make_batches
from fasthebb.evaluation import most_exciting
from fasthebb.evaluation.exciting import picture
from fasthebb.models import Network, build_model
from fasthebb.runs.folder import RunError, RunFolder, settings
from fasthebb.runs.options import PretrainOptions
from fasthebb.runs.presets import with_preset
from fasthebb.runs.refusal import OF_SEGMENTATION, refuse
from fasthebb.runs.saved import LABELS_SPENT, NORMALISED, SavedNetwork, network_options
from fasthebb.runs.streamed import channels_of, load, prepared
from fasthebb.runs.tracked import loggers_of
from fasthebb.runs.trainers import trainer_of
from fasthebb.training import (
    HebbianPretraining,
    VAEPretraining,
    best_weights,
    epochs_to_come_within,
    fit,
    learn_at_once,
    logged,
    make_trainer,
    reestimate_batch_norm,
    trained_seconds,
)
from fasthebb.training.processes import WHOLE, first_alone, share
from fasthebb.training.weights import write_atomically

FIRST_LAYERS = {"cnn6": ["conv1", "conv2"]}
COMPETITIVE_FIRST_LAYERS = {"cnn6": ["conv1"]}
"""What was measured to work best: later layers are better left to backprop, see docs/findings.md."""
HEBBIAN_LR, HEBBIAN_EPOCHS = 0.1, 5
COMPETITIVE_LR, COMPETITIVE_EPOCHS = 0.01, 1
SUMMED_LR = 1e-6
LOOKED_AT, LOOKED_AT_OF_A_STREAM = 2000, 250
"""How many images are shown to the neurons, for the pictures of those that excite them."""
VAE_LRS, VAE_EPOCHS = {"vae": 1e-2, "vae-paper": 1e-3}, 20


def pretrain(
    options: PretrainOptions, out: str | Path, *, progress: bool = True, data: AnyData | None = None
) -> dict[str, Any]:
    """Pre-train a network and leave ``encoder.safetensors`` in ``out``; called again, go on or give the result.

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
    refuse(options, (*OF_SEGMENTATION, "transposed"), "classification")
    folder = RunFolder(out, "pretrain", options)
    finished = folder.result()
    if finished is not None:
        return finished
    options = with_preset(options)
    described = network_options(
        options.model,
        width=options.width,
        hidden=options.hidden,
        image_size=options.image_size,
        channels=options.channels,
    )
    taught = options.select == "taught"
    at_once = options.method == "at-once"
    if at_once and (options.layers or options.order == "greedy" or options.lr or options.epochs is not None):
        raise RunError(
            "--method at-once takes every layer in turn, without steps: leave out --layers, --order, --epochs and --lr "
            "(--lr 0 leaves the weights at rest, as a control)"
        )
    if taught and (options.method != "hebbian" or options.order == "greedy"):
        raise RunError("--select taught looks on while all layers learn by a rule: leave out --method and --order")
    if data is None:
        data = load(
            options,
            folder.path,
            image_size=options.image_size,
            default_size=described["image_size"],
            channels=options.channels,
            progress=progress,
            need_labels=taught,
        )
        if progress:
            print(data.summary())
    images = data.unlabelled
    hebbian = options.method == "hebbian"
    local = hebbian or at_once
    whiten = hebbian and options.rule.competitive if options.whiten is None else options.whiten
    preprocessing = first_alone(lambda: prepared(images, whiten, folder.path))
    torch.manual_seed(options.seed)
    described |= {"channels": channels_of(images), "hebbian": local}
    if local and (options.norms == "plain" or (options.norms is None and options.rule.competitive)):
        described["plain_norms"] = True
    model = build_model(**described, classes=max(1, len(data.classes)))
    if at_once:
        learned = _at_once(options, model, images, preprocessing, progress=progress)
    else:
        learned = _by_steps(options, model, data, preprocessing, folder, progress=progress)
    notes = {
        "data": options.data,
        "method": options.method,
        **learned.notes,
        "pretrain_seconds": f"{learned.seconds:.1f}",
    }
    tensors = {name: value for name, value in model.state_dict().items() if name.startswith("features.")}
    encoder = SavedNetwork(described, preprocessing, tensors, notes=notes)
    first_alone(lambda: encoder.save(folder.path / "encoder.safetensors"))
    first_alone(lambda: _draw_exciting(model, images, preprocessing, folder))
    return folder.finish(
        {
            "command": "pretrain",
            "method": options.method,
            "rule": settings(options)["rule"] if local else None,
            "images": len(images),
            "skipped": len(data.skipped) + (len(images.unreadable) if isinstance(images, StreamSet) else 0),
            "epochs": learned.epochs,
            "select": options.select,
            "labels_spent": learned.labels_spent,
            "epochs_to_convergence": learned.epochs_to_convergence,
            "pretrain_seconds": round(learned.seconds, 2),
            "layers": learned.layers,
        }
    )


@dataclass(frozen=True)
class _Learned:
    """What is known of a network once its features have learned.

    Attributes:
        seconds: that it took, batch norm's last estimate included.
        notes: for the file of its weights.
        epochs: passes over the images.
        epochs_to_convergence: the first epoch that changed nothing more, where that is known.
        labels_spent: how many labels chose the epoch.
        layers: read-outs of the layers.
    """

    seconds: float
    notes: dict[str, str]
    epochs: int = 0
    epochs_to_convergence: int | None = None
    labels_spent: int = 0
    layers: dict[str, float] = field(default_factory=dict)


def _by_steps(
    options: PretrainOptions,
    model: Network,
    data: AnyData,
    preprocessing: Preprocessing,
    folder: RunFolder,
    *,
    progress: bool,
) -> _Learned:
    """Epochs of steps, by a rule or as an autoencoder."""
    images: AnySet = data.unlabelled
    validation = None
    taught = options.select == "taught"
    module = learning(options, model, len(data.classes) if taught else None)
    if progress and isinstance(module, HebbianPretraining):
        print(f"  learning: {', '.join(module.plasticity.layers)}; others are set by layers (--layers)")
    if taught:
        images = _with_labels(data)
        validation = make_batches(data.validation, preprocessing, batch_size=256, shuffle=False, **WHOLE)
    trainer = trainer_of(
        options,
        folder.path,
        epochs=module.total_epochs,
        progress=progress,
        keep_best=taught,
        loggers=loggers_of(options, folder.path),
    )
    fit(trainer, module, _batches(options, images, preprocessing, augmented=True), validation, ckpt=folder.checkpoint)
    notes = {}
    spent = len(images) + len(data.validation) if taught else 0
    if taught:
        module.load_state_dict(best_weights(trainer))
        notes[LABELS_SPENT] = str(spent)
    if isinstance(module, HebbianPretraining):
        notes |= let_go(options, module.plasticity)
    start = time.perf_counter()
    model.to(trainer.strategy.root_device)  # where Lightning takes it away from
    reestimate_batch_norm(model.features, _batches(options, images, preprocessing, augmented=False))
    return _Learned(
        seconds=trained_seconds(folder.path) + time.perf_counter() - start,
        notes=notes,
        epochs=module.total_epochs,
        epochs_to_convergence=_epochs_to_convergence(folder, module),
        labels_spent=spent,
        layers=readouts(trainer),
    )


def let_go(options: PretrainOptions, plasticity: Plasticity) -> dict[str, str]:
    """Leave a plain network, or note which layers hand on x.w / |w|; what is to be noted of the weights."""
    notes = {"rule": str(settings(options)["rule"]), "layers": ", ".join(plasticity.layers)}
    if options.fold:
        plasticity.detach()
    elif normalised := [name for name in plasticity.layers if plasticity.rules[name].unit_norm]:
        notes[NORMALISED] = json.dumps(normalised)
    return notes


def readouts(trainer: lightning.Trainer) -> dict[str, float]:
    """What was logged of each layer in the last epoch."""
    return {name: float(value) for name, value in trainer.logged_metrics.items() if name.startswith("layer/")}


def _at_once(
    options: PretrainOptions, model: Network, images: AnySet, preprocessing: Preprocessing, *, progress: bool
) -> _Learned:
    """Each layer from a sample of what it sees; too short to be gone on with after a stop."""
    start = time.perf_counter()
    device = make_trainer(epochs=1, out=None, progress=False).strategy.root_device
    batches = _batches(options, images, preprocessing, augmented=False)
    learned = learn_at_once(
        model.to(device).features,
        None if options.lr == 0 else options.rule,
        lambda: batches,
        len(images),
        seed=options.seed,
    )
    for name in learned:
        if progress:
            print(f"{name} has learned, {time.perf_counter() - start:.0f} s", flush=True)
    return _Learned(time.perf_counter() - start, {"rule": str(settings(options)["rule"])})


def _with_labels(data: AnyData) -> AnySet:
    """The images to pre-train on with the labels that choose the epoch: all of them, and those for validation."""
    images = data.unlabelled
    if len(data.train) < len(images) or not len(data.validation):
        raise RunError(
            f"found {len(data.train)} labels for {len(images)} images, and {len(data.validation)} validation "
            "images; --select taught needs every training image labelled, and some for validation"
        )
    return replace(images, labels=data.train.labels)


def _epochs_to_convergence(folder: RunFolder, module: HebbianPretraining | VAEPretraining) -> int | None:
    """The first epoch after which the weights are as far from their start as at the end, to 1 %, in every layer."""
    if not isinstance(module, HebbianPretraining) or module.order == "greedy":
        return None
    needed = []
    for name in module.plasticity.layers:
        changes = logged(folder.path, f"layer/{name}/relative_change")
        needed.append(epochs_to_come_within(changes, changes[-1], 0.01 * changes[-1]) if changes else None)
    return max((epoch for epoch in needed if epoch is not None), default=None)


def learning(
    options: PretrainOptions, model: Network, classes: int | None = None
) -> HebbianPretraining | VAEPretraining:
    """The Lightning module that pre-trains ``model`` as the options ask for; classes are those of a look on."""
    if options.method == "hebbian":
        layers = learning_layers(options)
        competitive = options.rule.competitive
        epochs = COMPETITIVE_EPOCHS if competitive else HEBBIAN_EPOCHS
        return HebbianPretraining(
            model,
            dict.fromkeys(layers, options.rule) if layers else options.rule,
            lr=usual_lr(options.rule) if options.lr is None else options.lr,
            order=options.order,
            epochs=epochs if options.epochs is None else options.epochs,
            seed=options.seed,
            classes=classes,
            reduce_dtype=torch.bfloat16 if options.send == "bfloat16" else None,
        )
    return VAEPretraining(
        model,
        lr=VAE_LRS[options.method] if options.lr is None else options.lr,
        epochs=VAE_EPOCHS if options.epochs is None else options.epochs,
        seed=options.seed,
        paper=options.method == "vae-paper",
    )


def learning_layers(options: PretrainOptions) -> list[str]:
    """Names or patterns of the layers that learn; empty for every hidden layer.

    >>> learning_layers(PretrainOptions()), learning_layers(PretrainOptions(layers=["all"]))
    (['conv1', 'conv2'], [])
    """
    if options.layers:
        return [] if options.layers == ["all"] else options.layers
    first = COMPETITIVE_FIRST_LAYERS if options.rule.competitive else FIRST_LAYERS
    return first.get(options.model or ("cnn6" if options.task == "classification" else "unet"), [])


def usual_lr(rule: Rule) -> float:
    """The learning rate that was measured to work best."""
    if rule.summed:
        return SUMMED_LR
    return COMPETITIVE_LR if rule.competitive else HEBBIAN_LR


def _draw_exciting(model: Network, images: AnySet, preprocessing: Preprocessing, folder: RunFolder) -> None:
    """Leave ``exciting/LAYER.png`` for each convolution and dense layer: images that its neurons respond to most."""
    if isinstance(images, StreamSet):
        few = images.read(images.sample(LOOKED_AT_OF_A_STREAM))
    else:
        few = images.subset(list(range(min(len(images), LOOKED_AT))))
    names = [name for name, layer in model.features.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    batches = Batches(few, preprocessing, batch_size=256, shuffle=False)
    for name, positions in most_exciting(model.features, batches, names).items():
        png = picture(few.images, positions)
        write_atomically(folder.path / "exciting" / f"{name}.png", lambda file, png=png: file.write(png))  # type: ignore[misc]


def _batches(
    options: PretrainOptions, images: AnySet, preprocessing: Preprocessing, *, augmented: bool
) -> Batches | StreamBatches:
    return make_batches(
        images,
        preprocessing,
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        augment=options.augment if augmented else "none",
        **share(),
    )
