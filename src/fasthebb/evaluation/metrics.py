"""Scores of a classifier, in per cent."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score, multiclass_recall


def classification_scores(logits: Tensor, labels: Tensor, classes: int) -> dict[str, float]:
    """Compare logits with labels.

    Args:
        logits: `(N, classes)`, finite; any increasing function of them gives the same scores.
        labels: `(N,)` integers from 0 to `classes - 1`.
        classes: number of classes, with or without images among these N.

    Returns:
        In per cent: `top1`, `top5` (only from six classes on, where it says something), `balanced_accuracy` (the mean
        of the classes' recalls; a class without an image in `labels` takes no part) and `macro_f1` (the mean of the
        classes' F1; a class that is neither in `labels` nor predicted takes no part).

    Raises:
        ValueError: shapes or labels do not fit `classes`, there are no images, or a logit is not finite.

    >>> import torch
    >>> logits = torch.eye(3)[[0, 0, 1, 1]]
    >>> {name: round(score, 1) for name, score in classification_scores(logits, torch.tensor([0, 0, 0, 1]), 3).items()}
    {'top1': 75.0, 'balanced_accuracy': 83.3, 'macro_f1': 73.3}
    """
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

    present = torch.bincount(labels, minlength=classes) > 0  # (classes,)
    if classes == 1:  # torchmetrics starts at two classes; with one, everything is right
        return {"top1": 100.0, "balanced_accuracy": 100.0, "macro_f1": 100.0}
    recalls = multiclass_recall(logits, labels, num_classes=classes, average="none")  # (classes,)
    scores = {"top1": multiclass_accuracy(logits, labels, num_classes=classes, average="micro")}
    if classes >= 6:
        scores["top5"] = multiclass_accuracy(logits, labels, num_classes=classes, average="micro", top_k=5)
    scores["balanced_accuracy"] = recalls[present].mean()
    scores["macro_f1"] = multiclass_f1_score(logits, labels, num_classes=classes, average="macro")
    return {name: 100 * float(score) for name, score in scores.items()}
