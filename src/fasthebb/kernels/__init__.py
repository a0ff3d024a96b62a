"""Matrix products on plain tensors, the cheaper of two equal forms chosen by shape."""

from fasthebb.kernels.boxes import box_sum, pad_as_convolution, spread_sum, windows
from fasthebb.kernels.correlation import convolution_correlation, transposed_correlation
from fasthebb.kernels.precision import at_least_float32
from fasthebb.kernels.triangle import correlate_residual

__all__ = [
    "at_least_float32",
    "box_sum",
    "convolution_correlation",
    "correlate_residual",
    "pad_as_convolution",
    "spread_sum",
    "transposed_correlation",
    "windows",
]
