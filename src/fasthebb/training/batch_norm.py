"""Batch norm's running statistics, estimated anew, and held still where a batch is too small for its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fasthebb.evaluation import evaluating
from fasthebb.models.unet import UNetFeatures
from fasthebb.training.layout import channels_last
from fasthebb.training.processes import joined_images
from fasthebb.training.synchronised_batch_norm import synchronised_batch_norms


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Every batch norm of `model` that keeps running statistics, in the order of registration."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def fewest_images(model: nn.Module) -> int:
    """How many images a batch must have for its statistics: two, but one in a U-Net, whose norms see many positions."""
    return 1 if any(isinstance(module, UNetFeatures) for module in model.modules()) else 2


@contextmanager
def fixed_batch_norms(model: nn.Module, when: bool = True) -> Iterator[None]:
    """Let batch norms use their running statistics within the block, `when` that is asked for.

    For a batch of one image: its statistics would be those of a single vector, for which torch raises an error.
    """
    training = [norm for norm in batch_norms(model) if norm.training] if when else []
    for norm in training:
        norm.training = False
    try:
        yield
    finally:
        for norm in training:
            norm.training = True


def reestimate_batch_norm(
    model: nn.Module, loader: Iterable[Sequence[Any]], *, progress: Callable[[int], None] | None = None
) -> None:
    """Replace the running statistics of every batch norm in `model` by those of one pass over `loader`.

    While a network learns, its running statistics trail behind its weights. This pass sets them to the average of the
    batches' means and variances, each batch weighted with its number of images, with all weights at rest: dropout is
    off, plastic layers do not learn, momenta and modes are as before afterwards. A batch of a single image has no
    variance and is left out, unless the network is a U-Net.

    Args:
        model: any network, on any device; without batch norms nothing happens.
        loader: yields tuples that begin with images `(N, C, H, W)`; labels are not read.
        progress: called after each batch with the number of images seen so far.

    Raises:
        ValueError: no batch of the loader has two images.

    >>> import torch
    >>> norm = torch.nn.BatchNorm1d(1)
    >>> reestimate_batch_norm(norm, [(torch.tensor([[1.0], [2.0]]),), (torch.tensor([[3.0], [4.0], [5.0], [6.0]]),)])
    >>> norm.running_mean                                                         # the mean of all six
    tensor([3.5000])
    """
    with evaluating(model):
        estimate(batch_norms(model), model, loader, progress=progress, fewest=fewest_images(model))


def estimate(
    norms: Sequence[_BatchNorm],
    forward: Callable[[Tensor], Any],
    loader: Iterable[Sequence[Any]],
    *,
    progress: Callable[[int], None] | None = None,
    fewest: int = 2,
) -> None:
    """`reestimate_batch_norm` for the given `norms` of a network in eval mode that `forward` runs; they end in eval.

    Several processes that share the images come to the same statistics, those of their joined batches.
    """
    if not norms:
        return
    device = next(buffer.device for buffer in norms[0].buffers())
    momenta = [norm.momentum for norm in norms]
    seen = 0
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.training = True
        with torch.no_grad(), synchronised_batch_norms(nn.ModuleList(norms), device):
            for number, (images, *_) in enumerate(loader):
                joined = joined_images(loader, number, images)
                if joined < fewest:
                    continue
                seen += joined
                for norm in norms:
                    norm.momentum = joined / seen  # makes the running average that of all images so far
                forward(channels_last(images.to(device)))
                if progress is not None:
                    progress(seen)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.training = False
    if not seen:
        raise ValueError("batch norm needs at least one batch of two images to estimate its statistics")
