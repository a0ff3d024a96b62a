"""The table as in papers: methods by amounts of labels, the best marked, and the gain over the best control."""

from collections.abc import Mapping
from dataclasses import dataclass

from fasthebb.study.report.comparison import Difference, Estimate, difference, estimate
from fasthebb.study.report.names import is_control
from fasthebb.study.report.results import Amount, Results, Setting


@dataclass(frozen=True)
class Column:
    """One amount of labels.

    Attributes:
        amount: of labels.
        estimates: by method, in the order of the rows; methods without a score are absent.
        best: the method with the highest mean if the paired test tells it from the second; else None.
        control: the control with the highest mean, None if there is none.
        gains: over that control by method; controls, and methods without a run in common with it, are absent.
    """

    amount: Amount
    estimates: Mapping[str, Estimate]
    best: str | None
    control: str | None
    gains: Mapping[str, Difference]

    @property
    def candidates(self) -> list[str]:
        """Methods that are no controls, best first."""
        return sorted((m for m in self.estimates if not is_control(m)), key=lambda m: -self.estimates[m].mean)


def columns(results: Results, setting: Setting, measure: str) -> list[Column]:
    """The table's columns, from few labels to many; amounts at which nothing was scored like this are left out."""
    found = (_column(results, setting, measure, amount) for amount in results.amounts)
    return [column for column in found if column.estimates]


def _column(results: Results, setting: Setting, measure: str, amount: Amount) -> Column:
    scores = {method: results.scores(setting, measure, method, amount) for method in results.methods}
    estimates = {method: estimate(values) for method, values in scores.items() if values}
    ranking = sorted(estimates, key=lambda method: -estimates[method].mean)
    lead = difference(scores[ranking[0]], scores[ranking[1]]) if len(ranking) > 1 else None
    control = next((method for method in ranking if is_control(method)), None)
    gains = {}
    for method in estimates:
        if control is not None and not is_control(method):
            gain = difference(scores[method], scores[control])
            if gain is not None:
                gains[method] = gain
    best = ranking[0] if lead is not None and lead.mean > 0 and lead.significant() else None
    return Column(amount, estimates, best, control, gains)
