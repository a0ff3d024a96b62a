"""Transposed convolutions whose input channels are the neurons."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fasthebb
from fasthebb import HPCA, SWTA, Hybrid
from fasthebb.synapses import synapse_of


def unit(layer: nn.ConvTranspose2d) -> Tensor:
    """The weights of each input channel, divided by their norm."""
    norms: Tensor = layer.weight.flatten(1).norm(dim=1)
    return layer.weight / norms.reshape(-1, 1, 1, 1)


def by_unit_weights(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    return F.conv_transpose2d(
        x, unit(layer), layer.bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
    )


LAYERS: list[dict[str, Any]] = [
    {"kernel_size": 2, "stride": 2, "bias": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
    {"kernel_size": 2, "stride": 1, "dilation": 3, "output_padding": 2},
]
layers = pytest.mark.parametrize("kwargs", LAYERS, ids=str)


def test_patches_that_do_not_overlap_are_learned_as_a_dense_layer_learns_them(rule: fasthebb.Rule) -> None:
    """As a layer from each patch of the output back to the input, if the weights are orthonormal."""
    layer = nn.ConvTranspose2d(4, 3, 2, stride=2, bias=False).double()
    layer.weight.data = torch.linalg.qr(torch.randn(12, 12).double())[0][:4].reshape(4, 3, 2, 2)
    back = nn.Linear(12, 4, bias=False).double()
    back.weight.data = layer.weight.data.reshape(4, 12)
    x = torch.randn(2, 4, 3, 3).double()
    plasticity = fasthebb.attach(layer, rule, transposed="reversed")
    patches = F.unfold(layer(x), 2, stride=2).movedim(1, -1)
    expected = fasthebb.attach(back, rule)
    back(patches)
    torch.testing.assert_close(plasticity.deltas()[""].reshape(4, 12), expected.deltas()[""])


def test_the_other_layers_learn_as_they_do_anyway(network: nn.Sequential, images: Tensor, rule: Any) -> None:
    forward = fasthebb.attach(copy.deepcopy(network), rule)
    forward.model(images)
    reversed_ = fasthebb.attach(network, rule, transposed="reversed")
    network(images)
    torch.testing.assert_close(reversed_.deltas(), forward.deltas())


def test_the_two_forms_differ(rule: fasthebb.Rule) -> None:
    x, found = torch.randn(2, 3, 4, 4), []
    for form in ("forward", "reversed"):
        torch.manual_seed(1)
        layer = nn.ConvTranspose2d(3, 5, 2, stride=2)
        plasticity = fasthebb.attach(layer, rule, transposed=form)  # type: ignore[arg-type]
        layer(x)
        found.append(plasticity.deltas()[""])
    assert (found[0] - found[1]).abs().max() > 0.01


@layers
def test_a_unit_norm_rule_hands_on_what_unit_weights_write(kwargs: dict[str, Any]) -> None:
    layer, x = nn.ConvTranspose2d(4, 6, **kwargs), torch.randn(2, 4, 5, 5)
    expected = by_unit_weights(layer, x)
    plasticity = fasthebb.attach(layer, SWTA(), transposed="reversed")
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[0]), expected[0])
    torch.testing.assert_close(copy.deepcopy(layer)(x), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(layer))(x), expected)
    with plasticity.paused():
        torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.eval()(x), expected)
    folded = plasticity.folded_state_dict()
    plasticity.detach()
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.state_dict(), folded)


@layers
def test_other_rules_leave_the_output_as_it_is(kwargs: dict[str, Any]) -> None:
    layer, x = nn.ConvTranspose2d(4, 6, **kwargs), torch.randn(2, 4, 5, 5)
    expected = layer(x)
    fasthebb.attach(layer, HPCA(), transposed="reversed")
    assert torch.equal(layer(x), expected)


def test_the_gradient_of_a_loss_goes_through_the_norms() -> None:
    layer, x = nn.ConvTranspose2d(4, 3, 3, stride=2), torch.randn(2, 4, 5, 5, requires_grad=True)
    by_unit_weights(layer, x).square().sum().backward()
    expected = [layer.weight.grad, layer.bias.grad, x.grad]  # type: ignore[union-attr]
    layer.zero_grad()
    x.grad = None
    plasticity = fasthebb.attach(layer, Hybrid(SWTA(), local=0.0), transposed="reversed")
    layer(x).square().sum().backward()
    torch.testing.assert_close([layer.weight.grad, layer.bias.grad, x.grad], expected)  # type: ignore[union-attr]
    plasticity.write_grad()
    torch.testing.assert_close(layer.weight.grad, expected[0])


def test_a_copy_does_not_take_over_norms_of_the_other_form() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(4, 2, 2, stride=2))
    fasthebb.attach(model, SWTA(), transposed="reversed")
    copied = copy.deepcopy(model)
    with pytest.raises(ValueError, match=r"'1' was copied .*attach\(model, fasthebb.SWTA\(\), transposed='reversed'\)"):
        fasthebb.attach(copied, SWTA())
    expected = model(torch.ones(1, 2, 5, 5))
    fasthebb.attach(copied, SWTA(), transposed="reversed").detach()
    fasthebb.attach(copied, HPCA())
    torch.testing.assert_close(copied(torch.ones(1, 2, 5, 5)), expected)


def test_the_size_of_the_output_may_be_asked_for_at_each_call(rule: fasthebb.Rule) -> None:
    layer, x = nn.ConvTranspose2d(3, 4, 3, stride=2).double(), torch.randn(2, 3, 4, 4).double()
    fixed = nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1).double()
    fixed.load_state_dict(layer.state_dict())
    found = []
    for one, kwargs in ((layer, {"output_size": (10, 10)}), (fixed, {})):
        plasticity = fasthebb.attach(one, rule, transposed="reversed")
        assert one(input=x, **kwargs).shape[2:] == (10, 10)
        found.append(plasticity.deltas()[""])
    torch.testing.assert_close(*found)


def test_observers_are_given_the_responses_of_input_channels() -> None:
    layer, x = nn.ConvTranspose2d(3, 5, 2, stride=2), torch.randn(2, 3, 4, 4)
    plasticity = fasthebb.attach(layer, HPCA(activation="identity"), transposed="reversed")
    seen: list[Tensor] = []
    with plasticity.observed(lambda name, response: seen.append(response)):
        layer(x)
    torch.testing.assert_close(seen[0], x.movedim(1, -1).reshape(-1, 3))


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_compiles_without_a_graph_break(dims: int, rule: Any) -> None:
    kind = getattr(nn, f"ConvTranspose{dims}d")
    images, found = torch.randn(2, 4, *[4] * dims), []
    for compiled in (False, True):
        torch.manual_seed(0)
        layer = kind(4, 3, 3, stride=2, output_padding=1)
        plasticity = fasthebb.attach(layer, rule, transposed="reversed")
        forward = torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer
        write = (
            torch.compile(plasticity.write_grad, fullgraph=True, backend="aot_eager")
            if compiled
            else plasticity.write_grad
        )
        with torch.no_grad():
            output = forward(images)
        write()
        found.append((output, layer.weight.grad))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_learns_in_half_precision(rule: fasthebb.Rule, dtype: torch.dtype) -> None:
    layer, x = nn.ConvTranspose2d(4, 3, 2, stride=2), torch.randn(8, 4, 6, 6)
    plasticity = fasthebb.attach(layer, rule, transposed="reversed")
    layer(x)
    expected = plasticity.deltas()[""]
    plasticity.clear()
    with torch.autocast("cpu", dtype):
        assert layer(x).dtype == dtype
    torch.testing.assert_close(plasticity.deltas()[""], expected, atol=0.05 * float(expected.abs().max()), rtol=0)


def test_nothing_seen_is_a_sum_like_any_other(rule: fasthebb.Rule) -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
    plasticity = fasthebb.attach(layer, rule, transposed="reversed")
    (learner,) = plasticity._learners
    layer(torch.randn(2, 4, 3, 3))
    before = plasticity.deltas()[""]
    assert learner.sums is not None
    learner.sums = learner.sums + learner.nothing()
    torch.testing.assert_close(plasticity.deltas()[""], before)


def test_neurons_are_input_channels_which_see_the_patch_that_they_write() -> None:
    synapse = synapse_of(nn.ConvTranspose2d(4, 6, (2, 3), groups=2), "reversed")
    assert (synapse.groups, synapse.neurons, synapse.fan_in) == (2, 2, 3 * 2 * 3)


def test_a_form_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"transposed: found 'backward', expected one of \('forward', 'reversed'\)"):
        fasthebb.attach(nn.ConvTranspose2d(2, 2, 2), HPCA(), transposed="backward")  # type: ignore[arg-type]
