from pathlib import Path

import pytest

from fasthebb.study import StudyOptions

from ..runs.conftest import write_images


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    """A folder of three classes with ten images each: six of each to train on."""
    for kind, name in enumerate(["ant", "bee", "cat"]):
        write_images(tmp_path / "images" / name, 10, kind=kind)
    return tmp_path / "images"


@pytest.fixture
def small(by_class: Path) -> StudyOptions:
    """Two methods, two amounts of labels, two seeds: eight cells."""
    return StudyOptions(
        data=str(by_class),
        methods=["none", "hpca"],
        labels=["3", "0.5"],
        seeds=2,
        width=0.1,
        hidden=16,
        image_size=24,
        batch_size=8,
        pretrain_epochs=1,
        epochs=2,
    )
