"""The cells of a study, asked for by method, amount of labels and the way in which they were scored."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fasthebb.study.report.cells import MEASURES, READOUTS, Cell
from fasthebb.study.report.comparison import Scores
from fasthebb.study.report.names import in_order


@dataclass(frozen=True, order=True)
class Setting:
    """How labels were used, and which epoch's weights were scored. Only cells of one setting are compared."""

    readout: str
    select: str


@dataclass(frozen=True)
class Amount:
    """A column of the tables.

    Attributes:
        asked: as the study was asked for it, such as "0.01" or "5/class".
        labels: number of labels that this came to.
    """

    asked: str
    labels: int

    def heading(self) -> str:
        """The number of labels, and what was asked for if that is something else.

        >>> Amount("0.01", 400).heading(), Amount("2000", 2000).heading()
        ('400 (0.01)', '2,000')
        """
        plain = f"{self.labels:,}"
        return plain if self.asked == str(self.labels) else f"{plain} ({' '.join(self.asked.split())})"


@dataclass(frozen=True)
class Results:
    """All finished cells of a study."""

    cells: Sequence[Cell]

    @cached_property
    def methods(self) -> list[str]:
        """Controls first, then the others."""
        return in_order(cell.method for cell in self.cells)

    @cached_property
    def amounts(self) -> list[Amount]:
        """From few labels to many."""
        labels: dict[str, list[int]] = {}
        for cell in self.cells:
            labels.setdefault(cell.amount, []).append(cell.labels)
        amounts = [Amount(asked, statistics.median_low(counts)) for asked, counts in labels.items()]
        return sorted(amounts, key=lambda amount: (amount.labels, amount.asked))

    @cached_property
    def settings(self) -> list[Setting]:
        """Fine-tuning first."""
        return sorted({Setting(cell.readout, cell.select) for cell in self.cells})

    @cached_property
    def measures(self) -> list[str]:
        """Keys of `MEASURES` that at least one cell has."""
        return [measure for measure in MEASURES if any(measure in cell.scores for cell in self.cells)]

    def name(self, setting: Setting) -> str:
        """A setting in words; the choice of the epoch is named where the study made it in several ways."""
        selects = {cell.select for cell in self.cells}
        words = READOUTS[setting.readout]
        return words if len(selects) == 1 else f"{words}, {' '.join(setting.select.split())} epoch"

    def of(self, setting: Setting, method: str | None = None, amount: Amount | None = None) -> list[Cell]:
        """The cells of a setting, of one method and one amount if these are given."""
        return self._index[setting, method, None if amount is None else amount.asked]

    @cached_property
    def _index(self) -> Mapping[tuple[Setting, str | None, str | None], list[Cell]]:
        """The cells by everything that they can be asked for by."""
        index: dict[tuple[Setting, str | None, str | None], list[Cell]] = defaultdict(list)
        for cell in self.cells:
            setting = Setting(cell.readout, cell.select)
            for method in (cell.method, None):
                for amount in (cell.amount, None):
                    index[setting, method, amount].append(cell)
        return index

    def scores(self, setting: Setting, measure: str, method: str, amount: Amount) -> Scores:
        """Scores in per cent by seed and draw; empty if the method was not scored like this."""
        cells = self.of(setting, method, amount)
        return {(cell.seed, cell.draw): cell.scores[measure] for cell in cells if measure in cell.scores}
