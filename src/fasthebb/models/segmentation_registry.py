"""The segmentation networks by name."""

import difflib
from collections.abc import Callable
from functools import partial

from fasthebb.models.segmentation_elsewhere import segmentation_from_elsewhere, segmentation_names_elsewhere
from fasthebb.models.unet import SegmentationNetwork, unet

SEGMENTATION_MODELS: dict[str, Callable[..., SegmentationNetwork]] = {"unet": unet}
"""Builders by name; each takes the keywords of `unet`."""


def build_segmentation(
    name: str,
    *,
    classes: int = 2,
    channels: int = 3,
    dims: int = 2,
    depth: int | None = None,
    width: int | None = None,
    norm: str | None = None,
    hebbian: bool = False,
    dropout: float = 0.0,
) -> SegmentationNetwork:
    """Build the segmentation network called `name`, of torchvision where it is none of ours.

    Args:
        name: of the network.
        classes: number of classes of a pixel, background among them.
        channels: channels of an image.
        dims: 2 for images, 3 for volumes.
        depth: how often the size is halved; None for the network's usual depth.
        width: channels of the first level; None for the usual width.
        norm: batch, instance or none; None for the usual one.
        hebbian: without bias in the layers that learn by Hebbian rules.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: no network has that name, or its builder refuses a value.

    >>> build_segmentation("unet", classes=2, channels=1, depth=1, width=4).classifier[-1].out_channels
    2
    >>> build_segmentation("u-net", classes=2, channels=1)
    Traceback (most recent call last):
    ...
    ValueError: there is no segmentation model 'u-net': did you mean 'unet'? (models: unet, deeplabv3_..., ...)
    """
    elsewhere = segmentation_names_elsewhere()
    if name in SEGMENTATION_MODELS:
        builder = SEGMENTATION_MODELS[name]
    elif name in elsewhere:
        builder = partial(segmentation_from_elsewhere, name)
    else:
        names = [*SEGMENTATION_MODELS, *elsewhere]
        nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        meant = f": did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(f"there is no segmentation model '{name}'{meant} (models: {', '.join(names)})")
    chosen = {"depth": depth, "width": width, "norm": norm}
    return builder(
        classes=classes,
        channels=channels,
        dims=dims,
        hebbian=hebbian,
        dropout=dropout,
        **{keyword: value for keyword, value in chosen.items() if value is not None},
    )
