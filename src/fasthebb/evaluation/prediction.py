"""The logits of a whole set of images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fasthebb.evaluation.modes import evaluating


def predict_logits(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Run `model` over `loader` in eval mode and collect logits and labels.

    Args:
        model: maps images `(N, C, H, W)` to logits `(N, classes)`; its modes are as before afterwards.
        loader: yields `(images, labels)` with labels `(N,)` int64 (-1 where there is none). Every image is taken by
            itself, so the batch size makes no difference beyond float round-off.

    Returns:
        Logits `(images, classes)` float32 and labels `(images,)` int64, both on the CPU, in the loader's order.

    Raises:
        ValueError: the loader has no batch.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    logits, labels = [], []
    with evaluating(model), torch.inference_mode():
        for images, targets in loader:
            logits.append(model(images.to(device)).float())
            labels.append(targets)
    if not logits:
        raise ValueError("there are no images to predict: the loader is empty")
    with torch.inference_mode(False):  # ordinary tensors, that may be used anywhere
        return torch.cat(logits).cpu().clone(), torch.cat(labels).cpu().clone()
