"""The networks by name."""

import difflib
from collections.abc import Callable
from typing import Any

from fasthebb.models.cnn6 import CNN6, cnn6

MODELS: dict[str, Callable[..., CNN6]] = {"cnn6": cnn6}
"""Builders by name; each takes `classes`, `channels` and `image_size`, and its own keywords."""


def build_model(name: str, **kwargs: Any) -> CNN6:
    """Build the network called `name` with the keywords of its builder.

    Raises:
        ValueError: no network has that name (the message says which one is meant, if any comes near), or the builder
            refuses a value.

    >>> build_model("cnn6", classes=3, width=0.1, hidden=8).classifier[-1].out_features
    3
    >>> build_model("cnn-6")
    Traceback (most recent call last):
    ...
    ValueError: there is no model 'cnn-6': did you mean 'cnn6'? (models: cnn6)
    """
    if name not in MODELS:
        nearest = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.4)
        meant = f": did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(f"there is no model '{name}'{meant} (models: {', '.join(MODELS)})")
    return MODELS[name](**kwargs)
