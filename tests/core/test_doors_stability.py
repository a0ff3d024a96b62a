"""Learning rates up to `HPCA(max_lr=...)` do not diverge; what has diverged is reported."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA, NonFiniteError

LR = 0.3


def steps(plasticity: fasthebb.Plasticity, model: nn.Module, x: Tensor, number: int, **sgd: Any) -> None:
    optimizer = torch.optim.SGD(plasticity.parameters(), **{"lr": LR, **sgd})
    for _ in range(number):
        with torch.no_grad():
            model(x)
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()


def loud_network() -> tuple[nn.Module, Tensor]:
    """Images so bright that the learning rate is far above the limit of stability."""
    model = nn.Sequential(nn.Conv2d(2, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 12))
    return model, 5 * torch.randn(16, 2, 5, 5)


def test_a_learning_rate_above_the_limit_diverges_and_is_reported() -> None:
    model, x = loud_network()
    plasticity = fasthebb.attach(model, HPCA())
    steps(plasticity, model, x, 100)
    with pytest.raises(NonFiniteError, match=r"layer '[03]'.*smaller learning rate.*HPCA\(max_lr=\.\.\.\)"):
        plasticity.check()


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("sgd", [{}, {"lr": 0.1 * LR, "momentum": 0.9}])
@pytest.mark.parametrize("step_scale", ["fan_in", "none"])
def test_the_same_learning_rate_is_stable_with_the_bound(
    activation: Any, sgd: dict[str, float], step_scale: Any
) -> None:
    model, x = loud_network()
    rule = HPCA(activation, step_scale=step_scale, max_lr=LR)
    plasticity = fasthebb.attach(model, rule)
    steps(plasticity, model, x, 150, **sgd)
    plasticity.check()
    for weight in plasticity.parameters():
        assert weight.isfinite().all()
        assert weight.flatten(1).norm(dim=1).max() < 10


def expected_delta(patches: Tensor, weight: Tensor, max_lr: float, scale: float) -> Tensor:
    y = torch.relu(patches @ weight.T)
    largest = torch.linalg.eigvalsh(y.T @ y / len(y))[-1]
    update = (y.T @ patches - torch.tril(y.T @ y) @ weight) / len(y)
    return update / max(scale, 2 * max_lr * float(largest))


@pytest.mark.parametrize("max_lr", [1e-3, 10.0])
@pytest.mark.parametrize(("step_scale", "scale"), [("fan_in", 2.0), ("none", 1.0)])
def test_the_divisor_follows_the_largest_eigenvalue(max_lr: float, step_scale: Any, scale: float) -> None:
    """With weights at rest, one step of power iteration an update finds it, for each group its own."""
    convolution = nn.Conv2d(8, 6, 1, groups=2, bias=False).double()
    patches = torch.randn(50, 8).double() * torch.tensor([1.0] * 4 + [3.0] * 4).double()
    plasticity = fasthebb.attach(convolution, HPCA(step_scale=step_scale, max_lr=max_lr))
    for _ in range(60):
        convolution(patches[..., None, None])
        delta = plasticity.deltas()[""]
        plasticity.write_grad()
    weight = convolution.weight.detach().flatten(1)
    groups = [
        expected_delta(patches[:, :4], weight[:3], max_lr, scale),
        expected_delta(patches[:, 4:], weight[3:], max_lr, scale),
    ]
    torch.testing.assert_close(delta.flatten(1), torch.cat(groups))


def test_the_direction_is_fixed_between_updates() -> None:
    layer = nn.Linear(4, 3).double()
    plasticity = fasthebb.attach(layer, HPCA(max_lr=10.0))
    for x in torch.randn(3, 8, 4).double():
        layer(x)
        whole = plasticity.deltas()[""]
        plasticity.clear()
        before = plasticity.state_dict()
        for part in x.split(3):
            layer(part)
        torch.testing.assert_close(plasticity.deltas()[""], whole)
        assert torch.equal(plasticity.state_dict()[".direction"], before[".direction"])
        plasticity.write_grad()
        assert not torch.equal(plasticity.state_dict()[".direction"], before[".direction"])


def test_a_silent_layer_keeps_its_direction() -> None:
    layer = nn.Linear(4, 3)
    plasticity = fasthebb.attach(layer, HPCA(max_lr=10.0))
    layer(torch.randn(8, 4))
    plasticity.write_grad()
    before = plasticity.state_dict()[".direction"]
    layer(torch.zeros(8, 4))
    plasticity.write_grad()
    assert torch.equal(plasticity.state_dict()[".direction"], before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("rule", "advice"),
    [
        (HPCA(), r"smaller learning rate, bound it with HPCA\(max_lr=\.\.\.\), and check the images for NaN"),
        (HPCA(max_lr=0.1), "smaller learning rate, and check the images for NaN"),
        (SWTA(), "smaller learning rate, and check the images for NaN"),
    ],
    ids=str,
)
def test_a_non_finite_update_is_reported_with_its_layer_and_advice_until_a_state_is_loaded(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule, advice: str, bad: float
) -> None:
    plasticity = fasthebb.attach(network, rule)
    plasticity.check()
    state = plasticity.state_dict()
    network(images)
    plasticity.write_grad()
    plasticity.check()
    images[0, 0, 0, 0] = bad
    network[3].eval()
    network(images)
    plasticity.write_grad()
    images[0, 0, 0, 0] = 0
    network(images)
    plasticity.write_grad()  # a finite update later does not hide it
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=f"layer '0' is no longer finite: use a {advice}") as caught:
            plasticity.check()
        assert isinstance(caught.value, RuntimeError)
    plasticity.load_state_dict(state)
    plasticity.check()


def test_further_broken_layers_are_counted(network: nn.Sequential, images: Tensor, rule: fasthebb.Rule) -> None:
    plasticity = fasthebb.attach(network, rule)
    network(images * float("nan"))
    plasticity.write_grad()
    with pytest.raises(NonFiniteError, match=r"'0' is no longer finite \(nor that of 1 more\)"):
        plasticity.check()
