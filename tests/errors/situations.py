"""Short names for the situations in which the library's errors occur."""

import numpy as np
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, Plasticity, Rule
from fasthebb.data import ImageSet, MaskedSet, Preprocessing, StreamSet, load_stream
from fasthebb.models import Network, cnn6

ROWS = np.random.default_rng(0).normal(size=(3, 4))


def network() -> Network:
    """A small one with two classes."""
    return cnn6(2, image_size=24, width=0.1, hidden=8)


def attached(rule: Rule | None = None) -> nn.Module:
    """A layer that learns already."""
    layer = nn.Linear(3, 2)
    fasthebb.attach(layer, rule or HPCA())
    return layer


def tied() -> nn.Sequential:
    """Two layers that share a weight."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def plasticity(*, rule: Rule | None = None, seen: bool = False) -> Plasticity:
    """The learning of a layer, which may have seen a batch."""
    layer = nn.Linear(3, 2)
    learning = fasthebb.attach(layer, rule or HPCA())
    if seen:
        layer(torch.ones(2, 3))
    return learning


def with_labels(rule: Rule, labels: int) -> None:
    """A layer that sees two images and other labels than these."""
    learning = plasticity(rule=rule)
    with learning.teacher(torch.zeros(labels, dtype=torch.int64)):
        learning.model(torch.ones(2, 3))


def changed_too_early() -> Plasticity:
    """A layer whose weight was changed by something else than the update."""
    learning = plasticity(seen=True)
    with torch.no_grad():
        learning.model.weight.zero_()
    return learning


def diverged() -> Plasticity:
    """A layer that met an infinite number."""
    learning = plasticity()
    learning.model(torch.full((2, 3), torch.inf))
    learning.write_grad()
    return learning


def detached() -> Plasticity:
    """The learning of a layer that has ended."""
    learning = plasticity()
    learning.detach()
    return learning


def some_images() -> ImageSet:
    """Two images."""
    return ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"])


def some_masks() -> MaskedSet:
    """An image with a mask."""
    mask: Tensor = torch.zeros(8, 8, dtype=torch.uint8)
    return MaskedSet([torch.zeros(1, 8, 8, dtype=torch.uint8)], [mask], ["a"])


def fitted(**options: bool) -> Preprocessing:
    """Fitted on images of 32 x 32 pixels."""
    return Preprocessing.fit(torch.rand(9, 1, 32, 32, generator=torch.Generator().manual_seed(0)), **options)


def streamed() -> StreamSet:
    """An image that stays where it is."""
    return load_stream("phone", need_labels=False, workers=0).unlabelled
