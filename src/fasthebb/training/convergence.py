"""How many epochs a training needed, from what it logged."""

import csv
from collections.abc import Sequence
from pathlib import Path


def logged(folder: str | Path, name: str) -> list[float]:
    """A measure of a run folder's `metrics.csv`, epoch by epoch; those in which it was not logged are left out."""
    file = Path(folder) / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        return [float(row[name]) for row in csv.DictReader(lines) if row.get(name)]


def epochs_to_come_within(values: Sequence[float], goal: float, distance: float) -> int | None:
    """The first epoch, counted from one, whose value is no further than `distance` below `goal`.

    >>> epochs_to_come_within([40.0, 49.5, 50.0, 49.0], goal=50.0, distance=1.0)
    2
    >>> epochs_to_come_within([], goal=50.0, distance=1.0) is None
    True
    """
    return next((epoch for epoch, value in enumerate(values, start=1) if value >= goal - distance), None)
