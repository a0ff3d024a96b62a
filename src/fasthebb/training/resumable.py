"""Batches that a training goes on with in the middle of an epoch, exactly where it was."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Resumable:
    """Batches of `loader` with a place to go on from, which Lightning keeps in its checkpoints.

    A loader whose epochs are a function of what `set_epoch` told it is read again up to that place. One that has a
    `state_dict` and `load_state_dict` of its own, such as a stream, is asked for these instead. torch's random stream
    goes on where it was as well, so that nothing differs from an epoch that was not interrupted.

    Args:
        loader: sized iterable of batches, perhaps with `set_epoch(epoch)`.

    Attributes:
        restored: whether a state has been loaded.

    >>> batches = Resumable([10, 20, 30])
    >>> iterator = iter(batches)
    >>> next(iterator), next(iterator)
    (10, 20)
    >>> again = Resumable([10, 20, 30])
    >>> again.load_state_dict(batches.state_dict())
    >>> list(again), list(again)
    ([30], [10, 20, 30])
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._epoch = 0
        self._given = 0  # batches of the pass that was begun last
        self._from: dict[str, Any] | None = None  # where the next pass begins
        self.restored = False

    def set_epoch(self, epoch: int) -> None:
        """Tell the loader which epoch comes."""
        self._epoch = epoch
        tell = getattr(self.loader, "set_epoch", None)
        if tell is not None:
            tell(epoch)

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        start, self._from = self._from, None
        return self._pass(start)  # now, as the pass that was made first is the one that begins there

    def state_dict(self) -> dict[str, Any]:
        """Place and random streams, of every process."""
        own: dict[str, Any] = {"rng": torch.get_rng_state(), "cuda_rng": _cuda_streams()}
        if hasattr(self.loader, "state_dict"):
            own["loader"] = self.loader.state_dict()
        return {"epoch": self._epoch, "given": self._given, "processes": _of_every_process(own)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next pass where `state_dict` was taken."""
        self._from = state
        self.restored = True

    def _pass(self, start: dict[str, Any] | None) -> Iterator[Any]:
        if start is None:
            given, batches = 0, iter(self.loader)
        else:
            given, batches = start["given"], self._at(start)
        for batch in batches:
            given += 1
            self._given = given
            yield batch

    def _at(self, start: dict[str, Any]) -> Iterator[Any]:
        """The rest of an epoch."""
        self.set_epoch(start["epoch"])
        own = start["processes"][dist.get_rank() if _several() else 0]
        if "loader" in own:
            self.loader.load_state_dict(own["loader"])  # type: ignore[attr-defined]
            batches = iter(self.loader)
        else:
            batches = iter(self.loader)
            for _ in range(start["given"]):
                next(batches, None)
        torch.set_rng_state(own["rng"])
        if own["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(own["cuda_rng"])
        return batches


def _cuda_streams() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _of_every_process(own: dict[str, Any]) -> list[dict[str, Any]]:
    """By rank; one process writes the checkpoint of all."""
    if not _several():
        return [own]
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, own)
    return every


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
