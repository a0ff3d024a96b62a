"""Lightning's trainer as the commands use it: quiet, resumable, interruptible."""

import logging
import signal
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import lightning
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor

from fasthebb import NonFiniteError
from fasthebb.training.checkpoints import AtomicCheckpointIO
from fasthebb.training.clock import EpochClock
from fasthebb.training.compatibility import Origin, check_fits
from fasthebb.training.divergence import Divergence, OnDivergence
from fasthebb.training.metrics_file import MetricsFile, RowBeforeCheckpoint
from fasthebb.training.precision import Precision
from fasthebb.training.processes import has_lost_others
from fasthebb.training.resumable import Resumable
from fasthebb.training.strategy import Together
from fasthebb.training.tracking import Tracking
from fasthebb.training.within_epochs import Terminated, WithinEpochs


class ImagesPerSecondBar(TQDMProgressBar):
    """Lightning's progress bar with the images a second of the current epoch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)
        self._start = 0.0
        self._images = 0

    def on_train_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Go on within an epoch, whose start Lightning does not tell again."""
        super().on_train_start(trainer, *args)
        if trainer.fit_loop.restarted_mid_epoch:
            self.on_train_epoch_start(trainer, *args)

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
        return {"images/s": f"{self._images * trainer.world_size / elapsed:.0f}", **metrics}


def make_trainer(
    *,
    epochs: int,
    out: str | Path | None,
    checkpoint_dir: str | Path | None = None,
    precision: Precision = "32-true",
    progress: bool = True,
    deterministic: bool = False,
    keep_best: str | None = None,
    devices: int = 1,
    nodes: int = 1,
    checkpoint_minutes: float = 10.0,
    on_divergence: OnDivergence = "stop",
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> lightning.Trainer:
    """A trainer for one device, or for a process a device, for `fit`.

    Args:
        epochs: epochs of the whole training, those of a run that is resumed included (`module.total_epochs`).
        out: run folder: receives `metrics.csv` (a row an epoch) and, every epoch, `checkpoints/last.ckpt`. None writes
            nothing and costs least, for many short trainings.
        checkpoint_dir: another folder for the checkpoints.
        precision: "32-true" or "bf16-mixed".
        progress: show a progress bar with the images a second.
        deterministic: use only operations whose result is the same on every run.
        keep_best: a logged measure, the higher the better; the weights of its best epoch are kept for `best_weights`.
        devices: how many GPUs of this machine, or processes where it has none; see `Together`.
        nodes: how many machines.
        checkpoint_minutes: how often a checkpoint is written within an epoch; 0 for never.
        on_divergence: what to do about weights that are not finite, see `Divergence`.
        callbacks: further ones.
        loggers: of `open_logger`, besides `metrics.csv`; they receive what `Tracking` looks at as well.

    Raises:
        ValueError: another precision, or minutes below zero.
    """
    if not checkpoint_minutes >= 0:
        raise ValueError(f"checkpoint_minutes: found {checkpoint_minutes:g}, expected 0, for never, or more")
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got '{precision}'")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # device listings and tips
    every: list[Callback] = [*callbacks, *([ImagesPerSecondBar()] if progress else [])]
    where = Path(checkpoint_dir or Path(out or ".") / "checkpoints")
    if out is not None:
        every += [EpochClock(), RowBeforeCheckpoint()]
        if loggers:
            every.append(Tracking(loggers))
        every += [Origin(), Divergence(where, on_divergence)]
        if keep_best is not None:  # first, so that the last checkpoint knows of it
            every.append(
                ModelCheckpoint(
                    dirpath=where / "best",  # not among those that a run resumes from
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
        every.append(WithinEpochs(where, checkpoint_minutes))
    return lightning.Trainer(
        default_root_dir=where,  # for what Lightning writes itself when SLURM ends a job
        accelerator="auto",
        devices=devices,
        num_nodes=nodes,
        strategy="auto" if devices * nodes == 1 else Together(),
        use_distributed_sampler=False,
        max_epochs=epochs,
        precision=precision,
        deterministic=deterministic,
        logger=False if out is None else [MetricsFile(out), *loggers],
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
        KeyboardInterrupt: Ctrl-C, after an orderly end; `last_checkpoint` gives what to go on from.
        Terminated: SIGTERM, after a checkpoint.
        CheckpointError: `ckpt` is of another version, network, training or number of processes.
        fasthebb.NonFiniteError: the weights are no longer finite; with `on_divergence="rollback"`, in spite of that.
    """
    if ckpt is not None:
        check_fits(ckpt, trainer, module)
    loader = Resumable(train_loader)
    while True:
        try:
            _fit(trainer, module, loader, val_loader, ckpt)
            break
        except NonFiniteError as error:
            divergence = next((one for one in _callbacks(trainer) if isinstance(one, Divergence)), None)
            if divergence is None:
                raise
            ckpt = divergence.go_back(trainer, error)
        except RuntimeError as error:
            if not (has_lost_others(error) and _asked_to_end(trainer)):
                raise
            raise Terminated("others ended first, and the same command goes on from the last checkpoint") from error
    if _asked_to_end(trainer):
        raise Terminated("the training is done, and the same command finishes the run")


def _asked_to_end(trainer: lightning.Trainer) -> bool:
    return any(isinstance(one, WithinEpochs) and one.asked_to_end for one in _callbacks(trainer))


def _callbacks(trainer: lightning.Trainer) -> list[Callback]:
    """Lightning does not declare them."""
    every: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return every


def _fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    train_loader: Resumable,
    val_loader: Iterable[Any] | None,
    ckpt: str | Path | None,
) -> None:
    """Lightning's way to train, quietly, with Ctrl-C as everybody knows it."""
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
