"""A dense layer, with any leading dimensions: every vector that it maps is a sample."""

import torch
from torch import Tensor, nn

from fasthebb.kernels import correlate_residual
from fasthebb.synapses.base import Synapse


class LinearSynapse(Synapse):
    """`torch.nn.Linear`: ``x`` is ``(N, K)``, one group.

    >>> layer = nn.Linear(3, 2)
    >>> synapse = LinearSynapse(layer)
    >>> x = synapse.receive(torch.ones(4, 5, 3))
    >>> synapse.correlate(synapse.responses(layer(torch.ones(4, 5, 3))), x).shape
    torch.Size([2, 3])
    """

    unbatched_dims = 1

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer)
        self.groups = 1
        self.neurons, self.fan_in = self.weight.shape
        self.smallest_input = (self.fan_in,)

    def rows(self) -> Tensor:
        """See `Synapse`."""
        return self.weight[None]

    def from_rows(self, rows: Tensor) -> Tensor:
        """See `Synapse`."""
        return rows[0]

    def receive(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return x.reshape(-1, self.fan_in)

    def responses(self, output: Tensor) -> Tensor:
        """See `Synapse`."""
        return output.reshape(1, -1, self.neurons)

    def patches(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return x[None]

    def correlate(self, q: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        update: Tensor = q[0].mT @ x
        return update

    def correlate_residual(self, y: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return correlate_residual(y, x[None], self.rows().to(y.dtype))[0]

    def window_norms(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        norms: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype)
        return norms[None]

    def per_neuron(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1, 1)

    def per_output(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1)
