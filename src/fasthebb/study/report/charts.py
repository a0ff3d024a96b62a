"""The numbers behind the page's charts, as plain values for its script."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasthebb.study.report.cells import MEASURES, Cell
from fasthebb.study.report.columns import columns
from fasthebb.study.report.curves import Curve, averaged, pretraining_curves, training_loss
from fasthebb.study.report.names import is_control, label
from fasthebb.study.report.results import Results, Setting
from fasthebb.study.report.speed import total_seconds
from fasthebb.study.report.wording import interval, runs


def chart_data(folder: Path, results: Results) -> dict[str, Any]:
    """Everything that the script draws; methods, amounts, settings and measures are named by their position."""
    losses = [training_loss(folder, cell) for cell in results.cells]
    pretrainings = sorted(pretraining_curves(folder, results), key=lambda one: is_control(one.method))
    return {
        "methods": [{"label": label(method), "control": is_control(method)} for method in results.methods],
        "amounts": [{"heading": amount.heading(), "labels": amount.labels} for amount in results.amounts],
        "measures": [MEASURES[measure] for measure in results.measures],
        "scores": [
            [_scores(results, setting, measure) for measure in results.measures] for setting in results.settings
        ],
        "losses": [_losses(results, setting, losses) for setting in results.settings],
        "pretrainings": [
            {
                "label": label(one.method),
                "what": one.what,
                "lines": [{"name": name, **_points(curve)} for name, curve in one.lines.items()],
            }
            for one in pretrainings
        ],
    }


def _scores(results: Results, setting: Setting, measure: str) -> list[list[dict[str, Any]]]:
    """For each method its points, from few labels to many."""
    found = columns(results, setting, measure)
    positions = {amount: position for position, amount in enumerate(results.amounts)}
    return [
        [
            {
                "amount": positions[column.amount],
                "mean": estimate.mean,
                "half": None if math.isnan(estimate.half) else estimate.half,
                "seconds": total_seconds(results.of(setting, method, column.amount)),
                "words": f"{interval(estimate)} %, {runs(estimate.seeds, estimate.runs)}",
            }
            for column in found
            if (estimate := column.estimates.get(method)) is not None
        ]
        for method in results.methods
    ]


def _losses(results: Results, setting: Setting, losses: Sequence[Curve]) -> list[list[dict[str, Any]]]:
    """For each amount of labels, and at last for all of them together, each method's mean loss by epoch."""

    def of(cell: Cell, method: str) -> bool:
        return cell.method == method and (cell.readout, cell.select) == (setting.readout, setting.select)

    asked = [amount.asked for amount in results.amounts]
    return [
        [
            _points(
                averaged(
                    loss
                    for cell, loss in zip(results.cells, losses, strict=True)
                    if of(cell, method) and cell.amount in amounts
                )
            )
            for method in results.methods
        ]
        for amounts in [*([one] for one in asked), asked]
    ]


def _points(curve: Curve) -> dict[str, list[float]]:
    return {"x": [epoch + 1 for epoch in curve], "y": list(curve.values())}
