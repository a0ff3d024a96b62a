"""Layers and inputs of every setting, drawn by hypothesis."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from torch import Tensor, nn


@dataclass(frozen=True)
class Setting:
    """A layer and the input it gets, by description, so that a failure prints what it was."""

    kind: str
    arguments: tuple[tuple[str, Any], ...]
    input_shape: tuple[int, ...]
    channels_last_weight: bool
    channels_last_input: bool
    seed: int
    transposed: Literal["forward", "reversed"] = "forward"
    """How it learns, if it is a transposed convolution."""

    @property
    def unbatched_dims(self) -> int:
        return 1 if self.kind == "Linear" else 1 + int(self.kind[-2])

    def layer(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        torch.manual_seed(self.seed)
        layer: nn.Module = getattr(nn, self.kind)(**dict(self.arguments)).to(dtype)
        formats = {3: torch.channels_last, 4: torch.channels_last_3d}
        if self.channels_last_weight and self.unbatched_dims in formats:
            layer.to(memory_format=formats[self.unbatched_dims])  # type: ignore[call-overload]
        return layer

    def images(self, dtype: torch.dtype = torch.float64) -> Tensor:
        images = torch.randn(self.input_shape, generator=torch.Generator().manual_seed(self.seed + 1))
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        if self.channels_last_input and images.dim() == self.unbatched_dims + 1 and images.dim() in formats:
            images = images.contiguous(memory_format=formats[images.dim()])
        return images.to(dtype)


@st.composite
def linear_settings(draw: st.DrawFn) -> Setting:
    inputs = draw(st.integers(2, 7))
    leading = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)))
    arguments = {"in_features": inputs, "out_features": draw(st.integers(1, 6)), "bias": draw(st.booleans())}
    return Setting("Linear", tuple(arguments.items()), (*leading, inputs), False, False, draw(st.integers(0, 999)))


@st.composite
def convolution_settings(draw: st.DrawFn, dims: int) -> Setting:
    def each(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * dims))

    groups, kernel = draw(st.integers(1, 3)), each(1, 3)
    dilation = each(1, 2) if draw(st.booleans()) else (1,) * dims
    padding = draw(st.sampled_from(["numbers", "same", "valid"]))
    stride = (1,) * dims if padding == "same" else each(1, 3)
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    # Reflection needs more pixels than it pads with, and a valid convolution at least one kernel.
    size = tuple(max(span, 3) + draw(st.integers(0, 2 if dims < 3 else 1)) for span in spans)
    # float32 products of a single number would be compared with a single number's round-off
    channels = groups * draw(st.integers(1, 2)) * (2 if max(kernel) == 1 else 1)
    arguments = {
        "in_channels": channels,
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": each(0, 2) if padding == "numbers" else padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": mode,
    }
    setting = _with_input(draw, f"Conv{dims}d", arguments, channels, size)
    before = arguments["padding"][-1] if padding == "numbers" else 0
    columns = (size[-1] + 2 * before - spans[-1]) // stride[-1] + 1
    if dims > 1 and channels == columns == 1 and stride[-1] > 1 and stride[-2] == 1:
        # torch 2.14's own float32 forward reads past the image here if anything is channels_last (AVX-512, AMX)
        setting = replace(setting, channels_last_weight=False, channels_last_input=False)
    return setting


@st.composite
def transposed_settings(draw: st.DrawFn, dims: int) -> Setting:
    def each(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * dims))

    groups, kernel, stride = draw(st.integers(1, 3)), each(1, 3), each(1, 3)
    dilation = each(1, 2) if draw(st.booleans()) else (1,) * dims
    size = each(2, 4 if dims < 3 else 3)
    # What is cut off may not be more than there is; what is added, less than a stride or the dilation.
    least = [s * (n - 1) + d * (k - 1) for s, n, d, k in zip(stride, size, dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, min(2, whole // 2))) for whole in least)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    channels = groups * draw(st.integers(2, 3))
    arguments = {
        "in_channels": channels,
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "output_padding": extra,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    form = draw(st.sampled_from(["forward", "reversed"]))
    return replace(_with_input(draw, f"ConvTranspose{dims}d", arguments, channels, size), transposed=form)


def _with_input(draw: st.DrawFn, kind: str, arguments: dict[str, Any], channels: int, size: tuple[int, ...]) -> Setting:
    batch = draw(st.sampled_from([(), (1,), (3,)]))  # () is a single image without a batch dimension
    return Setting(
        kind,
        tuple(arguments.items()),
        (*batch, channels, *size),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 999)),
    )


def every_padding() -> list[Setting]:
    """Each way to pad with each kind of kernel: what a random draw meets too seldom to be relied on."""
    found = []
    for mode in ("zeros", "reflect", "replicate", "circular"):
        for padding in ((0, 1), (2, 2), "same", "valid"):
            for kernel, dilation, groups in (
                ((3, 3), (1, 1), 1),
                ((2, 3), (1, 2), 2),
                ((1, 1), (1, 1), 2),
                ((4, 5), (1, 1), 1),
            ):
                arguments = {
                    "in_channels": 4,
                    "out_channels": 4,
                    "kernel_size": kernel,
                    "padding": padding,
                    "dilation": dilation,
                    "groups": groups,
                    "padding_mode": mode,
                }
                found.append(Setting("Conv2d", tuple(arguments.items()), (2, 4, 4, 5), False, False, len(found)))
    return found


def settings_of_layers() -> st.SearchStrategy[Setting]:
    """Every kind of layer, two-dimensional convolutions most often."""
    kinds = [linear_settings(), *[convolution_settings(2), transposed_settings(2)] * 2]
    return st.one_of(*kinds, *(make(dims) for make in (convolution_settings, transposed_settings) for dims in (1, 3)))
