import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fasthebb.training import spread_labels, spreading
from fasthebb.training.spreading import NEIGHBOURS, SHARE, SHARPNESS, spread


def directly(answers: Tensor, features: Tensor) -> Tensor:
    """The definition with whole matrices, and the limit in the place of many rounds."""
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    cosine = unit @ unit.T
    cosine.fill_diagonal_(-torch.inf)
    nearest = cosine.topk(min(NEIGHBOURS, len(answers) - 1), dim=1)
    graph = torch.zeros_like(cosine).scatter_(1, nearest.indices, nearest.values.clamp_min(0) ** SHARPNESS)
    graph = graph + graph.T
    scale = graph.sum(1).clamp_min(1e-300).rsqrt()
    step = scale[:, None] * graph * scale
    return torch.linalg.solve(torch.eye(len(answers)).double() - SHARE * step, (1 - SHARE) * answers)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(2, 12), st.integers(1, 5), st.integers(0, 999))
def test_it_comes_to_the_limit_of_its_definition(count: int, size: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, size, generator=generator, dtype=torch.float64)
    answers = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(spread(answers, features), directly(answers, features), atol=5e-3, rtol=0)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, answers = torch.randn(50, 6), torch.randn(50, 3)
    whole = spread(answers, features)
    monkeypatch.setattr(spreading, "_BLOCK", 7)
    torch.testing.assert_close(spread(answers, features), whole)


def test_many_directions_are_reduced_to_those_in_which_images_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    centers = 10 * torch.randn(4, 40, generator=generator)
    features = centers[torch.arange(80) % 4] + torch.randn(80, 40, generator=generator)
    answers = torch.zeros(80, 4)
    answers[torch.arange(4), torch.arange(4)] = 1
    monkeypatch.setattr(spreading, "DIRECTIONS", 3)
    state = torch.get_rng_state()
    found = spread(answers, features, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found, spread(answers, features, seed=3))
    assert torch.equal(found.argmax(1), torch.arange(80) % 4)


def test_a_classifier_is_put_right_by_the_images_that_are_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(300) % 3
    centers = 6 * torch.randn(3, 10, generator=generator)
    features = centers[classes] + torch.randn(300, 10, generator=generator)
    wrong = torch.rand(291, generator=generator) < 0.3
    said = torch.where(wrong, (classes[:291] + 1) % 3, classes[:291])
    likely = 0.4 * torch.nn.functional.one_hot(said, 3) + 0.2
    found = spread_labels(likely, classes[291:], features)
    assert float((found.argmax(1) == classes[:291]).float().mean()) > 0.9
    torch.testing.assert_close(found.sum(1), torch.ones(291))
    torch.testing.assert_close(found.mean(0), torch.full((3,), 1 / 3), atol=1e-2, rtol=0)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="4 rows of features for 3 answers"):
        spread(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="at least 2"):
        spread(torch.zeros(1, 2), torch.zeros(1, 2))
