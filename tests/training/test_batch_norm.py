import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fasthebb
from fasthebb.models import Network
from fasthebb.training import reestimate_batch_norm
from fasthebb.training.batch_norm import fixed_batch_norms


def test_statistics_are_those_of_all_images_whatever_the_batches() -> None:
    torch.manual_seed(0)
    x = torch.randn(23, 4, 3, 3) * 3 + 1
    norm = nn.BatchNorm2d(4)
    norm(100 * x)
    reestimate_batch_norm(norm, [(part,) for part in x.split(8)])
    torch.testing.assert_close(norm.running_mean, x.mean(dim=(0, 2, 3)))
    within = sum(len(p) * p.transpose(0, 1).flatten(1).var(dim=1) for p in x.split(8)) / 23
    torch.testing.assert_close(norm.running_var, within)


def test_everything_else_is_as_before(make_model: Callable[..., Network], loader: Any) -> None:
    model = make_model()
    plasticity = fasthebb.attach(model.features, fasthebb.HPCA())
    model.features.norm2.eval()
    model.features.norm3.momentum = None
    weights = {name: p.clone() for name, p in model.named_parameters()}
    modes = {name: m.training for name, m in model.named_modules()}
    seen: list[int] = []
    reestimate_batch_norm(model, loader, progress=seen.append)
    assert seen == [8, 16, 24]
    assert modes == {name: m.training for name, m in model.named_modules()}
    assert [model.features.get_submodule(f"norm{i}").momentum for i in range(1, 6)] == [0.1, 0.1, None, 0.1, 0.1]
    assert all(torch.equal(weights[name], p) for name, p in model.named_parameters())
    with pytest.raises(RuntimeError):
        plasticity.write_grad()  # nothing was learned from


def test_the_pass_does_not_depend_on_the_statistics_before(make_model: Callable[..., Network], loader: Any) -> None:
    model = make_model()
    results = []
    for scale in (1.0, 50.0):
        with torch.no_grad():
            model.features.norm1.running_var.fill_(scale)
            model.features.norm5.running_mean.fill_(scale)
        torch.manual_seed(0)
        reestimate_batch_norm(model, loader)
        results.append({name: b.clone() for name, b in model.named_buffers()})
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_single_images_are_left_out_and_alone_an_error() -> None:
    x = torch.randn(5, 3)
    norm = nn.BatchNorm1d(3)
    reestimate_batch_norm(norm, [(x[:4],), (x[4:],)])
    torch.testing.assert_close(norm.running_mean, x[:4].mean(dim=0))
    with pytest.raises(ValueError, match="two images"):
        reestimate_batch_norm(norm, [(x[:1],)])
    assert norm.training
    assert norm.momentum == 0.1


def test_an_error_in_the_pass_restores_modes_and_momenta() -> None:
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="expected 2D"):
        reestimate_batch_norm(norm, [(torch.randn(2, 3),), (torch.randn(2, 3, 1, 1),)])
    assert norm.training
    assert norm.momentum == 0.1


def test_networks_without_batch_norm_are_left_alone() -> None:
    reestimate_batch_norm(nn.Linear(2, 2), iter(()))


def test_fixed_batch_norms_allow_a_single_image() -> None:
    norm, frozen = nn.BatchNorm1d(3), nn.BatchNorm1d(3).eval()
    model = nn.Sequential(norm, frozen)
    with fixed_batch_norms(model):
        assert math.isfinite(float(model(torch.randn(1, 3)).sum()))
    assert (norm.training, frozen.training) == (True, False)
    assert norm.num_batches_tracked == 0
