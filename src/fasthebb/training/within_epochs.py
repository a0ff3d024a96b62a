"""Checkpoints in the middle of epochs: every so many minutes, and when the system is about to end the process."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.callbacks import Checkpoint

from fasthebb.training.checkpoints import LAST

AGREE_EVERY = 16
"""Steps after which several processes ask each other whether to write a checkpoint: each waits for its device."""

TERMINATED = 128 + signal.SIGTERM
"""Exit status of a process that SIGTERM has ended, as shells say it."""


class Terminated(SystemExit):
    """SIGTERM has come; the message says where the same call goes on. Uncaught, the exit status is `TERMINATED`."""

    def __init__(self, message: str) -> None:
        super().__init__(TERMINATED)
        self.message = message

    def __str__(self) -> str:
        return self.message


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`; a training inside sees to a checkpoint first."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise Terminated("nothing is lost that was finished; the same command goes on")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class WithinEpochs(Checkpoint):
    """Write the checkpoint `last.ckpt` every `minutes`, and at once after SIGTERM, between two steps.

    After SIGTERM the training ends with `Terminated`. What SLURM sends before it ends a job is left to Lightning, which
    writes a checkpoint of its own and has the job queued again; only that it waits for the end of the step. With
    several processes all stop at the same step, every 16th of which they agree on it.

    A training that is gone on with from such a checkpoint gives the same weights, bit for bit, as one that was not
    interrupted: `Resumable` has the place among the batches and the random streams, and the attributes that a module
    names in `within_epoch`, such as the sum of its losses, are kept here.

    Args:
        folder: of the checkpoints.
        minutes: 0 for checkpoints at the ends of epochs alone.
    """

    def __init__(self, folder: str | Path, minutes: float) -> None:
        self.folder, self.minutes = Path(folder), minutes
        self.asked_to_end = False
        self._requeue: Any = None
        self._asked_to_requeue = False
        self._since = 0.0
        self._kept: dict[str, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take over the signals that Lightning has registered for, and what the module had summed up."""
        self._since = time.monotonic()
        if threading.current_thread() is threading.main_thread():  # Lightning puts the handlers back in the end
            signal.signal(signal.SIGTERM, self._note_end)
            if SLURMEnvironment.detect() and callable(requeue := signal.getsignal(signal.SIGUSR1)):
                self._requeue = requeue
                signal.signal(signal.SIGUSR1, self._note_requeue)
        if trainer.fit_loop.restarted_mid_epoch:
            if not getattr(trainer.train_dataloader, "restored", True):
                raise RuntimeError("batches were asked for before their place was restored: do so in on_train_start")
            for name, value in self._kept.items():
                setattr(pl_module, name, move_data_to_device(value, pl_module.device))
        self._kept = {}

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """End between epochs, where the checkpoint is written already."""
        self._since = time.monotonic()
        if trainer.strategy.reduce_boolean_decision(self.asked_to_end, all=False):
            raise Terminated(f"the same command goes on from epoch {trainer.current_epoch}")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Write a checkpoint where it is time, all processes alike."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # that of the epoch's end follows
        if trainer.world_size > 1 and trainer.global_step % AGREE_EVERY:
            return
        due = 0 < 60 * self.minutes <= time.monotonic() - self._since and trainer.is_global_zero
        wanted = self.asked_to_end or self._asked_to_requeue or due
        if not trainer.strategy.reduce_boolean_decision(wanted, all=False):
            return
        ends = trainer.strategy.reduce_boolean_decision(self.asked_to_end, all=False)
        requeued = trainer.strategy.reduce_boolean_decision(self._asked_to_requeue, all=False)
        trainer.save_checkpoint(self.folder / LAST)
        self._since = time.monotonic()
        if requeued and self._requeue is not None:
            self._asked_to_requeue = False
            self._requeue(signal.SIGUSR1, None)
        if ends:
            where = f"step {trainer.global_step}, in epoch {trainer.current_epoch}"
            raise Terminated(f"the checkpoint is written, and the same command goes on from {where}")

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what the module has summed up in this epoch."""
        names = getattr(pl_module, "within_epoch", ())
        checkpoint["within_epoch"] = {name: getattr(pl_module, name) for name in names}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it back, for a training that goes on in the middle of an epoch."""
        self._kept = checkpoint.get("within_epoch", {})

    def _note_end(self, signum: int, frame: FrameType | None) -> None:
        self.asked_to_end = True

    def _note_requeue(self, signum: int, frame: FrameType | None) -> None:
        self._asked_to_requeue = True
