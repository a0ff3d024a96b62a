"""A forward pass that goes only as far as it is needed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn


class _Enough(Exception):  # noqa: N818 - nothing is wrong
    """The forward pass has come as far as it is needed."""


def layer_outputs(model: nn.Module, layers: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """Run `model` on `x` until the last of the given layers has answered, and return what each of them has.

    Args:
        model: any module; its hooks take part, with the layers behind the last one nothing happens.
        layers: of the model, in the order of their use.
        x: its input.

    Raises:
        KeyError: the model has used one of them after the last, or not at all.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.LazyLinear(3))
    >>> layer_outputs(model, model[:2], torch.tensor([[[-1.0], [2.0]]]))
    [tensor([[-1.,  2.]]), tensor([[0., 2.]])]
    """
    outputs: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        outputs[layer] = output
        if layer is layers[-1]:
            raise _Enough

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        model(x)
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return [outputs[layer] for layer in layers]


def order_of_use(layers: Iterable[nn.Module], forward: Callable[[], object]) -> list[nn.Module]:
    """Those of the layers that `forward` uses, in the order in which it first does.

    >>> import torch
    >>> relu, tanh = nn.ReLU(), nn.Tanh()
    >>> order_of_use([relu, tanh, nn.GELU()], lambda: relu(tanh(torch.zeros(1))))
    [Tanh(), ReLU()]
    """
    used: dict[nn.Module, None] = {}

    def note(layer: nn.Module, args: tuple[Any, ...]) -> None:
        used[layer] = None

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return list(used)
