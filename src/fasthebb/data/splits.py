"""Holding back labelled images for validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.items import Split

# One for all runs: seeds choose what is labelled and how it is learned, never what is tested on.
SPLIT_SEED = 20_240_229

HELD_OUT_SHARE = 0.2

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def hold_out(labels: Sequence[int], groups: Sequence[str] | None, held_out: Sequence[Split]) -> list[Split]:
    """Assign labelled images to train and to each of ``held_out``, which get 20 % each.

    Stratified: without groups each class is shared out by itself, rounded, and train keeps at least one image of each.
    With groups, whole groups are assigned, the largest first, each to the split that lacks most of its classes; train
    keeps every class, and each split gets a group if there are enough of them.

    Args:
        labels: N classes.
        groups: N group names; an image with an empty one is a group of its own. ``None``: no groups.
        held_out: "validation", "test" or both.

    Returns:
        N splits, the same on every call.

    Example:
        >>> assigned = hold_out([0] * 10 + [1] * 5, None, ["test"])
        >>> assigned[:10].count("test"), assigned[10:].count("test")
        (2, 1)
    """
    shares: dict[Split, float] = dict.fromkeys(held_out, HELD_OUT_SHARE)
    if not labels or not shares:
        return ["train"] * len(labels)
    values = np.unique(np.asarray(labels), return_inverse=True)[1]
    if groups is None or not any(groups):
        return _by_class(values, shares)
    names = [group or f"\0{row}" for row, group in enumerate(groups)]
    group_of = np.unique(names, return_inverse=True)[1]
    counts = np.zeros((group_of.max() + 1, values.max() + 1))  # (G, K)
    np.add.at(counts, (group_of, values), 1)
    assigned = _by_group(counts, shares)
    return [_SPLITS[assigned[group]] for group in group_of]


def _by_class(values: NDArray[np.int64], shares: Mapping[Split, float]) -> list[Split]:
    assigned: list[Split] = ["train"] * len(values)
    for value in range(int(values.max()) + 1):
        rows = np.flatnonzero(values == value)
        shuffled = np.random.default_rng([SPLIT_SEED, value]).permutation(rows)
        start = 0
        for split, share in shares.items():
            count = min(int(share * len(rows) + 0.5), len(rows) - 1 - start)
            for row in shuffled[start : start + max(count, 0)]:
                assigned[row] = split
            start += max(count, 0)
    return assigned


def _by_group(counts: NDArray[np.float64], shares: Mapping[Split, float]) -> NDArray[np.int64]:
    total = counts.sum(0)  # (K,)
    share = np.array([1 - sum(shares.values()), shares.get("validation", 0.0), shares.get("test", 0.0)])
    open_splits = np.flatnonzero(share > 0)
    lacking = share[:, None] * total  # (3, K)
    shuffled = np.random.default_rng(SPLIT_SEED).permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled].sum(1), kind="stable")]
    assigned = np.zeros(len(counts), np.int64)
    for group in order:
        needs = (lacking[open_splits] * counts[group] / total**2).sum(1)
        best = open_splits[int(np.argmax(needs))]
        assigned[group] = best
        lacking[best] -= counts[group]

    for value in np.flatnonzero(counts[assigned == 0].sum(0) == 0):
        if counts[assigned == 0, value].sum() == 0:  # an earlier move may have brought it
            having = np.flatnonzero(counts[:, value] > 0)
            assigned[having[np.argmin(counts[having].sum(1))]] = 0
    for split in open_splits[1:]:
        if not (assigned == split).any():
            _lend(counts, assigned, int(split))
    return assigned


def _lend(counts: NDArray[np.float64], assigned: NDArray[np.int64], split: int) -> None:
    """Move the smallest group from train to an empty split, if train then still has every class."""
    in_train = np.flatnonzero(assigned == 0)
    held = counts[in_train].sum(0)
    for group in in_train[np.argsort(counts[in_train].sum(1), kind="stable")]:
        if ((held - counts[group]) > 0).all():
            assigned[group] = split
            return
