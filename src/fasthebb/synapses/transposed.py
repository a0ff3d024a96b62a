"""A transposed convolution: neurons compete, or are ordered, at each output; each kernel offset learns by itself."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb.kernels import at_least_float32, spread_sum, transposed_correlation
from fasthebb.synapses.base import Synapse
from fasthebb.synapses.convolution import group_energy


class TransposedConvolutionSynapse(Synapse):
    """`torch.nn.ConvTranspose1d`, `2d` and `3d` with any stride, padding, output padding, dilation and groups.

    ``x`` is ``(B, C, *in)``, the weight ``(C, O / g, *kernel)``. A neuron is an output channel. Input position p
    reaches output ``sp + a`` through the weights of kernel offset a, so that a sample of these weights is the vector
    ``x_p`` with the responses at ``sp + a``:

        ``(Q'X)[c, o, a] = sum_p q_{o, sp+a} x_{c, p}``

    Elsewhere an offset meets nothing, rather than zeros: what it has seen (`mass`), and the Gram matrix of
    `reconstruct_lower`, are sums over its own samples. So learn the U-Nets of Ciampi et al. (Neural Networks, 2026).
    """

    def __init__(self, layer: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> None:
        super().__init__(layer)
        self.groups = layer.groups
        self.neurons = layer.out_channels // layer.groups
        self.inputs = layer.in_channels // layer.groups
        self.kernel, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.padding: tuple[int, ...] = layer.padding  # type: ignore[assignment]
        self.layer_output_padding: tuple[int, ...] = layer.output_padding
        self.offsets = prod(self.kernel)
        self.fan_in = self.inputs * self.offsets
        self.unbatched_dims = 1 + len(self.kernel)
        # wide enough for an output, whatever is cut off
        self.smallest_input = (layer.in_channels, *(2 * p + 1 for p in self.padding))

    def rows(self) -> Tensor:
        """See `Synapse`: ``(g * offsets, o, C / g)``."""
        split = self.weight.reshape(self.groups, self.inputs, self.neurons, self.offsets)
        return split.permute(0, 3, 2, 1).reshape(-1, self.neurons, self.inputs)

    def from_rows(self, rows: Tensor) -> Tensor:
        """See `Synapse`."""
        split = rows.reshape(self.groups, self.offsets, self.neurons, self.inputs).permute(0, 3, 2, 1)
        return torch.empty_like(self.weight, dtype=rows.dtype).copy_(split.reshape(self.weight.shape))

    def receive(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        self.batch, self.input_size = x.shape[0], tuple(x.shape[2:])
        least = self._least_output()
        self.output_size = tuple(own + extra for own, extra in zip(least, self.layer_output_padding, strict=True))
        return x

    def responses(self, output: Tensor) -> Tensor:
        """See `Synapse`; keeps the size of the output, which a caller may choose by ``output_size``."""
        self.output_size = tuple(output.shape[2:])
        return output.movedim(1, -1).reshape(-1, self.groups, self.neurons).transpose(0, 1)

    def patches(self, x: Tensor) -> Tensor:
        """See `Synapse`: ``(g * offsets, B * positions, C / g)``, the same for each offset of a group."""
        seen = x.movedim(1, -1).reshape(-1, self.groups, 1, self.inputs).expand(-1, -1, self.offsets, -1)
        return seen.flatten(1, 2).transpose(0, 1)

    def at_patches(self, q: Tensor) -> Tensor:
        """See `Synapse`: ``(g * offsets, B * positions, o)``, zero where an output was cut off."""
        return torch.stack(list(self._met(q)), dim=1).flatten(0, 1)

    def correlate(self, q: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return self._correlation(q, x, self.weight)

    def mass(self, q: Tensor) -> Tensor:
        """See `Synapse`: what each kernel offset has seen, ``(1, O, *kernel)``, with groups ``(C, O / g, *kernel)``."""
        ones = q.new_ones(self.batch, self.groups, *self.input_size)
        seen = self._correlation(q, ones, self.weight[: self.groups])
        return seen if self.groups == 1 else seen.repeat_interleave(self.inputs, dim=0)

    def gram(self, y: Tensor, s: Tensor) -> Tensor:
        """See `Synapse`: of each kernel offset, ``(g * offsets, o, o)``; one by one, so that nothing large is made."""
        if s is y:
            products = [met.mT @ met for met in self._met(y)]
        else:
            products = [left.mT @ right for left, right in zip(self._met(y), self._met(s), strict=True)]
        return torch.stack(products, dim=1).flatten(0, 1)

    def correlate_residual(self, y: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return at_least_float32(self.correlate(y, x)) - self.reconstruct_lower(y)

    def window_norms(self, x: Tensor) -> Tensor:
        """See `Synapse`: of all inputs that reach an output."""
        energy = group_energy(x, self.groups)
        sums = spread_sum(energy, self.kernel, self.stride, self.padding, self._output_padding(), self.dilation)
        return sums.clamp_min(0).sqrt().transpose(0, 1).reshape(self.groups, -1, 1)

    def per_neuron(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        ones = (1,) * len(self.kernel)
        if self.groups == 1:
            return values.reshape(1, self.neurons, *ones)
        return values.repeat_interleave(self.inputs, dim=0).reshape(-1, self.neurons, *ones)

    def per_output(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1, *(1,) * len(self.kernel))

    def sum_of(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(self.groups, self.inputs, self.neurons, self.offsets).sum((1, 3))

    def norms_of(self, weight: Tensor) -> Tensor:
        """See `Synapse`."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        split = weight.reshape(self.groups, self.inputs, self.neurons, self.offsets)
        norms: Tensor = torch.linalg.vector_norm(split, dim=(1, 3), dtype=dtype)
        return norms

    def _correlation(self, q: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        if q.shape[1] == 0:
            return torch.zeros_like(weight, dtype=q.dtype)
        return transposed_correlation(
            self._as_output(q),
            x,
            weight,
            self.stride,
            self.padding,
            self._output_padding(),
            self.dilation,
            self.groups,
        )

    def _least_output(self) -> tuple[int, ...]:
        return least_output(self.input_size, self.kernel, self.stride, self.padding, self.dilation)

    def _output_padding(self) -> list[int]:
        return [size - least for size, least in zip(self.output_size, self._least_output(), strict=True)]

    def _as_output(self, q: Tensor) -> Tensor:
        """``(g, N, o)`` as the layer's own output, ``(B, O, *out)``, without a copy (channels_last)."""
        return q.transpose(0, 1).reshape(self.batch, *self.output_size, q.shape[0] * q.shape[2]).movedim(-1, 1)

    def _met(self, q: Tensor) -> Iterator[Tensor]:
        """For each kernel offset a, ``q`` at ``sp + a`` for every input position p, ``(g, B * positions, o)``."""
        sides = [(p, p - extra) for p, extra in zip(self.padding, self._output_padding(), strict=True)]
        whole = F.pad(self._as_output(q), [side for pair in reversed(sides) for side in pair])
        for offset in product(*(range(k) for k in self.kernel)):
            places = tuple(
                slice(a * d, a * d + s * (size - 1) + 1, s)
                for a, d, s, size in zip(offset, self.dilation, self.stride, self.input_size, strict=True)
            )
            window = (slice(None), slice(None), *places)
            met = whole[window].movedim(1, -1)
            yield met.reshape(-1, self.groups, self.neurons).transpose(0, 1)


def least_output(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Size of a transposed convolution's output without output padding.

    >>> least_output((4, 4), (2, 3), (2, 2), (0, 1), (1, 1))
    (8, 7)
    """
    settings = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple(s * (n - 1) - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in settings)
