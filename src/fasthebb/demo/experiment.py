"""The demo: pre-train on unlabelled digits, fine-tune on a few labels, compare with backprop alone."""

import json
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn
from torch import Tensor, nn

from fasthebb.data import Batches, ImageData, ImageSet, Preprocessing, labelled_subset, load_images
from fasthebb.demo.recipes import BATCH_SIZE, HIDDEN, IMAGE_SIZE, RECIPES, WIDTH, Recipe
from fasthebb.demo.report import Cell, Report, accuracy_table, write_report
from fasthebb.evaluation import classification_scores, predict_logits
from fasthebb.models import Network, cnn6
from fasthebb.runs import RunFolder
from fasthebb.training import Classifier, HebbianPretraining, ReadoutWarning, fit, make_trainer, reestimate_batch_norm

LABELS_A_CLASS = (1, 5, 10)


@dataclass(frozen=True)
class DemoOptions:
    """Options of ``fasthebb demo``.

    Args:
        seeds: how many seeds to run, from 0 on.
    """

    seeds: int = 10


def demo(options: DemoOptions, out: str | Path, *, progress: bool = True) -> dict[str, Any]:
    """Run the demo into ``out``: a table, ``report.html`` and ``result.json``; called again, go on or show the result.

    Args:
        options: what to do.
        out: run folder.
        progress: print the sentence, bar and table.

    Returns:
        The content of ``result.json``.

    Raises:
        ValueError: if ``out`` holds something else.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    if options.seeds < 1:
        raise ValueError(f"--seeds: found {options.seeds}, expected at least 1")
    folder = RunFolder(out, "demo", options)
    console = Console(quiet=not progress)
    data = load_images("digits", image_size=IMAGE_SIZE, progress=False)
    console.print(
        f"Look at the column with one label a class: how much better is a classifier that starts from features learned "
        f"on {len(data.unlabelled)} unlabelled images than one that has the labels alone?\n"
        "The rows named control do the same with learning rate 0; each figure is the mean over "
        f"{options.seeds} seeds, with its 95 % confidence interval."
    )
    cells = _known_cells(folder.path)
    known = {(cell.recipe, cell.seed) for cell in cells}
    wanted = [(recipe, seed) for seed in range(options.seeds) for recipe in RECIPES if (recipe.name, seed) not in known]
    with Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("pre-training and fine-tuning", total=len(wanted) + len(cells), completed=len(cells))
        for cell in run_cells(wanted, data, LABELS_A_CLASS):
            cells.append(cell)
            folder.write("cells.json", json.dumps([asdict(one) for one in cells], indent=1) + "\n")
            bar.update(task, description=f"seed {cell.seed}: {cell.recipe}", advance=1)
        bar.update(task, description="drawing the report")
    report = Report(RECIPES, cells, LABELS_A_CLASS, first_layer_filters(data, RECIPES), _sizes(data))
    console.print(accuracy_table(report))
    console.print(*report.sentences(), sep="\n")
    write_report(report, folder)
    return folder.finish(
        {
            "command": "demo",
            "rows": report.rows(),
            "sentences": report.sentences(),
            "cells": [asdict(cell) for cell in cells],
        }
    )


def run_cells(wanted: Sequence[tuple[Recipe, int]], data: ImageData, labels: Sequence[int]) -> Iterator[Cell]:
    """Run pairs of recipe and seed side by side, one on each core, and give each cell when it is done."""
    if not wanted:
        return
    workers = min(len(wanted), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker) as pool:
        cells = [pool.submit(run_cell, recipe, seed, data, labels) for recipe, seed in wanted]
        try:
            for cell in as_completed(cells):
                yield cell.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the bar
    torch.set_num_threads(1)


def run_cell(recipe: Recipe, seed: int, data: ImageData, labels: Sequence[int]) -> Cell:
    """Pre-train once, then fine-tune from there on each number of labels a class; scores on ``data.test``.

    With no learning rate but zero the batch norms still adapt, as in every other row.
    """
    preprocessing = Preprocessing.fit(data.unlabelled.images, whiten=recipe.whiten)
    start = time.perf_counter()
    pretrained = None if recipe.rule is None else pretrained_features(recipe, seed, data, preprocessing)
    pretrain_seconds = time.perf_counter() - start
    start = time.perf_counter()
    top1 = {}
    for amount in labels:
        torch.manual_seed(seed)
        model = _network(recipe, data)
        if pretrained is not None:
            model.features.load_state_dict(pretrained)
        chosen = labelled_subset(data.train.labels, f"{amount}/class", seed=seed)
        finetune(recipe, seed, model, data.train.subset(chosen), preprocessing, len(data.classes))
        scored = Batches(data.test, preprocessing, batch_size=512, shuffle=False)
        top1[amount] = classification_scores(*predict_logits(model, scored), len(data.classes))["top1"]
    return Cell(recipe.name, seed, top1, round(pretrain_seconds, 3), round(time.perf_counter() - start, 3))


def pretrained_features(recipe: Recipe, seed: int, data: ImageData, preprocessing: Preprocessing) -> dict[str, Tensor]:
    """The ``state_dict`` of the features after pre-training on the unlabelled images."""
    assert recipe.rule is not None
    torch.manual_seed(seed)
    model = _network(recipe, data)
    rule = recipe.rule if recipe.layers is None else dict.fromkeys(recipe.layers, recipe.rule)
    module = HebbianPretraining(model, rule, lr=recipe.pretrain_lr, epochs=recipe.pretrain_epochs, seed=seed)
    batches = Batches(data.unlabelled, preprocessing, batch_size=BATCH_SIZE, shuffle=True, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadoutWarning)  # what idle neurons cost is what the table shows
        fit(make_trainer(epochs=module.total_epochs, out=None, progress=False), module, batches)
    module.plasticity.detach()
    reestimate_batch_norm(model.features, batches)
    return dict(model.features.state_dict())


def finetune(
    recipe: Recipe, seed: int, model: nn.Module, images: ImageSet, preprocessing: Preprocessing, classes: int
) -> None:
    """Train the whole network on labelled images."""
    module = Classifier(
        model, classes=classes, epochs=recipe.epochs, lr=recipe.lr, weight_decay=recipe.weight_decay, seed=seed
    )
    batches = Batches(images, preprocessing, batch_size=BATCH_SIZE, shuffle=True, seed=seed)
    fit(make_trainer(epochs=recipe.epochs, out=None, progress=False), module, batches)


def first_layer_filters(data: ImageData, recipes: Sequence[Recipe]) -> dict[str, Tensor]:
    """The first layer at seed 0, ``(neurons, channels, height, width)``: untrained, and after each pre-training."""
    torch.manual_seed(0)
    untrained = _network(next(recipe for recipe in recipes if recipe.rule is not None), data).features.state_dict()
    filters = {"before learning": untrained["conv1.weight"]}
    for recipe in recipes:
        if recipe.learns:
            preprocessing = Preprocessing.fit(data.unlabelled.images, whiten=recipe.whiten)
            filters[recipe.name] = pretrained_features(recipe, 0, data, preprocessing)["conv1.weight"]
    return filters


def _network(recipe: Recipe, data: ImageData) -> Network:
    channels = data.unlabelled.images.shape[1]
    return cnn6(len(data.classes), channels, IMAGE_SIZE, hebbian=recipe.rule is not None, width=WIDTH, hidden=HIDDEN)


def _sizes(data: ImageData) -> str:
    return f"{len(data.unlabelled)} unlabelled images, {len(data.test)} test images, {len(data.classes)} classes"


def _known_cells(folder: Path) -> list[Cell]:
    file = folder / "cells.json"
    if not file.is_file():
        return []
    return [
        Cell(**{**cell, "top1": {int(n): value for n, value in cell["top1"].items()}})
        for cell in json.loads(file.read_text())
    ]
