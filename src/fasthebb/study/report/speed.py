"""How long each method took."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from fasthebb.study.report.cells import Cell
from fasthebb.study.report.results import Amount, Results, Setting


@dataclass(frozen=True)
class Speed:
    """Medians over a method's runs, in seconds.

    Attributes:
        method: of the row.
        epoch: of one pre-training epoch; None without pre-training.
        pretrain: of the whole pre-training; 0 without it.
        finetune: of the training with labels, by amount of labels.
        total: of both together, by amount of labels.
    """

    method: str
    epoch: float | None
    pretrain: float
    finetune: Mapping[Amount, float]
    total: Mapping[Amount, float]


def speeds(results: Results, setting: Setting) -> list[Speed]:
    """A row for each method that has a cell in this setting."""
    rows = []
    for method in results.methods:
        cells = results.of(setting, method)
        if not cells:
            continue
        by_amount = {amount: results.of(setting, method, amount) for amount in results.amounts}
        epochs = [cell.pretrain_seconds / cell.pretrain_epochs for cell in cells if cell.pretrain_epochs]
        rows.append(
            Speed(
                method=method,
                epoch=statistics.median(epochs) if epochs else None,
                pretrain=statistics.median(cell.pretrain_seconds for cell in cells),
                finetune={
                    amount: statistics.median(cell.finetune_seconds for cell in found)
                    for amount, found in by_amount.items()
                    if found
                },
                total={amount: total_seconds(found) for amount, found in by_amount.items() if found},
            )
        )
    return rows


def total_seconds(cells: list[Cell]) -> float:
    """Median of pre-training and training with labels together; every cell counts its pre-training in full."""
    return statistics.median(cell.pretrain_seconds + cell.finetune_seconds for cell in cells)
