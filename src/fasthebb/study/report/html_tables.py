"""The tables in HTML. A row or cell with ``data-method`` can be hidden by the page's script."""

from collections.abc import Iterable, Sequence
from html import escape

from fasthebb.study.report.columns import Column
from fasthebb.study.report.names import label, title
from fasthebb.study.report.results import Results
from fasthebb.study.report.speed import Speed
from fasthebb.study.report.wording import interval, p_value, runs_of, seconds

ABSENT = "–"


def scores_table(results: Results, found: Sequence[Column], caption: str) -> str:
    """Means with their 95 % intervals, methods by amounts of labels."""
    rows = []
    for position, method in enumerate(results.methods):
        estimates = [column.estimates[method] for column in found if method in column.estimates]
        if estimates:
            cells = [_score(column, method) for column in found]
            rows.append(_row(label(method), [*cells, escape(runs_of(estimates))], position))
    return table(["labels", *(column.amount.heading() for column in found), "runs"], rows, caption)


def gains_table(results: Results, found: Sequence[Column], caption: str) -> str:
    """Gains over each column's best control; nothing where nothing can be compared."""
    rows = [
        _row(label(method), [_gain(column, method) for column in found], position)
        for position, method in enumerate(results.methods)
        if any(method in column.gains for column in found)
    ]
    if not rows:
        return ""
    controls = [ABSENT if column.control is None else f"over {title(column.control)}" for column in found]
    head = [
        "labels",
        *(f"{column.amount.heading()} {control}" for column, control in zip(found, controls, strict=True)),
    ]
    return table(head, rows, caption)


def speed_table(results: Results, speeds: Sequence[Speed], caption: str) -> str:
    """Seconds of both phases."""
    amounts = [amount for amount in results.amounts if any(amount in speed.total for speed in speeds)]
    head = ["method", "pre-training, an epoch", "pre-training"]
    for amount in amounts:
        head += [f"training, {amount.heading()} labels", f"total, {amount.heading()} labels"]
    rows = []
    for speed in speeds:
        cells = [ABSENT if speed.epoch is None else seconds(speed.epoch)]
        cells.append(seconds(speed.pretrain) if speed.pretrain else ABSENT)
        for amount in amounts:
            here = amount in speed.total
            cells += [seconds(speed.finetune[amount]), seconds(speed.total[amount])] if here else [ABSENT, ABSENT]
        rows.append(_row(label(speed.method), cells, results.methods.index(speed.method)))
    return table(head, rows, caption)


def table(head: Iterable[str], rows: Iterable[str], caption: str, *, kind: str = "numbers") -> str:
    """A table in a box of its own, which scrolls where the page is narrow.

    Args:
        head: texts of the first row.
        rows: as HTML.
        caption: what the table shows.
        kind: "numbers" aligns columns after the first to the right, "texts" to the left.
    """
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    return (
        f'<p class="caption">{escape(caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(name: str, cells: Iterable[str], method: int) -> str:
    """A row of HTML cells, named by the position of its method."""
    numbers = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr data-method="{method}"><th scope="row">{escape(name)}</th>{numbers}</tr>'


def _score(column: Column, method: str) -> str:
    if method not in column.estimates:
        return ABSENT
    text = interval(column.estimates[method])
    return f"<strong>{text}</strong>" if column.best == method else text


def _gain(column: Column, method: str) -> str:
    if method not in column.gains:
        return ABSENT
    gain = column.gains[method]
    chance = escape(p_value(gain.p)) if gain.enough_seeds else "too few seeds"
    return f"{interval(gain, sign=True)}<br><small>{chance}</small>"
