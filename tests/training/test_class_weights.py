from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fasthebb.training import Classifier, balanced_class_weights, fit, make_trainer


def test_weights_are_scikit_learns_balanced_ones() -> None:
    labels = torch.tensor([0] * 8 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    weights = balanced_class_weights(labels, 3)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights.dtype == torch.float32
    assert float(weights[labels].mean()) == pytest.approx(1.0)


def test_a_class_without_images_has_no_weight() -> None:
    assert balanced_class_weights(torch.tensor([2, 2, 0, 0]), 4).tolist() == [1.0, 0.0, 1.0, 0.0]


def weights_of(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def trained(model: nn.Module, loader: Any, class_weights: Tensor | None) -> list[Tensor]:
    trainer = make_trainer(epochs=2, out=None, progress=False)
    fit(trainer, Classifier(model, classes=3, epochs=2, lr=0.01, class_weights=class_weights), loader)
    return weights_of(model)


def test_equal_weights_are_as_none(make_model: Callable[..., nn.Module], make_loader: Any) -> None:
    plain, equal = (trained(make_model(), make_loader(), weights) for weights in (None, torch.ones(3)))
    for one, other in zip(plain, equal, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_the_mean_of_the_images_weighted_gradients() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    module = Classifier(model, classes=3, class_weights=torch.tensor([1.0, 2.0, 5.0]))
    images, labels = torch.randn(6, 1, 2, 2), torch.tensor([0, 0, 0, 1, 1, 2])
    loss = module.training_step((images, labels), 0)
    each = nn.functional.cross_entropy(model(images), labels, reduction="none")
    torch.testing.assert_close(loss, (each * torch.tensor([1.0, 1, 1, 2, 2, 5])).mean())
    alone = module.training_step((images[5:], labels[5:]), 0)
    torch.testing.assert_close(alone, 5 * each[5])  # also where nothing is there to compare with


def test_a_rare_class_is_learned_with_balanced_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.zeros(190, dtype=torch.int64), torch.ones(10, dtype=torch.int64)])
    images = torch.randn(200, 1, 2, 2, generator=generator) + labels.view(-1, 1, 1, 1)
    found = {}
    for name, weights in (("none", None), ("balanced", balanced_class_weights(labels, 2))):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        module = Classifier(model, classes=2, epochs=20, lr=0.05, weight_decay=0.0, class_weights=weights)
        trainer = make_trainer(epochs=20, out=None, progress=False)
        fit(trainer, module, DataLoader(TensorDataset(images, labels), batch_size=50))
        with torch.no_grad():
            found[name] = float((model(images[190:]).argmax(1) == 1).float().mean())
    assert found["balanced"] >= 0.8
    assert found["none"] <= 0.5


def test_weights_are_not_part_of_a_checkpoint(make_model: Callable[..., nn.Module]) -> None:
    weighted = Classifier(make_model(), classes=3, class_weights=torch.ones(3))
    assert weighted.state_dict().keys() == Classifier(make_model(), classes=3).state_dict().keys()


def test_as_many_weights_as_classes_are_expected(make_model: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match="expected 3 class weights"):
        Classifier(make_model(), classes=3, class_weights=torch.ones(2))
