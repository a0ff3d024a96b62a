import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge

from fasthebb.training import ridge
from fasthebb.training.closed_form import PENALTIES, USUAL_PENALTY, _Solution


def clusters(count: int, size: int, classes: int, seed: int, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centers = torch.randn(classes, size, generator=generator, dtype=torch.float64)
    return centers[labels] + spread * torch.randn(count, size, generator=generator, dtype=torch.float64), labels


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 1000), st.sampled_from(PENALTIES[4:]))
def test_every_penalty_has_the_solution_of_scikit_learn(count: int, size: int, seed: int, penalty: float) -> None:
    x, labels = clusters(count, size, 2, seed)
    targets = torch.nn.functional.one_hot(labels, 2).double()
    solution = _Solution(x, targets)
    centered = x - x.mean(0)
    alpha = penalty * float(centered.square().sum()) / count
    known = SklearnRidge(alpha=alpha, solver="cholesky").fit(x.numpy(), targets.numpy())
    np.testing.assert_allclose(solution.weight(penalty).numpy(), known.coef_, rtol=1e-6, atol=1e-8)
    predicted = solution.predictions(x)[PENALTIES.index(penalty)]
    np.testing.assert_allclose(predicted.numpy(), known.predict(x.numpy()), rtol=1e-6, atol=1e-8)


def test_logits_are_the_regression_times_its_scale() -> None:
    x, labels = clusters(60, 5, 3, seed=0)
    fitted = ridge([x], labels, classes=3)
    solution = _Solution(x, torch.nn.functional.one_hot(labels, 3).double())
    expected = fitted.scale * solution.predictions(x)[PENALTIES.index(fitted.penalty)]
    torch.testing.assert_close(x @ fitted.weight.T + fitted.bias, expected)


def test_noise_asks_for_a_larger_penalty_than_order() -> None:
    few, many = (ridge([x], y, classes=3) for x, y in (clusters(60, 40, 3, 1, 0.1), clusters(60, 40, 3, 1, 6.0)))
    assert few.penalty < many.penalty
    assert few.scale > many.scale  # and noise for less confidence


def test_the_penalty_is_chosen_on_images_that_were_held_out() -> None:
    (x, labels), (asked, theirs) = clusters(60, 70, 3, 2, spread=3.0), clusters(600, 70, 3, 2, spread=3.0)
    scale = torch.arange(1, 71).double().rsqrt()  # what varies little is hardly worth to be fitted
    x, asked = x * scale, asked * scale
    fitted = ridge([x], labels, classes=3)
    right = float(((asked @ fitted.weight.T + fitted.bias).argmax(1) == theirs).double().mean())
    solution = _Solution(x, torch.nn.functional.one_hot(labels, 3).double())
    scores = [float((found.argmax(1) == theirs).double().mean()) for found in solution.predictions(asked)]
    assert right > max(scores) - 0.1 > min(scores) + 0.1


def test_views_count_as_images_and_never_straddle_folds() -> None:
    x, labels = clusters(30, 100, 3, 3, spread=50.0)  # nothing but noise
    alone, twice = ridge([x], labels, classes=3), ridge([x, x], labels, classes=3)
    # A copy in another fold would be recognised, and no penalty would seem best.
    assert alone.penalty == twice.penalty == PENALTIES[-1]


def test_a_class_with_a_single_image_gets_the_usual_penalty() -> None:
    x, labels = clusters(3, 4, 3, seed=4)
    fitted = ridge([x], labels, classes=4)
    assert fitted.penalty == USUAL_PENALTY
    assert (x @ fitted.weight.T + fitted.bias).argmax(1).tolist() == labels.tolist()
    assert fitted.weight[3].abs().max() == 0


def test_many_images_are_fitted_with_one_fold_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fasthebb.training.closed_form.MANY", 50)
    x, labels = clusters(60, 5, 3, seed=0)
    assert ridge([x], labels, classes=3).penalty in PENALTIES


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled images"):
        ridge([torch.zeros(0, 3)], torch.zeros(0, dtype=torch.int64), classes=2)
    with pytest.raises(ValueError, match="not finite"):
        ridge([torch.full((4, 3), torch.nan)], torch.tensor([0, 0, 1, 1]), classes=2)


def test_features_that_are_all_the_same_give_the_mean() -> None:
    fitted = ridge([torch.ones(6, 3)], torch.tensor([0, 0, 0, 0, 1, 1]), classes=2)
    assert torch.isfinite(fitted.weight).all()
    torch.testing.assert_close(fitted.bias / fitted.scale, torch.tensor([2 / 3, 1 / 3]))
