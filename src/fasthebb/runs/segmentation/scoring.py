"""What a network makes of whole images, tile by tile."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fasthebb.data import MaskedSet, Preprocessing
from fasthebb.evaluation import predict_tiles
from fasthebb.models import SegmentationNetwork
from fasthebb.training import Precision

TILES = {2: 256, 3: 64}
OVERLAP = 4
"""A tile shares this part of its side with the next: a quarter."""


def probabilities(
    model: nn.Module,
    preprocessing: Callable[[Tensor], Tensor],
    image: Tensor,
    classes: int,
    *,
    tile: int | None = None,
    batch_size: int = 4,
    precision: Precision = "32-true",
) -> Tensor:
    """``(classes, *size)`` of an image ``(C, *size)``, on the CPU."""
    dims = image.dim() - 1
    side = TILES[dims] if tile is None else tile
    device = next((weight.device for weight in model.parameters()), image.device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        return predict_tiles(
            model, image, preprocessing, tile=side, overlap=side // OVERLAP, classes=classes, batch_size=batch_size
        )


def masks_of(
    model: SegmentationNetwork, preprocessing: Preprocessing, images: MaskedSet, classes: int, **how: Any
) -> Iterator[Tensor]:
    """The most likely class of each pixel, ``(*size)`` uint8, an image after the other."""
    for image in images.images:
        yield probabilities(model, preprocessing, image, classes, **how).argmax(0).to(torch.uint8)


def rounded(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """To three decimals; None stays."""
    return {name: None if value is None else round(value, 3) for name, value in scores.items()}
