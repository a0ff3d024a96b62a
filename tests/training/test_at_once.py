from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA, WTA, Oja, Sanger
from fasthebb.rules.fixed_points import principal_components, whitened_prototypes
from fasthebb.training import at_once, learn_at_once


def learned(
    features: nn.Sequential, rule: fasthebb.Rule | None, images: Tensor, batch: int = 16, seed: int = 0
) -> list[str]:
    def epoch() -> Iterator[tuple[Tensor]]:
        return ((part,) for part in torch.split(images, batch))

    return list(learn_at_once(features, rule, epoch, len(images), seed=seed))


def correlated(*shape: int, seed: int = 0) -> Tensor:
    """Noise whose components differ in size and are mixed over the second dimension."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(shape[1], shape[1], generator=generator) * torch.arange(1, shape[1] + 1)
    return torch.einsum("nc...,cd->nd...", torch.randn(shape, generator=generator), mix)


def test_components_are_those_of_scikit_learn() -> None:
    x = correlated(200, 6).double()
    known = TruncatedSVD(4, algorithm="arpack", random_state=0).fit(x.numpy()).components_
    ours = principal_components(x, 4).numpy()
    np.testing.assert_allclose(np.abs(ours @ known.T), np.eye(4), atol=1e-8)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4, bias=False), (60, 6)),
        (nn.Linear(6, 6), (60, 6)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (30, 4, 6, 6)),
        (nn.Conv2d(4, 6, 3, groups=2, stride=2, bias=False), (30, 4, 6, 6)),
        (nn.Conv1d(3, 5, 2), (40, 3, 7)),
    ],
)
def test_sangers_rule_changes_nothing_more(layer: nn.Module, shape: tuple[int, ...]) -> None:
    images = correlated(*shape).double()
    assert learned(nn.Sequential(layer.double()), Sanger(), images) == ["0"]
    plasticity = fasthebb.attach(layer, Sanger())
    layer(images)
    scale = float(images.square().mean())
    assert float(plasticity.deltas()[""].abs().max()) < 1e-9 * scale
    if layer.bias is not None:
        assert not layer.bias.any()


def test_hpca_of_the_identity_learns_the_same_and_others_by_steps_alone() -> None:
    images = correlated(50, 6)
    one, other = (nn.Sequential(nn.Linear(6, 3, bias=False)) for _ in range(2))
    learned(one, Sanger(), images)
    learned(other, HPCA(activation="identity"), images)
    assert torch.equal(one[0].weight, other[0].weight)
    for rule in (HPCA(), Oja()):
        with pytest.raises(ValueError, match=f"{type(rule).__name__} learns by steps alone: Sanger, HPCA"):
            learned(one, rule, images)


def test_more_components_than_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="found 7 neurons of 6 inputs each"):
        learned(nn.Sequential(nn.Linear(6, 7)), Sanger(), correlated(50, 6))


def test_prototypes_are_those_of_k_means_patch_by_patch() -> None:
    x, count, rounds = correlated(80, 5, seed=3).double(), 7, 4
    found = whitened_prototypes(x, count, torch.Generator().manual_seed(5), share=0.2, rounds=rounds)
    values, vectors = np.linalg.eigh(x.numpy().T @ x.numpy() / len(x))
    whitening = vectors @ np.diag((values + 0.2 * values.mean()) ** -0.5) @ vectors.T
    white = [row / np.linalg.norm(row) for row in x.numpy() @ whitening]
    start = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))[:count]
    prototypes = [white[row] for row in start]
    for _ in range(rounds):
        won: list[list[np.ndarray]] = [[] for _ in range(count)]
        for row in white:
            won[int(np.argmax([row @ one for one in prototypes]))].append(row)
        assert all(won)  # so that nothing else was drawn
        totals = [np.sum(rows, axis=0) for rows in won]
        prototypes = [total / np.linalg.norm(total) for total in totals]
    np.testing.assert_allclose(found.numpy(), np.array(prototypes) @ whitening, rtol=1e-9, atol=1e-9)


def test_a_prototype_that_is_nearest_to_nothing_starts_anew() -> None:
    x = torch.eye(3).repeat(4, 1)  # three directions, so that of four prototypes one is idle
    found = whitened_prototypes(x, 4, torch.Generator().manual_seed(0))
    assert torch.isfinite(found).all()
    assert (found.norm(dim=1) > 0.1).all()


def test_fewer_patches_than_neurons_are_refused() -> None:
    with pytest.raises(ValueError, match="found 5 patches for 6 neurons"):
        learned(nn.Sequential(nn.Linear(3, 6)), WTA(), correlated(5, 3))


@pytest.mark.parametrize("rule", [WTA(), SWTA()])
def test_layers_learn_in_turn_from_what_those_before_hand_on(rule: fasthebb.Rule) -> None:
    torch.manual_seed(0)
    images = 5 + correlated(64, 3, 8, 8)
    features = nn.Sequential(
        nn.BatchNorm2d(3, affine=False),
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, bias=False)),
        nn.BatchNorm2d(4),
    )
    before = [parameter.clone() for parameter in features.parameters() if parameter.dim() > 1]
    assert learned(features, rule, images) == ["1", "2.2"]
    for old, new in zip(before, [p for p in features.parameters() if p.dim() > 1], strict=True):
        assert not torch.equal(old, new)
    assert all(module.training for module in features.modules())
    with torch.no_grad():
        given = features.eval()(images)
    assert given.mean((0, 2, 3)).abs().max() < 0.1  # so the last norm has seen the learned layers
    assert (given.var((0, 2, 3)) - 1).abs().max() < 0.2


def test_a_seed_fixes_what_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "PATCHES", 64)
    monkeypatch.setattr(at_once, "PATCHES_AN_IMAGE", 4)
    images = correlated(32, 2, 6, 6)
    weights = []
    for seed in (0, 0, 1):
        features = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False))
        learned(features, WTA(), images, seed=seed)
        weights.append(features[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_layer_that_cannot_learn_at_once_says_so() -> None:
    with pytest.raises(ValueError, match="transposed convolutions learn by steps alone"):
        learned(nn.Sequential(nn.ConvTranspose2d(3, 2, 2)), WTA(), correlated(20, 3, 4, 4))


def test_without_a_rule_the_norms_alone_are_estimated() -> None:
    images = 5 + correlated(64, 3)
    features = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 4))
    weight = features[1].weight.clone()
    assert learned(features, None, images) == []
    assert torch.equal(features[1].weight, weight)
    torch.testing.assert_close(features[0].running_mean, images.mean(0), rtol=1e-4, atol=1e-4)
