"""From what was seen to `.grad`."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA

Snapshot = Callable[[nn.Module], dict[str, Tensor]]


def test_a_step_moves_the_plastic_weights_by_the_update_and_nothing_else(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule, snapshot: Snapshot
) -> None:
    before = snapshot(network)
    plasticity = fasthebb.attach(network, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.5)
    with torch.no_grad():
        network(images)
    deltas = plasticity.deltas()
    plasticity.write_grad()
    after_write = snapshot(network)
    assert all(torch.equal(before[name], after_write[name]) for name in before)
    optimizer.step()
    after = snapshot(network)
    for name in before:
        layer = name.removesuffix(".weight")
        moved = 0.5 * deltas[layer] if name.endswith("weight") else 0
        torch.testing.assert_close(after[name], before[name] + moved)
    assert all(float(delta.abs().max()) > 0 for delta in deltas.values())


def test_sums_are_cleared_by_write_grad_and_by_nothing_else(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule
) -> None:
    plasticity = fasthebb.attach(network, rule)
    network(images)
    deltas, again = plasticity.deltas(), plasticity.deltas()
    assert all(torch.equal(deltas[name], again[name]) for name in ("0", "3"))
    plasticity.write_grad()
    assert plasticity.deltas() == {}
    network(images)
    assert all(torch.equal(deltas[name], delta) for name, delta in plasticity.deltas().items())
    plasticity.clear()
    assert plasticity.deltas() == {}


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_micro_batches_give_a_network_the_update_of_the_whole_batch(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule, parts: int
) -> None:
    network.double()
    plasticity = fasthebb.attach(network, rule)
    network(images.double())
    whole = plasticity.deltas()
    plasticity.clear()
    for part in images.double().chunk(parts):
        network(part)
    torch.testing.assert_close(plasticity.deltas(), whole, rtol=1e-9, atol=1e-12)


def test_write_grad_adds_to_a_gradient_that_is_there(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule
) -> None:
    plasticity = fasthebb.attach(network, rule, local_scale=0.25)
    network(images).square().mean().backward()
    backprop = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    deltas = plasticity.deltas()
    plasticity.write_grad()
    for name, parameter in network.named_parameters():
        local = 0.25 * deltas[name.removesuffix(".weight")] if name.endswith("weight") else 0
        torch.testing.assert_close(parameter.grad, backprop[name] - local)


def test_two_calls_without_clearing_add_up(network: nn.Sequential, images: Tensor, rule: fasthebb.Rule) -> None:
    plasticity = fasthebb.attach(network, rule)
    network(images)
    plasticity.write_grad()
    once = network[0].weight.grad.clone()
    network(images)
    plasticity.write_grad()
    torch.testing.assert_close(network[0].weight.grad, 2 * once)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels_last", [True, False])
def test_the_gradient_has_the_strides_and_dtype_of_the_weight(
    rule: fasthebb.Rule, dtype: torch.dtype, channels_last: bool
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    transposed = nn.Linear(4, 3, bias=False)
    transposed.weight = nn.Parameter(torch.randn(4, 3).T)  # strides of its own
    for layer, x in (
        (nn.Conv2d(4, 6, 3, padding=1, bias=False).to(memory_format=layout), torch.randn(2, 4, 5, 5)),
        (nn.Conv2d(4, 6, 5, bias=False).to(memory_format=layout), torch.randn(2, 4, 5, 5)),
        (nn.Linear(4, 3, bias=False), torch.randn(2, 4)),
        (transposed, torch.randn(2, 4)),
    ):
        plasticity = fasthebb.attach(layer.to(dtype), rule)
        for _ in range(2):  # a new gradient, then one that is there
            layer(x.to(dtype))
            plasticity.write_grad()
            assert layer.weight.grad is not None
            assert layer.weight.grad.dtype == dtype
            assert layer.weight.grad.stride() == layer.weight.stride()
            assert layer.weight.grad.abs().max() > 0


def test_a_frozen_weight_learns_locally(rule: fasthebb.Rule) -> None:
    layer = nn.Linear(3, 2).requires_grad_(False)
    plasticity = fasthebb.attach(layer, rule)
    layer(torch.randn(4, 3))
    plasticity.write_grad()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().max() > 0


def test_the_model_returns_to_learning_when_a_paused_block_ends(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule
) -> None:
    plasticity = fasthebb.attach(network, rule)
    with plasticity.paused():
        with plasticity.paused():
            network(images)
        network(images)
    assert plasticity.deltas() == {}
    with pytest.raises(KeyError), plasticity.paused():
        raise KeyError
    network(images)
    assert set(plasticity.deltas()) == {"0", "3"}


def test_eval_never_learns_and_the_layers_own_flag_decides(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule
) -> None:
    plasticity = fasthebb.attach(network, rule)
    network.eval()
    network(images)
    assert plasticity.deltas() == {}
    network[3].train()
    network(images)
    assert set(plasticity.deltas()) == {"3"}
    network.train()
    network[3].eval()
    plasticity.clear()
    network(images)
    assert set(plasticity.deltas()) == {"0"}


@pytest.mark.parametrize("cause", ["nothing", "eval", "paused", "after write_grad"])
def test_write_grad_without_anything_seen_raises_and_names_the_likely_causes(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule, cause: str
) -> None:
    plasticity = fasthebb.attach(network, rule)
    if cause == "eval":
        network.eval()(images)
    if cause == "paused":
        with plasticity.paused():
            network(images)
    if cause == "after write_grad":
        network(images)
        plasticity.write_grad()
    with pytest.raises(RuntimeError, match=r"no plastic layer has seen anything.*eval mode.*paused.*compiled before"):
        plasticity.write_grad()
    assert cause == "after write_grad" or all(p.grad is None for p in network.parameters())


class WithAnUnusedLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


def test_layers_that_nothing_calls_are_named_in_one_warning(rule: fasthebb.Rule) -> None:
    model = WithAnUnusedLayer()
    plasticity = fasthebb.attach(model, rule)
    model(torch.randn(4, 3))
    with pytest.warns(UserWarning, match="nothing calls them: 'unused'") as caught:
        plasticity.write_grad()
    assert caught[0].filename == __file__
    model(torch.randn(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plasticity.write_grad()
    assert model.unused.weight.grad is None


def test_a_layer_at_rest_is_not_a_layer_that_nothing_calls(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule
) -> None:
    plasticity = fasthebb.attach(network, rule)
    network[0].eval()
    network(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plasticity.write_grad()
    assert network[0].weight.grad is None


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch_is_nothing_seen(rule: fasthebb.Rule, shape: tuple[int, ...]) -> None:
    layer = nn.Linear(3, 2)
    plasticity = fasthebb.attach(layer, rule)
    layer(torch.zeros(shape))
    assert plasticity.deltas() == {}


def test_observers_see_every_response_whether_or_not_the_layer_learns(rule: fasthebb.Rule) -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(4, 2)).eval()
    plasticity = fasthebb.attach(model, rule)
    seen: list[tuple[str, Tensor]] = []
    images = torch.randn(5, 2, 3, 3)
    with plasticity.observed(lambda name, response: seen.append((name, response))):
        model(images)
    model(images)
    assert [(name, tuple(response.shape)) for name, response in seen] == [("0", (5, 4)), ("2", (5, 2))]
    response = seen[0][1]
    if isinstance(rule, SWTA):
        torch.testing.assert_close(response.view(5, 2, 2).sum(2), torch.ones(5, 2))  # shares within a group
    else:
        convolution = model[0]
        own = nn.functional.conv2d(images, convolution.weight, groups=2).flatten(1)
        torch.testing.assert_close(response, own.relu())
    assert plasticity.deltas() == {}


@pytest.mark.parametrize("module", [fasthebb, fasthebb.naive], ids=["fast", "naive"])
@pytest.mark.parametrize("name", ["HPCA", "SWTA"])
def test_the_loop_of_the_documentation_runs_with_the_naive_rules_too(
    network: nn.Sequential, images: Tensor, module: Any, name: str
) -> None:
    plasticity = fasthebb.attach(network, getattr(module, name)())
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=1e-2)
    before = network[0].weight.clone()
    for _ in range(2):
        with torch.no_grad():
            network(images)
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.detach()
    assert not torch.equal(network[0].weight, before)


def test_state_travels_with_a_checkpoint(network: nn.Sequential, images: Tensor) -> None:
    rule = HPCA(max_lr=100.0)  # so high that the bound decides
    plasticity = fasthebb.attach(network, rule)
    for _ in range(3):
        network(images)
        plasticity.write_grad()
    state = plasticity.state_dict()
    assert set(state) == {"0.direction", "3.direction"}
    network(images)
    expected = plasticity.deltas()

    fresh = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))
    fresh.load_state_dict(network.state_dict())
    other = fasthebb.attach(fresh, rule)
    fresh(images)
    assert not torch.equal(other.deltas()["0"], expected["0"])
    other.clear()
    other.load_state_dict(state)
    fresh(images)
    assert all(torch.equal(delta, expected[name]) for name, delta in other.deltas().items())
    plasticity.write_grad()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in state.items())  # a copy, not a view


def test_state_that_does_not_fit_is_refused(network: nn.Sequential) -> None:
    plasticity = fasthebb.attach(network, HPCA(max_lr=5.0))
    state = plasticity.state_dict()
    with pytest.raises(ValueError, match=r"'3.direction' is missing: it was saved with other layers or another rule"):
        plasticity.load_state_dict({"0.direction": state["0.direction"]})
    with pytest.raises(ValueError, match=r"'4.direction' is unknown"):
        plasticity.load_state_dict({**state, "4.direction": torch.ones(2)})
    with pytest.raises(ValueError, match=r"'0.direction': found shape \(1, 3\), expected \(1, 4\)"):
        plasticity.load_state_dict({**state, "0.direction": torch.ones(1, 3)})
    plasticity.detach()
    assert fasthebb.attach(network, SWTA()).state_dict() == {}


def test_import_needs_torch_alone() -> None:
    code = (
        "import sys, fasthebb\n"
        "print([m for m in ('torchvision', 'lightning', 'sklearn', 'scipy', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
