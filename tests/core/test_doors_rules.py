"""Rules of one's own: about ten lines, and every layer kind for nothing."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from own_rules import Counting, Guided, Oja, Sanger, Taught
from reference import patches_of
from torch import Tensor, nn

import fasthebb
from fasthebb import Rule, Sums, Synapse

LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Linear(4, 6), (5, 4)),
    (lambda: nn.Linear(4, 6, bias=False), (5, 2, 4)),
    (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), (5, 4, 5, 5)),
    (
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding="valid", bias=False).to(memory_format=torch.channels_last),
        (5, 4, 5, 5),
    ),
]
every_layer = pytest.mark.parametrize(("make", "shape"), LAYERS)


@every_layer
def test_oja_in_ten_lines_is_oja_on_every_layer(make: Any, shape: tuple[int, ...]) -> None:
    layer, x = make().double(), torch.randn(shape).double()
    plasticity = fasthebb.attach(layer, Oja())
    layer(x[:2])
    layer(x[2:])
    patches = patches_of(layer, x)  # (g, N, K)
    weight = layer.weight.detach().flatten(1).reshape(len(patches), -1, patches.shape[2])
    y = patches @ weight.mT
    expected = (y.mT @ patches - y.square().sum(1)[..., None] * weight) / patches.shape[1]
    torch.testing.assert_close(plasticity.deltas()[""], expected.reshape(layer.weight.shape))


@every_layer
def test_the_questions_of_a_synapse_agree_with_each_other(make: Any, shape: tuple[int, ...]) -> None:
    layer, x = make().double(), torch.randn(shape).double()
    updates = []
    for rule in (Sanger(), fasthebb.HPCA(activation="identity", step_scale="none")):
        plasticity = fasthebb.attach(layer, rule)
        layer(x)
        updates.append(plasticity.deltas()[""])
        plasticity.detach()
    torch.testing.assert_close(*updates)


@every_layer
@pytest.mark.parametrize("chunk", [1, 2**24])
def test_a_teacher_tells_every_position_the_class_of_its_image(
    make: Any, shape: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fasthebb.plasticity.learner.CHUNK_ELEMENTS", chunk)
    layer, x = make().double(), torch.randn(shape).double()
    labels = torch.tensor([0, 2, 0, 1, 2])
    plasticity = fasthebb.attach(layer, Taught())
    with plasticity.teacher(labels):
        layer(x)
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    neurons = 6 // groups
    expected = torch.zeros(groups, neurons, layer.weight[0].numel(), dtype=torch.float64)
    for label in range(neurons):
        if (labels == label).any():
            expected[:, label] = patches_of(layer, x[labels == label]).mean(1)
    torch.testing.assert_close(plasticity.deltas()[""], expected.reshape(layer.weight.shape))


def test_a_supervised_rule_without_labels_or_with_too_few_says_so() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    plasticity = fasthebb.attach(model, Taught())
    with pytest.raises(RuntimeError, match=r"layer '0' learns with labels: call the model inside plasticity.teacher"):
        model(torch.randn(5, 4))
    with (
        pytest.raises(ValueError, match="found 2 labels for 5 images in layer '0'"),
        plasticity.teacher(torch.tensor([0, 1])),
    ):
        model(torch.randn(5, 4))
    with pytest.raises(RuntimeError, match="learns with labels"):  # the block is over
        model(torch.randn(5, 4))
    assert plasticity.deltas() == {}


def test_rules_without_labels_do_not_mind_a_teacher(rule: Rule) -> None:
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    plasticity = fasthebb.attach(layer, rule)
    layer(x)
    expected = plasticity.deltas()[""]
    plasticity.clear()
    with plasticity.teacher(torch.tensor([0, 1])):
        layer(x)
    assert torch.equal(plasticity.deltas()[""], expected)


@every_layer
@pytest.mark.parametrize("local_scale", [1.0, 0.5])
def test_a_rule_that_uses_the_gradient_takes_its_place(make: Any, shape: tuple[int, ...], local_scale: float) -> None:
    layer = make()
    plasticity = fasthebb.attach(layer, Guided(), local_scale=local_scale)
    layer(torch.randn(shape)).square().sum().backward()
    gradient = layer.weight.grad.clone()
    bias_gradient = None if layer.bias is None else layer.bias.grad.clone()
    delta = plasticity.deltas()[""]
    assert torch.equal(layer.weight.grad, gradient)
    assert torch.equal(delta.sign(), -gradient.sign())
    plasticity.write_grad()
    torch.testing.assert_close(layer.weight.grad, -local_scale * delta)
    assert layer.weight.grad.stride() == layer.weight.stride()
    if bias_gradient is not None:
        assert torch.equal(layer.bias.grad, bias_gradient)


def test_a_rule_that_uses_the_gradient_needs_one() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    plasticity = fasthebb.attach(model, Guided())
    model(torch.randn(5, 4))
    with pytest.raises(RuntimeError, match=r"'0': Guided uses the backprop gradient.*call loss.backward\(\) before"):
        plasticity.write_grad()


@every_layer
def test_a_rule_may_ask_for_its_initial_weight(make: Any, shape: tuple[int, ...]) -> None:
    layer = make()
    parameter = layer.weight
    fasthebb.attach(layer, Counting())
    assert layer.weight is parameter
    assert (layer.weight == 1).all()


@every_layer
def test_state_changes_with_an_update_alone(make: Any, shape: tuple[int, ...]) -> None:
    layer = make()
    plasticity = fasthebb.attach(layer, Counting())
    for updates in range(3):
        assert plasticity.state_dict()[".updates"] == updates
        layer(torch.randn(shape))
        plasticity.deltas()
        assert plasticity.state_dict()[".updates"] == updates
        plasticity.write_grad()
    kept = plasticity.state_dict()
    assert kept[".energy"].min() > 0
    plasticity.load_state_dict({name: torch.zeros_like(value) for name, value in kept.items()})
    assert plasticity.state_dict()[".updates"] == 0


def test_a_misspelt_sum_names_those_that_there_are() -> None:
    @dataclass(frozen=True)
    class Misspelt(Oja):
        def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
            return sums.updates / sums.count

    layer = nn.Linear(3, 2)
    plasticity = fasthebb.attach(layer, Misspelt())
    layer(torch.randn(4, 3))
    with pytest.raises(AttributeError, match="no sum named 'updates'; this rule keeps update, energy, count"):
        plasticity.deltas()
