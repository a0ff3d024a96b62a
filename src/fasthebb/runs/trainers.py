"""Lightning's trainer as a run's options want it."""

from collections.abc import Sequence
from pathlib import Path

import lightning
from lightning.pytorch.loggers import Logger

from fasthebb.runs.options import FinetuneOptions, PretrainOptions
from fasthebb.training import make_trainer


def trainer_of(
    options: PretrainOptions | FinetuneOptions,
    out: Path,
    *,
    epochs: int,
    progress: bool,
    keep_best: bool = False,
    loggers: Sequence[Logger] = (),
) -> lightning.Trainer:
    """The one that trains in the folder ``out``; with ``keep_best`` it keeps the best epoch on validation images."""
    return make_trainer(
        epochs=epochs,
        out=out,
        precision=options.precision,
        progress=progress,
        deterministic=options.deterministic,
        checkpoint_minutes=options.checkpoint_minutes,
        on_divergence=options.on_divergence,
        keep_best="val_top1" if keep_best else None,
        devices=options.devices,
        nodes=options.nodes,
        loggers=loggers,
    )
