"""How large the tensors are that a step makes."""

import copy
from typing import Any

import pytest
import torch
from test_conformance import RULES
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fasthebb
from fasthebb import naive


class LargestTensor(TorchDispatchMode):
    """The elements of the largest tensor that any operation inside gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves(result):
            if isinstance(value, Tensor) and value._base is None:  # views, such as windows, hold no memory of their own
                self.elements = max(self.elements, value.untyped_storage().nbytes() // value.element_size())
        return result


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(96, 80), (8, 96)),
        (nn.Conv2d(8, 12, 3), (4, 8, 16, 16)),
        (nn.Conv2d(24, 96, 3), (2, 24, 6, 6)),
        (nn.Conv2d(8, 16, 1, stride=2), (4, 8, 16, 16)),
        (nn.Conv2d(4, 8, 7, padding=3, stride=2), (2, 4, 32, 32)),
        (nn.ConvTranspose2d(12, 6, 2, stride=2), (2, 12, 12, 12)),
        (nn.Conv1d(4, 16, 9), (2, 4, 200)),
    ],
    ids=str,
)
def test_no_tensor_is_larger_than_twice_the_activations_or_the_weight(
    rule: fasthebb.Rule, layer: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).to(memory_format=torch.channels_last if len(shape) == 4 else torch.preserve_format)  # type: ignore[call-overload]
    images = torch.randn(shape)
    if len(shape) == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    largest = 2 * max(images.numel(), layer(images).numel())
    plasticity = fasthebb.attach(layer, rule)
    if rule.uses_gradient:
        layer(images).square().sum().backward()
        plasticity.clear()
    else:
        layer.requires_grad_(False)
    with LargestTensor() as seen, plasticity.teacher(torch.zeros(shape[0], dtype=torch.int64)):
        layer(images)
        plasticity.write_grad()
    assert seen.elements <= max(largest, layer.get_parameter("weight").numel())


def test_the_naive_rules_are_what_that_test_would_catch() -> None:
    layer, images = nn.Conv2d(8, 12, 3), torch.randn(4, 8, 16, 16)
    plasticity = fasthebb.attach(layer, naive.HPCA())
    with torch.no_grad(), LargestTensor() as seen:
        layer(images)
        plasticity.write_grad()
    assert seen.elements > 50 * layer(images).numel()
