"""A linear classifier in closed form: ridge regression on features at rest, its penalty chosen on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fasthebb.training.selection import folds

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 7))
"""Those tried, as parts of the mean squared length of a centred feature vector."""
USUAL_PENALTY, USUAL_SCALE = 0.1, 5.0
"""Where a class has a single image, so that nothing can be held out."""
SCALES = tuple(2.0 ** (exponent / 2) for exponent in range(14))
FOLDS = 5
MANY = 10_000
"""Images from which on one fold is held out, instead of each in turn."""


@dataclass(frozen=True)
class Ridge:
    """A fitted classifier: logits are ``features @ weight.T + bias``.

    Attributes:
        weight: ``(classes, D)``.
        bias: ``(classes,)``.
        penalty: the one that was chosen, see `PENALTIES`.
        scale: what the regression was multiplied with, so that the softmax of its outputs is a probability.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    scale: float


def ridge(
    views: Sequence[Tensor],
    labels: Tensor,
    *,
    classes: int,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Ridge:
    """Fit ``min |Y - X W' - b|^2 + penalty |W|^2`` to the classes as one-hot rows Y.

    The penalty is the one with the smallest squared error in a cross-validation of five folds among these images (of
    more than 10,000, on one fold), the views of an image in the same fold. Of the same held-out predictions comes the
    factor that makes the outputs the best logits.

    Args:
        views: features ``(N, D)`` of the images, and perhaps of their mirror images and the like.
        labels: ``(N,)`` classes.
        classes: number of classes; one that no image has gets the mean output 0.
        groups: N group names, which do not straddle folds.
        seed: divides the images into folds.

    Raises:
        ValueError: there are no images, or their features are not finite.

    >>> features, labels = torch.tensor([[0.0, 1.0], [0.1, 1.2], [1.0, 0.0], [1.2, 0.1]]), torch.tensor([0, 0, 1, 1])
    >>> fitted = ridge([features], labels, classes=2)
    >>> (features @ fitted.weight.T + fitted.bias).argmax(1)
    tensor([0, 0, 1, 1])
    """
    if not len(labels):
        raise ValueError("there are no labelled images to fit a classifier to")
    if not all(torch.isfinite(view).all() for view in views):
        raise ValueError("the features are not finite: pre-train again, with a lower learning rate")
    targets = nn.functional.one_hot(labels, classes).to(views[0])
    penalty, scale = _chosen(views, labels, targets, groups, seed)
    solution = _Solution(torch.cat(list(views)), targets.repeat(len(views), 1))
    weight = solution.weight(penalty)
    bias = solution.target - weight @ solution.center
    return Ridge(scale * weight, scale * bias, penalty, scale)


class _Solution:
    """Ridge regression for every penalty at once, from one eigendecomposition of whichever Gram matrix is smaller."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.center, self.target = x.mean(0), y.mean(0)
        x, y = x - self.center, y - self.target
        self.unit = x.square().sum() / len(x)  # mean squared length
        self.values: Tensor
        self.left: Tensor
        self.right: Tensor
        if len(x) <= x.shape[1]:
            self.values, vectors = torch.linalg.eigh(x @ x.T)
            self.left, self.right = x.T @ vectors, vectors.T @ y  # (D, n), (n, c)
        else:
            self.values, vectors = torch.linalg.eigh(x.T @ x)
            self.left, self.right = vectors, vectors.T @ (x.T @ y)  # (D, D), (D, c)

    def _shrunk(self, penalty: float) -> Tensor:
        tiny = torch.finfo(self.unit.dtype).tiny
        return self.right / (self.values.clamp_min(0) + penalty * self.unit).clamp_min(tiny)[:, None]

    def weight(self, penalty: float) -> Tensor:
        """``(c, D)``."""
        return (self.left @ self._shrunk(penalty)).T

    def predictions(self, x: Tensor) -> Tensor:
        """Of features ``(N, D)``, for every one of `PENALTIES`: ``(penalties, N, c)``."""
        projected = (x - self.center) @ self.left
        return torch.stack([projected @ self._shrunk(penalty) + self.target for penalty in PENALTIES])


def _chosen(
    views: Sequence[Tensor], labels: Tensor, targets: Tensor, groups: Sequence[str] | None, seed: int
) -> tuple[float, float]:
    """Penalty and scale by predictions of images that were held out."""
    present = torch.bincount(labels)
    if int(present[present > 0].min()) < 2:
        return USUAL_PENALTY, USUAL_SCALE
    outcomes, rows = [], []
    for rest, held_out in folds(labels.cpu(), groups, FOLDS, seed):
        solution = _Solution(torch.cat([view[rest] for view in views]), targets[rest].repeat(len(views), 1))
        outcomes.append(solution.predictions(views[0][held_out]))
        rows += held_out
        if len(labels) > MANY:
            break
    predicted = torch.cat(outcomes, dim=1)  # (penalties, images, c)
    errors = (predicted - targets[rows]).square().mean((1, 2))
    best = int(errors.argmin())
    losses = [nn.functional.cross_entropy(scale * predicted[best], labels[rows]) for scale in SCALES]
    return PENALTIES[best], SCALES[int(torch.stack(losses).argmin())]
