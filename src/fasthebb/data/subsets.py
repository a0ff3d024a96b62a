"""Labelled subsets: how few labels an experiment pretends to have."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from fasthebb.data.errors import DataError, first_few

_EXPECTED = "expected a total (400), a fraction with a decimal point (0.01; 1.0 is all) or a count a class (5/class)"


def check_amount(amount: str) -> None:
    """Check the form of an amount, before any image is read.

    Raises:
        DataError: if it is malformed.
    """
    _parse(amount)


def labelled_subset(labels: Tensor, amount: str, *, seed: int) -> Tensor:
    """Choose which labels to use.

    Stratified: a total or fraction is shared among the classes in proportion to their sizes (Sainte-Laguë), and each
    class gets at least one. Nested: with one seed, a smaller total or fraction is contained in a larger one, and a
    smaller count a class in a larger one, because both take the beginning of one seeded order. Images are drawn one by
    one from the training images; that a group lies in one split only is the affair of the split.

    Args:
        labels: ``(N,)`` classes; images with -1 are never chosen.
        amount: "400" is a total, "0.01" a fraction of the labelled images, "1.0" all, "5/class" a count a class.
        seed: chooses the order.

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
    """
    kind, number = _parse(amount)
    generator = torch.Generator().manual_seed(seed)
    order: list[tuple[float, int, int, int]] = []
    sizes: dict[int, int] = {}
    for label in torch.unique(labels[labels >= 0]).tolist():
        rows = torch.nonzero(labels == label).reshape(-1)
        shuffled = rows[torch.randperm(len(rows), generator=generator)].tolist()
        lot = int(torch.randint(2**31, (1,), generator=generator))  # classes in equal need take turns by lot
        sizes[label] = len(shuffled)
        for rank, row in enumerate(shuffled):
            need = (rank + 0.5) / len(shuffled) if rank else 0.0  # the first of every class comes before all others
            order.append((need, lot, rank, row))
    if kind == "a class":
        chosen = _a_class(order, sizes, int(number), amount)
    else:
        count = int(number) if kind == "total" else int(number * len(order) + 0.5)
        chosen = _total(sorted(order), len(sizes), count, amount)
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def _total(order: list[tuple[float, int, int, int]], classes: int, count: int, amount: str) -> list[int]:
    if count > len(order):
        raise DataError(f"asked for {count} labels, there are {len(order)} in the training images: ask for fewer")
    if count < classes:
        raise DataError(
            f"asked for {amount} labels, that is {count} for {classes} classes, expected at least one a class: ask "
            f"for more"
        )
    return [row for *_, row in order[:count]]


def _a_class(order: list[tuple[float, int, int, int]], sizes: dict[int, int], count: int, amount: str) -> list[int]:
    short = [f"class {label} has {size}" for label, size in sizes.items() if size < count]
    if short or not sizes:
        found = first_few(short) if short else "there are no labels"
        raise DataError(f"asked for {amount} labels, but of the training images {found}: ask for fewer")
    return [row for _, _, rank, row in order if rank < count]


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
