"""Winner-takes-all, with one winner or k."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fasthebb.rules.competition import CompetitiveRule
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class WTA(CompetitiveRule):
    """Hard winner-takes-all: the k neurons nearest to a sample in angle move towards it, the others stay.

    For one sample ``dw_i = r_i (x - w_i)`` with ``r_i`` one for the winners and zero for the others, averaged over the
    samples that each has won; as products, with ``Q = R / sum_n R`` (columnwise),

        ``dW = Q'X - diag(Q'1) W``

    Competitive learning: Rumelhart and Zipser (Cognitive Science 9, 1985); k winners: Majani et al. (NIPS 1988). One
    step at learning rate 1 is one step of spherical k-means. Good for sharp prototypes; whiten the images, and beware
    of neurons that never win.

    Args:
        k: number of winners.
        classes: number of classes of a teacher's labels; ``None`` learns without.

    Raises:
        ValueError: for fewer than one winner or, when attached, more than a layer has neurons; fewer than one class.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(2, 2, bias=False)
    >>> layer.weight.data = torch.eye(2)
    >>> plasticity = fasthebb.attach(layer, WTA())
    >>> _ = layer(torch.tensor([[3.0, 0.0], [5.0, 0.0]]))
    >>> plasticity.deltas()[""]
    tensor([[3., 0.],
            [0., 0.]])
    """

    k: int = 1
    classes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"WTA k: found {self.k}, expected at least one winner")

    def shares(self, scores: Tensor) -> Tensor:
        """One for the k highest, zero for the others."""
        winners = scores.topk(self.k, dim=-1).indices
        return torch.zeros_like(scores).scatter_(-1, winners, 1)

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        """None; refuses a layer with too few neurons."""
        if self.k > synapse.neurons:
            raise ValueError(
                f"WTA k: found {self.k} winners, but a layer (or group) has only {synapse.neurons} neurons"
            )
        return {}
