"""Random numbers of one's own: the streams that a program draws from are neither read nor moved."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state


def seed_of(random_state: Any) -> int:
    """A seed: the number that was given, one drawn from a ``RandomState``, or for None one from the system.

    >>> seed_of(3), seed_of(np.random.RandomState(0)) == seed_of(np.random.RandomState(0))
    (3, True)
    """
    if random_state is None:  # scikit-learn would draw from numpy's global stream
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


@contextmanager
def private_stream(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from a stream of this seed within the block, and go on with its own afterwards."""
    # torch.manual_seed would reach every device, so that all of them had to be put back.
    used = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=used):
        torch.default_generator.manual_seed(seed)
        for one in used:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield
