"""The networks by name."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fasthebb.models.cnn6 import cnn6
from fasthebb.models.cnn8 import cnn8
from fasthebb.models.cnn10 import cnn10
from fasthebb.models.elsewhere import from_elsewhere, is_known_elsewhere
from fasthebb.models.network import Network, with_code, with_plain_norms
from fasthebb.models.reading import with_reading
from fasthebb.models.triangle import softhebb, triangle2
from fasthebb.models.vgg import VGGS

MODELS: dict[str, Callable[..., Network]] = {
    "cnn6": cnn6,
    "cnn8": cnn8,
    "cnn10": cnn10,
    **VGGS,
    "softhebb": softhebb,
    "triangle2": triangle2,
}
"""Builders by name; each takes `classes`, `channels`, `image_size`, `hebbian`, `width`, `hidden` and `dropout`."""


def builder(name: str) -> Callable[..., Network]:
    """The builder of the network called `name`, of torchvision or timm where it is none of ours.

    Raises:
        ValueError: no network has that name; the message says which one is meant, if any comes near.
    """
    if name not in MODELS and is_known_elsewhere(name):
        return partial(from_elsewhere, name)
    if name not in MODELS:
        nearest = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.4)
        meant = f": did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(
            f"there is no model '{name}'{meant} (models: {', '.join(MODELS)}, and those of torchvision and timm)"
        )
    return MODELS[name]


def build_model(
    name: str,
    *,
    code: int = 0,
    plain_norms: bool = False,
    mirrored: bool = False,
    read: Sequence[str] = (),
    side: int = 4,
    **kwargs: Any,
) -> Network:
    """Build the network called `name` with the keywords of its builder.

    Args:
        name: of the network.
        code: size of a layer between features and classes, see `with_code`; 0 for none.
        plain_norms: no batch norm preserves relative variance.
        mirrored: in eval mode the mean over an image and its mirror image, see `Network`.
        read: layers that the classifier sees together, see `with_reading`; the end of the features if there are none.
        side: positions along each side of a map that it is averaged to then.
        kwargs: of the builder.

    Raises:
        ValueError: no network has that name, or the builder refuses a value.

    >>> build_model("cnn6", classes=3, width=0.1, hidden=8).classifier[-1].out_features
    3
    >>> build_model("cnn-6")
    Traceback (most recent call last):
    ...
    ValueError: there is no model 'cnn-6': did you mean 'cnn6'? (models: cnn6, cnn8, cnn10, ..., and those of ...)
    """
    network = builder(name)(**kwargs)
    network = with_plain_norms(network) if plain_norms else network
    if read:
        shape = {size: kwargs.get(size, usual(name, size)) for size in ("channels", "image_size")}
        network = with_reading(network, read, side, **shape)
    network = with_code(network, code) if code else network
    network.mirrored = mirrored
    return network


def usual(name: str, keyword: str) -> Any:
    """What the builder of the network called `name` takes for a keyword that is left out.

    >>> usual("cnn6", "hidden"), usual("vgg11", "hidden"), usual("cnn10", "image_size")
    (4096, 0, 210)
    """
    return inspect.signature(builder(name)).parameters[keyword].default
