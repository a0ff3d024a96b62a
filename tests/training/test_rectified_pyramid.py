from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb.models import SegmentationNetwork
from fasthebb.training import RectifiedPyramid

Model = Callable[..., SegmentationNetwork]


def by_the_paper(scales: list[Tensor]) -> Tensor:
    p = [logits.double().softmax(1) for logits in scales]
    mean = sum(p) / len(p)
    total = torch.zeros((), dtype=torch.float64)
    for one in p:
        divergence = F.kl_div(mean.log(), one.log(), log_target=True, reduction="none").sum(1)  # of one from the mean
        weight = torch.exp(-divergence)
        total += (weight * (one - mean).square().sum(1)).sum() / weight.sum() + divergence.mean()
    return total / len(p)


@pytest.mark.parametrize(("dims", "size"), [(2, (16, 20)), (3, (8, 8, 12))])
def test_consistency_is_that_of_the_paper(make_unet: Model, dims: int, size: tuple[int, ...]) -> None:
    module = RectifiedPyramid(make_unet(dims=dims, classes=3, depth=3))
    images = 3 * torch.randn(2, 1, *size)
    scales = module.scales(images)
    assert [tuple(logits.shape) for logits in scales] == [(2, 3, *size)] * 3
    torch.testing.assert_close(module.consistency(images).double(), by_the_paper(scales), rtol=1e-4, atol=1e-7)


def test_the_last_scale_is_the_network_and_the_first_the_coarsest(make_unet: Model) -> None:
    module = RectifiedPyramid(make_unet(depth=3)).eval()
    images = torch.randn(2, 1, 30, 21)
    first, *_, last = module.scales(images)
    torch.testing.assert_close(last, module.model(images))
    changes = [(logits[..., 1:, :] - logits[..., :-1, :]).abs().mean() / logits.std() for logits in (first, last)]
    assert changes[0] < 0.5 * changes[1]


def test_scales_that_agree_have_nothing_to_learn_however_sure(
    make_unet: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = RectifiedPyramid(make_unet())
    logits = (50 * torch.randn(2, 2, 8, 8)).requires_grad_()
    monkeypatch.setattr(module, "scales", lambda images: [logits, logits.clone()])
    loss = module.consistency(torch.empty(0))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(logits.grad).all()
    apart = [logits, -logits]
    monkeypatch.setattr(module, "scales", lambda images: apart)
    loss = module.consistency(torch.empty(0))
    loss.backward()
    assert loss > 0.5
    assert torch.isfinite(logits.grad).all()


def test_masks_teach_every_scale(make_unet: Model, make_discs: Any) -> None:
    module = RectifiedPyramid(make_unet(depth=3))
    images, masks = next(iter(make_discs()))
    loss = module.supervised(images, masks)
    expected = sum(module.loss(logits, masks) for logits in module.scales(images)) / 3
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in module.heads.parameters())


def test_without_levels_the_features_are_averaged(make_discs: Any) -> None:
    features = nn.Conv2d(1, 3, 3, padding=1)
    module = RectifiedPyramid(SegmentationNetwork(features, nn.Sequential(nn.Conv2d(3, 2, 1))))
    images = torch.randn(2, 1, 16, 24)
    scales = module.scales(images)
    assert len(scales) == 4
    for window, head, logits in zip((8, 4, 2), module.heads, scales[:-1], strict=True):
        expected = F.interpolate(head(F.avg_pool2d(features(images), window)), size=(16, 24), mode="bilinear")
        torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(scales[-1], module.model(images))
    assert len(module.scales(torch.randn(1, 1, 3, 5))) == 4  # smaller than a window
