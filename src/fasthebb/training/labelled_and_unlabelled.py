"""Batches with masks and batches without, side by side."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from torch import Tensor

Batch = Sequence[Tensor]


class Loader(Protocol):
    """What gives batches, such as `fasthebb.data.Crops`; with a `set_epoch(epoch)` where it draws."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...


class LabelledAndUnlabelled:
    """Pairs of a batch of `labelled` and a batch of `unlabelled`, for a `SemiSupervised` training.

    An epoch ends with the longer of the two; the shorter one begins anew as often as needed, each time with the number
    of an epoch of its own, so that what it gives is a function of the epoch alone.

    Args:
        labelled: gives `(images, masks)`.
        unlabelled: gives batches that begin with images.

    Raises:
        ValueError: one of them has no batches.

    >>> pairs = LabelledAndUnlabelled(["a", "b"], ["u", "v", "w"])
    >>> len(pairs), [*pairs]
    (3, [('a', 'u'), ('b', 'v'), ('a', 'w')])
    """

    def __init__(self, labelled: Loader, unlabelled: Loader) -> None:
        for name, loader in (("labelled", labelled), ("unlabelled", unlabelled)):
            if not len(loader):
                raise ValueError(f"the {name} images have no batches, expected at least one")
        self.labelled, self.unlabelled = labelled, unlabelled
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; without it every pass is as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        return max(len(self.labelled), len(self.unlabelled))

    def __iter__(self) -> Iterator[tuple[Batch, Batch]]:
        return zip(self._batches(self.labelled), self._batches(self.unlabelled), strict=True)

    def _batches(self, loader: Loader) -> Iterator[Batch]:
        """As many as the epoch has steps."""
        passes = -(-len(self) // len(loader))
        return islice(
            (batch for one in range(passes) for batch in _of_epoch(loader, self._epoch * passes + one)), len(self)
        )


def _of_epoch(loader: Loader, epoch: int) -> Loader:
    set_epoch: Any = getattr(loader, "set_epoch", None)
    if set_epoch is not None:
        set_epoch(epoch)
    return loader
