"""Scores of a classifier, in per cent."""

from typing import TypedDict

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_recall,
    multilabel_auroc,
)

CALIBRATION_BINS = 15


class ClassReport(TypedDict):
    """What `class_report` gives: `recall`, one a class, and `confusion`, one row a class."""

    recall: list[float | None]
    confusion: list[list[int]]


def classification_scores(logits: Tensor, labels: Tensor, classes: int) -> dict[str, float]:
    """Compare logits with labels.

    Args:
        logits: `(N, classes)`, finite. Only their order within an image counts for the first four scores; `auroc` and
            `calibration_error` are of their softmax.
        labels: `(N,)` integers from 0 to `classes - 1`.
        classes: number of classes, with or without images among these N.

    Returns:
        In per cent: `top1`, `top5` (only from six classes on, where it says something), `balanced_accuracy` (the mean
        of the classes' recalls; a class without an image in `labels` takes no part), `macro_f1` (the mean of the
        classes' F1; a class that is neither in `labels` nor predicted takes no part), `auroc` (area under the ROC curve
        of each class against the rest, the mean over the classes in `labels`; left out where these are of one class,
        since there is no rest then) and `calibration_error` (how far confidence is from accuracy: the expected
        calibration error of the winning class over 15 bins; 0 is best).

    Raises:
        ValueError: shapes or labels do not fit `classes`, there are no images, or a logit is not finite.

    >>> import torch
    >>> logits = torch.eye(3)[[0, 0, 1, 1]]
    >>> {name: round(score, 1) for name, score in classification_scores(logits, torch.tensor([0, 0, 0, 1]), 3).items()}
    {'top1': 75.0, 'balanced_accuracy': 83.3, 'macro_f1': 73.3, 'auroc': 83.3, 'calibration_error': 17.4}
    """
    _check(logits, labels, classes)
    logits, labels = logits.cpu(), labels.cpu()  # not every device counts in float64, or in a fixed order
    if classes == 1:  # torchmetrics starts at two classes; with one, everything is right and sure of it
        return {"top1": 100.0, "balanced_accuracy": 100.0, "macro_f1": 100.0, "calibration_error": 0.0}
    present = torch.bincount(labels, minlength=classes) > 0  # (classes,)
    # Here, as torchmetrics takes logits that happen to lie between 0 and 1 for probabilities; in float64, in which the
    # probabilities of a network that is sure of itself are not yet all the same.
    probabilities = logits.double().softmax(dim=1)  # (N, classes)
    recalls = multiclass_recall(logits, labels, num_classes=classes, average="none")  # (classes,)
    scores = {"top1": multiclass_accuracy(logits, labels, num_classes=classes, average="micro")}
    if classes >= 6:
        scores["top5"] = multiclass_accuracy(logits, labels, num_classes=classes, average="micro", top_k=5)
    scores["balanced_accuracy"] = recalls[present].mean()
    scores["macro_f1"] = multiclass_f1_score(logits, labels, num_classes=classes, average="macro")
    if int(present.sum()) > 1:
        chosen = present.nonzero()[:, 0]  # the classes against the rest are as many yes-or-no questions
        scores["auroc"] = multilabel_auroc(
            probabilities[:, chosen], (labels[:, None] == chosen).long(), num_labels=len(chosen), average="macro"
        )
    scores["calibration_error"] = multiclass_calibration_error(
        probabilities, labels, num_classes=classes, n_bins=CALIBRATION_BINS, norm="l1"
    )
    return {name: 100 * float(score) for name, score in scores.items()}


def class_report(logits: Tensor, labels: Tensor, classes: int) -> ClassReport:
    """What becomes of the images of each class.

    Args:
        logits: `(N, classes)`, finite; the largest of an image wins.
        labels: `(N,)` integers from 0 to `classes - 1`.
        classes: number of classes, with or without images among these N.

    Returns:
        `recall`: for each class the share of its images that is recognised, in per cent, None for a class without
        images. `confusion`: counts of images, one row for each true class, one column for each predicted one.

    Raises:
        ValueError: as `classification_scores` does.

    >>> import torch
    >>> report = class_report(torch.eye(3)[[0, 0, 1, 1]], torch.tensor([0, 0, 0, 1]), 3)
    >>> [value and round(value, 1) for value in report["recall"]], report["confusion"]
    ([66.7, 100.0, None], [[2, 1, 0], [0, 1, 0], [0, 0, 0]])
    """
    _check(logits, labels, classes)
    if classes == 1:  # torchmetrics starts at two classes
        confusion = torch.tensor([[len(labels)]])
    else:
        confusion = multiclass_confusion_matrix(logits, labels, num_classes=classes)  # (true, predicted)
    right, images = confusion.diagonal().tolist(), confusion.sum(dim=1).tolist()
    return {
        "recall": [100 * hits / count if count else None for hits, count in zip(right, images, strict=True)],
        "confusion": confusion.tolist(),
    }


def _check(logits: Tensor, labels: Tensor, classes: int) -> None:
    if logits.dim() != 2 or logits.shape[1] != classes or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (N, {classes}) and labels (N,), got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if len(labels) == 0:
        raise ValueError("there are no labelled images to score")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must lie between 0 and {classes - 1}, found {int(labels.min())} to {int(labels.max())}: leave "
            "unlabelled images (-1) out, and build the network with one output a class"
        )
    if not torch.isfinite(logits).all():
        raise ValueError("the network's outputs are not finite: it has diverged, train it again with a lower lr")
