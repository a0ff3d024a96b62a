"""Matrix products on plain tensors, the cheaper of two equal forms chosen by shape."""

from fasthebb.kernels.boxes import box_sum, pad_as_convolution
from fasthebb.kernels.correlation import convolution_correlation, unfold
from fasthebb.kernels.triangle import correlate_residual, reconstruct_lower

__all__ = [
    "box_sum",
    "convolution_correlation",
    "correlate_residual",
    "pad_as_convolution",
    "reconstruct_lower",
    "unfold",
]
