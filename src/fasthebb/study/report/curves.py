"""What happened during training, from the metrics.csv of each run."""

import csv
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fasthebb.study.report.cells import Cell
from fasthebb.study.report.inside import inside, pretrained
from fasthebb.study.report.results import Results

Curve: TypeAlias = Mapping[int, float]
"""A value for each epoch, from 0 on."""

_CHANGE = ("layer/", "/relative_change")


@dataclass(frozen=True)
class PretrainingCurves:
    """How the pre-training of a method went, averaged over seeds.

    Attributes:
        method: that was pre-trained.
        what: the quantity.
        lines: one for each layer; one in all for a method without plastic layers.
    """

    method: str
    what: str
    lines: Mapping[str, Curve]


def read_metrics(file: Path) -> dict[str, Curve]:
    """Each column of a metrics.csv by epoch; empty if there is no such file or it is damaged.

    What is no finite number is left out.
    """
    columns: dict[str, dict[int, float]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            for row in csv.DictReader(opened):
                epoch = int(row["epoch"])
                for name, text in row.items():
                    value = _number(text)
                    if name and name != "epoch" and value is not None:
                        columns.setdefault(name, {})[epoch] = value
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}
    return dict(columns)


def averaged(curves: Iterable[Curve]) -> Curve:
    """The mean at each epoch over the runs that reached it.

    >>> averaged([{0: 1.0, 1: 3.0}, {0: 2.0}])
    {0: 1.5, 1: 3.0}
    """
    values: dict[int, list[float]] = {}
    for curve in curves:
        for epoch, value in curve.items():
            values.setdefault(epoch, []).append(value)
    return {epoch: statistics.fmean(values[epoch]) for epoch in sorted(values)}


def training_loss(folder: Path, cell: Cell) -> Curve:
    """The loss of a cell's training with labels; empty if it left none."""
    run = inside(folder, cell.folder)
    return {} if run is None else read_metrics(run / "metrics.csv").get("train_loss", {})


def pretraining_curves(folder: Path, results: Results) -> list[PretrainingCurves]:
    """How far each layer's weights have come, for each pre-trained method; for autoencoders their loss."""
    found = []
    for method in results.methods:
        seeds = sorted({cell.seed for cell in results.cells if cell.method == method and cell.pretrain_epochs})
        runs = [run for seed in seeds if (run := pretrained(folder, method, seed)) is not None]
        metrics = [read_metrics(run / "metrics.csv") for run in runs]
        names = list(dict.fromkeys(name for columns in metrics for name in columns))
        layers = {name: _layer(name) for name in names if _layer(name)}
        lines = {layer: averaged(c[name] for c in metrics if name in c) for name, layer in layers.items()}
        losses = [name for name in names if name.endswith("loss")]
        if lines:
            found.append(PretrainingCurves(method, "relative change of the weights", lines))
        elif losses:
            lines = {name: averaged(c[name] for c in metrics if name in c) for name in losses}
            found.append(PretrainingCurves(method, "loss of the pre-training", lines))
    return found


def _layer(name: str) -> str:
    start, end = _CHANGE
    return name[len(start) : -len(end)] if name.startswith(start) and name.endswith(end) else ""


def _number(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
