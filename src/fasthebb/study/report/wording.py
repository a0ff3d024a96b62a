"""Numbers as the report writes them."""

import math

from fasthebb.study.report.comparison import Difference, Estimate


def interval(found: Estimate | Difference, *, sign: bool = False) -> str:
    """Mean and half width, or the mean alone where one seed gives no width.

    >>> interval(Estimate(43.21, 1.38, 5, 5)), interval(Estimate(43.21, float("nan"), 1, 1))
    ('43.2 ± 1.4', '43.2')
    >>> interval(Difference(4.81, 1.2, 5, 0.01), sign=True)
    '+4.8 ± 1.2'
    """
    rounded = round(found.mean, 1) + 0.0  # not -0.0
    mean = f"{rounded:+.1f}" if sign else f"{rounded:.1f}"
    return mean if math.isnan(found.half) else f"{mean} ± {found.half:.1f}"


def runs(seeds: int, count: int) -> str:
    """How many runs.

    >>> runs(5, 5), runs(5, 15), runs(1, 1)
    ('5 runs', '5 seeds, 15 runs', '1 run')
    """
    words = f"{count} run{'' if count == 1 else 's'}"
    return words if seeds == count else f"{seeds} seed{'' if seeds == 1 else 's'}, {words}"


def runs_of(estimates: list[Estimate]) -> str:
    """How many runs a row of a table rests on; a range where its columns differ.

    >>> runs_of([Estimate(1.0, 1.0, 5, 5), Estimate(2.0, 1.0, 3, 3)])
    '3 to 5 runs'
    >>> runs_of([Estimate(1.0, 1.0, 5, 15), Estimate(2.0, 1.0, 5, 5)])
    '5 seeds, 5 to 15 runs'
    """
    seeds, counts = [one.seeds for one in estimates], [one.runs for one in estimates]
    if min(counts) == max(counts) and min(seeds) == max(seeds):
        return runs(seeds[0], counts[0])
    return f"{_range(counts)} runs" if seeds == counts else f"{_range(seeds)} seeds, {_range(counts)} runs"


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def p_value(p: float) -> str:
    """A probability, in words for very small ones.

    >>> p_value(0.0123), p_value(0.0004), p_value(1.0)
    ('p = 0.012', 'p < 0.001', 'p = 1')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def seconds(value: float) -> str:
    """A time.

    >>> seconds(3.14), seconds(1234.5)
    ('3.1 s', '1,234 s')
    """
    return f"{value:.1f} s" if value < 10 else f"{value:,.0f} s"
