"""The table of what a study would do and how long it would take."""

from collections.abc import Callable, Sequence

from rich.table import Table

from fasthebb.runs import PretrainOptions
from fasthebb.study.grid import Cell, pretrain_options, pretrainings
from fasthebb.study.options import StudyOptions


class Forecast:
    """Rows of runs with the seconds of each, added up.

    Args:
        cells: of the whole study.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._total = 0.0
        self._table = Table("what", "runs", "seconds each", "minutes", title="what this study would do, on one worker")

    def add(self, what: str, runs: int, each: float) -> None:
        """A row of ``runs`` that take ``each`` so many seconds."""
        self._total += runs * each
        self._table.add_row(what, str(runs), f"{each:.0f}", f"{runs * each / 60:.1f}")

    def add_pretrainings(self, options: StudyOptions, seconds: Callable[[PretrainOptions], float]) -> None:
        """A row for each method that is pre-trained; ``seconds`` tells what one pre-training takes."""
        befores = pretrainings(self._cells)
        for name in dict.fromkeys(one.method.name for one in befores):
            own = [one for one in befores if one.method.name == name]
            self.add(f"pre-training {name}", len(own), seconds(pretrain_options(own[0], options)))

    def table(self, caption: str) -> Table:
        """All rows and their sum."""
        self._table.add_section()
        self._table.add_row("all", str(len(self._cells)), "", f"{self._total / 60:.1f}")
        self._table.caption = caption
        return self._table
