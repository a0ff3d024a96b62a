"""A convolution: every patch that the kernel meets is a sample."""

from math import prod

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from fasthebb.kernels import (
    at_least_float32,
    box_sum,
    convolution_correlation,
    correlate_residual,
    pad_as_convolution,
    windows,
)
from fasthebb.synapses.base import Synapse

MATRIX_PATCHES_A_NEURON = 3
"""Up to so many patches a neuron, unfolding them costs less than what the weight-gradient kernel does to the weight."""

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory format with the channels innermost, by number of dimensions."""


class ConvolutionSynapse(Synapse):
    """`torch.nn.Conv1d`, `Conv2d` and `Conv3d` with any stride, padding, padding mode, dilation and groups.

    ``x`` is ``(B, C, *in)``. Each group is a layer of its own. ``X`` is never unfolded, except where plain matrix
    products are the faster form and the part of it that is needed at once is no larger than the input or the weight.
    """

    def __init__(self, layer: _ConvNd) -> None:
        super().__init__(layer)
        self.groups = layer.groups
        self.neurons = layer.out_channels // layer.groups
        self.fan_in = self.weight[0].numel()
        self.kernel: tuple[int, ...] = layer.kernel_size
        self.stride: tuple[int, ...] = layer.stride
        self.dilation: tuple[int, ...] = layer.dilation
        self.unbatched_dims = 1 + len(self.kernel)
        self.smallest_input = (layer.in_channels, *self._spans())
        # torch keeps "same" padding, numbers and modes alike: before and after, the last dimension first
        sides: list[int] = list(layer._reversed_padding_repeated_twice)
        before, after = sides[-2::-2], sides[::-2]
        if layer.padding_mode == "zeros" and before == after:
            self.sides, self.padding = [0] * len(sides), tuple(before)
        else:
            self.sides, self.padding = sides, (0,) * len(before)
        self.mode = layer.padding_mode
        # Rows follow the memory of the weight, so that both are views of the same numbers.
        last = CHANNELS_LAST.get(self.weight.dim())
        self.channels_first = (
            last is None or self.weight.is_contiguous() or not self.weight.is_contiguous(memory_format=last)
        )

    def rows(self) -> Tensor:
        """See `Synapse`."""
        weight = self.weight if self.channels_first else self.weight.movedim(1, -1)
        return weight.reshape(self.groups, self.neurons, self.fan_in)

    def from_rows(self, rows: Tensor) -> Tensor:
        """See `Synapse`."""
        if self.channels_first:
            return rows.reshape(self.weight.shape)
        out, inputs, *kernel = self.weight.shape
        return rows.reshape(out, *kernel, inputs).movedim(-1, 1)

    def receive(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return pad_as_convolution(x, self.sides, self.mode)

    def responses(self, output: Tensor) -> Tensor:
        """See `Synapse`."""
        matrix = output.movedim(1, -1).reshape(-1, self.groups, self.neurons)  # a view if channels_last
        return matrix.transpose(0, 1)

    def patches(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        dims = len(self.kernel)
        seen = windows(x, self.kernel, self.stride, self.padding, self.dilation)  # (B, C, *out, *kernel)
        seen = seen.movedim(1, 1 + dims)  # (B, *out, C, *kernel)
        seen = seen.reshape(prod(seen.shape[: 1 + dims]), self.groups, x.shape[1] // self.groups, *self.kernel)
        if not self.channels_first:
            seen = seen.movedim(2, -1)
        return seen.reshape(seen.shape[0], self.groups, self.fan_in).transpose(0, 1)

    def correlate(self, q: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return self.correlate_by_matrix(q, x) if self.prefers_matrix(x) else self.correlate_by_kernel(q, x)

    def prefers_matrix(self, x: Tensor) -> bool:
        """Whether patches are better had as a matrix.

        So where they are the input itself, at a single position or in kernels of one pixel; and where a wide layer
        sees few of them, which leaves the weight-gradient kernel busy with the weight.
        """
        positions = self._positions(x)
        if all(size == 1 for size in positions) or (
            self.groups == 1 and not any(self.padding) and self.fan_in == x.shape[1]
        ):
            return True
        patches = x.shape[0] * prod(positions)
        return patches <= MATRIX_PATCHES_A_NEURON * self.neurons and prod(positions) <= self.neurons

    def correlate_by_matrix(self, q: Tensor, x: Tensor) -> Tensor:
        """`correlate` by unfolded patches, no more at once than fill the input or the weight."""
        positions = prod(self._positions(x))
        images = max(1, max(x.numel(), self.weight.numel()) // (self.groups * self.fan_in * positions))
        if images >= x.shape[0]:
            return self.from_rows(q.mT @ self.patches(x))
        update = q.new_zeros(self.groups, self.neurons, self.fan_in)
        for start in range(0, x.shape[0], images):
            part = q[:, start * positions : (start + images) * positions]
            update.baddbmm_(part.mT, self.patches(x[start : start + images]))
        return self.from_rows(update)

    def correlate_by_kernel(self, q: Tensor, x: Tensor) -> Tensor:
        """`correlate` by the weight-gradient kernel."""
        if q.shape[1] == 0:
            return torch.zeros_like(self.weight, dtype=q.dtype)
        return convolution_correlation(
            self._as_output(q, x), x, self.weight, self.stride, self.padding, self.dilation, self.groups
        )

    def correlate_residual(self, y: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        if self.patches_are_rows(x):
            return self.from_rows(correlate_residual(y, self.patches(x), self.rows().to(y.dtype)))
        return at_least_float32(self.correlate(y, x)) - self.reconstruct_lower(y)

    def patches_are_rows(self, x: Tensor) -> bool:
        """Whether all patches together are no larger than the input or the weight, and better had as a matrix."""
        patches = x.shape[0] * prod(self._positions(x)) * self.groups * self.fan_in
        return self.prefers_matrix(x) and patches <= max(x.numel(), self.weight.numel())

    def window_norms(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        energy = group_energy(x, self.groups)
        norms = box_sum(energy, self.kernel, self.stride, self.padding, self.dilation).clamp_min(0).sqrt()
        return norms.transpose(0, 1).reshape(self.groups, -1, 1)

    def per_neuron(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1, *(1,) * (self.weight.dim() - 1))

    def per_output(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1, *(1,) * len(self.kernel))

    def _spans(self) -> tuple[int, ...]:
        """Size of what the dilated kernel covers."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def _positions(self, x: Tensor) -> tuple[int, ...]:
        """Size of the output for a received input."""
        return tuple(
            (size + 2 * p - span) // s + 1
            for size, p, span, s in zip(x.shape[2:], self.padding, self._spans(), self.stride, strict=True)
        )

    def _as_output(self, q: Tensor, x: Tensor) -> Tensor:
        """``(g, N, o)`` as the layer's own output, ``(B, O, *out)``, without a copy (channels_last)."""
        return q.transpose(0, 1).reshape(x.shape[0], *self._positions(x), q.shape[0] * q.shape[2]).movedim(-1, 1)


def group_energy(x: Tensor, groups: int) -> Tensor:
    """Sum of squares over the channels of each group, ``(B, g, *in)``, at least in float32."""
    energy = at_least_float32(x).square()
    return energy.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]).sum(2)
