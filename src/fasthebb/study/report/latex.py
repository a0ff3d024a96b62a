"""The tables in LaTeX."""

from collections.abc import Iterable, Sequence

from fasthebb.study.report.cells import MEASURES
from fasthebb.study.report.columns import Column, columns
from fasthebb.study.report.comparison import Difference, Estimate
from fasthebb.study.report.names import is_control, label, title
from fasthebb.study.report.results import Results
from fasthebb.study.report.wording import interval, runs_of

_NOTE = r"""% Needs \usepackage{booktabs}. In per cent: mean and half the width of its 95 % confidence interval
% (Student's t); draws of labels are averaged within a seed, the interval is over seeds. Bold: the best, if a paired
% t-test tells it from the second (p < 0.05, at least 5 seeds). Gains: points over the best
% control of the column, * where p < 0.05.
"""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def latex(results: Results) -> str:
    """For each measure and each way of using the labels: the table, and the gains over the best control."""
    parts = [_NOTE]
    for setting in results.settings:
        for measure in results.measures:
            found = columns(results, setting, measure)
            if found:
                name = f"{MEASURES[measure]}, {results.name(setting)}"
                parts += [f"% {name}", *_scores(results, found), ""]
                if any(column.gains for column in found):
                    parts += [f"% {name}: gain over the best control", *_gains(results, found), ""]
    return "\n".join(parts)


def escaped(text: str) -> str:
    r"""Text that LaTeX sets as it is, on one line.

    >>> escaped("50 % of {a_b}")
    '50 \\% of \\{a\\_b\\}'
    """
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def _scores(results: Results, found: Sequence[Column]) -> Iterable[str]:
    yield rf"\begin{{tabular}}{{l{'r' * len(found)}r}}"
    yield r"\toprule"
    yield _row(["labels", *(escaped(column.amount.heading()) for column in found), "runs"])
    yield r"\midrule"
    rows = {
        method: [column.estimates[method] for column in found if method in column.estimates]
        for method in results.methods
    }
    shown = [method for method in results.methods if rows[method]]
    for method, after in zip(shown, [*shown[1:], None], strict=True):
        cells = [_score(column, method) for column in found]
        yield _row([escaped(label(method)), *cells, runs_of(rows[method])])
        if is_control(method) and after is not None and not is_control(after):
            yield r"\midrule"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _gains(results: Results, found: Sequence[Column]) -> Iterable[str]:
    yield rf"\begin{{tabular}}{{l{'r' * len(found)}}}"
    yield r"\toprule"
    yield _row(["labels", *(escaped(column.amount.heading()) for column in found)])
    controls = ["" if column.control is None else escaped(title(column.control)) for column in found]
    yield _row(["best control", *controls])
    yield r"\midrule"
    for method in results.methods:
        if any(method in column.gains for column in found):
            yield _row([escaped(label(method)), *(_gain(column, method) for column in found)])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _score(column: Column, method: str) -> str:
    if method not in column.estimates:
        return "--"
    text = _math(column.estimates[method])
    return rf"$\mathbf{{{text}}}$" if column.best == method else f"${text}$"


def _gain(column: Column, method: str) -> str:
    if method not in column.gains:
        return "--"
    gain = column.gains[method]
    return f"${_math(gain, sign=True)}{'^{*}' if gain.significant() else ''}$"


def _math(found: Estimate | Difference, *, sign: bool = False) -> str:
    return interval(found, sign=sign).replace("±", r"\pm")


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
