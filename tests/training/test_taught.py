"""A classifier taught by a Hebbian rule."""

from collections.abc import Callable
from typing import Any

import torch

from fasthebb.evaluation import predict_logits
from fasthebb.models import Network
from fasthebb.training import TaughtClassifier, fit, make_trainer


def test_each_class_has_the_mean_direction_of_its_features(
    make_model: Callable[..., Network], make_loader: Any
) -> None:
    model = make_model(dropout=0.0)
    before = {name: value.clone() for name, value in model.features.state_dict().items()}
    loader = make_loader(batch=24)
    module = TaughtClassifier(model, classes=3, epochs=60, lr=0.3)
    fit(make_trainer(epochs=60, out=None, progress=False), module, loader)
    module.plasticity.detach()
    assert all(torch.equal(value, before[name]) for name, value in model.features.state_dict().items())
    with torch.no_grad():
        features = model.eval().features(loader.images)
    means = torch.stack([features[loader.labels == label].mean(0) for label in range(3)])
    layer = model.classifier[-1]
    assert (torch.cosine_similarity(layer.weight, means) > 0.999).all()
    assert torch.equal(layer.bias, torch.zeros(3))
    logits, _ = predict_logits(model, [(loader.images, loader.labels)])
    nearest = torch.cosine_similarity(features[:, None], means, dim=2).argmax(1)
    assert (logits.argmax(1) == nearest).float().mean() > 0.9
