"""Lightning's trainer as the commands use it: quiet, resumable, interruptible."""

import logging
import signal
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import lightning
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from torch import Tensor

from fasthebb.training.checkpoints import AtomicCheckpointIO
from fasthebb.training.clock import EpochClock
from fasthebb.training.metrics_file import MetricsFile

Precision = Literal["32-true", "bf16-mixed"]


class ImagesPerSecondBar(TQDMProgressBar):
    """Lightning's progress bar with the images a second of the current epoch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)
        self._start = 0.0
        self._images = 0

    def on_train_epoch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Start to count."""
        super().on_train_epoch_start(trainer, *args)
        self._start, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Sequence[Any],
        batch_idx: int,
    ) -> None:
        """Count; of pairs of batches the first."""
        first = batch[0]
        while not isinstance(first, Tensor):
            first = first[0]
        self._images += len(first)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The metrics that the bar shows."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        return {"images/s": f"{self._images / elapsed:.0f}", **metrics}


def make_trainer(
    *,
    epochs: int,
    out: str | Path | None,
    checkpoint_dir: str | Path | None = None,
    precision: Precision = "32-true",
    progress: bool = True,
    deterministic: bool = False,
    keep_best: str | None = None,
    callbacks: Sequence[Callback] = (),
) -> lightning.Trainer:
    """A trainer for one device, for `fit`.

    Args:
        epochs: epochs of the whole training, those of a run that is resumed included (`module.total_epochs`).
        out: run folder: receives `metrics.csv` (a row an epoch) and, every epoch, `checkpoints/last.ckpt`. None writes
            nothing and costs least, for many short trainings.
        checkpoint_dir: another folder for the checkpoints.
        precision: "32-true" or "bf16-mixed".
        progress: show a progress bar with the images a second.
        deterministic: use only operations whose result is the same on every run.
        keep_best: a logged measure, the higher the better; the weights of its best epoch are kept for `best_weights`.
        callbacks: further ones.

    Raises:
        ValueError: another precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got '{precision}'")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # device listings and tips
    every: list[Callback] = [*callbacks, *([ImagesPerSecondBar()] if progress else [])]
    if out is not None:
        every.append(EpochClock())
        where = checkpoint_dir or Path(out) / "checkpoints"
        if keep_best is not None:  # first, so that the last checkpoint knows of it
            every.append(
                ModelCheckpoint(
                    dirpath=Path(where) / "best",  # not among those that a run resumes from
                    filename="best",
                    monitor=keep_best,
                    mode="max",
                    save_weights_only=True,
                    enable_version_counter=False,
                    save_on_train_epoch_end=True,
                )
            )
        every.append(
            ModelCheckpoint(
                dirpath=where,
                filename="last",
                enable_version_counter=False,  # one file, replaced
                save_on_train_epoch_end=True,
            )
        )
    return lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=epochs,
        precision=precision,
        deterministic=deterministic,
        logger=False if out is None else MetricsFile(out),
        callbacks=every,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=out is not None,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    train_loader: Iterable[Any],
    val_loader: Iterable[Any] | None = None,
    ckpt: str | Path | None = None,
) -> None:
    """Train `module`, from the checkpoint `ckpt` on if there is one.

    Args:
        trainer: of `make_trainer`.
        module: `HebbianPretraining` or `Classifier`.
        train_loader: sized iterable of `(images, labels)`, with `set_epoch(epoch)` where it draws.
        val_loader: the same for validation images.
        ckpt: of `last_checkpoint`; read with `weights_only=True`.

    Raises:
        KeyboardInterrupt: Ctrl-C, after an orderly end; `last_checkpoint` holds the last whole epoch.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)  # number of workers, logging interval, eval mode
            warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
            warnings.filterwarnings("ignore", message=".*no `val_dataloader`")
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            trainer.fit(module, train_loader, val_loader, ckpt_path=ckpt, weights_only=True)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's way to end after Ctrl-C
            raise KeyboardInterrupt from None
        raise
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
