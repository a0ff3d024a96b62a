"""Weights on disk: safetensors, written whole or not at all, and checked before they enter a network."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn


class WeightsError(ValueError):
    """A weights file cannot be written or read, or does not fit the network. The message is one line."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Create or replace the file `path` with what `write` writes, so that no reader ever sees a part of it.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name in one step. After a
    failure, `path` is what it was and the temporary file is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _flush_names(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush_names(folder: Path) -> None:
    """See to it that a new name outlives a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_weights(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and their description to a safetensors file, atomically.

    Args:
        path: the file; an existing one is replaced, missing folders are made.
        tensors: by name, any device, dtype and layout; contiguous copies are written.
        metadata: text by name, kept in the file's header.

    Raises:
        WeightsError: the file cannot be written (a full disk, a read-only folder); an existing one is as it was.

    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "encoder.safetensors"
    >>> save_weights(path, {"weight": torch.eye(2)}, {"model": "cnn6"})
    >>> tensors, metadata = load_weights(path)
    >>> tensors["weight"].shape, metadata
    (torch.Size([2, 2]), {'model': 'cnn6'})
    """
    path = Path(path)
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    content = save(copies, metadata=dict(metadata))
    try:
        write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error.strerror or error}") from error


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors (on the CPU) and metadata of a safetensors file; nothing in it is ever executed.

    Raises:
        WeightsError: there is no such file, or it is no (whole) safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path} is not a readable safetensors file (broken or truncated?): {reason}") from error


def load_into(
    model: nn.Module, tensors: Mapping[str, Tensor], *, strict_prefixes: Sequence[str] = ("features.",)
) -> None:
    """Copy tensors into a network: exactly those whose names begin with one of `strict_prefixes`.

    Among these names the file and the network must agree, in number and in shape; the rest of both is left alone.
    `("features.", "classifier.")` loads a whole network, the default only the part that learns without labels.

    Raises:
        WeightsError: a tensor is missing, superfluous or of another shape (the first is named, and what to do), or
            holds a value that is not finite; the network is as it was.

    >>> import torch
    >>> load_into(torch.nn.Linear(2, 1), {"weight": torch.zeros(1, 3)}, strict_prefixes=("weight",))
    Traceback (most recent call last):
    ...
    fasthebb.training.weights.WeightsError: the weights do not fit the network: weight is (1, 3) in ...
    """
    own = check_fit(model, tensors, strict_prefixes=strict_prefixes)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def check_fit(
    model: nn.Module, tensors: Mapping[str, Tensor], *, strict_prefixes: Sequence[str] = ("features.",)
) -> dict[str, Tensor]:
    """See whether `load_into` would succeed, and give the network's own tensors of these names.

    A network on torch's device "meta" will do, which takes no memory however large it is.

    Raises:
        WeightsError: as `load_into`.
    """
    prefixes = tuple(strict_prefixes)
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(prefixes)}
    given = {name: tensor for name, tensor in tensors.items() if name.startswith(prefixes)}
    for name in sorted(own | given):
        if name not in given:
            problem = f"the network has {name} {tuple(own[name].shape)}, the file has no such tensor"
        elif name not in own:
            problem = f"the file has {name} {tuple(given[name].shape)}, the network has no such tensor"
        elif own[name].shape != given[name].shape:
            problem = f"{name} is {tuple(given[name].shape)} in the file and {tuple(own[name].shape)} in the network"
        elif not torch.isfinite(given[name]).all():
            raise WeightsError(f"the weights are unusable: {name} has values that are not finite; pre-train again")
        else:
            continue
        raise WeightsError(
            f"the weights do not fit the network: {problem}; build it with the model, width, hidden size, image size "
            "and channels that the file was written with, or pre-train again with these"
        )
    return own
