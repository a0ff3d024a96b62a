"""Means over seeds, and whether two methods differ by more than chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fasthebb.evaluation import mean_interval

FEWEST_SEEDS = 5
"""With fewer seeds nothing is called significant: Student's t then rests on a spread that is itself a guess."""

LEVEL = 0.05
"""A difference is called significant below this p."""

Scores: TypeAlias = Mapping[tuple[int, int], float]
"""Score by seed of the weights and draw of the labels."""


@dataclass(frozen=True)
class Estimate:
    """What a method reaches.

    Attributes:
        mean: over seeds.
        half: half the width of the mean's 95 % interval; nan with one seed.
        seeds: how many.
        runs: seeds and draws.
    """

    mean: float
    half: float
    seeds: int
    runs: int


@dataclass(frozen=True)
class Difference:
    """By how much one method is above another, over the runs that both have.

    Attributes:
        mean: in points, over seeds.
        half: half the width of the mean's 95 % interval; nan with one seed.
        seeds: that both have.
        p: two-sided, of Student's paired t-test; nan with one seed.
    """

    mean: float
    half: float
    seeds: int
    p: float

    @property
    def enough_seeds(self) -> bool:
        """Whether anything can be said about chance."""
        return self.seeds >= FEWEST_SEEDS

    def significant(self, comparisons: int = 1) -> bool:
        """Whether it is more than chance, also after the largest of so many differences was picked (Bonferroni)."""
        return self.enough_seeds and self.p * comparisons < LEVEL


def estimate(scores: Scores) -> Estimate:
    """Mean and interval over seeds; draws of labels are nested in seeds, so each seed's draws are averaged first.

    >>> estimate({(0, 0): 1.0, (0, 1): 3.0, (1, 0): 4.0})
    Estimate(mean=3.0, half=12.7..., seeds=2, runs=3)
    """
    mean, half = mean_interval(_by_seed(scores))
    return Estimate(mean, half, len({seed for seed, _ in scores}), len(scores))


def difference(ours: Scores, theirs: Scores) -> Difference | None:
    """Compare run by run, with the same seed and draw; None if the two have no run in common.

    The differences of a seed's draws are averaged, and Student's t-test is over seeds.

    >>> ours, theirs = {(s, 0): 10.0 + s for s in range(5)}, {(s, 0): 9.0 + s * s % 3 for s in range(5)}
    >>> d = difference(ours, theirs)
    >>> f"{d.mean:.1f} ± {d.half:.2f}, p = {d.p:.3f}, {d.significant()}"
    '2.4 ± 1.88, p = 0.024, True'
    """
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    differences = {run: round(ours[run] - theirs[run], 9) for run in common}  # 0.1 + 0.2 - 0.3 is no difference
    values = _by_seed(differences)
    mean, half = mean_interval(values)
    return Difference(mean, half, len(values), _two_sided_p(mean, half, len(values)))


def _two_sided_p(mean: float, half: float, count: int) -> float:
    if count == 1:
        return math.nan
    if half == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy import stats

    t = mean / half * float(stats.t.ppf(0.975, count - 1))
    return 2 * float(stats.t.sf(abs(t), count - 1))


def _by_seed(scores: Scores) -> list[float]:
    """One value a seed, the mean of its draws, in the order of the seeds."""
    draws: dict[int, list[float]] = {}
    for (seed, _), score in sorted(scores.items()):
        draws.setdefault(seed, []).append(score)
    return [math.fsum(values) / len(values) for values in draws.values()]
