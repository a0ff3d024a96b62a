"""Options that one task has and the other has not."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from fasthebb.runs.folder import RunError, given
from fasthebb.runs.options import Task

OF_SEGMENTATION = ("crop", "depth", "norm", "ignore_value")
"""What every command that trains has for segmentation alone."""


_NOT_NEGATIVE = ("epochs", "lr", "momentum", "weight_decay", "stretch", "probe_lr", "pretrain_lr", "probe_weight_decay")


def refuse_impossible(options: Any) -> None:
    """Refuse numbers that no training takes, before images are read.

    Raises:
        RunError: naming the first.
    """
    for name in _NOT_NEGATIVE:
        value = getattr(options, name, None)
        if value is not None and value < 0:
            raise RunError(f"found {given(name, value)}, expected a number from 0 on")
    if getattr(options, "stretch", None) == 0:
        raise RunError(f"found {given('stretch', options.stretch)}, expected a number above 0")
    if not 0 <= getattr(options, "dropout", 0.0) < 1:
        raise RunError(f"found {given('dropout', options.dropout)}, expected a number from 0 to below 1")


def refuse(options: Any, meaningless: Sequence[str], task: Task) -> None:
    """Refuse options that were given and mean nothing for a task, rather than to leave them unheeded.

    Raises:
        RunError: naming the first.
    """
    usual = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(options)}
    for name in meaningless:
        if getattr(options, name) != usual[name]:
            raise RunError(f"found {given(name, getattr(options, name))}, which --task {task} has not: leave it out")
