"""Backprop through an estimator's network, from its read-out on."""

import torch
from torch import Tensor, nn

from fasthebb.training.backprop import nesterov_sgd, require_finite_loss
from fasthebb.training.schedule import learning_rate

MOMENTUM = 0.9


def fine_tune(
    network: nn.Sequential,
    head: nn.Linear,
    x: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    """Lower the cross entropy of the labelled rows, by SGD with Nesterov momentum and the schedule of `Classifier`.

    Batch norms go on using what they know of all rows: the labelled ones may be far too few for statistics.

    Args:
        network: in eval mode, as which it stays.
        head: maps its features to logits.
        x: rows ``(N, D)``, of any dtype and device.
        labels: ``(N,)`` classes.
        epochs: passes over the rows.
        lr: learning rate of the first ten epochs.
        batch_size: rows a step.
        generator: draws the order, on the CPU.

    Raises:
        NonFiniteError: the loss diverged.
    """
    optimizer = nesterov_sgd([*network.parameters(), *head.parameters()], lr=lr, momentum=MOMENTUM)
    like = head.weight
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(lr, epoch)
        total = torch.zeros((), device=like.device)
        for rows in torch.split(torch.randperm(len(x), generator=generator), batch_size):
            logits = head(network(x[rows].to(like)).flatten(1))
            loss = nn.functional.cross_entropy(logits, labels[rows].to(like.device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        require_finite_loss(total, "loss of the fine-tuning", epoch=epoch, lr=lr)
