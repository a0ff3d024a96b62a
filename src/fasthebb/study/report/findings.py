"""What a study found, in one sentence for each amount of labels, whatever came out."""

from fasthebb.study.report.cells import MEASURES
from fasthebb.study.report.columns import Column, columns
from fasthebb.study.report.comparison import FEWEST_SEEDS, Difference, Estimate
from fasthebb.study.report.names import title
from fasthebb.study.report.results import Results, Setting
from fasthebb.study.report.wording import p_value, runs


def findings(results: Results, setting: Setting, measure: str) -> list[str]:
    """One sentence for each amount of labels, the fewest labels first; the first is the page's headline.

    The best pre-training is compared with the best control. As it was picked among several, its p is multiplied by
    their number. With fewer than five seeds no sentence says that a difference is more than chance.
    """
    return [_finding(column, measure) for column in columns(results, setting, measure)]


def _finding(column: Column, measure: str) -> str:
    start = f"With {column.amount.labels:,} label{'' if column.amount.labels == 1 else 's'}"
    if not column.candidates:
        return _without_candidates(start, column, measure)
    method = column.candidates[0]
    ours = f"{title(method)} reaches {_score(column.estimates[method], measure)}"
    if column.control is None:
        return _without_controls(f"{start} {ours}", column)
    theirs = f"{title(column.control)}, the best control, reaches {_score(column.estimates[column.control], measure)}"
    gain = column.gains.get(method)
    if gain is None:
        return f"{start} {ours}; {theirs}; the two have no run in common that would allow a comparison."
    distance = _distance(gain, title(column.control))
    if not gain.enough_seeds:
        return (
            f"{start} {ours}, {distance}, the best control: too few seeds to tell whether that is more than chance "
            f"({gain.seeds}, at least {FEWEST_SEEDS} needed)."
        )
    tested = _test(gain, len(column.gains))
    if not gain.significant(len(column.gains)):
        low, high = gain.mean - gain.half, gain.mean + gain.half
        return (
            f"{start} no gain is certain: {ours}, {distance}, the best control, which may be chance "
            f"(95 % interval of the difference {low:+.1f} to {high:+.1f}; {tested})."
        )
    if gain.mean < 0:
        return f"{start} pre-training does not help: {theirs}; {ours}, {distance}; {tested}."
    return f"{start} {ours}, {distance}, the best control; {tested}."


def _without_candidates(start: str, column: Column, measure: str) -> str:
    assert column.control is not None  # a column has a score, and it is of no other method
    sentence = f"{start} {title(column.control)} reaches {_score(column.estimates[column.control], measure)}"
    if len(column.estimates) == 1:
        return f"{sentence}; there is no other method to compare it with."
    return f"{sentence}, the best of {len(column.estimates)} controls; there is no pre-training to compare them with."


def _without_controls(sentence: str, column: Column) -> str:
    if len(column.estimates) == 1:
        return f"{sentence}; there is no other method to compare it with."
    return (
        f"{sentence}, the highest of {len(column.estimates)} methods; without a control, such as backprop alone, "
        "nothing can be said about what pre-training gains."
    )


def _score(found: Estimate, measure: str) -> str:
    unit = "%" if measure == "top1" else f"% {MEASURES[measure]}"
    counted = runs(found.seeds, found.runs)
    if found.seeds == 1:
        return f"{found.mean:.1f} {unit} ({counted}, so there is no interval)"
    low, high = max(0.0, found.mean - found.half), min(100.0, found.mean + found.half)  # no score lies elsewhere
    return f"{found.mean:.1f} {unit} (95 % interval {low:.1f} to {high:.1f}, {counted})"


def _distance(gain: Difference, control: str) -> str:
    points = f"{abs(gain.mean):.1f}"
    if points == "0.0":
        return f"level with {control}"
    return f"{points} points {'above' if gain.mean > 0 else 'below'} {control}"


def _test(gain: Difference, methods: int) -> str:
    corrected = min(1.0, gain.p * methods)
    note = f", corrected for the choice among {methods} methods" if methods > 1 else ""
    return f"paired t-test {p_value(corrected)}{note}"
