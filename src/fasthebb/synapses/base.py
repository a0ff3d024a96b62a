"""What a rule may ask of a layer, whatever its kind."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


class Synapse(ABC):
    """One layer seen as ``W`` ``(g, o, K)`` and, for each batch, ``X`` ``(g, N, K)``.

    ``g`` groups of ``o`` neurons, each of which sees ``K`` inputs (its fan-in) at each of ``N`` positions. The input
    itself, ``x``, stays opaque to a rule: it comes in the layer's own layout and goes back into the methods below.
    Responses ``s`` and everything computed from them are matrices ``(g, N, o)``.

    Definitions, which go through the samples one by one, ask for `patches`, `at_patches` and `rows`: for most layers
    X, the responses as they are, and W. In a transposed convolution a weight meets an output only where the stride
    lets it, so that each kernel offset has samples of its own: there the three come with one group an offset, as
    ``(G, M, K')``, ``(G, M, o)`` and ``(G, o, K')``.

    Attributes:
        weight: the layer's weight, detached, in its own shape.
        groups: ``g``.
        neurons: ``o``, neurons a group.
        fan_in: ``K``.
        state: the rule's named state tensors for this layer.
        labels: class of each position, ``(N,)`` int64, inside ``plasticity.teacher(labels)``, else ``None``.
        gradient: the weight's reduced ``.grad``, for rules with ``uses_gradient``, else ``None``.
    """

    weight: Tensor
    groups: int
    neurons: int
    fan_in: int
    unbatched_dims: int  # of an input that is a single image
    smallest_input: tuple[int, ...]  # shape of the smallest image that `receive` can give, without the batch

    def __init__(self, layer: nn.Linear | _ConvNd) -> None:
        self.weight = layer.weight.detach()
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.state: dict[str, Tensor] = {}
        self.labels: Tensor | None = None
        self.gradient: Tensor | None = None

    @abstractmethod
    def rows(self) -> Tensor:
        """The weight as a matrix, ``(g, o, K)`` (see above); a view where the memory allows it."""

    @abstractmethod
    def from_rows(self, rows: Tensor) -> Tensor:
        """What `rows` gives, back in the shape of the weight."""

    def see(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """What a rule gets of a call of the layer, from its batched input and output: ``x`` and responses ``s``."""
        return self.receive(x), self.responses(self.without_bias(output))

    @abstractmethod
    def receive(self, x: Tensor) -> Tensor:
        """The layer's raw input as the other methods expect it: batched, flattened or padded."""

    @abstractmethod
    def responses(self, output: Tensor) -> Tensor:
        """The layer's output, in its own layout, as a matrix ``(g, N, o)``."""

    @abstractmethod
    def patches(self, x: Tensor) -> Tensor:
        """Everything the layer sees, ``(g, N, K)``. K times as large as the input of a convolution: for definitions."""

    def at_patches(self, q: Tensor) -> Tensor:
        """``q`` ``(g, N, o)`` as each of the `patches` meets it."""
        return q

    @abstractmethod
    def correlate(self, q: Tensor, x: Tensor) -> Tensor:
        """``Q'X``, like the weight, for ``q`` ``(g, N, o)``."""

    @abstractmethod
    def correlate_residual(self, y: Tensor, x: Tensor) -> Tensor:
        """``Y'X - tril(Y'Y) W``, like the weight, for ``y`` ``(g, N, o)``; subtracted at least in float32."""

    @abstractmethod
    def window_norms(self, x: Tensor) -> Tensor:
        """Euclidean norm of each patch, ``(g, N, 1)``."""

    @abstractmethod
    def per_neuron(self, values: Tensor) -> Tensor:
        """One value a neuron, ``(g, o)``, in a shape that broadcasts against the weight."""

    @abstractmethod
    def per_output(self, values: Tensor) -> Tensor:
        """One value a neuron, ``(g, o)``, in a shape that broadcasts against the layer's output."""

    def gram(self, y: Tensor, s: Tensor) -> Tensor:
        """``Y'S`` for two of ``(g, N, o)``: ``(g, o, o)``, to be multiplied with `rows`."""
        return y.mT @ s

    def reconstruct_lower(self, y: Tensor) -> Tensor:
        """``tril(Y'Y) W``, like the weight, for ``y`` ``(g, N, o)``."""
        return self.from_rows(torch.tril(self.gram(y, y)) @ self.rows().to(y.dtype))

    def mass(self, q: Tensor) -> Tensor:
        """``Q'1``, what each weight has seen of ``q`` ``(g, N, o)``, in a shape that broadcasts against the weight."""
        return self.per_neuron(q.sum(1))

    def positions(self, s: Tensor) -> int:
        """``N``, the number of outputs that were seen."""
        return s.shape[1]

    def sum_of(self, values: Tensor) -> Tensor:
        """Sum over each neuron's part of a tensor like the weight, ``(g, o)``."""
        return values.reshape(self.groups, self.neurons, -1).sum(2)

    def norms_of(self, weight: Tensor) -> Tensor:
        """Euclidean norm of each neuron's part of a tensor like the weight, ``(g, o)``, at least in float32."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        norms: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), dtype=dtype)
        return norms.reshape(self.groups, self.neurons)

    def weight_norms(self) -> Tensor:
        """Euclidean norm of each neuron's weights, ``(g, o)``, at least in float32."""
        return self.norms_of(self.weight)

    def without_bias(self, output: Tensor) -> Tensor:
        """The linear map alone, ``X W'``, in the layer's own layout."""
        if self.bias is None:
            return output
        return output - self.per_output(self.bias.to(output.dtype).reshape(self.groups, self.neurons))
