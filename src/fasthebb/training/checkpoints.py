"""Checkpoints that survive being killed while they are written, and say when they are damaged."""

import contextlib
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fasthebb.training.weights import write_atomically

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""The newest checkpoint of a folder, and the one before it."""


class CheckpointError(ValueError):
    """A checkpoint that a training cannot go on from, in one line: what was found, what was expected, what to do."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints beside the target and rename them when they are whole; keep the one before the last.

    Lightning's own way goes through the system's temporary folder, from where a move to another disk is a copy that a
    kill can cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`; what was there before is kept as `PREVIOUS` if it was the `LAST`.

        Raises:
            OSError: it cannot be written (a full disk, a quota); the previous file is as it was.
            KeyboardInterrupt: Ctrl-C meanwhile; likewise.
        """
        path = Path(path)
        whole = path.with_name(f".{path.name}.whole")
        try:
            write_atomically(whole, lambda file: torch.save(checkpoint, file))
            if path.name == LAST and path.exists():
                path.replace(path.with_name(PREVIOUS))
            whole.replace(path)
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__context__ or error  # torch hides why a write fails
            if isinstance(cause, KeyboardInterrupt):
                raise cause from None
            reason = (cause.strerror if isinstance(cause, OSError) else None) or " ".join(str(cause).split())[:160]
            left = "the last one is still there: make room" if path.exists() else "make room"
            raise OSError(f"cannot write the checkpoint {path} ({reason}); {left} and give the same command") from error


def damage(path: str | Path) -> str | None:
    """Why a checkpoint cannot be read, None if it is whole: every byte of it is compared with its checksums.

    >>> damage("no/such/last.ckpt")
    'No such file or directory'
    """
    try:
        with zipfile.ZipFile(path) as archive:  # as torch writes them; torch itself does not look at the checksums
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                return "it is compressed, which torch never does"
            if (broken := archive.testzip()) is not None:
                return f"the checksum of {broken} is wrong"
        torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:  # half a dozen types, by where the file is damaged
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return None


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest whole checkpoint `*.ckpt` of a folder, None without one; damaged ones are passed over with a warning.

    >>> last_checkpoint("no/such/folder") is None
    True
    """
    dated = []
    for path in Path(folder).glob("*.ckpt"):
        with contextlib.suppress(FileNotFoundError):  # another process has just replaced it
            dated.append((path.stat().st_mtime_ns, path.name == LAST, path.name, path))
    passed_over: list[str] = []
    for *_, path in sorted(dated, reverse=True):
        reason = damage(path)
        if reason is None:
            _warn(passed_over, f"the training goes on from {path.name}, the one before")
            return path
        passed_over.append(f"{path} is damaged ({reason})")
    _warn(passed_over, "no other is left, and the training starts from its beginning")
    return None


def _warn(passed_over: list[str], then: str) -> None:
    if passed_over:
        warnings.warn(f"{'; '.join(passed_over)}: {then}", UserWarning, stacklevel=3)
