"""Errors that a user can mend, and how they are worded."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """A user's mistake about data: one line that says what was found, what was expected and what to do.

    Example:
        >>> raise DataError("found no images in 'scans'")
        Traceback (most recent call last):
        ...
        fasthebb.data.errors.DataError: found no images in 'scans'
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def first_few(names: Iterable[str], limit: int = 3) -> str:
    """The first ``limit`` names, comma-separated, with dots when there are more.

    Example:
        >>> first_few(["a", "b", "c", "d"])
        'a, b, c, ...'
    """
    listed = list(names)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def count_of(count: int, noun: str) -> str:
    """A count with its noun, plural unless it is one.

    Example:
        >>> count_of(1, "image"), count_of(2, "class")
        ('1 image', '2 classes')
    """
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, or its type when it has none; at most 160 characters."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]


def unreadable(name: str, reason: str) -> DataError:
    """The error for a file that cannot be read, where such files are not skipped."""
    return DataError(
        f"cannot read '{name}': {reason}; mend or remove it, or leave out strict (--strict), which skips it"
    )


def missing_path(path: Path, what: str) -> DataError:
    """The error for a path that is not there, or not a file, with the nearest name beside it that is."""
    if path.is_dir():
        return DataError(f"found a folder '{path}', expected the {what} itself: give the path of the file")
    near = near_path(path)
    hint = f"did you mean '{near}'?" if near else "check the spelling and the working directory"
    return DataError(f"found no {what} '{path}': {hint}")


def near_path(path: Path, likeness: float = 0.6) -> Path | None:
    """The existing path most like ``path`` in the deepest folder of it that exists, if any is that alike."""
    parent, name = path.parent, path.name
    while not parent.is_dir() and parent != parent.parent:
        parent, name = parent.parent, parent.name
    if not parent.is_dir():
        return None
    near = difflib.get_close_matches(name, [entry.name for entry in parent.iterdir()], n=1, cutoff=likeness)
    return parent / near[0] if near else None


def import_optional(module: str, extra: str) -> Any:
    """Import a package that only some users need.

    Raises:
        DataError: if it is not installed, naming the extra of this package that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise DataError(f"these data need the package {package}: pip install 'fasthebb[{extra}]'") from error
