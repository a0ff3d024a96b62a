"""How far a score might have come out differently with other test images."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor


def bootstrap_intervals(
    logits: Tensor,
    labels: Tensor,
    classes: int,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of `top1` and `balanced_accuracy` by the percentile bootstrap.

    The images are drawn anew with replacement, as many as there are, and scored; the interval leaves 2.5 % of these
    scores out on either side. Images of one patient or slide resemble each other, and say less together than as many
    of different ones: where there are groups, whole groups are drawn. With few groups (below about twenty) the true
    interval is wider still. Only these two scores have an interval: they need nothing but which images are right, so a
    resample is one weighted count.

    Args:
        logits: `(N, classes)`; the largest of an image wins.
        labels: `(N,)` integers from 0 to `classes - 1`.
        classes: number of classes.
        groups: N group names; an image with an empty one is a group of its own.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        The lower and upper ends by score, in per cent; nothing if all images are one group (or one image), which says
        nothing about others.

    Raises:
        ValueError: the counts of logits, labels and groups differ, or a label is no class.

    >>> import torch
    >>> logits, labels = torch.eye(2)[[0, 0, 1, 1] * 25], torch.tensor([0, 0, 0, 1] * 25)
    >>> low, high = bootstrap_intervals(logits, labels, 2)["top1"]
    >>> 60 < low < 75 < high < 90                                                      # 75 % of a hundred images
    True
    """
    count = len(labels)
    if logits.shape != (count, classes) or (groups is not None and len(groups) != count):
        raise ValueError(
            f"expected logits (N, {classes}) with N labels and groups, found logits {tuple(logits.shape)}, {count} "
            f"labels and {'no' if groups is None else len(groups)} groups"
        )
    if count and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must lie between 0 and {classes - 1}, leave unlabelled images (-1) out")
    true = labels.cpu().numpy()
    right = (logits.argmax(dim=1).cpu().numpy() == true).astype(float)
    drawn: dict[str, list[float]] = {"top1": [], "balanced_accuracy": []}
    for times in times_drawn(count, groups, resamples=resamples, seed=seed):
        images = np.bincount(true, weights=times, minlength=classes)  # (classes,)
        hits = np.bincount(true, weights=times * right, minlength=classes)
        present = images > 0
        drawn["top1"].append(100 * float(hits.sum() / images.sum()))
        drawn["balanced_accuracy"].append(100 * float((hits[present] / images[present]).mean()))
    return {name: middle(values) for name, values in drawn.items() if values}


def times_drawn(count: int, groups: Sequence[str] | None, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `count` images is drawn, `(count,)`, once a resample; nothing where they are one group.

    >>> sorted(int(times.sum()) for times in times_drawn(3, ["a", "a", ""], resamples=50, seed=0))[::49]
    [2, 4]
    """
    if groups is None:
        unit, units = np.arange(count), count  # the unit that each image is of
    else:
        names = [name or f"\0{row}" for row, name in enumerate(groups)]  # no group is called that
        found, unit = np.unique(names, return_inverse=True)
        units = len(found)
    if units < 2:
        return
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(units, size=units), minlength=units)[unit]


def middle(values: Sequence[float]) -> tuple[float, float]:
    """Between which 95 % of the values lie."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
