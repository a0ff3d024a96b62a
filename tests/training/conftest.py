import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fasthebb.models import Network, cnn6


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
