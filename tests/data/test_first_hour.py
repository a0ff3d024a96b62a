"""A lab's first hour: thousands of images in a flat folder, a table that labels 80 of them, patients in a column."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import encoded, load, refused, write_table

from fasthebb.data import Batches, ImageData, Preprocessing, load_images

IMAGES, LABELLED, PATIENTS = 2400, 80, 60


def patient_of(number: int) -> str:
    return f"p{number % PATIENTS}"


def class_of(number: int) -> str:
    return "sick" if number % PATIENTS < 20 else "well"


@dataclass(frozen=True)
class Lab:
    """What the lab has: a folder, a table of the 80 labelled images, and one of all images and patients."""

    folder: Path
    labelled: Path
    everything: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    root = tmp_path_factory.mktemp("lab")
    folder = root / "slides"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
    for number in range(IMAGES):
        (folder / f"{number:05}.png").write_bytes(encoded(pixels[number]))
    rows = [(f"{n:05}.png", class_of(n) if n < LABELLED else "", patient_of(n)) for n in range(IMAGES)]
    header = ["file", "label", "patient"]
    return Lab(
        folder,
        write_table(root / "labels.csv", header, rows[:LABELLED]),
        write_table(root / "all.csv", header, rows),
    )


@pytest.fixture(scope="module")
def data(lab: Lab) -> ImageData:
    return load(lab.folder, label_file=lab.everything, group="patient")


def test_patients_are_in_one_of_train_validation_and_test(data: ImageData) -> None:
    parts = [set(part.groups or []) for part in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == PATIENTS
    assert len(data.train) + len(data.validation) + len(data.test) == LABELLED
    for part in (data.train, data.validation, data.test):
        assert part.labels.unique().tolist() == [0, 1]
        assert [data.classes[label] for label in part.labels] == [class_of(int(name[:-4])) for name in part.names]
        assert part.groups == [patient_of(int(name[:-4])) for name in part.names]


def test_no_image_of_a_held_out_patient_is_pre_trained_on(data: ImageData) -> None:
    held = set(data.validation.groups or []) | set(data.test.groups or [])
    assert set(data.unlabelled.groups or []).isdisjoint(held)
    kept = [f"{number:05}.png" for number in range(IMAGES) if patient_of(number) not in held]
    assert sorted(data.unlabelled.names) == kept
    assert data.unlabelled.labels.unique().tolist() == [-1]
    left_out = IMAGES - LABELLED - (len(kept) - len(data.train))
    assert f"left out {left_out} unlabelled images: their group is in validation or test" in data.summary()


def test_images_whose_patient_the_table_does_not_name_are_pointed_out(lab: Lab) -> None:
    data = load(lab.folder, label_file=lab.labelled, group="patient")
    assert len(data.unlabelled) == IMAGES - len(data.validation) - len(data.test)
    assert f"found no group for {IMAGES - LABELLED} unlabelled images" in data.summary()


def test_the_summary_says_what_there_is(data: ImageData) -> None:
    lines = data.summary().splitlines()
    assert lines[0].endswith(f"slides: {len(data.unlabelled)} images to pre-train on, labels unread")
    assert f"labelled: {len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test" in lines[1]
    assert "classes: 2 (sick, well)" in lines[2]
    assert "each image: 3 channels, 8 x 8 pixels, 8 bits" in lines[3]
    assert "skipped" not in data.summary()


def test_few_labels_are_whole_patients_of_both_classes(lab: Lab, data: ImageData) -> None:
    few = load(lab.folder, label_file=lab.everything, group="patient", labels="3/class", seed=2)
    assert set(few.train.names) < set(data.train.names)
    left = set(data.train.names) - set(few.train.names)
    assert {patient_of(int(name[:-4])) for name in left}.isdisjoint(few.train.groups or [])
    assert torch.bincount(few.train.labels).min() >= 3
    assert len(few.train) <= 8
    assert few.unlabelled.names == data.unlabelled.names
    assert few.validation.names == data.validation.names


def test_images_are_held_once_as_bytes_and_prepared_in_batches(data: ImageData) -> None:
    assert data.unlabelled.images.dtype == torch.uint8
    owners = {part.images.untyped_storage().data_ptr() for part in (data.unlabelled, data.train, data.test)}
    assert len(owners) == 1
    preprocessing = Preprocessing.fit(data.unlabelled, whiten=True)
    batches = Batches(data.unlabelled, preprocessing, batch_size=256, shuffle=True, augment="shift")
    images, labels = next(iter(batches))
    assert images.shape == (256, 3, 8, 8)
    assert images.isfinite().all()
    assert labels.unique().tolist() == [-1]


def test_the_same_call_gives_the_same_bits(lab: Lab, data: ImageData) -> None:
    again = load(lab.folder, label_file=lab.everything, group="patient")
    assert torch.equal(again.unlabelled.images, data.unlabelled.images)
    assert again.unlabelled.names == data.unlabelled.names


@pytest.mark.parametrize("strict", [False, True])
def test_a_broken_slide_does_not_end_the_hour(lab: Lab, tmp_path: Path, strict: bool) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    for path in sorted(lab.folder.iterdir())[:200]:
        (folder / path.name).symlink_to(path)
    (folder / "00100.png").unlink()
    (folder / "00100.png").write_bytes((lab.folder / "00100.png").read_bytes()[:80])
    if strict:
        with refused("00100.png"):
            load(folder, label_file=lab.labelled, strict=True)
    else:
        with pytest.warns(UserWarning, match=r"skipped 1 file of .*00100\.png"):
            assert "skipped: 1 - 00100.png" in load(folder, label_file=lab.labelled).summary()


def test_a_long_load_shows_a_bar_and_a_short_one_none(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def errors(**options: Any) -> str:
        load_images(lab.folder, need_labels=False, image_size=8, **options)
        return capsys.readouterr().err

    monkeypatch.setattr("fasthebb.data.reading._QUIET_SECONDS", 3600.0)
    assert errors() == ""
    monkeypatch.setattr("fasthebb.data.reading._QUIET_SECONDS", 0.0)
    assert f"{IMAGES}/{IMAGES}" in errors()
    assert errors(progress=False) == ""
