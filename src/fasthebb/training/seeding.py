"""One random stream an epoch, so that a resumed run equals an uninterrupted one."""

from collections.abc import Iterable
from typing import Any

import torch

from fasthebb.training.processes import process_rank


def seed_epoch(seed: int, epoch: int, loader: Iterable[Any]) -> None:
    """Seed torch for this epoch and, where it has a `set_epoch`, tell the loader which epoch comes.

    What an epoch draws (order, augmentation, dropout) then depends on `seed` and `epoch` alone, not on what ran
    before. A loader that draws from its own generator should seed that from `set_epoch`. Of several processes each
    draws other numbers (its images are others), the first one those of a process alone.

    >>> import torch
    >>> seed_epoch(0, 3, [])
    >>> first = torch.rand(1)
    >>> seed_epoch(0, 3, [])
    >>> bool(torch.rand(1) == first)
    True
    """
    torch.manual_seed((seed * 1_000_003 + epoch + process_rank() * 2**40) % 2**63)
    set_epoch = getattr(loader, "set_epoch", None)
    if set_epoch is not None:
        set_epoch(epoch)
