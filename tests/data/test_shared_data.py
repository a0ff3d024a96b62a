"""The data sets that lie beside the repository, where they do: read as they were published."""

from collections import Counter
from pathlib import Path

import pytest
from image_files import refused

from fasthebb.data.decoding import decode
from fasthebb.data.loading import load_images
from fasthebb.data.sources import open_source

SHARED = Path(__file__).parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"no data in {path}")
    return path


def test_cifar10_is_50_000_training_and_10_000_test_images() -> None:
    source = open_source(shared("cifar10"))
    assert Counter(item.split for item in source.items) == {"train": 50_000, "test": 10_000}
    assert source.classes is not None
    assert source.classes[:3] == ["airplane", "automobile", "bird"]
    assert {item.label for item in source.items} == set(source.classes)
    assert decode(source.items[-1].read(), 32).shape == (32, 32, 3)


def test_imagenet_shards_have_their_1000_classes() -> None:
    source = open_source(shared("imagenet-sample"))
    assert len(source.items) == 1000
    assert source.skipped == []
    assert source.classes is not None
    assert len(set(source.classes)) == 1000
    assert source.items[0].label in source.classes
    for item in source.items[:3]:
        assert decode(item.read(), 64).shape == (64, 64, 3)
    with refused("classes with a single image"):
        load_images(shared("imagenet-sample"), progress=False)


def test_nuclei_are_grouped_and_without_labels() -> None:
    source = open_source(shared("nuclei"))
    assert len(source.items) == 664
    assert source.grouped
    assert all(item.label is None and item.group for item in source.items)
    for item in source.items[::200]:
        assert decode(item.read(), 48).shape[:2] == (48, 48)
    with refused("664 images and no labels", "a label file"):
        load_images(shared("nuclei"), progress=False)
