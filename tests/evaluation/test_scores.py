import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from torch import nn

from fasthebb.evaluation import classification_scores, evaluating, mean_interval, predict_logits


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 1000))
def test_scores_agree_with_scikit_learn(classes: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    scores = classification_scores(logits, labels, classes)
    predicted = logits.argmax(1).numpy()
    recalls = [np.mean(predicted[labels.numpy() == c] == c) for c in np.unique(labels.numpy())]
    assert scores["top1"] == pytest.approx(100 * sk.accuracy_score(labels, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(100 * np.mean(recalls))
    assert scores["macro_f1"] == pytest.approx(100 * sk.f1_score(labels, predicted, average="macro"), abs=1e-3)
    assert ("top5" in scores) == (classes >= 6)
    if classes >= 6:
        hits = (logits.topk(5).indices == labels[:, None]).any(1).float().mean()
        assert scores["top5"] == pytest.approx(100 * float(hits))


def test_a_class_without_images_takes_no_part_in_balanced_accuracy() -> None:
    logits = torch.eye(3)[[0, 1]]
    assert classification_scores(logits, torch.tensor([0, 1]), 3)["balanced_accuracy"] == 100.0


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), "expected logits"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), "expected logits"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "no labelled images"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), "between 0 and 2"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "between 0 and 2"),
        (torch.full((2, 3), math.nan), torch.tensor([0, 1]), "not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(logits: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_scores(logits, labels, 3)


def test_predictions_do_not_depend_on_the_batch_size_and_leave_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(4 * 36, 3))
    model[1].eval()
    images, labels = torch.randn(10, 1, 8, 8), torch.arange(10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    results = [predict_logits(model, list(zip(images.split(n), labels.split(n), strict=True))) for n in (1, 3, 10)]
    for logits, targets in results:
        torch.testing.assert_close(logits, results[-1][0])
        assert torch.equal(targets, labels)
        assert not logits.is_inference()
    assert [m.training for m in model] == [True, False, True, True, True]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_predicting_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        predict_logits(nn.Linear(1, 1), [])


def test_modes_come_back_after_an_error() -> None:
    model = nn.Dropout()
    with pytest.raises(RuntimeError, match="inside"), evaluating(model):
        raise RuntimeError("inside")
    assert model.training


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_interval_is_the_one_of_students_t(values: list[float]) -> None:
    mean, half = mean_interval(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    scale = stats.sem(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=0, scale=scale)[1] if scale > 0 else 0.0
    assert half == pytest.approx(expected, abs=1e-9)


def test_interval_of_one_value_is_unknown_and_of_none_an_error() -> None:
    mean, half = mean_interval([7.0])
    assert mean == 7.0
    assert math.isnan(half)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
