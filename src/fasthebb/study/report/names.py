"""How methods are called on a page, and which of them are controls."""

from collections.abc import Iterable

from fasthebb.study.methods import CONTROLS

_TITLES = {
    "none": "backprop alone",
    "random": "random features",
    "none-tuned": "backprop alone, tuned",
    "weights": "given weights",
    "vae": "VAE",
    "vae-paper": "VAE as published",
    "hpca": "HPCA",
    "swta": "SWTA",
    "wta": "WTA",
    "ica": "ICA",
    "hebb": "Hebb",
    "oja": "Oja",
    "sanger": "Sanger",
    "softhebb": "SoftHebb",
    "krotov_hopfield": "Krotov-Hopfield",
    "polynomial_wta": "polynomial WTA",
    "global_guided": "global-guided Hebbian",
}


def is_control(method: str) -> bool:
    """Whether whatever a method reaches owes nothing to learning without labels.

    >>> is_control("random"), is_control("hpca")
    (True, False)
    """
    return method in CONTROLS


def title(method: str) -> str:
    """A method's name in a sentence, on one line; unknown ones keep their own.

    >>> title("none+whiten"), title("hpca@conv1/conv2+hybrid"), title("mine.Rule")
    ('backprop alone, whitened', 'HPCA on conv1/conv2, also beside backprop', 'mine.Rule')
    """
    name = " ".join(method.split())
    rest = name.removesuffix("+whiten")
    plain = rest.removesuffix("+hybrid")
    base, _, layers = plain.partition("@")
    layers = "all layers" if layers == "all" else layers
    parts = [
        _TITLES.get(base, base),
        f" on {layers}" if layers else "",
        ", also beside backprop" if plain != rest else "",
        ", whitened" if rest != name else "",
    ]
    return "".join(parts)


def label(method: str) -> str:
    """A method's name in a table or a legend, where nothing else says that it is a control.

    >>> label("random")
    'random features (control)'
    """
    return f"{title(method)} (control)" if is_control(method) else title(method)


def in_order(methods: Iterable[str]) -> list[str]:
    """Each method once: controls first, then the others by name.

    >>> in_order(["swta", "hpca", "random", "none", "hpca"])
    ['none', 'random', 'hpca', 'swta']
    """
    return sorted(set(methods), key=lambda m: (0, CONTROLS.index(m), m) if is_control(m) else (1, 0, m))
