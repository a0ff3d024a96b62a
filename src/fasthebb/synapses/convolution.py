"""A two-dimensional convolution: every patch that the kernel meets is a sample."""

import torch
from torch import Tensor, nn

from fasthebb.kernels import (
    box_sum,
    convolution_correlation,
    correlate_residual,
    pad_as_convolution,
    reconstruct_lower,
    unfold,
)
from fasthebb.synapses.base import Synapse


class Conv2dSynapse(Synapse):
    """`torch.nn.Conv2d` with any stride, padding, padding mode, dilation and groups: ``x`` is ``(B, C, H, W)``.

    Each group is a layer of its own. ``X`` is never unfolded, except where the output is a single position: there a
    patch is the image itself, and plain matrix products are the faster form.
    """

    unbatched_dims = 3

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        self.groups = layer.groups
        self.neurons = layer.out_channels // layer.groups
        self.fan_in = self.weight[0].numel()
        self.kernel, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.smallest_input = (layer.in_channels, *self._spans())
        # torch keeps "same" padding, numbers and modes alike as (left, right, top, bottom)
        sides: list[int] = list(layer._reversed_padding_repeated_twice)
        symmetric = sides[0] == sides[1] and sides[2] == sides[3]
        if layer.padding_mode == "zeros" and symmetric:
            self.sides, self.padding = [0, 0, 0, 0], (sides[2], sides[0])
        else:
            self.sides, self.padding = sides, (0, 0)
        self.mode = layer.padding_mode
        # Rows follow the memory of the weight, so that both are views of the same numbers.
        self.channels_first = self.weight.is_contiguous() or not self.weight.is_contiguous(
            memory_format=torch.channels_last
        )

    def rows(self) -> Tensor:
        """See `Synapse`."""
        weight = self.weight if self.channels_first else self.weight.permute(0, 2, 3, 1)
        return weight.reshape(self.groups, self.neurons, self.fan_in)

    def from_rows(self, rows: Tensor) -> Tensor:
        """See `Synapse`."""
        if self.channels_first:
            return rows.reshape(self.weight.shape)
        out, inputs, height, width = self.weight.shape
        return rows.reshape(out, height, width, inputs).permute(0, 3, 1, 2)

    def receive(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        return pad_as_convolution(x, self.sides, self.mode)

    def responses(self, output: Tensor) -> Tensor:
        """See `Synapse`."""
        matrix = output.permute(0, 2, 3, 1).reshape(-1, self.groups, self.neurons)  # a view if channels_last
        return matrix.transpose(0, 1)

    def patches(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        if self._positions(x) == (1, 1) and self.padding == (0, 0):
            height, width = self._spans()
            seen = x[:, :, : height : self.dilation[0], : width : self.dilation[1]]  # (B, C, kh, kw)
            seen = seen.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *self.kernel)
        else:
            seen = unfold(x, self.kernel, self.stride, self.padding, self.dilation)
            seen = seen.reshape(seen.shape[0], self.groups, x.shape[1] // self.groups, *self.kernel)
        if not self.channels_first:
            seen = seen.permute(0, 1, 3, 4, 2)
        return seen.reshape(seen.shape[0], self.groups, self.fan_in).transpose(0, 1)

    def correlate(self, q: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        if self._positions(x) == (1, 1):
            return self.from_rows(q.mT @ self.patches(x))
        if q.shape[1] == 0:
            return torch.zeros_like(self.weight, dtype=q.dtype)
        return convolution_correlation(
            self._as_output(q, x), x, self.weight, self.stride, self.padding, self.dilation, self.groups
        )

    def correlate_residual(self, y: Tensor, x: Tensor) -> Tensor:
        """See `Synapse`."""
        rows = self.rows().to(y.dtype)
        if self._positions(x) == (1, 1):
            return self.from_rows(correlate_residual(y, self.patches(x), rows))
        return self.correlate(y, x) - self.from_rows(reconstruct_lower(y, rows))

    def window_norms(self, x: Tensor) -> Tensor:
        """See `Synapse`."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        channels = x.shape[1] // self.groups
        energy = x.to(dtype).square().reshape(x.shape[0], self.groups, channels, *x.shape[2:]).sum(2)  # (B, g, H, W)
        norms = box_sum(energy, self.kernel, self.stride, self.padding, self.dilation).sqrt()
        return norms.transpose(0, 1).reshape(self.groups, -1, 1)

    def per_neuron(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1, 1, 1, 1)

    def per_output(self, values: Tensor) -> Tensor:
        """See `Synapse`."""
        return values.reshape(-1, 1, 1)

    def _spans(self) -> tuple[int, int]:
        """Height and width of what the dilated kernel covers."""
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        return height, width

    def _positions(self, x: Tensor) -> tuple[int, int]:
        """Height and width of the output for a received input."""
        height, width = (
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, p, d, k, s in zip(x.shape[2:], self.padding, self.dilation, self.kernel, self.stride, strict=True)
        )
        return height, width

    def _as_output(self, q: Tensor, x: Tensor) -> Tensor:
        """``(g, N, o)`` as the layer's own output, ``(B, O, H, W)``, without a copy (channels_last)."""
        height, width = self._positions(x)
        flat = q.transpose(0, 1).reshape(x.shape[0], height, width, -1)
        return flat.permute(0, 3, 1, 2)
