"""Scores of predicted masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_stat_scores

from fasthebb.data.masked import IGNORE
from fasthebb.evaluation.bootstrap import middle, times_drawn
from fasthebb.evaluation.hausdorff import hausdorff95


@dataclass(frozen=True, eq=False)
class Overlap:
    """What predicted and true masks of N images have in common, for each foreground class.

    Attributes:
        hits: pixels of the class in both masks, `(N, classes - 1)`, as the next two float64.
        extra: pixels of the class in the predicted mask alone.
        missed: pixels of the class in the true mask alone.
        distances: 95 % Hausdorff distance in pixels; nan where a mask has no pixel of the class.
    """

    hits: np.ndarray
    extra: np.ndarray
    missed: np.ndarray
    distances: np.ndarray

    def scores(self) -> dict[str, float | None]:
        """See `segmentation_scores`."""
        ones = np.ones(len(self.hits))
        means = {name: float(100 * value) for name, value in self._means(ones).items()}
        defined = ~np.isnan(self.distances)
        one_alone = ~defined & (self.hits + self.extra + self.missed > 0)
        return {
            **means,
            "hausdorff95": float(self.distances[defined].mean()) if defined.any() else None,
            "hausdorff95_undefined": int(one_alone.sum()),
        }

    def intervals(
        self, groups: Sequence[str] | None = None, *, resamples: int = 1000, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """See `segmentation_intervals`."""
        if groups is not None and len(groups) != len(self.hits):
            raise ValueError(f"expected a group an image, found {len(groups)} groups for {len(self.hits)} images")
        drawn: dict[str, list[float]] = {}
        for times in times_drawn(len(self.hits), groups, resamples=resamples, seed=seed):
            for name, value in self._means(times).items():
                drawn.setdefault(name, []).append(100 * value)
        return {name: middle(values) for name, values in drawn.items()}

    def per_class(self) -> dict[str, list[float | None]]:
        """`dice`, `jaccard` (per cent) and `hausdorff95` (pixels), the mean over images of each foreground class."""
        distances = [_mean_or_none(column) for column in self.distances.T]
        return {
            "dice": (100 * _dice(self.hits, self.extra, self.missed).mean(axis=0)).tolist(),
            "jaccard": (100 * _jaccard(self.hits, self.extra, self.missed).mean(axis=0)).tolist(),
            "hausdorff95": distances,
        }

    def per_image(self) -> dict[str, list[float | None]]:
        """`dice`, `jaccard` (per cent) and `hausdorff95` (pixels), the mean over foreground classes of each image."""
        distances = [_mean_or_none(row) for row in self.distances]
        return {
            "dice": (100 * _dice(self.hits, self.extra, self.missed).mean(axis=1)).tolist(),
            "jaccard": (100 * _jaccard(self.hits, self.extra, self.missed).mean(axis=1)).tolist(),
            "hausdorff95": distances,
        }

    def _means(self, times: np.ndarray) -> dict[str, float]:
        """The mean scores, from 0 to 1, where each image counts so many times, `(N,)`."""
        pooled = [times @ pixels for pixels in (self.hits, self.extra, self.missed)]
        return {
            "dice": float(times @ _dice(self.hits, self.extra, self.missed).mean(axis=1) / times.sum()),
            "jaccard": float(times @ _jaccard(self.hits, self.extra, self.missed).mean(axis=1) / times.sum()),
            "dice_pooled": float(_dice(*pooled).mean()),
            "jaccard_pooled": float(_jaccard(*pooled).mean()),
        }


def compare_masks(
    predicted: Sequence[Tensor], true: Sequence[Tensor], classes: int, *, distances: bool = True
) -> Overlap:
    """Compare predicted masks with true ones.

    Args:
        predicted: N masks `(*size)` uint8, values from 0 (background) to `classes - 1`.
        true: N masks of the same sizes, or 255 where a pixel counts for nothing.
        classes: number of classes, background among them.
        distances: whether to take Hausdorff distances as well, which takes most of the time.

    Raises:
        ValueError: counts, sizes or values do not fit, or an image has no pixel that counts.

    >>> mask = torch.tensor([[0, 0, 1], [2, 2, 255]], dtype=torch.uint8)
    >>> other = torch.tensor([[0, 1, 1], [2, 0, 0]], dtype=torch.uint8)
    >>> compare_masks([other], [mask], 3).per_image()["jaccard"]
    [50.0]
    """
    if classes < 2:
        raise ValueError(f"found {classes} as the number of classes, expected background and at least one more")
    if len(predicted) != len(true) or len(true) == 0:
        raise ValueError(
            f"expected a predicted mask for each true one, and at least one, found {len(predicted)} and {len(true)}"
        )
    counted, apart = [], []
    for number, (own, truth) in enumerate(zip(predicted, true, strict=True)):
        _check(number, own, truth, classes)
        scores = multiclass_stat_scores(
            own.cpu().long(),
            truth.cpu().long(),
            num_classes=classes,
            average="none",
            ignore_index=IGNORE,
            validate_args=False,
        )
        counted.append(scores[1:, [0, 1, 3]])  # hits, extra and missed of the foreground
        apart.append(_distances(own, truth, classes) if distances else [float("nan")] * (classes - 1))
    hits, extra, missed = torch.stack(counted).double().numpy().transpose(2, 0, 1)
    return Overlap(hits, extra, missed, np.array(apart, dtype=float))


def segmentation_scores(
    predicted: Sequence[Tensor], true: Sequence[Tensor], classes: int, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Score predicted masks against true ones.

    Args:
        predicted: N masks `(*size)` uint8, values from 0 (background) to `classes - 1`.
        true: N masks of the same sizes, or 255 where a pixel counts for nothing.
        classes: number of classes, background among them.
        groups: N group names; adds `intervals`, see `segmentation_intervals`.

    Returns:
        In per cent, all means over the foreground classes: `dice` and `jaccard`, those of each image, averaged over
        images; a class that is in neither mask of an image counts as 100 there. `dice_pooled` and `jaccard_pooled`, of
        the pixels of all images together. In pixels: `hausdorff95`, see `fasthebb.evaluation.hausdorff95`, the mean
        over the images and classes that have one (outlines end where pixels do not count), None if none has;
        `hausdorff95_undefined`, how many have none because the class is in one of both masks alone.

    Raises:
        ValueError: counts, sizes or values do not fit, or an image has no pixel that counts.

    >>> true = torch.zeros(1, 8, 8, dtype=torch.uint8)
    >>> true[:, 2:6, 2:6] = 1
    >>> segmentation_scores(list(true.roll(1, dims=2)), list(true), classes=2)["dice"]
    75.0
    """
    overlap = compare_masks(predicted, true, classes)
    scores: dict[str, Any] = dict(overlap.scores())
    if groups is not None:
        scores["intervals"] = overlap.intervals(groups)
    return scores


def segmentation_intervals(
    predicted: Sequence[Tensor],
    true: Sequence[Tensor],
    classes: int,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of `dice`, `jaccard`, `dice_pooled` and `jaccard_pooled` by the percentile bootstrap.

    Images are drawn anew with replacement, whole groups where there are groups, as in `bootstrap_intervals`.

    Args:
        predicted: as in `segmentation_scores`.
        true: likewise.
        classes: likewise.
        groups: N group names; an image with an empty one is a group of its own.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        The lower and upper ends by score, in per cent; nothing if all images are one group.

    Raises:
        ValueError: as in `segmentation_scores`, or the number of groups is another.
    """
    overlap = compare_masks(predicted, true, classes, distances=False)
    return overlap.intervals(groups, resamples=resamples, seed=seed)


def _dice(hits: np.ndarray, extra: np.ndarray, missed: np.ndarray) -> np.ndarray:
    return _share(2 * hits, 2 * hits + extra + missed)


def _jaccard(hits: np.ndarray, extra: np.ndarray, missed: np.ndarray) -> np.ndarray:
    return _share(hits, hits + extra + missed)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """1 where there is nothing that could be missed."""
    share: np.ndarray = np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)
    return share


def _mean_or_none(distances: np.ndarray) -> float | None:
    defined = distances[~np.isnan(distances)]
    return float(defined.mean()) if defined.size else None


def _distances(predicted: Tensor, true: Tensor, classes: int) -> list[float]:
    own, truth = predicted.cpu().numpy(), true.cpu().numpy()
    own = np.where(truth == IGNORE, IGNORE, own)
    found = [hausdorff95(own == index, truth == index) for index in range(1, classes)]
    return [float("nan") if distance is None else distance for distance in found]


def _check(number: int, predicted: Tensor, true: Tensor, classes: int) -> None:
    if predicted.shape != true.shape:
        raise ValueError(
            f"mask {number}: found a predicted mask of {tuple(predicted.shape)} for a true one of {tuple(true.shape)}"
        )
    counts = true != IGNORE
    if not counts.any():
        raise ValueError(f"mask {number} has no pixel that counts, all are {IGNORE}: leave its image out")
    for what, values in (("predicted", predicted), ("true", true[counts])):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(
                f"mask {number}: {what} classes must lie between 0 and {classes - 1}, found {int(values.min())} to "
                f"{int(values.max())}"
            )
