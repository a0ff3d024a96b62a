"""metrics.csv: one row an epoch, whole at every moment, continued by a resumed run."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers.logger import Logger

from fasthebb.training.processes import process_rank
from fasthebb.training.weights import write_atomically


class MetricsFile(Logger):
    """A Lightning logger that keeps one row an epoch in the file `metrics.csv` of a folder.

    Lightning's own CSV logger deletes the rows of the interrupted run when a run resumes. Here they stay; the rows of
    epochs that are repeated are replaced. The file is rewritten atomically whenever a row changes: it is small.

    Args:
        folder: where `metrics.csv` lies or will lie; made when the first row is written.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: dict[int, dict[str, Any]] = {}
        if self.path.exists():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self._rows[int(row["epoch"])] = {key: value for key, value in row.items() if value != ""}

    @property
    def name(self) -> str:
        """Nothing: there is one file a folder."""
        return ""

    @property
    def version(self) -> str:
        """Nothing: there is one file a folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder's configuration holds them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of their epoch; rows of later epochs belong to an abandoned run and go.

        Of several processes the first alone writes.
        """
        if process_rank() > 0:
            return
        epoch = int(metrics["epoch"])
        if self._rows and max(self._rows) > epoch:
            self._rows = {earlier: row for earlier, row in self._rows.items() if earlier <= epoch}
        row = self._rows.setdefault(epoch, {})
        row.update(metrics, epoch=epoch)
        names = ["epoch", *dict.fromkeys(key for row in self._rows.values() for key in row if key != "epoch")]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=names)
        writer.writeheader()
        writer.writerows(self._rows[key] for key in sorted(self._rows))
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))


class RowBeforeCheckpoint(Checkpoint):
    """Writes the row of an epoch before the checkpoint of its end, so that a kill between the two does not lose it.

    Lightning writes it afterwards. To be placed before the callbacks that write checkpoints.
    """

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write what the epoch has logged."""
        if not trainer.is_global_zero:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.log_metrics({"epoch": trainer.current_epoch, **values})
