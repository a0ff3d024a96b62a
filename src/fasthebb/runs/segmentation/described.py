"""The network and the crops that options ask for."""

from typing import Any

import torch

from fasthebb.data import Crops, MaskedSet, Preprocessing
from fasthebb.models import build_segmentation
from fasthebb.runs.folder import RunError, given
from fasthebb.runs.options import FinetuneOptions, PretrainOptions

WIDTH = 32
"""Channels of the first level at width 1."""
NORM = "instance"
"""Batch norm takes its statistics from few masks' images, and others may look like none of them."""
CROPS, DEPTHS = {2: 128, 3: 32}, {2: 4, 3: 3}


def described(options: PretrainOptions | FinetuneOptions, images: MaskedSet, *, hebbian: bool) -> dict[str, Any]:
    """The keywords of `build_segmentation` for these images; refuses a network that cannot be built.

    Raises:
        ValueError: as the network's builder does.
    """
    dims = images.dims
    found: dict[str, Any] = {
        "name": options.model or "unet",
        "channels": images.channels,
        "dims": dims,
        "hebbian": hebbian,
    }
    if found["name"] == "unet":
        found |= {
            "depth": DEPTHS[dims] if options.depth is None else options.depth,
            "width": max(1, round(WIDTH * (1.0 if options.width is None else options.width))),
            "norm": options.norm or NORM,
        }
    elif unheeded := [name for name in ("depth", "norm", "width") if getattr(options, name) not in (None, 1.0)]:
        said = given(unheeded[0], getattr(options, unheeded[0]))
        raise RunError(f"found {said}, which {found['name']} has not: leave it out")
    with torch.device("meta"):
        build_segmentation(**found)
    return found


def crops(
    options: PretrainOptions | FinetuneOptions,
    images: MaskedSet,
    preprocessing: Preprocessing,
    *,
    batches: int,
    augment: Any,
    seed: int,
) -> Crops:
    """Batches of crops at random places."""
    dims = images.dims
    side = CROPS[dims] if options.crop is None else options.crop
    return Crops(
        images,
        preprocessing,
        crop=[side] * dims,
        batch_size=options.batch_size,
        batches=batches,
        seed=seed,
        augment=augment,
    )
