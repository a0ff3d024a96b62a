"""A transposed convolution in reverse: input channels compete, or are ordered, for the patch that they write."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb.synapses.convolution import ConvolutionSynapse
from fasthebb.synapses.transposed import least_output

_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class ReversedTransposedSynapse(ConvolutionSynapse):
    """`torch.nn.ConvTranspose1d`, `2d` and `3d` as the convolution that leads from their output to their input.

    A neuron is an input channel, whose weights are what it adds to the output: ``(C, O / g, *kernel)`` as in that
    convolution. An input position p is a sample. In the place of what a convolution sees is the patch ``z_p`` of the
    layer's output, without bias, that p writes to (zeros where it was cut off), in the place of the responses the
    input ``x_p``: what learns is a generative model of the output. So learn the reversed rules of Ciampi et al. (Neural
    Networks, 2026), "swta" and "hpca" in their code.

    Of the methods below ``x`` is ``(B, O, *out)``, the output.
    """

    def __init__(self, layer: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> None:
        super().__init__(layer)
        self.neurons = layer.in_channels // layer.groups
        self.smallest_input = (layer.out_channels, *self._spans())
        self.cut_off = self.padding
        self.answers: Tensor | None = None

    def see(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """See `Synapse`: the output and, as responses, the input."""
        extra = self._output_padding(x, output.shape)
        if any(extra):  # less was cut off at the end, or nothing reaches it
            pairs = [(p, p - more) for p, more in zip(self.cut_off, extra, strict=True)]
            self.sides, self.padding = [side for pair in reversed(pairs) for side in pair], (0,) * len(pairs)
        self.answers = self.responses(x)
        return self.receive(self.without_bias(output)), self.answers

    def output_of(self, x: Tensor, weight: Tensor, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
        """The layer's output, of that shape, with other weights."""
        extra = self._output_padding(x, shape)
        transposed = _TRANSPOSED[len(self.kernel)]
        return transposed(x, weight, bias, self.stride, self.cut_off, extra, self.groups, self.dilation)  # type: ignore[arg-type]

    def window_norms(self, x: Tensor) -> Tensor:
        """See `Synapse`; no shorter than the longest part that a single neuron adds to the patch.

        Parts may cancel each other, or be cut off: the cosine of a neuron, ``s / (|z| |w|)``, stays within 1.
        """
        norms = super().window_norms(x)
        if self.answers is None:
            return norms
        lengths = self.weight_norms()[:, None]
        parts = self.answers.abs() / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
        return torch.maximum(norms, parts.amax(-1, keepdim=True))

    def without_bias(self, output: Tensor) -> Tensor:
        """See `Synapse`."""
        if self.bias is None:
            return output
        return output - self.bias.to(output.dtype).reshape(-1, *(1,) * len(self.kernel))

    def _output_padding(self, x: Tensor, shape: Sequence[int]) -> list[int]:
        dims = len(self.kernel)
        least = least_output(x.shape[-dims:], self.kernel, self.stride, self.cut_off, self.dilation)
        return [size - own for size, own in zip(shape[-dims:], least, strict=True)]
