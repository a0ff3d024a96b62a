import math
import warnings

import pytest
import torch
from torch import nn

import fasthebb
from fasthebb.training.readouts import Readout, ReadoutWarning, as_metrics, measure, warn_of_idle_layers


def linear(weight: list[list[float]]) -> nn.Sequential:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return nn.Sequential(layer)


def test_read_outs_of_a_layer_worked_out_by_hand() -> None:
    model = linear([[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -4.0]])
    plasticity = fasthebb.attach(model, fasthebb.HPCA())
    probe = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]])  # neurons 0 and 1 win two each
    start = {"0": torch.tensor([[0.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -4.0]])}
    readout = measure(plasticity, start, lambda: model.eval()(probe))["0"]
    assert readout.weight_norm == pytest.approx(13 / 4)
    assert readout.relative_change == pytest.approx(3 / math.sqrt(34))
    assert readout.winner_entropy == pytest.approx(math.log(2) / math.log(4))
    assert readout.dead_neurons == pytest.approx(0.5)


def test_competing_neurons_are_dead_below_an_even_share() -> None:
    model = linear([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    plasticity = fasthebb.attach(model, fasthebb.SWTA())
    probe = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    readout = measure(plasticity, {"0": model[0].weight.detach().clone()}, lambda: model.eval()(probe))["0"]
    assert readout.dead_neurons == pytest.approx(1 / 3)
    assert readout.relative_change == 0


def test_measuring_does_not_learn() -> None:
    model = linear([[1.0, 0.0]])
    plasticity = fasthebb.attach(model, fasthebb.HPCA())
    measure(plasticity, {"0": model[0].weight.detach().clone()}, lambda: model(torch.ones(2, 2)))
    with pytest.raises(RuntimeError):
        plasticity.write_grad()


def test_uses_of_a_shared_layer_add_up() -> None:
    model = linear([[1.0, 0.0], [0.0, 1.0]])
    plasticity = fasthebb.attach(model, fasthebb.HPCA())
    start = {"0": model[0].weight.detach().clone()}

    def forward() -> None:
        model(torch.tensor([[1.0, 0.0]]))
        model(torch.tensor([[0.0, 1.0]]))

    readout = measure(plasticity, start, forward)["0"]
    assert (readout.winner_entropy, readout.dead_neurons) == (pytest.approx(1.0), 0.0)


def test_advice_fits_the_rule() -> None:
    plasticity = fasthebb.attach(
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), {"0": fasthebb.HPCA(), "1": fasthebb.SWTA()}
    )
    dead = Readout(weight_norm=1.0, relative_change=0.5, winner_entropy=0.0, dead_neurons=0.75)
    with pytest.warns(ReadoutWarning) as caught:
        warn_of_idle_layers(plasticity, {"0": dead, "1": dead})
    lines = str(caught[0].message).splitlines()
    assert "max_lr" in lines[1]
    assert "75 %" in lines[1]
    assert "temperature" in lines[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_idle_layers(plasticity, {"0": Readout(1.0, 0.5, 0.0, 0.1)})


def test_metrics_are_named_after_layer_and_read_out() -> None:
    assert as_metrics({"conv1": Readout(1.0, 2.0, 3.0, 4.0)}) == {
        "layer/conv1/weight_norm": 1.0,
        "layer/conv1/relative_change": 2.0,
        "layer/conv1/winner_entropy": 3.0,
        "layer/conv1/dead_neurons": 4.0,
    }
