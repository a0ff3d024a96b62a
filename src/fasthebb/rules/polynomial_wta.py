"""Soft winner-takes-all by powers instead of exponentials."""

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from fasthebb.rules.competition import CompetitiveRule


@dataclass(frozen=True)
class PolynomialWTA(CompetitiveRule):
    """Polynomial soft winner-takes-all: shares are powers of the similarity, and add up to one.

    ``r_i = a_i^p / sum_j a_j^p`` with ``a = ((1 + cos(x, w)) / 2)^2``; the step is that of `SWTA`:

        ``Q = R*R / sum_n R`` (columnwise), ``dW = Q'X - diag(Q'1) W``

    Where softmax looks at differences of similarities, this looks at their ratios, as the Bayesian networks of Moraitis
    et al. (Neuromorphic Computing and Engineering 2, 2022) may. Good where similarities are small but differ in ratio.

    Args:
        power: p; the higher, the fewer winners a sample has.
        classes: number of classes of a teacher's labels; ``None`` learns without.

    Raises:
        ValueError: for a power that is not a positive number, or fewer than one class.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(6, 4)
    >>> plasticity = fasthebb.attach(layer, PolynomialWTA(power=30))
    >>> _ = layer(torch.randn(10, 6))
    >>> plasticity.deltas()[""].shape
    torch.Size([4, 6])
    """

    power: float = 20.0
    classes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.power > 0 and isfinite(self.power)):
            raise ValueError(f"PolynomialWTA power: found {self.power}, expected a positive number such as 20")

    def scores(self, alike: Tensor) -> Tensor:
        """``p log a``, whose softmax is the share."""
        return self.power * alike.clamp_min(torch.finfo(alike.dtype).tiny).log()
