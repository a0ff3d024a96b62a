import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fasthebb.models import Network, SegmentationNetwork, cnn6, unet


class RandomLoader:
    """Batches of fixed random images, in an order drawn anew every epoch, with noise from torch's own generator."""

    def __init__(self, images: int = 24, batch: int = 8, classes: int = 3, seed: int = 0, noise: float = 0.01) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(images, 1, 24, 24, generator=generator)
        self.labels = torch.arange(images) % classes
        self.images += self.labels.view(-1, 1, 1, 1)
        self.batch = batch
        self.noise = noise
        self.epoch = 0
        self.epochs_told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.epochs_told.append(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.epoch))
        for chosen in order.split(self.batch):
            yield self.images[chosen] + self.noise * torch.randn(()), self.labels[chosen]


class Discs:
    """Batches of images of a bright disc on noise and slowly varying light, with masks of the disc."""

    def __init__(
        self, images: int = 8, batch: int = 4, batches: int = 4, side: int = 24, seed: int = 0, dims: int = 2
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        axes = torch.stack(torch.meshgrid(*[torch.arange(side)] * dims, indexing="ij")).float()
        centres = torch.rand(images, dims, *[1] * dims, generator=generator) * (side - 10) + 5
        radii = torch.rand(images, *[1] * dims, generator=generator) * 3 + 3
        self.masks = ((axes - centres).square().sum(1).sqrt() < radii).long()
        light = torch.randn(images, *[1] * dims, generator=generator) * (axes[0] / side - 0.5)
        noise = torch.randn(self.masks.shape, generator=generator)
        self.images = (2 * self.masks + light + noise).unsqueeze(1)
        self.batch, self.batches = batch, batches
        self.epoch = 0
        self.epochs_told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.epochs_told.append(epoch)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.epoch)
        for _ in range(self.batches):
            chosen = torch.randint(len(self.images), (self.batch,), generator=generator)
            yield self.images[chosen], self.masks[chosen]

    def dice(self, network: nn.Module) -> float:
        """Of all pixels together."""
        with torch.no_grad():
            found = network.eval()(self.images).argmax(1)
        return float(2 * (found * self.masks).sum() / (found.sum() + self.masks.sum()))


@pytest.fixture
def make_discs() -> type[Discs]:
    return Discs


@pytest.fixture
def make_unet() -> Callable[..., SegmentationNetwork]:
    def build(**kwargs: Any) -> SegmentationNetwork:
        torch.manual_seed(1)
        return unet(**{"classes": 2, "channels": 1, "depth": 2, "width": 4, **kwargs})

    return build


@pytest.fixture
def measured() -> Callable[[Path], list[dict[str, str]]]:
    """The rows of a folder's metrics.csv, but for the seconds that the epochs took."""

    def read(folder: Path) -> list[dict[str, str]]:
        with (folder / "metrics.csv").open(newline="") as file:
            return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]

    return read


@pytest.fixture
def loader() -> RandomLoader:
    return RandomLoader()


@pytest.fixture
def make_loader() -> type[RandomLoader]:
    return RandomLoader


@pytest.fixture
def make_model() -> Callable[..., Network]:
    def build(**kwargs: Any) -> Network:
        torch.manual_seed(1)
        return cnn6(**{"classes": 3, "channels": 1, "image_size": 24, "width": 0.1, "hidden": 32, **kwargs})

    return build
