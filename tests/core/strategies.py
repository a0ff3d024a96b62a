"""Layers and inputs of every setting, drawn by hypothesis."""

from dataclasses import dataclass
from typing import Any

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

    def layer(self, dtype: torch.dtype = torch.float64) -> nn.Linear | nn.Conv2d:
        torch.manual_seed(self.seed)
        make = nn.Linear if self.kind == "linear" else nn.Conv2d
        layer = make(**dict(self.arguments)).to(dtype)
        return layer.to(memory_format=torch.channels_last) if self.channels_last_weight else layer

    def images(self, dtype: torch.dtype = torch.float64) -> Tensor:
        images = torch.randn(self.input_shape, generator=torch.Generator().manual_seed(self.seed + 1))
        if self.channels_last_input and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        return images.to(dtype)


@st.composite
def linear_settings(draw: st.DrawFn) -> Setting:
    inputs = draw(st.integers(2, 7))
    leading = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)))
    arguments = {"in_features": inputs, "out_features": draw(st.integers(1, 6)), "bias": draw(st.booleans())}
    return Setting("linear", tuple(arguments.items()), (*leading, inputs), False, False, draw(st.integers(0, 999)))


@st.composite
def convolution_settings(draw: st.DrawFn) -> Setting:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    groups, kernel = draw(st.integers(1, 3)), pair(1, 3)
    dilation = pair(1, 2) if draw(st.booleans()) else (1, 1)
    padding = draw(st.sampled_from(["numbers", "same", "valid"]))
    stride = (1, 1) if padding == "same" else pair(1, 3)
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    # Reflection needs more pixels than it pads with, and a valid convolution at least one kernel.
    size = tuple(max(span, 3) + draw(st.integers(0, 2)) for span in spans)
    channels = groups * draw(st.integers(1, 2)) * (2 if kernel == (1, 1) else 1)
    arguments = {
        "in_channels": channels,
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": pair(0, 2) if padding == "numbers" else padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": mode,
    }
    batch = draw(st.sampled_from([(), (1,), (3,)]))  # () is a single image without a batch dimension
    return Setting(
        "convolution",
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
                found.append(Setting("convolution", tuple(arguments.items()), (2, 4, 4, 5), False, False, len(found)))
    return found


def settings_of_layers() -> st.SearchStrategy[Setting]:
    """Linear layers and convolutions, the latter twice as often as there is more to vary."""
    return st.one_of(linear_settings(), convolution_settings(), convolution_settings())
