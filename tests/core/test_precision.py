"""Updates from products in low precision, against those in float64."""

import copy

import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA
from fasthebb.models import cnn6


@pytest.fixture(scope="module", params=["at initial weights", "after training"])
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = cnn6(10, hidden=1024).features.to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    if request.param == "after training":
        plasticity = fasthebb.attach(model, HPCA(max_lr=0.1))
        optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.1)
        for _ in range(20):
            with torch.no_grad():
                model(images)
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()
        plasticity.detach()
    return model, images


def inputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What each layer with a matrix of weights sees."""
    seen: dict[str, Tensor] = {}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))}
    handles = [
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0].clone()}))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return seen


def delta(layer: nn.Module, x: Tensor, rule: fasthebb.Rule, autocast: bool) -> Tensor:
    layer = copy.deepcopy(layer) if autocast else copy.deepcopy(layer).double()
    plasticity = fasthebb.attach(layer, rule)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        layer(x if autocast else x.double())
    return plasticity.deltas()[""].double()


@pytest.mark.parametrize("rule", [HPCA(), SWTA()], ids=["HPCA", "SWTA"])
def test_bfloat16_stays_within_two_percent(network: tuple[nn.Module, Tensor], rule: fasthebb.Rule) -> None:
    model, images = network
    for name, x in inputs(model, images).items():
        layer = model.get_submodule(name)
        exact = delta(layer, x, rule, autocast=False)
        error = delta(layer, x, rule, autocast=True) - exact
        assert float(error.norm()) <= 0.02 * float(exact.norm()), name
