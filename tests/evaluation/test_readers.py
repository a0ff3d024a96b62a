import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from fasthebb.evaluation import knn_top1, svm_top1


def clouds(count: int, spread: float, seed: int, classes: int = 3, size: int = 6) -> tuple[Tensor, Tensor]:
    """Points around one direction a class, of very different lengths."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    points = torch.eye(classes, size)[labels] + spread * torch.randn(count, size, generator=generator)
    return points * (0.1 + 10 * torch.rand(count, 1, generator=generator)), labels


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_vote_by_cosine(k: int) -> None:
    train, train_labels = clouds(60, 0.5, seed=0)
    test, test_labels = clouds(30, 0.5, seed=1)
    right = 0
    for query, label in zip(test, test_labels, strict=True):
        similarity = torch.nn.functional.cosine_similarity(train, query[None])
        votes = torch.bincount(train_labels[similarity.argsort(descending=True)[:k]], minlength=3)
        right += int(votes.argmax() == label)
    found = knn_top1(train, train_labels, test, test_labels, k=k)
    assert found == pytest.approx(100 * right / 30)
    assert 50 < found < 100


def test_more_neighbours_than_there_are_images_are_all() -> None:
    train, labels = torch.eye(3), torch.tensor([0, 0, 1])
    assert knn_top1(train, labels, torch.eye(3), labels, k=50) == pytest.approx(200 / 3)


def test_a_machine_separates_what_is_linearly_separable_whatever_the_scale() -> None:
    train, labels = clouds(90, 0.05, seed=0)
    test, test_labels = clouds(30, 0.05, seed=1)
    scale = torch.tensor([1e-3, 1.0, 1e3, 1.0, 1e4, 1.0])
    assert svm_top1(train * scale, labels, test * scale, test_labels) == 100.0


def test_the_penalty_is_chosen_on_training_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(penalties: tuple[float, ...], truth: Tensor) -> float:
        monkeypatch.setattr("fasthebb.evaluation.readers.SVM_PENALTIES", penalties)
        return svm_top1(train, labels, test, truth)

    train, labels = clouds(300, 0.4, seed=0, classes=2)
    unequal = torch.cat([torch.arange(0, 300, 2), torch.arange(1, 100, 2)])  # 150 and 50
    train, labels = train[unequal], labels[unequal]
    test, truth = clouds(40, 0.4, seed=1, classes=2)
    weak, strong = found((1e-7,), truth), found((10.0,), truth)
    assert weak < 90 < strong
    assert found((1e-7, 10.0), truth) == strong
    assert found((1e-7, 10.0), 1 - truth) == pytest.approx(100 - strong)  # what the test images are has no say


def test_folds_keep_groups_together(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    class Search:
        def __init__(self, machine: object, grid: object, cv: list[tuple[np.ndarray, np.ndarray]], **_: object) -> None:
            seen.extend(cv)

        def fit(self, *_: object) -> None: ...

        def score(self, *_: object) -> float:
            return 1.0

    monkeypatch.setattr("sklearn.model_selection.GridSearchCV", Search)
    train, labels = clouds(60, 0.1, seed=0)
    groups = [f"p{row // 6}" if row < 54 else "" for row in range(60)]
    svm_top1(train, labels, train, labels, groups=groups)
    assert len(seen) == 3
    for rest, held_out in seen:
        assert not {groups[row] for row in rest} & {groups[row] for row in held_out} - {""}
    assert len([fold for fold in seen if any(groups[row] == "" for row in fold[1])]) > 1  # each is a group of its own


@pytest.mark.parametrize("groups", [None, ["p", "p", "p", "p", "q", "r"]])
def test_a_single_image_or_group_of_a_class_leaves_nothing_out(groups: list[str] | None) -> None:
    train = torch.eye(3)[[0, 0, 0, 0, 1, 1]] if groups else torch.eye(3)[[0, 0, 0, 1, 1, 2]]
    labels = train.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert svm_top1(train, labels, torch.eye(3)[:2], torch.arange(2), groups=groups) == 100.0


def test_one_class_is_all_that_can_be_recognised() -> None:
    train, labels = torch.randn(4, 2), torch.ones(4, dtype=torch.int64)
    assert svm_top1(train, labels, torch.randn(4, 2), torch.tensor([1, 0, 1, 2])) == 50.0
    assert knn_top1(train, labels, torch.randn(4, 2), torch.tensor([1, 0, 1, 2])) == 50.0


def test_of_many_images_the_machine_sees_some() -> None:
    train, labels = clouds(300, 0.02, seed=0)
    labels[100:] = 2 - labels[100:]  # most are wrong, but the first to be drawn decide
    test, test_labels = clouds(30, 0.02, seed=1)
    few, all_of_them = (svm_top1(train, labels, test, test_labels, most=most) for most in (12, 300))
    assert few != all_of_them
    assert svm_top1(train, labels, test, test_labels, most=12) == few


@pytest.mark.parametrize("reader", [knn_top1, svm_top1])
@pytest.mark.parametrize(
    ("train", "labels", "test", "said"),
    [((2, 3), 2, (2, 4), "expected features"), ((2, 3), 1, (2, 3), "expected features"), ((0, 3), 0, (2, 3), "none")],
)
def test_what_does_not_fit_is_refused(
    reader: type[object], train: tuple[int, int], labels: int, test: tuple[int, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        reader(  # type: ignore[call-arg]
            torch.zeros(train), torch.zeros(labels, dtype=torch.int64), torch.zeros(test), torch.arange(test[0])
        )


def test_numbers_out_of_range_are_refused() -> None:
    train, labels = torch.eye(2), torch.arange(2)
    with pytest.raises(ValueError, match="at least 1"):
        knn_top1(train, labels, train, labels, k=0)
    with pytest.raises(ValueError, match="1 names of groups for 2 images"):
        svm_top1(train, labels, train, labels, groups=["a"])
