"""What it takes to run a study again: its options, the command, and the versions that ran each cell."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from fasthebb.study.report.cells import Cell
from fasthebb.study.report.inside import inside

COMMAND = "fasthebb study --config config.yaml --out ../repeated"
"""Repeats a study, from inside its folder."""


def configuration(folder: Path) -> str | None:
    """The text of config.yaml; None if there is none, or it is no text."""
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def data_name(configured: str | None) -> str | None:
    """The data that a configuration names, if it does.

    >>> data_name("command: study\\ndata: digits"), data_name("[")
    ('digits', None)
    """
    try:
        found = yaml.safe_load(configured or "")
    except yaml.YAMLError:
        return None
    name = found.get("data") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def versions(folder: Path, cells: Sequence[Cell]) -> list[str]:
    """For each cell the versions in its result.json, such as "fasthebb 0.1.0, torch 2.14.1"; else "not recorded"."""
    return [_versions(folder, cell) for cell in cells]


def _versions(folder: Path, cell: Cell) -> str:
    run = inside(folder, cell.folder)
    try:
        found = None if run is None else json.loads((run / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    packages = found.get("versions") if isinstance(found, dict) else None
    if not isinstance(packages, dict) or not packages:
        return "not recorded"
    return ", ".join(f"{name} {version}" for name, version in packages.items())
