"""Labelled subsets: how few labels an experiment pretends to have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fasthebb.data.errors import DataError, count_of, first_few

_EXPECTED = "expected a total (400), a fraction with a decimal point (0.01; 1.0 is all) or a count a class (5/class)"


def check_amount(amount: str) -> None:
    """Check the form of an amount, before any image is read.

    Raises:
        DataError: if it is malformed.
    """
    _parse(amount)


def labels_asked(labels: Tensor, amount: str, classes: Sequence[str] = ()) -> int:
    """How many labels an amount asks for.

    Args:
        labels: ``(N,)`` classes, -1 where unlabelled.
        amount: as for ``labelled_subset``.
        classes: names for the errors.

    Raises:
        DataError: if the amount is malformed, more than there is, or less than one a class.

    Example:
        >>> labels_asked(torch.tensor([0, 0, 0, 1, 1, -1]), "2/class")
        4
    """
    kind, number = _parse(amount)
    present, sizes = torch.unique(labels[labels >= 0], return_counts=True)
    total = int(sizes.sum())
    if not total:
        raise DataError(f"found the amount of labels '{amount}', but no labels in the training images: give some")
    if kind == "a class":
        names = [classes[label] if classes else str(label) for label in present.tolist()]
        short = [f"class {name} has {size}" for name, size in zip(names, sizes.tolist(), strict=True) if size < number]
        if short:
            found = first_few(short)
            raise DataError(f"asked for {amount} labels, but of the training images {found}: ask for fewer")
        return int(number) * len(present)
    count = int(number) if kind == "total" else int(number * total + 0.5)
    if count > total:
        raise DataError(
            f"asked for {count_of(count, 'label')}, there are {total} in the training images: ask for fewer"
        )
    if count < len(present):
        raise DataError(
            f"found the amount of labels '{amount}', which is {count} for {count_of(len(present), 'class')}, expected "
            f"at least one a class: ask for more"
        )
    return count


def labelled_subset(
    labels: Tensor, amount: str, *, seed: int, groups: Sequence[str] | None = None, classes: Sequence[str] = ()
) -> Tensor:
    """Choose which labels to use.

    Stratified: a total or fraction is shared among the classes in proportion to their sizes (Sainte-Laguë), and each
    class gets at least one. Nested: with one seed, a smaller total or fraction is contained in a larger one, and a
    smaller count a class in a larger one, because both take the beginning of one seeded order.

    With groups (a patient's images), the order is one of whole groups, each the one that best serves the classes that
    lag behind their share. A total or fraction is the longest beginning that has no more images, a count a class the
    shortest that gives every class at least as many.

    Args:
        labels: ``(N,)`` classes; images with -1 are never chosen.
        amount: "400" is a total, "0.01" a fraction of the labelled images, "1.0" all, "5/class" a count a class.
        seed: chooses the order.
        groups: N group names; an image with an empty one is a group of its own. ``None``: no groups.
        classes: class names, for the errors.

    Returns:
        Positions ``(M,)`` int64, ascending.

    Raises:
        DataError: if the amount is malformed, more than there is, or less than one a class.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, -1])
        >>> labels[labelled_subset(labels, "3", seed=0)].tolist()
        [0, 0, 1]
        >>> labelled_subset(labels, "1.0", seed=0).tolist()
        [0, 1, 2, 3, 4, 5]
        >>> labelled_subset(labels, "5", seed=0, groups=["a", "a", "b", "b", "c", "c", "a"]).tolist() in (
        ...     [0, 1, 4, 5], [2, 3, 4, 5])
        True
    """
    if groups is not None and len(groups) != len(labels):
        raise DataError(
            f"found {count_of(len(groups), 'group')} for {count_of(len(labels), 'label')}, expected one an image"
        )
    kind, number = _parse(amount)
    count = labels_asked(labels, amount, classes)
    rows: list[int] = torch.nonzero(labels >= 0).reshape(-1).tolist()
    a_class = int(number) if kind == "a class" else None
    if groups is None or not any(groups[row] for row in rows):
        chosen = _images(labels, count, a_class, seed)
    else:
        values = np.unique(labels[rows].numpy(force=True), return_inverse=True)[1]
        names = [groups[row] or f"\0{row}" for row in rows]
        chosen = [rows[one] for one in _whole_groups(values, names, count, a_class, seed)]
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def _images(labels: Tensor, count: int, a_class: int | None, seed: int) -> list[int]:
    """``count`` images, or the first ``a_class`` of every class."""
    generator = torch.Generator().manual_seed(seed)
    order: list[tuple[float, int, int, int]] = []
    for label in torch.unique(labels[labels >= 0]).tolist():
        rows = torch.nonzero(labels == label).reshape(-1)
        shuffled = rows[torch.randperm(len(rows), generator=generator)].tolist()
        lot = int(torch.randint(2**31, (1,), generator=generator))  # classes in equal need take turns by lot
        for rank, row in enumerate(shuffled):
            need = (rank + 0.5) / len(shuffled) if rank else 0.0  # the first of every class comes before all others
            order.append((need, lot, rank, row))
    if a_class is not None:
        return [row for _, _, rank, row in order if rank < a_class]
    return [row for *_, row in sorted(order)[:count]]


def _whole_groups(
    values: NDArray[np.int64], names: Sequence[str], count: int, a_class: int | None, seed: int
) -> NDArray[np.int64]:
    """Positions of the images of the first groups: of at most ``count`` images, or of ``a_class`` and more a class."""
    group_of = np.unique(names, return_inverse=True)[1]
    counts = np.zeros((group_of.max() + 1, values.max() + 1))  # (G, K)
    np.add.at(counts, (group_of, values), 1)
    # A count a class is for classes alike, however rare they are; a total mirrors their sizes.
    share = counts.sum(0) if a_class is None else np.ones(counts.shape[1])
    order = _order_of_groups(counts, share, seed)
    drawn = counts[order].cumsum(0)  # (G, K): what each beginning has of each class
    if a_class is not None:
        length = 1 + int(np.argmax((drawn >= a_class).all(1)))
    else:
        length = int((drawn.sum(1) <= count).sum())
        covering = 1 + int(np.argmax((drawn > 0).all(1)))
        if length < covering:
            smallest = int(drawn[covering - 1].sum())
            raise DataError(
                f"asked for {count} labels, but a draw takes whole groups, and the smallest with every class has "
                f"{smallest} images: ask for at least {smallest}"
            )
    return np.flatnonzero(np.isin(group_of, order[:length]))


def _order_of_groups(counts: NDArray[np.float64], share: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """All groups, in an order of which every beginning is near the classes' shares.

    First come those that bring the most missing classes for their images; then always the group whose images are, on
    average, of the classes that lag most by Sainte-Laguë, (drawn + 1/2) / share. Equals come by lot.
    """
    # Groups alike in their classes are weighed once, and queue by lot.
    kinds, kind_of = np.unique(counts, axis=0, return_inverse=True)  # (T, K)
    lots = np.random.default_rng(seed % 2**64).permutation(len(counts))
    queues: list[list[int]] = [[] for _ in kinds]
    for group in np.argsort(-lots):
        queues[kind_of[group]].append(int(group))
    first_lot = np.array([lots[queue[-1]] for queue in queues], np.float64)
    sizes = kinds.sum(1)
    drawn = np.zeros(len(share))
    order: list[int] = []
    while len(order) < len(counts):
        missing = drawn == 0
        merit = (kinds[:, missing] > 0).sum(1) if missing.any() else -kinds @ ((drawn + 0.5) / share)
        merit = np.where(np.isfinite(first_lot), np.round(merit / sizes, 9), -np.inf)  # rounded: equals are equal
        best = int(np.argmin(np.where(merit == merit.max(), first_lot, np.inf)))
        order.append(queues[best].pop())
        drawn += kinds[best]
        first_lot[best] = lots[queues[best][-1]] if queues[best] else np.inf
    return np.array(order)


def _parse(amount: str) -> tuple[str, float]:
    text = str(amount).strip()
    a_class = re.fullmatch(r"(\d{1,12})/class", text)
    if a_class and int(a_class[1]) > 0:
        return "a class", int(a_class[1])
    if re.fullmatch(r"\d{1,12}", text) and int(text) > 0:
        return "total", int(text)
    if re.fullmatch(r"(\d+\.\d*|\.\d+)", text) and 0 < float(text) <= 1:
        return "fraction", float(text)
    raise DataError(f"found the amount of labels '{text}', {_EXPECTED}")
