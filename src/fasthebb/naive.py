"""The rules as they are defined, sample by sample and neuron by neuron: what tests and benchmarks compare with.

Each materialises the step of every sample for as many neurons as fit into `CHUNK_BYTES`, then sums over the samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fasthebb.rules import hpca, swta
from fasthebb.rules.rule import Sums
from fasthebb.synapses import Synapse

__all__ = ["HPCA", "SWTA"]

CHUNK_BYTES = 256 * 2**20  # of the (N, c, K) tensor of the steps of c neurons


def _chunks(x: Tensor, neurons: int) -> Iterator[slice]:
    """Slices of neurons whose steps ``(g, N, c, K)`` fit."""
    size = max(1, CHUNK_BYTES // max(1, x.numel() * x.element_size()))
    return (slice(start, min(start + size, neurons)) for start in range(0, neurons, size))


@dataclass(frozen=True)
class HPCA(hpca.HPCA):
    """`fasthebb.HPCA` by its definition, ``dw_i = y_i (x - sum_{j<=i} y_j w_j)``; same arguments, same update.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(3, 2)
    >>> plasticity = fasthebb.attach(layer, HPCA())
    >>> _ = layer(torch.randn(4, 3))
    >>> plasticity.deltas()[""].shape
    torch.Size([2, 3])
    """

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """The sum of the steps of all samples, and N."""
        fast = super().sums(synapse, x, s) if self.max_lr is not None else None  # the bound is not part of the rule
        patches, weight = synapse.patches(x), synapse.rows().to(x.dtype)
        y = synapse.at_patches(self.response(synapse, x, s))
        explained = torch.zeros_like(patches)  # by all neurons before the chunk, (g, N, K)
        updates = []
        for chunk in _chunks(patches, synapse.neurons):
            own = y[:, :, chunk, None]  # (g, N, c, 1)
            explaining = explained[:, :, None] + torch.cumsum(own * weight[:, None, chunk], dim=2)  # (g, N, c, K)
            updates.append((own * (patches[:, :, None] - explaining)).sum(1))
            explained = explaining[:, :, -1]
        sums: dict[str, Tensor | float] = {
            "update": synapse.from_rows(torch.cat(updates, dim=1)),
            "count": synapse.positions(s),
        }
        return Sums(**sums) if fast is None else Sums(**sums, power=fast.power)


@dataclass(frozen=True)
class SWTA(swta.SWTA):
    """`fasthebb.SWTA` by its definition, ``dw_i = r_i (x - w_i)`` weighted by ``r_i``; same arguments, same update.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(3, 2)
    >>> plasticity = fasthebb.attach(layer, SWTA())
    >>> _ = layer(torch.randn(4, 3))
    >>> plasticity.deltas()[""].shape
    torch.Size([2, 3])
    """

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """The weighted sum of the steps of all samples, and the sum of the weights."""
        shares = self.response(synapse, x, s).to(x.dtype)
        met = synapse.at_patches(shares)
        patches, weight = synapse.patches(x), synapse.rows().to(x.dtype)
        updates = []
        for chunk in _chunks(patches, synapse.neurons):
            own = met[:, :, chunk, None]  # (g, N, c, 1)
            steps = own * (patches[:, :, None] - weight[:, None, chunk])  # (g, N, c, K)
            updates.append((own * steps).sum(1))
        return Sums(update=synapse.from_rows(torch.cat(updates, dim=1)), share=synapse.mass(shares))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return sums.update / sums.share.clamp_min(torch.finfo(sums.share.dtype).tiny)

    def gradient(self, sums: Sums, synapse: Synapse, scale: float) -> Tensor:
        """``scale dW``."""
        return self.delta(sums, synapse).mul_(scale)
