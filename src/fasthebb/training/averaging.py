"""Running averages of a network's weights."""

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def move_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move an exponential running average of a model's weights by one step.

        average = d average + (1 - d) model,  d = min(decay, 1 - 1 / step)

    So it is the plain mean of all steps as long as these are few, and what it began with leaves no trace (Tarvainen
    and Valpola, NeurIPS 2017). Running statistics of batch norms are averaged as well (Cai et al., EMAN, CVPR 2021),
    whole numbers are copied. `torch.optim.swa_utils.AveragedModel` does the like, but asks the device for its count at
    every step, which makes the host wait.

    Args:
        average: a copy of the model.
        model: what has been trained.
        decay: weight of the past, at least 0 and below 1.
        step: how many steps the model has made, at least 1.

    >>> average, model = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> for step, weight in enumerate([6.0, 2.0, 10.0], start=1):
    ...     _ = nn.init.constant_(model.weight, weight)
    ...     move_average(average, model, 0.5, step)
    >>> average.weight.item()
    7.0
    """
    past, present = average.state_dict(), model.state_dict()
    floating = [name for name, tensor in past.items() if tensor.is_floating_point()]
    move = get_ema_multi_avg_fn(min(decay, 1 - 1 / step))  # type: ignore[no-untyped-call]
    move([past[name] for name in floating], [present[name] for name in floating], step)
    for name in past.keys() - floating:
        past[name].copy_(present[name])
