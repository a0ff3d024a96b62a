"""Which image of a stream goes where: exactly as ``make_plan`` divides the same set in memory, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.errors import DataError, count_of
from fasthebb.data.items import Item, class_order
from fasthebb.data.plan import Plan, _check_labels, _check_splits
from fasthebb.data.splits import HELD_OUT_SHARE, SPLIT_SEED
from fasthebb.data.stream_parts import SPLITS, StreamSource

_TRAIN, _VALIDATION, _TEST = range(3)
_FEW = 10_000


@dataclass(frozen=True, eq=False)
class StreamSplits:
    """Rows of a source by their use.

    Attributes:
        train: ``(N,)`` rows of labelled training images, ascending as all of these.
        unlabelled: rows of training images without a label.
        validation: rows of labelled images.
        test: rows of labelled images.
        labels: ``(rows of the source,)`` int32 positions in ``classes``, -1 where unlabelled.
        classes: class names.
        notes: for the summary.
    """

    train: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: NDArray[np.int32]
    classes: list[str]
    notes: list[str]


def split_stream(source: StreamSource, *, need_labels: bool) -> StreamSplits:
    """Divide a source into what pre-training, fine-tuning, choosing and testing may see.

    Args:
        source: a set.
        need_labels: whether it must be fit for a classifier.

    Raises:
        DataError: for labels or splits that do not do.
    """
    labels, classes = _labels(source, need_labels)
    splits = source.splits()
    labelled = labels >= 0
    given = set(np.unique(splits[labelled]).tolist())
    missing = [code for code in (_VALIDATION, _TEST) if labelled.any() and code not in given]
    notes = []
    if missing and _TRAIN in given:
        pool = np.flatnonzero(labelled & (splits == _TRAIN))
        splits[pool] = held_out(labels[pool], missing)
        names = " and 20 % for ".join(SPLITS[code] for code in missing)
        notes.append(f"of the labelled training images 20 % were held out for {names}")
    unscored = int((~labelled & ((splits == _VALIDATION) | (splits == _TEST))).sum())
    if unscored:
        notes.append(f"left out {count_of(unscored, 'image')} of validation or test: without a label")
    found = StreamSplits(
        train=np.flatnonzero(labelled & (splits == _TRAIN)),
        unlabelled=np.flatnonzero(~labelled & (splits == _TRAIN)),
        validation=np.flatnonzero(labelled & (splits == _VALIDATION)),
        test=np.flatnonzero(labelled & (splits == _TEST)),
        labels=labels,
        classes=classes,
        notes=notes,
    )
    if need_labels:
        _check_splits(_representative(found), source.description)
    return found


def _labels(source: StreamSource, need_labels: bool) -> tuple[NDArray[np.int32], list[str]]:
    """Labels as positions in the classes, in the order that they have in memory."""
    codes, names = source.labels()
    if not need_labels and len(names) == 1 and source.classes is None:
        # One folder of images is how they are kept, not a class.
        return np.full(len(source), -1, np.int32), []
    if need_labels:
        sizes = np.bincount(codes[codes >= 0], minlength=len(names))
        shown = [
            Item("", "", bytes, name) for name, size in zip(names, sizes, strict=True) for _ in range(min(size, 2))
        ]
        _check_labels(shown or [Item("", "", bytes)] * len(source), source.description)
    classes = list(source.classes) if source.classes and names else class_order(set(names))
    unknown = [name for name in names if name not in set(classes)]
    if unknown:
        raise DataError(f"found the class '{unknown[0]}' in '{source.description}', which its list of classes has not")
    position = {name: value for value, name in enumerate(classes)}
    table = np.array([*(position[name] for name in names), -1], np.int32)
    return table[codes], classes


def held_out(labels: NDArray[np.int32], missing: Sequence[int]) -> NDArray[np.uint8]:
    """``hold_out`` without groups, as codes, for any number of images.

    Args:
        labels: ``(N,)`` classes.
        missing: codes of validation, test or both.

    Returns:
        ``(N,)`` codes.

    Example:
        >>> held_out(np.zeros(10, np.int32), [2]).tolist().count(2)
        2
    """
    assigned = np.zeros(len(labels), np.uint8)
    order = np.argsort(labels, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(labels[order])) + 1, len(labels))
    start = 0
    for value, end in enumerate(ends):
        rows = order[start:end]
        shuffled = np.random.default_rng([SPLIT_SEED, value]).permutation(rows)
        taken = 0
        for code in missing:
            count = max(min(int(HELD_OUT_SHARE * len(rows) + 0.5), len(rows) - 1 - taken), 0)
            assigned[shuffled[taken : taken + count]] = code
            taken += count
        start = int(end)
    return assigned


def _representative(found: StreamSplits) -> Plan:
    """A plan of items that stand for the rows, of a large set one a class and split."""
    plan = Plan(found.classes, grouped=False)
    for name in SPLITS:
        rows = getattr(found, name)
        codes = found.labels[rows] if len(found.labels) <= _FEW else np.unique(found.labels[rows])
        setattr(plan, name, [Item("", "", bytes, found.classes[code]) for code in codes])
    return plan
