"""Several processes that train one network: which of them this is, and what they do together."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
WHOLE = {"rank": 0, "world_size": 1}
"""What `Batches` and their like take where every process is to have all images, to score them."""


def process_count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if process_count() > 1 else 0


def has_lost_others(error: RuntimeError) -> bool:
    """Whether an error of this process says that it can no longer reach the others.

    >>> has_lost_others(RuntimeError("Gloo: connection closed by peer"))  # of a process that is alone
    False
    """
    known = isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "Gloo", "nccl"))
    return known and process_count() > 1


def share() -> dict[str, int]:
    """What `Batches` and their like take so that the processes share the images.

    >>> share()
    {'rank': 0, 'world_size': 1}
    """
    return {"rank": process_rank(), "world_size": process_count()}


def first_alone(do: Callable[[], T]) -> T:
    """What ``do()`` gives in the first process, which alone runs it; an error that it raises is raised in all.

    For what is read from or written to files that the processes share. Never for what communicates itself.

    >>> first_alone(lambda: 2)
    2
    """
    if process_count() == 1:
        return do()
    outcome: list[Any] = [None, None]
    if process_rank() == 0:
        try:
            outcome[0] = do()
        except Exception as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result


def joined_images(loader: Iterable[Any], number: int, images: Tensor) -> int:
    """How many images all processes have together in a batch, without asking them.

    Args:
        loader: of the batches, with a method ``joined_size(number)`` where it knows.
        number: of the batch in its epoch.
        images: this process's own.

    Returns:
        The number. Where nobody knows it, what it would be if all had as many, and at least one a process: several
        processes must never come to different answers about what is too few.
    """
    own = len(images)
    if process_count() == 1:
        return own
    known = getattr(getattr(loader, "loader", loader), "joined_size", None)
    return max(own, 1) * process_count() if known is None else int(known(number))


def of_mean(loss: Tensor, own: int, joined: int) -> Tensor:
    """A mean over this process's images, weighed so that the processes' average is the mean over those of all.

    DistributedDataParallel averages gradients over processes, however many images each has.

    >>> import torch
    >>> float(of_mean(torch.tensor(2.0), 3, 3))
    2.0
    """
    return loss if process_count() == 1 else loss * (own * process_count() / joined)


def added_up(values: Tensor) -> Tensor:
    """The sum over the processes, on each of them."""
    if process_count() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total
