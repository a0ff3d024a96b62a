"""Hyper-parameters of a method, searched for with labels that no cell will see again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from fasthebb.data import ImageData, MaskedData, draw_labels, draw_masks
from fasthebb.runs import FinetuneOptions, SavedNetwork, SavedSegmentation, pretrain
from fasthebb.runs.options import Task
from fasthebb.runs.pretrain import usual_lr
from fasthebb.runs.segmentation.finetune import untrained as untrained_segmentation
from fasthebb.runs.segmentation.training import MaskTraining
from fasthebb.runs.supervised import FOLDS, Supervised, untrained
from fasthebb.study.amounts import Data
from fasthebb.study.grid import Cell, finetune_options, pretrain_options
from fasthebb.study.network import network_of
from fasthebb.study.options import StudyOptions
from fasthebb.training.weights import write_atomically

SEED = 1_000_000
"""Of the weights and the draw of labels in every trial; far from the seeds of the cells."""

PRETRAIN_LRS = (0.01, 0.03, 0.1, 0.3)
LRS: dict[Task, tuple[float, float]] = {"classification": (3e-4, 3e-2), "segmentation": (1e-4, 1e-2)}
WEIGHT_DECAYS: dict[Task, tuple[float, float]] = {"classification": (5e-4, 1e-1), "segmentation": (1e-5, 1e-1)}
"""For SGD, and for AdamW."""
MEASURES: dict[Task, str] = {"classification": "top1", "segmentation": "dice"}


def search(cell: Cell, options: StudyOptions, data: Data, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Find the settings with which a method does best in a cross-validation on few labels.

    Optuna's TPE sampler proposes learning rate and weight decay of the training with labels and, for a rule, its
    learning rate, from the usual settings on. The measure is top-1, or Dice, over five folds of the labelled images of
    a draw of its own: neither validation nor test images are looked at. Every trial is kept in ``trials.json``; called
    again, the search goes on.

    Args:
        cell: one of the method, with the smallest amount of labels; its seeds are not used.
        options: with nothing left out; ``search`` is the number of trials.
        data: images with every label or mask.
        folder: of the search.
        say: called with a line a trial.

    Returns:
        ``params``, options of the study by name; ``top1``, or ``dice``, of the best trial, and the number of
        ``trials``.
    """
    cell = replace(cell, seed=SEED, draw=0)
    names = [*(["pretrain_lr"] if _takes_steps(cell) else []), "lr", "weight_decay"]
    trials = _known(folder)
    measure = MEASURES[options.task]
    while len(trials) < options.search:
        params = _proposal(names, trials, options.task) if trials else _usual(names, options, cell)
        score = _cross_validated(cell, _with(options, params, cell), data, folder, f"trial{len(trials)}")
        trials.append({"params": params, measure: round(score, 3)})
        text = json.dumps(trials, indent=1) + "\n"
        write_atomically(folder / "trials.json", lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        rmtree(folder / f"trial{len(trials) - 1}", ignore_errors=True)
        say(f"search {cell.method.name}, trial {len(trials)} of {options.search}: {measure} {score:.1f} % {params}")
    best = max(trials, key=lambda trial: trial[measure])
    return {**best, "trials": len(trials)}


def _takes_steps(cell: Cell) -> bool:
    """Whether the pre-training has a learning rate of the usual size."""
    method = cell.method
    return method.kind == "rule" and not method.at_once and not (method.rule is not None and method.rule.summed)


def _with(options: StudyOptions, params: dict[str, Any], cell: Cell) -> StudyOptions:
    """The study's options with those found for a method; a probe has names of its own for them."""
    return replace(options, **{_option(name, cell): value for name, value in params.items()})


def _option(name: str, cell: Cell) -> str:
    return f"probe_{name}" if cell.readout == "probe" and name != "pretrain_lr" else name


def applied(options: StudyOptions, found: dict[str, Any], cell: Cell) -> StudyOptions:
    """The options of a cell after the search of its method; a read-out that was not searched keeps its own."""
    params = dict(found["params"])
    if cell.readout != options.first_readout:
        params = {name: value for name, value in params.items() if name == "pretrain_lr"}
    return _with(options, params, cell)


def _usual(names: Sequence[str], options: StudyOptions, cell: Cell) -> dict[str, Any]:
    """What the study takes without a search."""
    usual = {"lr": options.lr, **({} if cell.method.rule is None else {"pretrain_lr": usual_lr(cell.method.rule)})}
    values = {name: getattr(options, _option(name, cell)) for name in names}
    return {name: usual[name] if value is None else value for name, value in values.items()}


def _proposal(names: Sequence[str], trials: Sequence[dict[str, Any]], task: Task) -> dict[str, Any]:
    """What Optuna's sampler proposes after these trials."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = {
        "pretrain_lr": CategoricalDistribution(PRETRAIN_LRS),
        "lr": FloatDistribution(*LRS[task], log=True),
        "weight_decay": FloatDistribution(*WEIGHT_DECAYS[task], log=True),
    }
    space = {name: known[name] for name in names}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED + len(trials)))
    for trial in trials:
        if all(_possible(name, value, task) for name, value in trial["params"].items()):
            study.add_trial(
                optuna.create_trial(params=trial["params"], distributions=space, value=trial[MEASURES[task]])
            )
    return dict(study.ask(space).params)


def _possible(name: str, value: float, task: Task) -> bool:
    """Whether a value, of the user's options perhaps, is one that the sampler may know of."""
    if name == "pretrain_lr":
        return value in PRETRAIN_LRS
    low, high = {"lr": LRS, "weight_decay": WEIGHT_DECAYS}[name][task]
    return low <= value <= high


def _known(folder: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((folder / "trials.json").read_text()))
    except (FileNotFoundError, ValueError):
        return []


def _cross_validated(cell: Cell, options: StudyOptions, data: Data, folder: Path, trial: str) -> float:
    encoder = None
    if cell.pretraining is not None:
        encoder = folder / f"pretrained-{options.pretrain_lr}"
        pretrain(pretrain_options(cell.pretraining, options), encoder, progress=False, data=data)
        rmtree(encoder / "checkpoints", ignore_errors=True)
    elif options.weights is not None and cell.method.kind == "weights":
        encoder = Path(options.weights)
    asked = finetune_options(cell, options)
    if isinstance(data, MaskedData):
        return _dice(cell, asked, data, encoder, folder / trial)
    assert isinstance(data, ImageData)  # a search on a stream was refused
    if encoder is None:
        network = untrained(network_of(options, data), data, cell.method.whiten)
    else:
        network = SavedNetwork.load(encoder, "encoder.safetensors")
    drawn = draw_labels(data, cell.amount, SEED)
    return Supervised(asked, drawn, network, SEED, progress=False).cross_validate(folder / trial).top1


def _dice(cell: Cell, asked: FinetuneOptions, data: MaskedData, encoder: Path | None, folder: Path) -> float:
    if encoder is None:
        network = untrained_segmentation(asked, data)
    else:
        network = SavedSegmentation.load(encoder, "encoder.safetensors")
    drawn = draw_masks(data, cell.amount, SEED)
    dice = MaskTraining(asked, drawn, network, progress=False).cross_validate(folder, FOLDS, SEED)["dice"]
    assert dice is not None  # only distances may be undefined
    return dice
