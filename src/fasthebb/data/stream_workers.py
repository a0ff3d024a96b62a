"""Images of a stream, read and decoded by worker processes in the order in which they are asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fasthebb.data.channels import convert
from fasthebb.data.errors import DataError
from fasthebb.data.items import Item
from fasthebb.data.stream_decoding import read_quickly
from fasthebb.data.stream_parts import StreamSource

_AHEAD = 4  # batches that each worker may have ready
_MOST_WORKERS = 8


@dataclass(frozen=True)
class DecodedBatch:
    """What became of some images.

    Attributes:
        images: ``(M, C, S, S)`` in channels_last, uint8 if all of them are, otherwise float32 in [0, 1].
        kept: ``(M,)`` their positions among those asked for.
        failed: ``(position, reason)`` of the others.
    """

    images: Tensor
    kept: list[int]
    failed: list[tuple[int, str]]


def usual_workers() -> int:
    """Processes that decode: the processor's cores, at most 8; half of them where they compute the network as well."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores if torch.cuda.is_available() else cores // 2))


def decoded(
    source: StreamSource, row_lists: Iterable[NDArray[np.int64]], *, image_size: int, channels: int, workers: int
) -> Iterator[DecodedBatch]:
    """Read and decode lists of images, one after the other, whatever the number of workers.

    Args:
        source: where they are.
        row_lists: rows ``(B,)`` of each batch; asked for some batches ahead.
        image_size: side in pixels.
        channels: of the results; an image that has others, other than grey for colour and back, counts as unreadable.
        workers: processes; 0 decodes in this one.

    Raises:
        DataError: if a package is missing, or a worker has ended.
    """
    # The items of a batch are made here, as the batch is handed out: workers get to know no more of the set than that.
    batches = ([source.item(int(row)) for row in rows] for rows in row_lists)
    loader: Iterable[DecodedBatch | DataError] = DataLoader(
        _Decoder(image_size, channels),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=_AHEAD if workers else None,
        generator=torch.Generator(),  # its own, so that the global one is not moved
    )
    try:
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            "a process that decodes images has ended, perhaps for want of memory: give fewer --workers"
        ) from error


class _Decoder(Dataset[Any]):
    """Decodes whole batches, as ``DataLoader`` asks for them."""

    def __init__(self, image_size: int, channels: int) -> None:
        self.image_size, self.channels = image_size, channels

    def __getitem__(self, item: Item) -> DecodedBatch | DataError:
        return self.__getitems__([item])

    def __getitems__(self, items: list[Item]) -> DecodedBatch | DataError:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # decoders do not say which file they warn of
                return self._decode(items)
        except DataError as error:  # raised in the main process, where it stays one line
            return error

    def _decode(self, items: list[Item]) -> DecodedBatch:
        kept: list[int] = []
        failed: list[tuple[int, str]] = []
        images: list[NDArray[Any]] = []
        for position, item in enumerate(items):
            pixels = read_quickly(item, self.image_size)
            if isinstance(pixels, str):
                failed.append((position, pixels))
            elif pixels.shape[2] != self.channels and {pixels.shape[2], self.channels} != {1, 3}:
                failed.append((position, f"it has {pixels.shape[2]} channels, not {self.channels}"))
            else:
                kept.append(position)
                images.append(convert(pixels, self.channels))
        shallow = all(one.dtype == np.uint8 for one in images)
        stacked = np.empty(
            (len(images), self.image_size, self.image_size, self.channels), np.uint8 if shallow else np.float32
        )
        for row, one in enumerate(images):
            stacked[row] = one if shallow or one.dtype != np.uint8 else one.astype(np.float32) / 255
        return DecodedBatch(torch.from_numpy(stacked).permute(0, 3, 1, 2), kept, failed)


def _as_it_is(batch: Any) -> Any:
    """What a worker made, as it is."""
    return batch
