import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fasthebb.training import ViewWhitening, ridge
from fasthebb.training.view_whitening import SOFTNESS


def views(count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two views of each image, which differ more in some directions than in others."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, size, generator=generator, dtype=torch.float64)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    one, other = (torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing for _ in range(2))
    return images + one, images + other


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 999))
def test_what_differs_between_views_has_the_same_variance_everywhere(count: int, size: int, seed: int) -> None:
    one, other = views(count, size, seed)
    whitening = ViewWhitening.fit(one, other)
    difference = whitening(one) - whitening(other)
    raw = (one - other).T @ (one - other) / (2 * count)
    softened = raw + SOFTNESS * raw.diagonal().mean() * torch.eye(size, dtype=torch.float64)
    expected = torch.linalg.solve(softened, raw)  # similar to the covariance after whitening: the identity, softened
    found = difference.T @ difference / (2 * count)
    torch.testing.assert_close(torch.linalg.eigvalsh(found), torch.linalg.eigvals(expected).real.sort().values)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 999))
def test_a_classifier_behind_it_can_be_folded_into_one_of_the_features(size: int, classes: int, seed: int) -> None:
    one, other = views(20, size, seed)
    whitening = ViewWhitening.fit(one, other)
    weight, bias = torch.randn(classes, size).double(), torch.randn(classes).double()
    raw, raw_bias = whitening.folded(weight, bias)
    torch.testing.assert_close(one @ raw.T + raw_bias, whitening(one) @ weight.T + bias)


def test_it_helps_where_views_differ_most_in_what_says_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    meaning = (2.0 * labels - 1)[:, None] + 0.5 * torch.randn(400, 1, generator=generator)

    def seen() -> Tensor:
        return torch.cat([meaning, 8 * torch.randn(400, 10, generator=generator)], dim=1)

    one, other = seen(), seen()

    def right(change: ViewWhitening | None) -> float:
        features = one if change is None else change(one)
        fitted = ridge([features[:20]], labels[:20], classes=2)
        return float(((features[20:] @ fitted.weight.T + fitted.bias).argmax(1) == labels[20:]).float().mean())

    assert right(ViewWhitening.fit(one, other)) > right(None) + 0.1


def test_directions_without_any_difference_are_no_harm() -> None:
    same = torch.ones(3, 4)
    assert torch.isfinite(ViewWhitening.fit(same, same)(same)).all()


def test_what_is_no_pair_of_views_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected two views \(N, D\) of the same images, found \(3, 2\), \(4, 2\)"):
        ViewWhitening.fit(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="the features are not finite"):
        ViewWhitening.fit(torch.full((3, 2), torch.nan), torch.zeros(3, 2))
