"""The papers' protocols of pre-training."""

from dataclasses import fields, replace
from typing import Any

from fasthebb import HPCA
from fasthebb.runs.options import PretrainOptions

_PAPER: dict[str, Any] = {
    "rule": HPCA(),  # without a bound on the step
    "layers": ["all"],
    "fold": False,
    "norms": "relative",
    "epochs": 20,
    "lr": 1e-2,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper-cifar10": _PAPER,
    "paper-cifar100": _PAPER,
    "paper-tinyimagenet": _PAPER,
    "paper-imagenet": {**_PAPER, "model": "cnn10", "batch_size": 32, "lr": 1e-3},
    "paper-vgg": {**_PAPER, "model": "vgg11", "batch_size": 32, "lr": 1e-3},
}
"""Lagani et al. (LOD 2021; Neurocomputing 595, 2024). Which epoch is kept the papers choose with labels, ``select``."""


def with_preset(options: PretrainOptions) -> PretrainOptions:
    """The options with those of their preset in the place of what has its usual value.

    >>> with_preset(PretrainOptions(preset="paper-vgg", model="vgg16")).model
    'vgg16'
    """
    if options.preset is None:
        return options
    usual = {f.name: getattr(PretrainOptions(), f.name) for f in fields(options)}
    preset = PRESETS[options.preset]
    return replace(options, **{name: value for name, value in preset.items() if getattr(options, name) == usual[name]})
