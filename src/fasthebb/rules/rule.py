"""What every rule is: what a batch adds to its sums, and the update as a function of the sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from fasthebb.synapses import Synapse


class Sums:
    """Named sums over samples: tensors, or numbers that count.

    Adding two of them gives the sums of both batches together.

    >>> both = Sums(count=3) + Sums(count=4)
    >>> both.count
    7
    """

    def __init__(self, **values: Tensor | float) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]  # type: ignore[return-value]
        except KeyError:
            raise AttributeError(f"no sum named {name!r}; this rule keeps {', '.join(self._values)}") from None

    def __add__(self, other: Sums) -> Sums:
        return Sums(**{name: value + other._values[name] for name, value in self._values.items()})

    def items(self) -> list[tuple[str, Tensor | float]]:
        """Names and values, in the order in which they were given."""
        return list(self._values.items())


@dataclass(frozen=True)
class Rule(ABC):
    """A local learning rule, in two parts: additive `sums`, and the update `delta` as a function of them.

    A rule of your own is a frozen dataclass with these two methods; it then works on every kind of layer, in every
    dtype, over micro-batches and over processes. Plain Hebbian learning:

    >>> import fasthebb, torch
    >>> @dataclass(frozen=True)
    ... class Hebb(fasthebb.Rule):
    ...     def sums(self, synapse, x, s):
    ...         return fasthebb.Sums(update=synapse.correlate(s, x), count=synapse.positions(s))
    ...     def delta(self, sums, synapse):
    ...         return sums.update / sums.count
    >>> layer = torch.nn.Linear(3, 2)
    >>> plasticity = fasthebb.attach(layer, Hebb())
    >>> _ = layer(torch.randn(5, 3))
    >>> plasticity.deltas()[""].shape
    torch.Size([2, 3])
    """

    competitive: ClassVar[bool] = False
    """Whether `response` is a share of each sample, so that neurons compete for it."""
    unit_norm: ClassVar[bool] = False
    """Whether the layer hands on ``x.w / |w|`` instead of ``x.w``."""
    summed: ClassVar[bool] = False
    """Whether `delta` grows with the number of samples, so that its learning rates are far below the usual ones."""
    uses_gradient: ClassVar[bool] = False
    """Whether `delta` reads ``synapse.gradient`` and takes its place in ``.grad``."""
    supervised: ClassVar[bool] = False
    """Whether `sums` reads ``synapse.labels``, given by ``plasticity.teacher(labels)``."""

    @abstractmethod
    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """What a batch adds to the sums.

        Args:
            synapse: the layer.
            x: what the layer saw, opaque: for ``synapse.correlate`` and its like.
            s: responses ``X W'`` without bias, ``(g, N, o)``.
        """

    @abstractmethod
    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """The update ``dW`` of all samples in ``sums``, like ``synapse.weight``: a new tensor, to become ``.grad``."""

    def gradient(self, sums: Sums, synapse: Synapse, scale: float) -> Tensor:
        """``scale dW``, for the optimizer; may overwrite ``sums``, which nobody reads afterwards.

        Overridden where it takes fewer passes over a tensor as large as the weight than `delta` and a multiplication.
        """
        return self.delta(sums, synapse).mul_(scale)

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """What each neuron answers to each sample while learning, ``(g, N, o)``."""
        return s

    def fixed_point(self, patches: Tensor, neurons: int, generator: Generator) -> Tensor:
        """Weights ``(neurons, K)`` that learning would come to, from a sample of patches ``(M, K)`` at once.

        Raises:
            ValueError: the rule knows no way but steps, or the sample is too small.
        """
        raise ValueError(
            f"{type(self).__name__} learns by steps alone: Sanger, HPCA(activation='identity') and competitive rules "
            "can learn at once"
        )

    def initial_weight(self, synapse: Synapse) -> Tensor | None:
        """Weights that the rule asks to start from, like ``synapse.weight``; ``None`` leaves the layer's own."""
        return None

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        """Named tensors that live with the layer, kept in checkpoints; read from ``synapse.state``."""
        return {}

    def next_state(self, sums: Sums, synapse: Synapse) -> dict[str, Tensor]:
        """The state after an update, from the sums of every process."""
        return synapse.state
