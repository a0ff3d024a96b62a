"""Weights and learning rates that follow a curve over the steps of a training."""

from math import cos, exp, pi


def warm_cosine(done: float, warm_up: float) -> float:
    """Factor on a learning rate: a linear rise, then half a cosine down to 0 (Loshchilov and Hutter, ICLR 2017).

    Args:
        done: part of the steps that are done.
        warm_up: part of the steps in which it rises; a first step of 0 would be lost, so it begins at a hundredth.

    >>> [round(warm_cosine(done, 0.2), 3) for done in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.01, 0.505, 1.0, 0.5, 0.0]
    """
    if done < warm_up:
        return 0.01 + 0.99 * done / warm_up
    return 0.5 + 0.5 * cos(pi * min(1.0, (done - warm_up) / (1 - warm_up)))


def ramp_up(done: float, part: float) -> float:
    """Factor on a loss that has to wait: exp(-5 (1 - t)^2), t from 0 to 1 (Laine and Aila, ICLR 2017).

    Args:
        done: part of the steps that are done.
        part: part of the steps after which the factor is 1; with 0 it always is.

    >>> [round(ramp_up(done, 0.5), 3) for done in (0.0, 0.25, 0.5, 1.0)]
    [0.007, 0.287, 1.0, 1.0]
    """
    return exp(-5 * (1 - done / part) ** 2) if done < part else 1.0
