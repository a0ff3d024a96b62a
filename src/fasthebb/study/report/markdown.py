"""The tables in Markdown."""

import re
from collections.abc import Iterable, Sequence

from fasthebb.study.report.caveats import caveats
from fasthebb.study.report.cells import MEASURES
from fasthebb.study.report.columns import Column, columns
from fasthebb.study.report.findings import findings
from fasthebb.study.report.names import label, title
from fasthebb.study.report.results import Results
from fasthebb.study.report.wording import interval, p_value, runs_of

ABSENT = "–"


def markdown(results: Results) -> str:
    """For each measure and way of using the labels: findings, table, gains over the best control."""
    parts = ["# Results", "", " ".join([_NOTE, *caveats(results)]), ""]
    for setting in results.settings:
        for measure in results.measures:
            found = columns(results, setting, measure)
            if found:
                parts += [f"## {MEASURES[measure]} (%), {escaped(results.name(setting))}", ""]
                parts += [*(f"- {escaped(sentence)}" for sentence in findings(results, setting, measure)), ""]
                parts += [*_scores(results, found), "", *_gains(results, found)]
    return "\n".join(parts).rstrip() + "\n"


_NOTE = (
    "Mean ± half the width of its 95 % confidence interval (Student's t). Draws of labels are averaged within a seed, "
    "the interval is over seeds. The best method of a column is bold if a paired t-test tells it from the second "
    "(p < 0.05, at least 5 seeds); otherwise none is."
)


def escaped(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> escaped("a|b <i> *c*")
    'a\\|b \\<i\\> \\*c\\*'
    """
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def _scores(results: Results, found: Sequence[Column]) -> Iterable[str]:
    yield _row(["method", *(escaped(column.amount.heading()) for column in found), "runs"])
    yield _row(["---", *("---:" for _ in found), "---:"])
    for method in results.methods:
        estimates = [column.estimates[method] for column in found if method in column.estimates]
        if estimates:
            cells = [_score(column, method) for column in found]
            yield _row([escaped(label(method)), *cells, runs_of(estimates)])


def _gains(results: Results, found: Sequence[Column]) -> Iterable[str]:
    if not any(column.gains for column in found):
        return
    yield "Gain in points over the best control, and p of the paired t-test:"
    yield ""
    yield _row(["method", *(f"{escaped(column.amount.heading())}, over {_control(column)}" for column in found)])
    yield _row(["---", *("---:" for _ in found)])
    for method in results.methods:
        if any(method in column.gains for column in found):
            yield _row([escaped(label(method)), *(_gain(column, method) for column in found)])
    yield ""


def _control(column: Column) -> str:
    return ABSENT if column.control is None else escaped(title(column.control))


def _score(column: Column, method: str) -> str:
    if method not in column.estimates:
        return ABSENT
    text = interval(column.estimates[method])
    return f"**{text}**" if column.best == method else text


def _gain(column: Column, method: str) -> str:
    if method not in column.gains:
        return ABSENT
    gain = column.gains[method]
    return f"{interval(gain, sign=True)} ({p_value(gain.p) if gain.enough_seeds else 'too few seeds'})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
