"""Whether a training can go on from a checkpoint: of this version, this network and so many processes."""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from fasthebb.training.checkpoints import CheckpointError

FORMAT = 2
"""Changes when a checkpoint cannot be gone on from by code that is older or newer."""
_LIBRARIES = ("torch", "lightning")
_ORIGIN = "fasthebb"


class Origin(Callback):
    """Writes into each checkpoint by what it was made."""

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the versions, the kind of training and the number of processes."""
        checkpoint[_ORIGIN] = {
            "format": FORMAT,
            "training": type(pl_module).__name__,
            "processes": trainer.world_size,
            "versions": {name: version(name) for name in (_ORIGIN, *_LIBRARIES)},
        }


def check_fits(path: str | Path, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """See whether `trainer` can go on with `module` from the checkpoint `path`, before anything is changed.

    Other versions of torch and Lightning are warned of: the result is then not the same bit for bit.

    Raises:
        CheckpointError: it is of another format, training, network or number of processes.
    """
    checkpoint = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    again = "repeat the run as it was, or choose another --out"
    origin = checkpoint.get(_ORIGIN) if isinstance(checkpoint, dict) else None
    if not isinstance(origin, dict) or origin.get("format") != FORMAT:
        found = origin.get("format") if isinstance(origin, dict) else "an older one"
        raise CheckpointError(
            f"{path} has the format {found}, this version of fasthebb goes on from format {FORMAT}: finish the run "
            "with the version that began it, or choose another --out"
        )
    if origin["training"] != type(module).__name__:
        raise CheckpointError(f"{path} is of a {origin['training']}, expected a {type(module).__name__}: {again}")
    if origin["processes"] != trainer.world_size:
        raise CheckpointError(
            f"{path} is of {origin['processes']} processes, expected {trainer.world_size}: go on with as many, or "
            "choose another --out"
        )
    _check_network(path, checkpoint["state_dict"], module, again)
    theirs = origin["versions"]
    for name in _LIBRARIES:
        if theirs[name] != version(name):
            warnings.warn(
                f"the run was begun with {name} {theirs[name]} and goes on with {version(name)}: it will not be the "
                "same bit for bit as one that was not interrupted",
                UserWarning,
                stacklevel=3,
            )


def _check_network(path: str | Path, found: dict[str, Any], module: lightning.LightningModule, again: str) -> None:
    expected = module.state_dict()
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected:
            where = "has no" if name not in found else "has"
            raise CheckpointError(f"{path} {where} {name}, which the network of this run does otherwise: {again}")
        if found[name].shape != expected[name].shape:
            raise CheckpointError(
                f"{path} has {name} {tuple(found[name].shape)}, the network of this run {tuple(expected[name].shape)}: "
                f"{again}"
            )
