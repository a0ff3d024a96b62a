import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from torch import nn

from fasthebb.evaluation import class_report, classification_scores, evaluating, mean_interval, predict_logits


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 1000))
def test_scores_agree_with_scikit_learn(classes: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    scores = classification_scores(logits, labels, classes)
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    recalls = [np.mean(predicted[truth == c] == c) for c in np.unique(truth)]
    assert scores["top1"] == pytest.approx(100 * sk.accuracy_score(truth, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(100 * np.mean(recalls))
    assert scores["macro_f1"] == pytest.approx(100 * sk.f1_score(truth, predicted, average="macro"), abs=1e-3)
    assert ("top5" in scores) == (classes >= 6)
    if classes >= 6:
        hits = (logits.topk(5).indices == labels[:, None]).any(1).float().mean()
        assert scores["top5"] == pytest.approx(100 * float(hits))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 40), st.integers(0, 1000), st.sampled_from([0.1, 1.0, 20.0]))
def test_auroc_is_the_mean_of_scikit_learns_over_the_classes_present(
    classes: int, count: int, seed: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.rand(count, classes, generator=generator)  # between 0 and 1 they are logits nevertheless
    labels = torch.randint(classes, (count,), generator=generator)
    present = labels.unique().tolist()
    scores = classification_scores(logits, labels, classes)
    assert ("auroc" in scores) == (len(present) > 1)
    if len(present) > 1:
        probabilities = logits.double().softmax(1)
        each = [sk.roc_auc_score((labels == label).numpy(), probabilities[:, label].numpy()) for label in present]
        assert scores["auroc"] == pytest.approx(100 * np.mean(each), abs=1e-3)


def test_auroc_of_two_classes_is_the_usual_one() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 2, generator=generator), torch.randint(2, (50,), generator=generator)
    usual = sk.roc_auc_score(labels.numpy(), (logits[:, 1] - logits[:, 0]).numpy())
    assert classification_scores(logits, labels, 2)["auroc"] == pytest.approx(100 * usual, abs=1e-3)


def test_auroc_still_orders_images_of_which_a_network_is_very_sure() -> None:
    logits = torch.tensor([[30.0, 0.0], [25.0, 0.0], [20.0, 0.0]])  # all of probability 1 in float32
    assert classification_scores(logits, torch.tensor([0, 0, 1]), 2)["auroc"] == 100.0


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_calibration_error_is_the_gap_between_confidence_and_accuracy_in_fifteen_bins(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.rand(400, 4, generator=generator)
    labels = torch.randint(4, (400,), generator=generator)
    confidence, winner = logits.double().softmax(1).max(1)
    expected = 0.0
    for low in range(15):
        inside = (confidence >= low / 15) & (confidence < (low + 1) / 15)
        if inside.any():
            gap = confidence[inside].mean() - (winner == labels)[inside].double().mean()
            expected += float(inside.double().mean() * gap.abs())
    assert classification_scores(logits, labels, 4)["calibration_error"] == pytest.approx(100 * expected, abs=1e-3)


def test_a_sure_and_right_network_is_calibrated_and_a_sure_and_wrong_one_is_not() -> None:
    logits, labels = 100 * torch.eye(3), torch.arange(3)
    assert classification_scores(logits, labels, 3)["calibration_error"] == pytest.approx(0.0, abs=1e-6)
    assert classification_scores(logits, labels.roll(1), 3)["calibration_error"] == pytest.approx(100.0)


def test_a_class_without_images_takes_no_part() -> None:
    scores = classification_scores(torch.eye(3)[[0, 1]], torch.tensor([0, 1]), 3)
    assert scores["balanced_accuracy"] == 100.0
    assert scores["auroc"] == 100.0


@pytest.mark.filterwarnings("error")
def test_images_of_a_single_class_have_no_auroc() -> None:
    assert set(classification_scores(torch.eye(3), torch.tensor([1, 1, 1]), 3)) == {
        "top1",
        "balanced_accuracy",
        "macro_f1",
        "calibration_error",
    }


def test_a_single_class_is_always_right() -> None:
    scores = classification_scores(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), 1)
    assert scores == {"top1": 100.0, "balanced_accuracy": 100.0, "macro_f1": 100.0, "calibration_error": 0.0}
    assert class_report(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), 1) == {
        "recall": [100.0],
        "confusion": [[4]],
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 1000))
def test_report_agrees_with_scikit_learn(classes: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    report = class_report(logits, labels, classes)
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    assert report["confusion"] == sk.confusion_matrix(truth, predicted, labels=range(classes)).tolist()
    for label, recall in enumerate(report["recall"]):
        if (labels == label).any():
            found = sk.recall_score(truth, predicted, labels=[label], average="macro", zero_division=0)
            assert recall == pytest.approx(100 * found)
        else:
            assert recall is None


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
    with pytest.raises(ValueError, match=message):
        class_report(logits, labels, 3)


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
