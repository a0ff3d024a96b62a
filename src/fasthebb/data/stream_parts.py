"""What a set that does not fit into memory is made of: parts that know where their images lie, and hold none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.items import Item, Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""By the codes that a part says them with."""
NOWHERE = 3
"""Code of an image that is in none of them."""


class Part(ABC):
    """A shard, a table or a folder: some images, in a fixed order.

    Attributes:
        name: as the user would write it.
        count: number of images.
        blocks: ``(B + 1,)`` first rows of what can only be read together, and the count; ``None`` where every image
            can be read by itself.
        block_bytes: encoded images in the largest block.
    """

    name: str
    count: int
    blocks: NDArray[np.int64] | None = None
    block_bytes: int = 0

    @abstractmethod
    def splits(self) -> NDArray[np.uint8]:
        """``(count,)`` codes, positions in ``SPLITS`` or ``NOWHERE``."""

    @abstractmethod
    def labels(self) -> tuple[NDArray[np.int32], list[str]]:
        """``(count,)`` positions in a list of class names, -1 where unlabelled, and that list."""

    @abstractmethod
    def content(self, row: int) -> Callable[[], bytes]:
        """What gives the encoded image of a row, in another process too."""

    @abstractmethod
    def name_of(self, row: int) -> str:
        """The image of a row as the user would write it."""


@dataclass(frozen=True, eq=False)
class StreamSource:
    """A set of images that stays where it is.

    Attributes:
        description: how the summary calls it.
        parts: what it is made of.
        classes: class names in the order that the source gives them, ``None`` where it gives none.
        skipped: ``(path, reason)`` of files that are no images.
        roots: resolved paths that it was found under, none on the Hub.
    """

    description: str
    parts: list[Part]
    classes: list[str] | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    roots: tuple[str, ...] = ()
    starts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        counts = [part.count for part in self.parts]
        object.__setattr__(self, "starts", np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def blocks(self) -> NDArray[np.int64] | None:
        """``(B,)`` first rows of what can only be read together; ``None`` where nothing is."""
        if all(part.blocks is None for part in self.parts):
            return None
        inner = [np.zeros(1, np.int64) if part.blocks is None else part.blocks[:-1] for part in self.parts]
        return np.concatenate([start + one for start, one in zip(self.starts[:-1], inner, strict=True)])

    @property
    def block_bytes(self) -> int:
        """Encoded images in the largest block, 0 where there are no blocks."""
        return max(part.block_bytes for part in self.parts)

    def splits(self) -> NDArray[np.uint8]:
        """``(N,)`` codes of the rows."""
        return np.concatenate([part.splits() for part in self.parts])

    def labels(self) -> tuple[NDArray[np.int32], list[str]]:
        """``(N,)`` positions in a list of class names, -1 where unlabelled, and that list."""
        position: dict[str, int] = {}
        codes = np.empty(len(self), np.int32)
        for start, part in zip(self.starts[:-1], self.parts, strict=True):
            own, names = part.labels()
            # One entry more, so that -1 stays -1.
            table = np.array([*(position.setdefault(name, len(position)) for name in names), -1], np.int32)
            codes[start : start + part.count] = table[own]
        return codes, list(position)

    def item(self, row: int) -> Item:
        """The image of a row, not yet read; it can be sent to another process."""
        part, inside = self._find(row)
        return Item(f"#{row}", "", part.content(inside))

    def name_of(self, row: int) -> str:
        """The image of a row as the user would write it."""
        part, inside = self._find(row)
        return part.name_of(inside)

    def _find(self, row: int) -> tuple[Part, int]:
        position = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[position], row - int(self.starts[position])


def positions_of(named: Sequence[str | None]) -> tuple[NDArray[np.int32], list[str]]:
    """A table from positions in ``named`` to those among its different names, with an entry more that is -1.

    Example:
        >>> positions_of(["b", None, "a", "b"])
        (array([ 0, -1,  1,  0, -1], dtype=int32), ['b', 'a'])
    """
    position: dict[str, int] = {}
    table = [-1 if name is None else position.setdefault(name, len(position)) for name in named]
    return np.array([*table, -1], np.int32), list(position)


def joined(sources: list[StreamSource]) -> StreamSource:
    """Several sources as one, their rows one after the other; description and classes are those of the first."""
    first = sources[0]
    return StreamSource(
        first.description,
        [part for source in sources for part in source.parts],
        first.classes,
        [one for source in sources for one in source.skipped],
        tuple(root for source in sources for root in source.roots),
    )
