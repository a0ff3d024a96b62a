import time

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from fasthebb.evaluation import bootstrap_intervals, classification_scores


def judged(right: Tensor, labels: Tensor, classes: int = 2) -> Tensor:
    """Logits that are right for some images and name the next class for the others."""
    return torch.eye(classes)[torch.where(right, labels, (labels + 1) % classes)]


def test_interval_of_top1_is_the_binomial_one() -> None:
    labels = torch.arange(400) % 2
    right = torch.rand(400, generator=torch.Generator().manual_seed(0)) < 0.8
    low, high = bootstrap_intervals(judged(right, labels), labels, 2)["top1"]
    expected = stats.bootstrap((right.numpy(),), np.mean, method="percentile", rng=0).confidence_interval
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=0.6)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(200) % 2
    covered = 0
    for _ in range(100):
        logits = judged(torch.rand(200, generator=generator) < 0.7, labels)
        low, high = bootstrap_intervals(logits, labels, 2, resamples=200)["top1"]
        covered += low <= 70 <= high
    assert 85 <= covered <= 99


def test_images_of_a_group_that_stand_or_fall_together_widen_the_interval() -> None:
    labels = torch.arange(400) % 2
    right = (torch.rand(40, generator=torch.Generator().manual_seed(0)) < 0.7).repeat_interleave(10)
    groups = [f"patient {row // 10}" for row in range(400)]
    logits = judged(right, labels)
    for name, (low, high) in bootstrap_intervals(logits, labels, 2, groups=groups).items():
        alone = bootstrap_intervals(logits, labels, 2)[name]
        assert high - low == pytest.approx((alone[1] - alone[0]) * 10**0.5, rel=0.15)  # a tenth of the information
        assert low < float(100 * right.float().mean()) < high


def test_groups_of_one_image_are_images() -> None:
    labels = torch.arange(60) % 3
    logits = judged(torch.arange(60) % 4 > 0, labels, 3)
    alone = bootstrap_intervals(logits, labels, 3)
    assert bootstrap_intervals(logits, labels, 3, groups=[f"{row:02d}" for row in range(60)]) == alone
    unknown = bootstrap_intervals(logits, labels, 3, groups=[""] * 60)
    assert unknown["top1"] == pytest.approx(alone["top1"], abs=3)


def test_a_rare_class_weighs_as_much_as_a_common_one_in_balanced_accuracy() -> None:
    labels = torch.cat([torch.zeros(190, dtype=torch.int64), torch.ones(10, dtype=torch.int64)])
    right = torch.ones(200, dtype=torch.bool)
    right[195:] = False
    logits = judged(right, labels)
    intervals = bootstrap_intervals(logits, labels, 2)
    scores = classification_scores(logits, labels, 2)
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high
    assert np.diff(intervals["balanced_accuracy"]) > 4 * np.diff(intervals["top1"])


def test_a_class_without_images_takes_no_part() -> None:
    labels = torch.arange(40) % 2
    assert bootstrap_intervals(torch.eye(5)[labels], labels, 5)["balanced_accuracy"] == (100.0, 100.0)


def test_seed_decides() -> None:
    labels = torch.arange(30) % 2
    logits = judged(torch.arange(30) % 3 > 0, labels)
    draws = [bootstrap_intervals(logits, labels, 2, resamples=20, seed=seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


@pytest.mark.parametrize("groups", [["one"] * 6, None])
def test_a_single_group_or_image_says_nothing_about_others(groups: list[str] | None) -> None:
    labels = torch.arange(6 if groups else 1) % 2
    assert bootstrap_intervals(torch.eye(2)[labels], labels, 2, groups=groups) == {}


def test_ten_thousand_images_take_a_second() -> None:
    labels = torch.arange(10_000) % 100
    logits = judged(torch.arange(10_000) % 3 > 0, labels, 100)
    start = time.perf_counter()
    bootstrap_intervals(logits, labels, 100)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("classes", "labels", "groups", "said"),
    [
        (3, [0, 1], None, "expected logits"),
        (2, [0, 1, 0], None, "3 labels"),
        (2, [0, 1], ["a"], "1 groups"),
        (2, [0, -1], None, "between 0 and 1"),
        (2, [0, 2], None, "between 0 and 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(classes: int, labels: list[int], groups: list[str] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bootstrap_intervals(torch.eye(2), torch.tensor(labels), classes, groups=groups)
