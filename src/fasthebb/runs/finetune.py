"""``fasthebb finetune``: a classifier from few labels, on pre-trained features or from random weights."""

from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from fasthebb.data import AnyData, StreamData, draw_labels
from fasthebb.runs.folder import RunError, RunFolder, given, shown
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.refusal import OF_SEGMENTATION, refuse, refuse_impossible
from fasthebb.runs.saved import SavedNetwork, network_options, reading_options
from fasthebb.runs.self_training import self_train, teaching_seconds
from fasthebb.runs.streamed import load
from fasthebb.runs.supervised import Supervised, untrained
from fasthebb.training import epochs_to_come_within, logged, trained_seconds
from fasthebb.training.processes import first_alone

CHOOSING, ESTIMATING = "choosing", "folds"
"""Folders of cross-validations, while a run is under way."""
_FROM_INIT = ("model", "width", "hidden", "image_size", "channels", "whiten")


def finetune(
    options: FinetuneOptions,
    out: str | Path,
    *,
    progress: bool = True,
    data: AnyData | None = None,
    init: SavedNetwork | None = None,
) -> dict[str, Any]:
    """Train a classifier and leave ``classifier.safetensors`` in ``out``; called again, go on or give the result.

    Args:
        options: what to do.
        out: run folder.
        progress: show bars and a summary of the data.
        data: the images with every label, where they have been read already.
        init: what ``options.init`` names, where it has been read already.

    Returns:
        The content of ``result.json``: ``labels`` used, scores on the test images (those of
        `classification_scores`, in per cent), those on ``validation``, ``finetune_seconds``.

    Raises:
        ValueError: for a user's mistake, in one line.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    refuse_impossible(options)
    _refuse_combinations(options)
    folder = RunFolder(out, "finetune", options)
    finished = folder.result()
    if finished is not None:
        return finished
    if init is None and options.init is not None:
        init = SavedNetwork.load(options.init, "encoder.safetensors")
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
    reading = reading_options(described, options.read, options.side)
    draw_seed = options.seed if options.draw_seed is None else options.draw_seed
    if data is None:
        data = load(
            options,
            folder.path,
            labels=options.labels,
            image_size=options.image_size if init is None else init.model["image_size"],
            default_size=described["image_size"],
            channels=options.channels if init is None else init.model["channels"],
            seed=draw_seed,
            progress=progress,
            testing=options.cv == 0,
        )
        if progress:
            print(data.summary())
    elif options.labels is not None:
        data = draw_labels(data, options.labels, draw_seed)
    if isinstance(data, StreamData) and options.ridge:
        raise RunError(
            "--ridge and --student need the images in memory, and these are a stream (by --stream, or as too many): "
            "leave one of them out"
        )
    if init is None:
        network = untrained(described, data, bool(options.whiten), folder.path)
    else:
        network = _with_norms(init, options)
    more = {**reading, **({"code": options.code} if options.code else {})}
    network = replace(network, model={**network.model, **more})
    if options.rule is not None and network.normalised():
        raise RunError(f"--rule and layers of {options.init} that divide by |w|: pre-train with --fold true")
    training = Supervised(options, data, network, draw_seed, progress=progress)
    epochs, choosing = training.epochs, 0.0
    if progress and options.epochs is None and (options.student or not options.ridge):
        print(f"  {epochs} epochs (--epochs)")
    if options.select == "labelled-cv":
        chosen = training.cross_validate(folder.path / CHOOSING)
        epochs, choosing = chosen.epochs, chosen.seconds
    estimated = training.cross_validate(folder.path / ESTIMATING, options.cv) if options.cv else None
    model = self_train(training, folder) if options.student else training.run(data.train, epochs, folder)
    validation = training.score(model, data.validation) if len(data.validation) else None
    scores = training.score(model, data.test) if estimated is None else estimated.scores
    classifier = training.final.with_weights(model.state_dict(), data.classes)
    first_alone(lambda: classifier.save(folder.path / "classifier.safetensors"))
    result = folder.finish(
        {
            "command": "finetune",
            "init": options.init,
            "labels": len(data.train),
            # Those of a pre-training are all that there are, the drawn ones among them.
            "labels_spent": max(
                len(data.train) + (len(data.validation) if options.select == "validation" else 0),
                network.labels_spent(),
            ),
            "seeds": {"weights": options.seed, "order": options.seed, "draw": draw_seed},
            "select": options.select,
            "epochs": 0 if options.ridge and not options.student else options.rounds * epochs,
            "epochs_to_convergence": _epochs_to_convergence(folder) if options.select == "validation" else None,
            **scores,
            "scored_by": "test images" if estimated is None else f"{options.cv}-fold cross-validation",
            "test_images": len(data.test) if estimated is None else 0,
            "validation": validation,
            "finetune_seconds": round(
                choosing + trained_seconds(folder.path) + teaching_seconds(folder.path, options.rounds), 2
            ),
        }
    )

    for name in (CHOOSING, ESTIMATING):
        first_alone(lambda name=name: rmtree(folder.path / name, ignore_errors=True))  # type: ignore[misc]
    return result


def _refuse_combinations(options: FinetuneOptions) -> None:
    """Options that no training has together."""
    refuse(options, (*OF_SEGMENTATION, "semi", "frozen", "features_lr"), "classification")
    if options.taught and (options.probe or options.select != "last" or options.class_weights != "none"):
        raise RunError(
            "--taught teaches the classifier by a Hebbian rule: leave out --probe, --select, --class-weights"
        )
    if options.ridge and (
        options.probe or options.taught or options.select != "last" or options.class_weights != "none"
    ):
        raise RunError("--ridge fits the classifier at once: leave out --probe, --taught, --select, --class-weights")
    if options.student and (not options.ridge or options.cv):
        raise RunError("--student learns from a ridge regression, once: give --ridge, and leave out --cv")
    if options.views < 0:
        raise RunError(f"found --views {options.views}, expected a number of images, or 0 for none")
    if options.views and not options.ridge:
        raise RunError(f"found --views {options.views} without --ridge: give --ridge too, or leave it out")
    if options.rounds < 1:
        raise RunError(f"found --rounds {options.rounds}, expected at least 1")
    if options.rounds > 1 and not options.student:
        raise RunError(f"found --rounds {options.rounds} without --student: give --student too, or leave it out")
    if options.student:  # refuses a network that there is not, before the long reading of images
        network_options(options.student, width=None, hidden=None, image_size=None, channels=None)
    if options.norms is not None and options.init is None:
        raise RunError(
            f"found --norms {options.norms} without --init, which is whose batch norms it changes: give both"
        )
    if options.code and (options.taught or options.ridge):
        raise RunError("--taught and --ridge make a single layer, the last: leave out --code")
    if options.rule is not None and (options.probe or options.taught or options.ridge):
        raise RunError(
            "--rule lets the hidden layers learn, which --probe, --taught and --ridge leave as they are: give one"
        )
    if options.cv and (options.cv < 2 or options.select != "last"):
        raise RunError(
            f"found --cv {options.cv} and --select {options.select}, expected at least 2 folds (or --cv 0), and "
            "--select last"
        )


def _with_norms(init: SavedNetwork, options: FinetuneOptions) -> SavedNetwork:
    """What was pre-trained, with the batch norms that it is to be trained with.

    Relative variances tell the next layer's local rule which directions matter; to gradient descent they are a badly
    conditioned problem, in which the weights behind the first components take nearly all of each step.
    """
    norms = options.norms
    if norms is None and not (options.probe or options.taught or options.ridge or options.rule is not None):
        norms = "plain"
    return init if norms is None else replace(init, model={**init.model, "plain_norms": norms == "plain"})


def _epochs_to_convergence(folder: RunFolder) -> int | None:
    """The first epoch whose top-1 on the validation images is within a point of the best."""
    values = logged(folder.path, "val_top1")
    return epochs_to_come_within(values, max(values), 1.0) if values else None


def _refuse_conflicts(options: FinetuneOptions, init: SavedNetwork) -> None:
    """Options that describe the network must not contradict the weights."""
    known = {**init.model, "model": init.model["name"], "whiten": init.preprocessing.whitening is not None}
    for name in _FROM_INIT:
        asked = getattr(options, name)
        if asked is not None and asked != known[name]:
            raise RunError(
                f"{given(name, asked)} does not fit {options.init}, which was pre-trained with {shown(known[name])}: "
                "leave the option out, or pre-train again"
            )
