"""How long a run has trained, over all its interruptions."""

import csv
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class EpochClock(Callback):
    """Logs the `seconds` of each epoch, validation included."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start to count."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log."""
        pl_module.log("seconds", time.perf_counter() - self._start)


def trained_seconds(folder: str | Path) -> float:
    """Sum over the epochs that a run folder's `metrics.csv` knows; those lost with an interruption are not in it.

    >>> trained_seconds("no/such/folder")
    0.0
    """
    file = Path(folder) / "metrics.csv"
    if not file.is_file():
        return 0.0
    with file.open(newline="") as lines:
        rows: list[dict[str, Any]] = list(csv.DictReader(lines))
    return float(sum(float(row.get("seconds") or 0.0) for row in rows))
