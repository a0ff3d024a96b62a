"""Times of several pieces of work, taken in turns, so that what disturbs the machine disturbs all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

WARM_UP = 3


class NoisyMachineError(ValueError):
    """Times scatter too much to say anything."""


@dataclass(frozen=True)
class Timings:
    """Seconds of each piece of work, one a round.

    Attributes:
        seconds: by name, in the order of the rounds.
    """

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Median seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Median over rounds of the ratio within a round."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[other], strict=True))

    def spread(self, name: str) -> float:
        """Distance between the quartiles, as a part of the median."""
        low, middle, high = statistics.quantiles(self.seconds[name], n=4)
        return (high - low) / middle

    def require_quiet(self, limit: float) -> None:
        """Refuse times whose quartiles are further apart than ``limit`` of their median.

        Raises:
            NoisyMachineError: names the worst.
        """
        worst = max(self.seconds, key=self.spread)
        if self.spread(worst) > limit:
            raise NoisyMachineError(
                f"the machine is too noisy: half of the times of {worst!r} scatter over "
                f"{100 * self.spread(worst):.0f} % of their median, expected at most "
                f"{100 * limit:.0f} %; stop other programs or use more --repeats"
            )


def in_turns(work: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> Timings:
    """Run each piece of work once a round, for ``repeats`` rounds after a warm-up.

    >>> timings = in_turns({"a": lambda: None, "b": lambda: None}, 5, torch.device("cpu"))
    >>> len(timings.seconds["a"])
    5
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(WARM_UP + repeats):
        for name, run in work.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return Timings(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
