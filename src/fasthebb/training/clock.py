"""How long a run has trained, over all its interruptions."""

import time
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from fasthebb.training.convergence import logged


class EpochClock(Callback):
    """Logs the `seconds` of each epoch, validation included."""

    def __init__(self) -> None:
        self._start = 0.0
        self._before = 0.0  # seconds of this epoch until its checkpoint, in a run that goes on within it

    def state_dict(self) -> dict[str, float]:
        """The seconds of this epoch so far."""
        return {"seconds": time.perf_counter() - self._start}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take them back."""
        self._before = state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on to count within an epoch, whose start Lightning does not tell again."""
        self._start = time.perf_counter() - self._before

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
    return float(sum(logged(folder, "seconds")))
