"""Folders that a file names, kept inside the study's: the file may come from elsewhere."""

from pathlib import Path

from fasthebb.study.grid import as_file


def inside(folder: Path, name: str) -> Path | None:
    """The path ``name`` in ``folder``, or None if it leads out of it.

    >>> inside(Path("study"), "cells/a").name, inside(Path("study"), "../other"), inside(Path("study"), "/etc")
    ('a', None, None)
    """
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):  # a zero byte, a name that is too long
        return None


def pretrained(folder: Path, method: str, seed: int) -> Path | None:
    """The folder of a pre-training, whose name has a hyphen for what not every file system takes.

    >>> pretrained(Path("study"), "hpca@conv1/conv2", 0).name
    'hpca@conv1-conv2-s0'
    """
    return inside(folder, f"pretrained/{as_file(method)}-s{seed}")
