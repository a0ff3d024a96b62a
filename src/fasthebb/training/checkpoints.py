"""Checkpoints that survive being killed while they are written."""

import contextlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fasthebb.training.weights import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints to a temporary file beside the target and rename it when it is whole.

    Lightning's own way goes through the system's temporary folder, from where a move to another disk is a copy that a
    kill can cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`; OSError where that fails, the previous file being as it was."""
        try:
            write_atomically(Path(path), lambda file: torch.save(checkpoint, file))
        except (OSError, RuntimeError) as error:
            raise OSError(f"cannot write the checkpoint {path}: {error}") from error


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest readable checkpoint `*.ckpt` of a folder, None without one; broken files are passed over.

    >>> last_checkpoint("no/such/folder") is None
    True
    """
    for path in sorted(
        Path(folder).glob("*.ckpt"), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True
    ):
        with contextlib.suppress(Exception):  # torch.load raises half a dozen types at a file that is not whole
            torch.load(path, weights_only=True, map_location="cpu", mmap=True)
            return path
    return None
