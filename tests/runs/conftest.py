import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fasthebb.runs import FinetuneOptions, PretrainOptions, finetune, pretrain

SMALL: dict[str, Any] = {"width": 0.1, "hidden": 16, "image_size": 24, "batch_size": 8}


def write_images(folder: Path, count: int, *, kind: int = 0, size: int = 24, seed: int = 0) -> list[Path]:
    """Noise with one bright quarter, which says the class."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, kind])
    paths = []
    for index in range(count):
        pixels = rng.integers(0, 100, (size, size), dtype=np.uint8)
        top, left = divmod(kind, 2)
        half = size // 2
        pixels[top * half : (top + 1) * half, left * half : (left + 1) * half] += 150
        paths.append(folder / f"{kind}-{index:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    """A folder of three classes with ten images each."""
    for kind, name in enumerate(["ant", "bee", "cat"]):
        write_images(tmp_path / "images" / name, 10, kind=kind)
    return tmp_path / "images"


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Path, Path]:
    """A flat folder, and a table that labels a third of it, with patients."""
    folder = tmp_path / "flat"
    rows = []
    for kind in range(3):
        for index, path in enumerate(write_images(folder, 20, kind=kind)):
            label = ["ant", "bee", "cat"][kind] if index < 7 else ""
            rows.append({"file": path.name, "label": label, "patient": f"p{index % 10}"})
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "label", "patient"])
        writer.writeheader()
        writer.writerows(rows)
    return folder, table


@pytest.fixture
def pretrain_options(by_class: Path) -> PretrainOptions:
    return replace(PretrainOptions(), data=str(by_class), epochs=2, **SMALL)


@pytest.fixture
def encoder(pretrain_options: PretrainOptions, tmp_path: Path) -> Path:
    pretrain(pretrain_options, tmp_path / "encoder", progress=False)
    return tmp_path / "encoder"


@pytest.fixture
def finetune_options(encoder: Path, by_class: Path) -> FinetuneOptions:
    return FinetuneOptions(data=str(by_class), init=str(encoder), epochs=30, lr=0.01, batch_size=8)


@pytest.fixture
def classifier(finetune_options: FinetuneOptions, tmp_path: Path) -> Path:
    finetune(finetune_options, tmp_path / "classifier", progress=False)
    return tmp_path / "classifier"
