from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from fasthebb.models import SegmentationNetwork, unet
from fasthebb.training import CrossPseudo, LabelledAndUnlabelled, fit, make_trainer

Model = Callable[..., SegmentationNetwork]


def test_each_network_learns_what_the_other_takes_for_most_likely(make_unet: Model) -> None:
    module = CrossPseudo(make_unet(), unet(2, 1, depth=2, width=4))
    images = torch.randn(4, 1, 16, 16)
    first, second = module.model(images), module.second(images)
    loss = module.consistency(images)
    torch.testing.assert_close(
        loss, F.cross_entropy(first, second.argmax(1)) + F.cross_entropy(second, first.argmax(1))
    )
    loss.backward()
    found = [parameter.grad.clone() for parameter in module.model.parameters()]  # type: ignore[union-attr]
    module.zero_grad()
    F.cross_entropy(module.model(images), second.argmax(1)).backward()
    for parameter, gradient in zip(module.model.parameters(), found, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_both_learn_from_the_masks(make_unet: Model, make_discs: Any) -> None:
    second = unet(2, 1, depth=2, width=4)
    module = CrossPseudo(make_unet(), second)
    images, masks = next(iter(make_discs()))
    expected = sum(module.loss(network(images), masks) for network in (module.model, second))
    torch.testing.assert_close(module.supervised(images, masks), expected)


def test_without_a_second_network_it_has_the_same_features_and_another_classifier(make_unet: Model) -> None:
    module, same, other = (CrossPseudo(make_unet(), seed=seed) for seed in (0, 0, 1))
    for name, tensor in module.model.state_dict().items():
        assert torch.equal(module.second.state_dict()[name], tensor) == name.startswith("features.")
        assert torch.equal(same.second.state_dict()[name], module.second.state_dict()[name])
    assert not torch.equal(other.second.classifier[1].weight, module.second.classifier[1].weight)
    assert module.second.features is not module.model.features


def test_drawing_the_second_classifier_moves_no_random_stream(make_unet: Model) -> None:
    model = make_unet()
    before = torch.get_rng_state()
    CrossPseudo(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_learn_at_the_same_rates_in_both(make_unet: Model, make_discs: Any) -> None:
    module = CrossPseudo(make_unet(), lr=0.01, features_lr={"down*": 0.0}, frozen=["up1"])
    before = {name: tensor.clone() for name, tensor in module.named_parameters()}
    pairs = LabelledAndUnlabelled(make_discs(batches=2), make_discs(batches=2, seed=1))
    fit(make_trainer(epochs=1, out=None, progress=False), module, pairs)
    moved = {name for name, parameter in module.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved == {name for name in before if ".up2." in name or ".classifier." in name}
    assert any(name.startswith("second.") for name in moved)
