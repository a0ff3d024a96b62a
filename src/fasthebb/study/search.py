"""Hyper-parameters of a method, searched for with labels that no cell will see again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from fasthebb.data import ImageData, draw_labels
from fasthebb.runs import SavedNetwork, pretrain
from fasthebb.runs.pretrain import usual_lr
from fasthebb.runs.supervised import Supervised, untrained
from fasthebb.study.grid import Cell, finetune_options, pretrain_options
from fasthebb.study.network import network_of
from fasthebb.study.options import StudyOptions
from fasthebb.training.weights import write_atomically

SEED = 1_000_000
"""Of the weights and the draw of labels in every trial; far from the seeds of the cells."""

PRETRAIN_LRS = (0.01, 0.03, 0.1, 0.3)
LRS = (3e-4, 3e-2)
WEIGHT_DECAYS = (5e-4, 1e-1)


def search(
    cell: Cell, options: StudyOptions, data: ImageData, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Find the settings with which a method does best in a cross-validation on few labels.

    Optuna's TPE sampler proposes learning rate and weight decay of the training with labels and, for a rule, its
    learning rate, from the usual settings on. The measure is top-1 over five folds of the labelled images of a draw of
    its own: neither validation nor test images are looked at. Every trial is kept in ``trials.json``; called again, the
    search goes on.

    Args:
        cell: one of the method, with the smallest amount of labels; its seeds are not used.
        options: with nothing left out; ``search`` is the number of trials.
        data: images with every label.
        folder: of the search.
        say: called with a line a trial.

    Returns:
        ``params``, options of the study by name; ``top1`` of the best trial, and the number of ``trials``.
    """
    cell = replace(cell, seed=SEED, draw=0)
    names = [*(["pretrain_lr"] if cell.method.kind == "rule" and not cell.method.at_once else []), "lr", "weight_decay"]
    trials = _known(folder)
    while len(trials) < options.search:
        params = _proposal(names, trials) if trials else _usual(names, options, cell)
        top1 = _cross_validated(cell, _with(options, params, cell), data, folder, f"trial{len(trials)}")
        trials.append({"params": params, "top1": round(top1, 3)})
        text = json.dumps(trials, indent=1) + "\n"
        write_atomically(folder / "trials.json", lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        rmtree(folder / f"trial{len(trials) - 1}", ignore_errors=True)
        say(f"search {cell.method.name}, trial {len(trials)} of {options.search}: top-1 {top1:.1f} % {params}")
    best = max(trials, key=lambda trial: trial["top1"])
    return {**best, "trials": len(trials)}


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


def _proposal(names: Sequence[str], trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What Optuna's sampler proposes after these trials."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = {
        "pretrain_lr": CategoricalDistribution(PRETRAIN_LRS),
        "lr": FloatDistribution(*LRS, log=True),
        "weight_decay": FloatDistribution(*WEIGHT_DECAYS, log=True),
    }
    space = {name: known[name] for name in names}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED + len(trials)))
    for trial in trials:
        if all(_possible(name, value) for name, value in trial["params"].items()):
            study.add_trial(optuna.create_trial(params=trial["params"], distributions=space, value=trial["top1"]))
    return dict(study.ask(space).params)


def _possible(name: str, value: float) -> bool:
    """Whether a value, of the user's options perhaps, is one that the sampler may know of."""
    if name == "pretrain_lr":
        return value in PRETRAIN_LRS
    low, high = {"lr": LRS, "weight_decay": WEIGHT_DECAYS}[name]
    return low <= value <= high


def _known(folder: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((folder / "trials.json").read_text()))
    except (FileNotFoundError, ValueError):
        return []


def _cross_validated(cell: Cell, options: StudyOptions, data: ImageData, folder: Path, trial: str) -> float:
    if cell.pretraining is not None:
        where = folder / f"pretrained-{options.pretrain_lr}"
        pretrain(pretrain_options(cell.pretraining, options), where, progress=False, data=data)
        rmtree(where / "checkpoints", ignore_errors=True)
        network = SavedNetwork.load(where, "encoder.safetensors")
    elif options.weights is not None and cell.method.kind == "weights":
        network = SavedNetwork.load(options.weights, "encoder.safetensors")
    else:
        network = untrained(network_of(options, data), data, cell.method.whiten)
    drawn = draw_labels(data, cell.amount, SEED)
    training = Supervised(finetune_options(cell, options), drawn, network, SEED, progress=False)
    return training.cross_validate(folder / trial).top1
