"""Soft winner-takes-all."""

from dataclasses import dataclass
from math import isfinite

from fasthebb.rules.competition import CompetitiveRule


@dataclass(frozen=True)
class SWTA(CompetitiveRule):
    """Soft winner-takes-all: neurons compete for each sample, the winners move towards it.

    ``R = softmax over neurons of ((1 + cos(x, w)) / 2)^2 / T``; for one sample ``dw_i = r_i (x - w_i)``, averaged over
    the samples with weights ``r_i / sum_n r_i``; as products

        ``Q = R*R / sum_n R`` (columnwise), ``dW = Q'X - diag(Q'1) W``

    Lagani et al. (Neurocomputing 595, 2024). The layer hands on ``x.w / |w|`` (plus its bias). Good for features that
    are prototypes of patches. Images should be whitened: without it, neighbouring pixels are so alike that all neurons
    learn the same.

    Args:
        temperature: T of the softmax; the lower, the fewer winners a sample has.
        classes: number of classes of a teacher's labels; ``None`` learns without.

    Raises:
        ValueError: for a temperature that is not a positive number, or fewer than one class.

    >>> import fasthebb, torch
    >>> layer = torch.nn.Linear(6, 4)
    >>> plasticity = fasthebb.attach(layer, SWTA())
    >>> _ = layer(torch.randn(10, 6))
    >>> plasticity.deltas()[""].shape
    torch.Size([4, 6])
    """

    temperature: float = 0.02
    classes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.temperature > 0 and isfinite(self.temperature)):
            raise ValueError(f"SWTA temperature: found {self.temperature}, expected a positive number such as 0.02")

    @property
    def sharpness(self) -> float:
        """``1 / T``."""
        return 1 / self.temperature
