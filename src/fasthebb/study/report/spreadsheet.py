"""The tables in CSV: one row for each method, amount of labels, measure and way of using the labels."""

import csv
import io
import math

from fasthebb.study.report.columns import Column, columns
from fasthebb.study.report.names import is_control
from fasthebb.study.report.results import Results

HEADER = (
    "readout",
    "select",
    "measure",
    "method",
    "control",
    "amount",
    "labels",
    "mean",
    "half_width_95",
    "seeds",
    "runs",
    "best",
    "best_control",
    "gain",
    "gain_half_width_95",
    "gain_seeds",
    "gain_p",
)


def spreadsheet(results: Results) -> str:
    """Numbers in full; a cell is empty where there is no number, as for the interval of one seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for setting in results.settings:
        for measure in results.measures:
            for column in columns(results, setting, measure):
                for method in column.estimates:
                    start = [setting.readout, harmless(setting.select), measure, harmless(method)]
                    writer.writerow([*start, *_numbers(column, method)])
    return text.getvalue()


def harmless(text: str) -> str:
    """Text that a spreadsheet shows and does not take for a formula.

    >>> harmless("=1+1"), harmless("hpca")
    ("'=1+1", 'hpca')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _numbers(column: Column, method: str) -> list[object]:
    found = column.estimates[method]
    gain = column.gains.get(method)
    return [
        "yes" if is_control(method) else "no",
        harmless(column.amount.asked),
        column.amount.labels,
        _number(found.mean),
        _number(found.half),
        found.seeds,
        found.runs,
        "yes" if column.best == method else "no",
        column.control or "",
        *(["", "", "", ""] if gain is None else [_number(gain.mean), _number(gain.half), gain.seeds, _number(gain.p)]),
    ]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
