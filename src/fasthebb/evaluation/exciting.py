"""The images that excite a layer's neurons most."""

import io
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from fasthebb.evaluation.modes import evaluating

NEURONS, IMAGES = 8, 8
"""How many are shown of a layer, and for each of them."""
_SIDE = 48  # pixels of a drawn image, at least about


def most_exciting(
    model: nn.Module, loader: Iterable[Sequence[Tensor]], layers: Sequence[str], neurons: int = NEURONS
) -> dict[str, Tensor]:
    """Which images of a loader give a neuron the largest response, at whatever position.

    Args:
        model: any network; it is as before afterwards.
        loader: yields tuples that begin with images `(N, C, H, W)`.
        layers: names of convolutions and dense layers, as in `model.named_modules()`.
        neurons: how many to look at of each layer, evenly spread over its neurons.

    Returns:
        By layer the positions of images in the loader's order, `(neurons, IMAGES)` int64, the most exciting first;
        fewer where there are fewer neurons or images.

    >>> layer = nn.Sequential(nn.Linear(2, 1, bias=False))
    >>> _ = nn.init.ones_(layer[0].weight)
    >>> most_exciting(layer, [(torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]]),)], ["0"])
    {'0': tensor([[1, 2, 0]])}
    """
    modules = dict(model.named_modules())
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    peaks: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name: str, output: Tensor) -> None:
        largest = output.flatten(2).amax(2) if output.dim() > 2 else output  # (N, O)
        chosen = torch.linspace(0, largest.shape[1] - 1, min(neurons, largest.shape[1])).round().long()
        peaks[name].append(largest[:, chosen.to(largest.device)].float().cpu())

    with evaluating(model), torch.inference_mode(), ExitStack() as hooks:
        for name in layers:
            hooks.callback(
                modules[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output)).remove
            )
        for batch in loader:
            model(batch[0].to(device))
    return {
        name: torch.cat(found).topk(min(IMAGES, sum(map(len, found))), dim=0).indices.T
        for name, found in peaks.items()
        if found
    }


def picture(images: Tensor, positions: Tensor) -> bytes:
    """A PNG with a row a neuron, of the images at `positions` `(neurons, images)` of `images` `(N, C, H, W)`.

    Three channels are colours; of any other number the mean is shown. uint8, or floats in [0, 1].
    """
    from PIL import Image

    chosen = images[positions.flatten()]
    shades = chosen if chosen.dtype == torch.uint8 else (255 * chosen.clamp(0, 1)).round().byte()
    if shades.shape[1] != 3:
        shades = shades.float().mean(1, keepdim=True).round().byte().expand(-1, 3, -1, -1)
    zoom = max(1, _SIDE // max(shades.shape[2:]))
    shades = shades.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    shades = nn.functional.pad(shades, (0, 2, 0, 2), value=255)
    rows, columns = positions.shape
    _, channels, height, width = shades.shape
    canvas = shades.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    buffer = io.BytesIO()
    Image.fromarray(canvas.reshape(rows * height, columns * width, channels).numpy()).save(buffer, format="png")
    return buffer.getvalue()
