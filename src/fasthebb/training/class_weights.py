"""Weights that let rare classes count as much as common ones."""

import numpy as np
import torch
from torch import Tensor


def balanced_class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights inversely proportional to the classes' counts, so that the mean weight of an image is one.

    Args:
        labels: `(N,)` classes of the training images.
        classes: number of classes.

    Returns:
        `(classes,)` float32: N / (classes present x images of the class), and 0 for a class without images.

    >>> balanced_class_weights(torch.tensor([0, 0, 0, 2]), 3)
    tensor([0.6667, 0.0000, 2.0000])
    """
    from sklearn.utils.class_weight import compute_class_weight

    found = labels.cpu().numpy()
    present = np.unique(found)
    weights = torch.zeros(classes)
    weights[torch.from_numpy(present)] = torch.from_numpy(
        compute_class_weight("balanced", classes=present, y=found)
    ).float()
    return weights
