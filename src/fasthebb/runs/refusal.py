"""Options that one task has and the other has not."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from fasthebb.runs.folder import RunError
from fasthebb.runs.options import Task

OF_SEGMENTATION = ("crop", "depth", "norm", "ignore_value")
"""What every command that trains has for segmentation alone."""


def refuse(options: Any, meaningless: Sequence[str], task: Task) -> None:
    """Refuse options that were given and mean nothing for a task, rather than to leave them unheeded.

    Raises:
        RunError: naming the first.
    """
    usual = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(options)}
    for name in meaningless:
        if getattr(options, name) != usual[name]:
            raise RunError(
                f"found --{name.replace('_', '-')} {getattr(options, name)}, which --task {task} has not: leave it out"
            )
