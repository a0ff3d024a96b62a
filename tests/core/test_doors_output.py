"""What a layer hands on, and what is exported."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA

Snapshot = Callable[[nn.Module], dict[str, Tensor]]

LAYERS: list[tuple[Callable[[], Any], tuple[int, ...]]] = [
    (lambda: nn.Linear(4, 3), (5, 4)),
    (lambda: nn.Linear(4, 3, bias=False), (2, 3, 4)),
    (lambda: nn.Conv2d(4, 6, 2, groups=2), (5, 4, 3, 3)),
    (lambda: nn.Conv2d(4, 6, 2, bias=False, padding="same", padding_mode="reflect"), (4, 3, 3)),
]
every_layer = pytest.mark.parametrize(("make", "shape"), LAYERS)


def normalised(layer: Any, x: Tensor) -> Tensor:
    """``(x.w) / |w| + bias`` by running the layer on normalised weights."""
    norms = layer.weight.flatten(1).norm(dim=1).view(-1, *[1] * (layer.weight.dim() - 1))
    out: Tensor = torch.func.functional_call(layer, {"weight": layer.weight / norms}, x)
    return out


@every_layer
def test_hpca_hands_on_the_layers_own_output(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    layer, x = make(), torch.randn(shape)
    own = layer(x)
    fasthebb.attach(layer, HPCA(activation="tanh"))
    assert torch.equal(layer(x), own)


@every_layer
@pytest.mark.parametrize("temperature", [0.02, 1.0])
def test_swta_hands_on_the_normalised_map_whether_it_learns_or_not(
    make: Callable[[], Any], shape: tuple[int, ...], temperature: float
) -> None:
    layer, x = make().double(), torch.randn(shape).double()
    layer.weight.data *= torch.arange(1.0, len(layer.weight) + 1).view(-1, *[1] * (layer.weight.dim() - 1))
    expected = normalised(layer, x)
    plasticity = fasthebb.attach(layer, SWTA(temperature))
    torch.testing.assert_close(layer(x), expected)
    with plasticity.paused():
        torch.testing.assert_close(layer(x), expected)
    layer.eval()
    torch.testing.assert_close(layer(x), expected)


@every_layer
def test_the_gradient_flows_through_the_norm(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    layer, x = make().double(), torch.randn(shape).double().requires_grad_()
    wanted = [x, *layer.parameters()]
    probe = torch.randn_like(layer(x))
    expected = torch.autograd.grad((normalised(layer, x) * probe).sum(), wanted)
    fasthebb.attach(layer, SWTA())
    torch.testing.assert_close(torch.autograd.grad((layer(x) * probe).sum(), wanted), expected)


def test_a_neuron_without_weights_hands_on_its_bias() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    fasthebb.attach(layer, SWTA())
    assert torch.equal(layer(torch.randn(4, 3)), layer.bias.expand(4, 2))


def test_hooks_that_were_there_before_see_what_is_handed_on() -> None:
    layer, seen = nn.Linear(3, 2), []
    layer.register_forward_hook(lambda module, args, output: seen.append(output))
    fasthebb.attach(layer, SWTA())
    assert layer(torch.randn(4, 3)) is seen[0]


@every_layer
def test_the_bias_takes_no_part_in_the_rule(
    make: Callable[[], Any], shape: tuple[int, ...], rule: fasthebb.Rule
) -> None:
    layer, x = make().double(), torch.randn(shape).double()
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(len(layer.weight), dtype=torch.float64))
    updates = []
    for value in (0.0, 7.0):
        nn.init.constant_(layer.bias, value)
        plasticity = fasthebb.attach(layer, rule)
        layer(x)
        updates.append(plasticity.deltas()[""])
        plasticity.write_grad()
        assert layer.bias.grad is None
        assert (layer.bias == value).all()
        with torch.no_grad():  # detach() folds norms, and both updates are to start from the same weights
            kept = layer.weight.clone()
            plasticity.detach()
            layer.weight.copy_(kept)
    torch.testing.assert_close(*updates)


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_detach_leaves_a_plain_layer_that_computes_the_same(
    make: Callable[[], Any], shape: tuple[int, ...], rule: fasthebb.Rule, training: bool
) -> None:
    layer, x = make().train(training), torch.randn(shape)
    plasticity = fasthebb.attach(layer, rule)
    before = layer(x)
    plasticity.detach()
    assert not layer._forward_hooks
    torch.testing.assert_close(layer(x), before)
    fresh = make()
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(fresh(x), before)
    for call in (plasticity.write_grad, plasticity.deltas, plasticity.detach):
        with pytest.raises(RuntimeError, match=r"this plasticity was detached: call fasthebb.attach again"):
            call()


def test_folded_state_dict_is_a_plain_model_and_leaves_the_weights_raw(
    network: nn.Sequential, images: Tensor, snapshot: Snapshot
) -> None:
    raw = snapshot(network)
    plain = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))
    plasticity = fasthebb.attach(network, {"0": SWTA(), "3": HPCA()})
    folded = plasticity.folded_state_dict()
    assert list(folded) == list(raw)
    plain.load_state_dict(folded)
    torch.testing.assert_close(plain(images), network(images))
    norms = folded["0.weight"].flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(4))
    assert all(torch.equal(tensor, raw[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(folded["3.weight"], raw["3.weight"])
    plasticity.detach()
    assert all(torch.equal(tensor, folded[name]) for name, tensor in network.state_dict().items())
    assert all(torch.equal(tensor, folded[name]) for name, tensor in plasticity.folded_state_dict().items())


def test_a_checkpoint_of_raw_weights_restores_the_attached_model(network: nn.Sequential, images: Tensor) -> None:
    other = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))
    plasticity, other_plasticity = fasthebb.attach(network, SWTA()), fasthebb.attach(other, SWTA())
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(images), network(images))
    for name, delta in plasticity.deltas().items():
        assert torch.equal(delta, other_plasticity.deltas()[name])


def tied(rule_of: dict[str, fasthebb.Rule]) -> tuple[nn.Sequential, fasthebb.Plasticity]:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    return model, fasthebb.attach(model, rule_of)


def test_a_tied_weight_is_one_entry_folded_once(rule: fasthebb.Rule) -> None:
    model, plasticity = tied({"0": rule, "1": rule})
    x = torch.randn(4, 3)
    hidden = model[0](x)
    out = model[1](hidden)
    assert list(plasticity.rules) == ["0"]
    assert [*plasticity.parameters()] == [model[0].weight]
    single = nn.Linear(3, 3, bias=False)
    single.weight.data = model[0].weight.data.clone()
    expected = fasthebb.attach(single, rule)
    single(torch.cat([x, hidden]))
    torch.testing.assert_close(plasticity.deltas(), {"0": expected.deltas()[""]})
    folded = plasticity.folded_state_dict()
    assert torch.equal(folded["0.weight"], folded["1.weight"])
    plasticity.detach()
    torch.testing.assert_close(model(x), out)
    assert torch.equal(model[0].weight, folded["0.weight"])


def test_a_weight_shared_with_a_layer_of_another_rule_is_an_error_for_swta() -> None:
    for rules in ({"0": SWTA(), "1": HPCA()}, {"0": SWTA()}, {"0": SWTA(), "1": SWTA(0.5)}):
        with pytest.raises(ValueError, match="'0' shares its weight with '1', which does not learn by the same rule"):
            tied(rules)  # type: ignore[arg-type]


def test_a_weight_shared_between_rules_without_norms_gets_both_updates() -> None:
    model, plasticity = tied({"0": HPCA(), "1": HPCA(activation="tanh")})
    model(torch.randn(4, 3))
    deltas = plasticity.deltas()
    assert list(deltas) == ["0", "1"]
    assert len([*plasticity.parameters()]) == 1
    plasticity.write_grad()
    torch.testing.assert_close(model[0].weight.grad, -deltas["0"] - deltas["1"])


def test_a_layer_used_twice_adds_up_what_it_saw(rule: fasthebb.Rule) -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, layer)
    single = fasthebb.attach(layer, rule)
    hidden = layer(torch.ones(4, 3))
    layer(hidden)
    expected = single.deltas()[""]
    for handle in single._handles:
        handle.remove()
    plasticity = fasthebb.attach(model, rule)
    model(torch.ones(4, 3))
    torch.testing.assert_close(plasticity.deltas(), {"0": expected})
    assert set(plasticity.folded_state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert torch.equal(plasticity.folded_state_dict()["0.weight"], plasticity.folded_state_dict()["1.weight"])
