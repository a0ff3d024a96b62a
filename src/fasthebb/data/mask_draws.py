"""Which masks to use: how few an experiment pretends to have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fasthebb.data.errors import DataError, count_of, first_few
from fasthebb.data.masked import IGNORE, MaskedSet
from fasthebb.data.subsets import check_amount, labels_asked

_EXPECTED = "expected a total (5) or a fraction with a decimal point (0.05; 1.0 is all)"


def check_masks(amount: str) -> None:
    """Check the form of an amount of masks, before any image is read.

    Raises:
        DataError: if it is malformed, or a count a class.
    """
    if str(amount).strip().endswith("/class"):
        raise DataError(f"found the amount of masks '{amount}', but a mask may show several classes: {_EXPECTED}")
    try:
        check_amount(amount)
    except DataError as error:
        raise DataError(f"found the amount of masks '{amount}', {_EXPECTED}") from error


def masks_asked(available: int, amount: str) -> int:
    """How many masks an amount asks for.

    Raises:
        DataError: if it is malformed, more than there are, or none.

    Example:
        >>> masks_asked(464, "0.05"), masks_asked(464, "5")
        (23, 5)
    """
    check_masks(amount)
    try:
        return labels_asked(torch.zeros(available, dtype=torch.int64), amount)
    except DataError as error:
        raise DataError(
            f"asked for {amount} masks, there are {available} for training: ask for at least one and at most those"
        ) from error


def masks_drawn(groups: Sequence[str] | None, available: int, amount: str, *, seed: int) -> Tensor:
    """Choose which masks to use, each of another group as far as there are groups.

    Groups are put into an order by lot and give a mask each in turn, chosen by lot; those that have none left are
    passed over. Nested: with one seed, fewer masks are contained in more.

    Args:
        groups: a group name a mask; one with an empty name is a group of its own. ``None``: no groups.
        available: how many masks there are.
        amount: "5" is a total, "0.05" a fraction, "1.0" all.
        seed: chooses the order.

    Returns:
        Positions ``(M,)`` int64, ascending.

    Raises:
        DataError: if the amount is malformed, more than there are, or none.

    Example:
        >>> groups = ["a", "a", "a", "b", "c"]
        >>> sorted(groups[row] for row in masks_drawn(groups, 5, "3", seed=0))
        ['a', 'b', 'c']
    """
    count = masks_asked(available, amount)
    generator = torch.Generator().manual_seed(seed)
    shuffled: list[int] = torch.randperm(available, generator=generator).tolist()
    names = [group or f"\0{row}" for row, group in enumerate(groups or [""] * available)]
    own, group_of = np.unique(names, return_inverse=True)
    lots: list[int] = torch.randperm(len(own), generator=generator).tolist()
    given: Counter[int] = Counter()
    order: list[tuple[int, int, int]] = []
    for row in shuffled:
        group = int(group_of[row])
        order.append((given[group], lots[group], row))
        given[group] += 1
    return torch.tensor(sorted(row for *_, row in sorted(order)[:count]), dtype=torch.int64)


def check_not_empty(drawn: MaskedSet) -> None:
    """Whether masks to train on show anything.

    Raises:
        DataError: if all of them are background, with names of a few.
    """
    if not any(mask is not None and bool(((mask > 0) & (mask != IGNORE)).any()) for mask in drawn.masks):
        raise DataError(
            f"found nothing but background in {count_of(len(drawn), 'training mask')} ({first_few(drawn.names)}), "
            f"expected at least one that shows something: use more masks, another seed, or mend them"
        )
