"""Two simple classifiers that tell how well features separate the classes."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fasthebb.evaluation.features import check_features

SVM_PENALTIES = (0.1, 1.0, 10.0)
"""C times the number of features: that is the mean squared length of a standardised vector, which C weighs."""
SVM_FOLDS = 3
SVM_TOLERANCE = 0.01
"""A hundred times scikit-learn's own: the same accuracy in half the time."""


def knn_top1(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, *, k: int = 5) -> float:
    """Top-1 of the k nearest neighbours by cosine similarity, which vote with equal weight.

    Args:
        train: features `(M, D)` of the neighbours.
        train_labels: `(M,)` their classes.
        test: features `(N, D)` to classify.
        test_labels: `(N,)` their classes.
        k: number of neighbours; all M, if there are no more.

    Returns:
        Per cent of the test images whose class is recognised. Of classes with equal votes the first is taken.

    Raises:
        ValueError: shapes do not fit each other, there is nothing to compare, or k is below 1.

    >>> train = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0]])
    >>> knn_top1(train, torch.tensor([0, 0, 1]), torch.tensor([[0.1, 0.9], [5.0, 0.0]]), torch.tensor([1, 0]), k=1)
    100.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    check_features(train, train_labels, test, test_labels)
    if k < 1:
        raise ValueError(f"found {k} neighbours, expected at least 1")
    voters = KNeighborsClassifier(min(k, len(train)), metric="cosine").fit(train.numpy(), train_labels.numpy())
    return 100 * float(voters.score(test.numpy(), test_labels.numpy()))


def svm_top1(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    groups: Sequence[str] | None = None,
    most: int = 2000,
) -> float:
    """Top-1 of a linear support vector machine, one class against the rest, on standardised features.

    Its penalty C is the one of `SVM_PENALTIES`, divided by D, that does best in a cross-validation of three folds
    within `train`, the first of equals; where a class of `train` has a single image (or group) nothing can be left out,
    and it is 1 / D.

    Args:
        train: features `(M, D)` to learn from.
        train_labels: `(M,)` their classes.
        test: features `(N, D)` to classify.
        test_labels: `(N,)` their classes.
        groups: M group names, which do not straddle folds; an image with an empty one is a group of its own.
        most: images to learn from, drawn by a fixed seed if there are more: the time grows faster than their number.

    Returns:
        Per cent of the test images whose class is recognised.

    Raises:
        ValueError: shapes do not fit each other, or there is nothing to learn from.

    >>> train = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [0.3, 2.0]])
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> svm_top1(train, labels, torch.tensor([[0.1, 0.9], [5.0, 0.0]]), torch.tensor([1, 0]))
    100.0
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    check_features(train, train_labels, test, test_labels)
    names = [str(row) for row in range(len(train))] if groups is None else list(groups)
    if len(names) != len(train):
        raise ValueError(f"found {len(names)} names of groups for {len(train)} images, expected one an image")
    if len(train) > most:
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:most]
        train, train_labels, names = train[chosen], train_labels[chosen], [names[row] for row in chosen.tolist()]
    units = np.array([name or f"\0{row}" for row, name in enumerate(names)])  # no group is called that
    values = train_labels.numpy()
    present = np.unique(values)
    if len(present) == 1:  # there is nothing to separate
        return 100 * float((test_labels == int(present[0])).float().mean())
    machine = make_pipeline(StandardScaler(), LinearSVC(C=1 / train.shape[1], tol=SVM_TOLERANCE, random_state=0))
    folds = min(SVM_FOLDS, *(len(np.unique(units[values == label])) for label in present))
    if folds > 1:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        splits = kind(folds, shuffle=True, random_state=0).split(values, values, None if groups is None else units)
        grid = {"linearsvc__C": [penalty / train.shape[1] for penalty in SVM_PENALTIES]}
        machine = GridSearchCV(machine, grid, cv=list(splits), error_score=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is not separated in so many steps is scored as it is
        machine.fit(train.numpy(), values)
    return 100 * float(machine.score(test.numpy(), test_labels.numpy()))
