"""Choosing by held-out images: the weights of the best epoch, folds of few labels."""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor


def best_weights(trainer: lightning.Trainer) -> dict[str, Any]:
    """The module's ``state_dict`` of the epoch that a trainer with ``keep_best`` found best, the earliest of equals."""
    kept = next(c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor)
    state: dict[str, Any] = torch.load(kept.best_model_path, weights_only=True, map_location="cpu")["state_dict"]
    return state


def folds(labels: Tensor, groups: Sequence[str] | None, count: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Positions to train on and to hold out, ``count`` times; stratified, and by whole groups where there are any.

    Args:
        labels: ``(N,)`` classes.
        groups: N group names; an image with an empty one is a group of its own.
        count: number of folds; fewer where the smallest class has fewer images.
        seed: shuffles.

    Raises:
        ValueError: a class has a single image, so that nothing can be held out.

    >>> [sorted(rest + held_out) for rest, held_out in folds(torch.tensor([0, 0, 1, 1]), None, 5, seed=0)]
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    smallest = int(torch.bincount(labels)[torch.unique(labels)].min())
    if smallest < 2:
        raise ValueError(
            "found a class with a single labelled image, expected at least two to choose by cross-validation: "
            "use more labels, or --select last"
        )
    values, count = labels.numpy(), min(count, smallest)
    if groups is not None and any(groups):
        names = np.array([group or f"\0{row}" for row, group in enumerate(groups)])
        splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(values, values, names)
    else:
        splits = StratifiedKFold(count, shuffle=True, random_state=seed).split(values, values)
    for rest, held_out in splits:
        yield rest.tolist(), held_out.tolist()
