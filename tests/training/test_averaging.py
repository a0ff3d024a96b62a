import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fasthebb.training.averaging import move_average


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def drawn(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.randn(tensor.shape, generator=generator)
        else:
            tensor.fill_(seed)
    return copy.deepcopy(model.state_dict())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.floats(0, 0.999))
def test_the_average_is_its_definition(steps: int, decay: float) -> None:
    model, average = network(), network()
    seen = []
    for step in range(1, steps + 1):
        seen.append(drawn(model, step))
        move_average(average, model, decay, step)
    found = average.state_dict()
    for name, tensor in seen[-1].items():
        if not tensor.is_floating_point():
            assert found[name] == steps  # how many batches a norm has seen
            continue
        weights = [1.0]
        for step in range(2, steps + 1):
            d = min(decay, 1 - 1 / step)
            weights = [d * weight for weight in weights] + [1 - d]
        expected = sum(weight * state[name].double() for weight, state in zip(weights, seen, strict=True))
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-4, atol=1e-5)


def test_at_first_it_is_the_plain_mean_and_what_it_began_with_is_gone() -> None:
    model, average = network(), network()
    states = []
    for step in range(1, 6):
        states.append(drawn(model, step))
        move_average(average, model, 0.99, step)
    mean = torch.stack([state["0.weight"] for state in states]).mean(0)
    torch.testing.assert_close(average[0].weight.detach(), mean)


def test_what_does_not_change_stays_bit_for_bit_and_no_gradient_is_kept() -> None:
    model = network()
    average = copy.deepcopy(model).requires_grad_(False)
    before = copy.deepcopy(average.state_dict())
    for step in range(1, 20):
        move_average(average, model, 0.9, step)
    assert all(torch.equal(before[name], tensor) for name, tensor in average.state_dict().items())
    assert not any(tensor.requires_grad for tensor in average.parameters())
