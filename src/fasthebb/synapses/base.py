"""What a rule may ask of a layer, whatever its kind."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Synapse(ABC):
    """One layer seen as ``W`` ``(g, o, K)`` and, for each batch, ``X`` ``(g, N, K)``.

    ``g`` groups of ``o`` neurons, each of which sees ``K`` inputs (its fan-in) at each of ``N`` positions. The input
    itself, ``x``, stays opaque to a rule: it comes in the layer's own layout and goes back into the methods below.
    Responses ``s`` and everything computed from them are matrices ``(g, N, o)``.

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

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        self.weight = layer.weight.detach()
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.state: dict[str, Tensor] = {}
        self.labels: Tensor | None = None
        self.gradient: Tensor | None = None

    @abstractmethod
    def rows(self) -> Tensor:
        """The weight as a matrix, ``(g, o, K)``; a view where the memory allows it."""

    @abstractmethod
    def from_rows(self, rows: Tensor) -> Tensor:
        """``(g, o, K)`` back in the shape of the weight."""

    @abstractmethod
    def receive(self, x: Tensor) -> Tensor:
        """The layer's raw input as the other methods expect it: batched, flattened or padded."""

    @abstractmethod
    def responses(self, output: Tensor) -> Tensor:
        """The layer's output, in its own layout, as a matrix ``(g, N, o)``."""

    @abstractmethod
    def patches(self, x: Tensor) -> Tensor:
        """Everything the layer sees, ``(g, N, K)``. K times as large as the input of a convolution: for definitions."""

    @abstractmethod
    def correlate(self, q: Tensor, x: Tensor) -> Tensor:
        """``Q'X``, like the weight, for ``q`` ``(g, N, o)``."""

    @abstractmethod
    def correlate_residual(self, y: Tensor, x: Tensor) -> Tensor:
        """``Y'X - tril(Y'Y) W``, like the weight, for ``y`` ``(g, N, o)``."""

    @abstractmethod
    def window_norms(self, x: Tensor) -> Tensor:
        """Euclidean norm of each patch, ``(g, N, 1)``."""

    @abstractmethod
    def per_neuron(self, values: Tensor) -> Tensor:
        """One value a neuron, ``(g, o)``, in a shape that broadcasts against the weight."""

    @abstractmethod
    def per_output(self, values: Tensor) -> Tensor:
        """One value a neuron, ``(g, o)``, in a shape that broadcasts against the layer's output."""

    def reconstruct_lower(self, y: Tensor) -> Tensor:
        """``tril(Y'Y) W``, like the weight, for ``y`` ``(g, N, o)``."""
        from fasthebb.kernels import reconstruct_lower

        return self.from_rows(reconstruct_lower(y, self.rows().to(y.dtype)))

    def positions(self, s: Tensor) -> int:
        """``N``, the number of patches that were seen."""
        return s.shape[1]

    def weight_norms(self) -> Tensor:
        """Euclidean norm of each neuron's weights, ``(g, o)``, at least in float32."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        norms: Tensor = torch.linalg.vector_norm(self.weight, dim=tuple(range(1, self.weight.dim())), dtype=dtype)
        return norms.reshape(self.groups, self.neurons)

    def without_bias(self, output: Tensor) -> Tensor:
        """The linear map alone, ``X W'``, in the layer's own layout."""
        if self.bias is None:
            return output
        return output - self.per_output(self.bias.to(output.dtype).reshape(self.groups, self.neurons))
