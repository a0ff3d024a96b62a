"""What every training by backprop has in common."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fasthebb import NonFiniteError


def nesterov_sgd(
    parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float = 0.0
) -> torch.optim.SGD:
    """SGD with Nesterov momentum, which torch refuses without momentum.

    On a processor a step is one pass over the weights (`fused`), where torch's default there makes one for each term.

    >>> nesterov_sgd(nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.0).defaults["nesterov"]
    False
    """
    held = list(parameters)
    fused = all(one.device.type == "cpu" for one in held) or None
    return torch.optim.SGD(
        held, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=fused
    )


def require_finite_loss(loss: Tensor, what: str, *, epoch: int, lr: float) -> None:
    """End a training whose loss, called `what`, has diverged; the host waits for it.

    Raises:
        NonFiniteError: naming epoch and learning rate.

    >>> require_finite_loss(torch.tensor(torch.inf), "training loss", epoch=3, lr=0.5)
    Traceback (most recent call last):
    ...
    fasthebb...NonFiniteError: the training loss was not finite in epoch 3: lower the learning rate (0.5), or ...
    """
    if not torch.isfinite(loss):
        raise NonFiniteError(
            f"the {what} was not finite in epoch {epoch}: lower the learning rate ({lr}), or look for images with "
            "extreme values"
        )
