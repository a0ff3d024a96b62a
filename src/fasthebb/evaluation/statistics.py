"""Means over seeds."""

import math
from collections.abc import Sequence


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of independent values and half the width of its 95 % confidence interval (Student's t).

    One value has no spread: its half width is nan. No value at all is a ValueError.

    >>> mean, half = mean_interval([1.0, 2.0, 3.0])
    >>> f"{mean:.1f} ± {half:.3f}"
    '2.0 ± 2.484'
    >>> mean_interval([4.0])
    (4.0, nan)
    """
    count = len(values)
    if count == 0:
        raise ValueError("a mean needs at least one value")
    mean = math.fsum(values) / count
    if count == 1:
        return mean, math.nan
    from scipy import stats

    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, float(stats.t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
