"""How an estimator's hidden layers learn: step by step, or at once."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from fasthebb import Rule, attach
from fasthebb.rules.names import rule_class
from fasthebb.training import learn_at_once, reestimate_batch_norm
from fasthebb.training.batch_norm import fixed_batch_norms

ROWS = 256
"""Rows at a time, where nothing learns by steps."""
CHECK_EVERY = 50
_NEEDS_MORE = "needs labels or the gradient of a loss, expected a rule that learns from rows alone, such as 'wta'"


def chosen_rule(rule: Any, learning_rate: float) -> Rule:
    """The rule itself, or that of this name, kept stable at this learning rate where it can be.

    Raises:
        ValueError: there is no such rule, or it needs more than rows without labels.

    >>> chosen_rule("hpca", 0.1), chosen_rule("wta", 0.1)
    (HPCA(activation='relu', step_scale='fan_in', max_lr=0.1, classes=None), WTA(k=1, classes=None))
    """
    if isinstance(rule, str):
        found = rule_class(rule)
        if found.uses_gradient:
            raise ValueError(f"rule: found {rule!r}, which {_NEEDS_MORE}")
        rule = found(**({"max_lr": learning_rate} if any(f.name == "max_lr" for f in fields(found)) else {}))
    if not isinstance(rule, Rule):
        raise ValueError(f"rule: found {rule!r}, expected a name such as 'wta' or a rule such as fasthebb.WTA()")
    if rule.uses_gradient or rule.supervised:
        raise ValueError(f"rule: found {rule!r}, which {_NEEDS_MORE}")
    return rule


def can_learn_at_once(rule: Rule) -> bool:
    """Whether a rule knows where it ends.

    >>> from fasthebb import HPCA, WTA
    >>> can_learn_at_once(WTA()), can_learn_at_once(HPCA())
    (True, False)
    """
    try:
        rule.fixed_point(torch.eye(2), 1, torch.Generator())
    except ValueError:
        return False
    return True


def batches(x: Tensor, network: nn.Module, order: Tensor | None = None, size: int = ROWS) -> Iterator[tuple[Tensor]]:
    """Rows in this order, a batch at a time, where the network is and in its dtype."""
    like = next(network.buffers())
    for rows in torch.split(torch.arange(len(x)) if order is None else order, size):
        yield (x[rows].to(like),)


def by_steps(
    network: nn.Sequential,
    rule: Rule,
    x: Tensor,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    """Let the layers of `network` learn together from rows `x`, by plain SGD; it ends as a plain network."""
    plasticity = attach(network, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=learning_rate)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for step, (part,) in enumerate(batches(x, network, order, batch_size), start=1):
            with torch.no_grad(), fixed_batch_norms(network, when=len(part) == 1):
                network(part)
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()
            if step % CHECK_EVERY == 0:
                plasticity.check()
        plasticity.check()
    plasticity.detach()
    reestimate_batch_norm(network, batches(x, network))


def at_once(network: nn.Sequential, rule: Rule, x: Tensor, *, seed: int) -> None:
    """Put the layers of `network` where the rule would bring them, one after the other."""
    # Rows may come sorted by class, and the first of them are looked at.
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for _ in learn_at_once(network, rule, lambda: batches(x, network, order), len(x), seed=seed):
        pass
