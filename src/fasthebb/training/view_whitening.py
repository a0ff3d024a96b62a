"""Features in units of how much they differ between two views of one image."""

from dataclasses import dataclass

import torch
from torch import Tensor

SOFTNESS = 0.1
"""Part of the mean variance that is added to every direction's."""


@dataclass(frozen=True)
class ViewWhitening:
    """``z = (x - center) V'`` with V such that z differs equally, and independently, in every direction.

    Two views are one image changed at random in two ways that leave its class as it is. What differs between them says
    nothing about the class, so that a classifier should heed it less; this is the within-class whitening of linear
    discriminant analysis, with each image a class of its own, which needs no labels.

    Attributes:
        center: ``(D,)`` mean features.
        factor: ``(D, D)`` lower triangular L, the Cholesky factor of the views' covariance; ``V = inv(L)``.
    """

    center: Tensor
    factor: Tensor

    @staticmethod
    def fit(one: Tensor, other: Tensor) -> "ViewWhitening":
        """Learn from two views of each of N images.

        Args:
            one: ``(N, D)`` features of the first view.
            other: ``(N, D)`` features of the second.

        Raises:
            ValueError: there are no two views of the same images, or their features are not finite.

        >>> one, other = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[4.0, 1.0], [1.0, 1.0]])
        >>> whitening = ViewWhitening.fit(one, other)          # of the first number views differ more
        >>> whitening(one)
        tensor([[-0.7308,  0.3676],
                [-0.2436, -1.1028]])
        """
        if one.dim() != 2 or one.shape != other.shape or not len(one):
            raise ValueError(
                f"expected two views (N, D) of the same images, found {tuple(one.shape)}, {tuple(other.shape)}"
            )
        center = (one.mean(0) + other.mean(0)) / 2
        difference = one - other
        covariance = difference.T @ difference / (2 * len(one))
        variance = covariance.diagonal().mean()
        if not torch.isfinite(variance):
            raise ValueError("the features are not finite: pre-train again, with a lower learning rate")
        covariance.diagonal().add_(SOFTNESS * variance + torch.finfo(variance.dtype).tiny)
        return ViewWhitening(center, torch.linalg.cholesky(covariance))

    def __call__(self, features: Tensor) -> Tensor:
        """``(N, D)`` whitened."""
        white: Tensor = torch.linalg.solve_triangular(self.factor, (features - self.center).T, upper=False)
        return white.T

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight `(C, D)` and bias `(C,)` of a linear layer behind it, as one that takes the features as they are."""
        raw = torch.linalg.solve_triangular(self.factor.T, weight.T, upper=True).T
        return raw, bias - raw @ self.center
