"""From what a user has to the image sets of an experiment, without reading more than a few images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fasthebb.data.channels import common_channels
from fasthebb.data.errors import DataError, count_of, first_few
from fasthebb.data.loading import DEFAULT_IMAGE_SIZE, _check_numbers, draw_labels
from fasthebb.data.reading import read_item
from fasthebb.data.stream_parts import StreamSource, joined
from fasthebb.data.stream_set import StreamData, StreamSet
from fasthebb.data.stream_sources import open_stream
from fasthebb.data.stream_splits import split_stream
from fasthebb.data.stream_workers import usual_workers
from fasthebb.data.subsets import check_amount

_LOOKED_AT = 64
"""Images that say how many channels there are."""
_TRIED = 1000
"""Images of a set that are tried until one can be read."""


def load_stream(
    data: str | Path,
    *,
    unlabelled: str | Path | Sequence[str | Path] = (),
    labels: str | None = None,
    image_size: int | None = None,
    default_size: int = DEFAULT_IMAGE_SIZE,
    channels: int | None = None,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
    need_labels: bool = True,
    workers: int | None = None,
) -> StreamData:
    """Find the images of a set of any size and divide them as `load_images` does, leaving them where they are.

    Splits, held-out images and draws of labels are those that the same set has in memory. Label files and groups are
    not known here.

    Args:
        data: a folder of images by class (optionally below train/, validation/, test/) or without labels, parquet
            files, WebDataset shards, or a name on the Hugging Face Hub.
        unlabelled: more of these for pre-training; their labels and splits are not read.
        labels: how many labels to use, see ``labelled_subset``; all if left out.
        image_size: side in pixels; ``default_size`` if left out.
        default_size: side in pixels that the network takes.
        channels: if left out, what 64 images have in common: 1 if they are all grey, otherwise 3, or the number that
            deeper images have.
        seed: chooses the labelled subset.
        strict: whether an image that cannot be read is an error instead of being skipped.
        progress: whether a long look through the data shows a bar.
        need_labels: whether the data must be fit for a classifier; pre-training takes any.
        workers: processes that read and decode; see `usual_workers`.

    Raises:
        DataError: for every mistake in the arguments or the data, in one line.
    """
    size = default_size if image_size is None else image_size
    _check_numbers(size, channels)
    processes = usual_workers() if workers is None else workers
    if processes < 0:
        raise DataError(f"found {processes} workers, expected 0 or more")
    if labels is not None:
        check_amount(labels)
    source = open_stream(data, strict=strict, progress=progress)
    splits = split_stream(source, need_labels=need_labels)
    more = [unlabelled] if isinstance(unlabelled, str | Path) else list(unlabelled)
    further = [open_stream(one, strict=strict, plain=True, progress=progress) for one in more]
    _check_apart([source, *further])
    every = joined([source, *further])
    if every.skipped:
        listed = first_few(f"{path} ({reason})" for path, reason in every.skipped)
        warnings.warn(
            f"skipped {count_of(len(every.skipped), 'file')} of '{source.description}': {listed}",
            UserWarning,
            stacklevel=2,
        )
    for_training = np.concatenate([splits.train, splits.unlabelled, np.arange(len(source), len(every), dtype=np.int64)])
    if not len(for_training):
        raise DataError(
            f"found only images of validation or test in '{data}', expected some to train on: give these too"
        )
    notes = list(splits.notes)
    if image_size is None:
        notes.insert(0, f"the image size was chosen: {size}; another is set by image_size (--image-size)")
    if channels is None:
        channels = _common_channels(every, for_training, size)
        notes.append(f"the number of channels was found in {min(_LOOKED_AT, len(for_training))} images")

    def labelled(rows: NDArray[np.int64]) -> StreamSet:
        own = torch.from_numpy(splits.labels[rows].astype(np.int64))
        return _with_spare(every, rows, own, size, channels, strict, processes)

    nothing_known = torch.tensor(-1).expand(len(for_training))  # a single number in memory
    found = StreamData(
        unlabelled=_with_spare(every, for_training, nothing_known, size, channels, strict, processes),
        train=labelled(splits.train),
        validation=labelled(splits.validation),
        test=labelled(splits.test),
        classes=splits.classes,
        skipped=every.skipped,
        source=source.description,
        notes=tuple(notes),
    )
    return found if labels is None or not len(found.train) else draw_labels(found, labels, seed)


def _check_apart(sources: Sequence[StreamSource]) -> None:
    """Whether no source holds another: images held out from one would come back by the other."""
    roots = [Path(root) for source in sources for root in source.roots]
    for position, one in enumerate(roots):
        for other in roots[position + 1 :]:
            if one.is_relative_to(other) or other.is_relative_to(one):
                raise DataError(
                    f"'{other}' and '{one}' lie within each other, so that images held out from one would come back by "
                    f"the other: give folders that are apart"
                )


def _common_channels(source: StreamSource, rows: NDArray[np.int64], size: int) -> int:
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(np.int64))]
    found: dict[int, list[str]] = {}
    for row in chosen.tolist():
        pixels = read_item(source.item(row), min(size, 32), strict=False)
        if not isinstance(pixels, str):
            found.setdefault(pixels.shape[2], []).append(source.name_of(row))
    if not found:
        raise DataError(
            f"none of {len(chosen)} images of '{source.description}' can be read; the first, "
            f"{source.name_of(int(chosen[0]))}: {read_item(source.item(int(chosen[0])), 8, strict=False)}"
        )
    return common_channels(found)


def _with_spare(
    source: StreamSource,
    rows: NDArray[np.int64],
    labels: Tensor,
    size: int,
    channels: int,
    strict: bool,
    workers: int,
) -> StreamSet:
    """A set with the first of its images that can be read."""
    blank = torch.zeros(1, channels, size, size, dtype=torch.uint8)
    images = StreamSet(source, rows, labels, size, channels, blank, -1, strict, workers)
    for position in range(min(len(rows), _TRIED)):
        one = images.read(np.array([position]))
        if len(one):
            return replace(images, spare=one.images, spare_label=int(one.labels))
    if len(rows):
        first = source.item(int(rows[0]))
        raise DataError(
            f"none of the first {min(len(rows), _TRIED)} images of '{source.description}' for one of its sets can be "
            f"read; the first, {source.name_of(int(rows[0]))}: {read_item(first, 8, strict=False)}"
        )
    return images
