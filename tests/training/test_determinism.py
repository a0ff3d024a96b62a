"""The same seed gives the same weights, on request by operations that are known to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from fasthebb import HPCA, SWTA
from fasthebb.models import Network
from fasthebb.training import Classifier, HebbianPretraining, fit, make_trainer


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def hpca(model: Network) -> Any:
    return HebbianPretraining(model, HPCA(max_lr=0.1), epochs=2)


def swta(model: Network) -> Any:
    return HebbianPretraining(model, SWTA(), lr=0.01, epochs=2)


def classifier(model: Network) -> Any:
    return Classifier(model, classes=3, epochs=2)


@pytest.mark.parametrize("training", [hpca, swta, classifier])
def test_two_deterministic_trainings_end_alike(
    make_model: Callable[..., Network], make_loader: Any, training: Callable[[Network], Any]
) -> None:
    ends = []
    for disturbance in (0, 7):
        torch.randn(disturbance)  # what was drawn before must not matter
        module = training(make_model())
        fit(make_trainer(epochs=2, out=None, progress=False, deterministic=True), module, make_loader())
        assert torch.are_deterministic_algorithms_enabled()
        ends.append(module.state_dict())
    first, second = ends
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
