from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import fasthebb


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[fasthebb.HPCA(), fasthebb.SWTA()], ids=["HPCA", "SWTA"])
def rule(request: pytest.FixtureRequest) -> fasthebb.Rule:
    chosen: fasthebb.Rule = request.param
    return chosen


@pytest.fixture
def network() -> nn.Sequential:
    """A convolution and a dense layer, whose layers between do not mix samples."""
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 2, 5, 5)


@pytest.fixture
def snapshot() -> Callable[[nn.Module], dict[str, Tensor]]:
    def take(model: nn.Module) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    return take


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
