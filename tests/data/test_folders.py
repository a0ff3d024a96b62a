import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import encoded, load, random_pixels, refused, write_classes, write_images

from fasthebb.data import load_folder_for_prediction, load_images
from fasthebb.data.sources import open_source


def test_folders_are_classes(tmp_path: Path) -> None:
    source = open_source(write_classes(tmp_path, {"10": 2, "9": 3, "9/deep": 1}))
    assert {(item.name, item.label) for item in source.items} == {
        *(("10/0.png", "10"), ("10/1.png", "10")),
        *(("9/0.png", "9"), ("9/1.png", "9"), ("9/2.png", "9"), ("9/deep/0.png", "9")),
    }
    write_classes(tmp_path, {"10": 9, "9": 9})
    assert load(tmp_path).classes == ["9", "10"]


@pytest.mark.parametrize("validation", ["validation", "val", "Valid", "dev"])
def test_splits_above_the_classes_are_used_as_they_are(tmp_path: Path, validation: str) -> None:
    write_classes(tmp_path, {"train/a": 3, "train/b": 2, f"{validation}/a": 1, f"{validation}/b": 1, "test/a": 2})
    data = load(tmp_path)
    assert data.train.names == [*(f"train/a/{n}.png" for n in range(3)), "train/b/0.png", "train/b/1.png"]
    assert data.validation.names == [f"{validation}/a/0.png", f"{validation}/b/0.png"]
    assert data.test.names == ["test/a/0.png", "test/a/1.png"]
    assert data.unlabelled.names == data.train.names
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert "no image for test in 1 class (b)" in data.summary()


def test_a_split_that_is_missing_is_held_out_of_train(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 1, "test/b": 1})
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 4, 2)
    assert "20 % were held out for validation" in data.summary()


@pytest.mark.parametrize("name", ["unlabelled", "unlabeled", "unsupervised"])
def test_a_folder_of_unlabelled_images_is_no_class(tmp_path: Path, name: str) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5, f"{name}/more": 4})
    data = load(tmp_path)
    assert data.classes == ["a", "b"]
    assert len(data.unlabelled) == len(data.train) + 4
    write_classes(tmp_path / "split", {"train/a": 5, "train/b": 5, f"{name}/x": 4})
    assert load(tmp_path / "split").classes == ["a", "b"]


def test_a_flat_folder_is_the_normal_unlabelled_input(tmp_path: Path) -> None:
    write_images(tmp_path, 7)
    data = load(tmp_path, need_labels=False)
    assert len(data.unlabelled) == 7
    assert data.unlabelled.labels.tolist() == [-1] * 7
    assert (len(data.train), len(data.validation), len(data.test), data.classes) == (0, 0, 0, [])
    with refused("7 images and no labels", "a folder for each class", "label file"):
        load(tmp_path)


def test_one_folder_of_images_is_no_class_for_pre_training(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 7)
    assert len(load(tmp_path, need_labels=False).unlabelled) == 7
    with refused("a single class (images)", "at least two", "give the folder inside it"):
        load(tmp_path)


def test_pre_training_never_sees_validation_and_test(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 10, "b": 10})
    known, blind = load(tmp_path), load(tmp_path, need_labels=False)
    assert blind.unlabelled.names == known.unlabelled.names
    assert not set(known.unlabelled.names) & {*known.validation.names, *known.test.names}


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 3, "b": 3, ".git": 2})
    (tmp_path / "a" / ".thumb.png").write_bytes(encoded(random_pixels(8, 8)))
    (tmp_path / "README").write_text("images")
    (tmp_path / "labels.csv").write_text("file,label\n")
    source = open_source(tmp_path)
    assert len(source.items) == 6
    assert source.skipped == []


def test_images_in_formats_that_are_not_read_are_reported(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "phone.HEIC").write_bytes(b"heic")
    with pytest.warns(UserWarning, match=r"skipped 1 file .*a/phone\.HEIC"):
        data = load(tmp_path)
    assert [path for path, _ in data.skipped] == ["a/phone.HEIC"]
    with refused("a/phone.HEIC", "export it as PNG"):
        load(tmp_path, strict=True)


def test_images_beside_the_splits_are_reported(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 5, "train/b": 5, "old": 3})
    with pytest.warns(UserWarning, match="3 images not used, beside train/"):
        data = load(tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 10


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with refused("empty folder", str(tmp_path), "expected images, parquet files or WebDataset shards"):
        load(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "data.zip").write_bytes(b"")
    with refused("no images", "2 other files", "1 .txt", "1 .zip"):
        load(tmp_path)
    with refused("data.zip", "unpack it"):
        load(tmp_path / "data.zip")


def test_a_path_that_is_not_there_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "scans", 1)
    monkeypatch.chdir(tmp_path)
    for wrong in ("scan", "scans/more", tmp_path / "skans", Path("./scnas")):
        with refused("found no data", "scans'" if wrong != "scans/more" else "check the spelling"):
            load(wrong)
    for wrong in ("digit", "Digits"):
        with refused("did you mean 'digits'"):
            load(wrong)


def test_links_in_circles_end(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    assert len(open_source(tmp_path).items) == 10


def test_a_link_that_leads_nowhere_is_reported_or_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "nothing").symlink_to(tmp_path / "gone")
    (tmp_path / "a" / "x.png").symlink_to(tmp_path / "gone.png")
    with pytest.warns(UserWarning, match=r"skipped 1 file .*a/x\.png \(.*No such file"):
        load(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    os.mkfifo(tmp_path / "a" / "pipe")
    assert len(open_source(tmp_path).items) == 10


def test_a_file_that_links_show_twice_is_taken_once(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "again.png").symlink_to(tmp_path / "a" / "0.png")
    (tmp_path / "unlabelled").mkdir()
    (tmp_path / "unlabelled" / "b0.png").symlink_to(tmp_path / "b" / "0.png")
    with pytest.warns(UserWarning, match="skipped 2 files"):
        data = load(tmp_path)
    names = [*data.unlabelled.names, *data.validation.names, *data.test.names]
    assert sorted(names) == [f"{name}/{n}.png" for name in "ab" for n in range(5)]
    assert dict(data.skipped) == {
        "a/again.png": "the same file as a/0.png",
        "unlabelled/b0.png": "the same file as b/0.png",
    }


def test_a_file_linked_into_two_classes_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "b" / "x.png").symlink_to(tmp_path / "a" / "0.png")
    with refused("'a/0.png' and 'b/x.png' are the same file", "different classes or splits"):
        load(tmp_path)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    scandir = os.scandir

    def scan(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with refused("cannot list", str(tmp_path / "b"), "Permission denied"):
        load(tmp_path)


def test_further_images_are_added_and_their_labels_and_splits_never_read(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"a": 5, "b": 5})
    flat = write_images(tmp_path / "flat", 3, seed=8)[0].parent
    split = write_classes(tmp_path / "split", {"train/x": 2, "test/y": 2, "old": 1})
    alone = load(data)
    both = load(data, unlabelled=[flat, split])
    assert len(both.unlabelled) == len(alone.unlabelled) + 3 + 5
    assert both.unlabelled.labels.unique().tolist() == [-1]
    assert both.classes == ["a", "b"]
    assert both.unlabelled.names[-8:] == [
        *("flat/0.png", "flat/1.png", "flat/2.png"),
        *("split/old/0.png", "split/test/y/0.png", "split/test/y/1.png", "split/train/x/0.png", "split/train/x/1.png"),
    ]
    for name in ("train", "validation", "test"):
        assert getattr(both, name).names == getattr(alone, name).names
    assert len(load(data, unlabelled=str(flat)).unlabelled) == len(alone.unlabelled) + 3


def by_path(data: Path, further: Path) -> Path:
    return data


def by_link(data: Path, further: Path) -> Path:
    further.symlink_to(data)
    return further


def by_link_above(data: Path, further: Path) -> Path:
    further.mkdir()
    (further / "all").symlink_to(data)
    return further


def by_links_to_files(data: Path, further: Path) -> Path:
    further.mkdir()
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        (further / f"{number}.png").symlink_to(path)
    return further


def by_copy(data: Path, further: Path) -> Path:
    for path in data.rglob("*.png"):
        copy = further / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return further


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (by_path, "the same files as in the data"),
        (by_link, "the same files as in the data"),
        (by_link_above, "the same files as in the data"),
        (by_links_to_files, "the same files as in the data"),
        (by_copy, "copies of images in the data"),
    ],
)
def test_images_of_the_data_are_not_pre_trained_on_again(
    tmp_path: Path, again: Callable[[Path, Path], Path], why: str
) -> None:
    data = write_classes(tmp_path / "data", {"a": 5, "b": 5})
    further = again(data, tmp_path / "further")
    loaded = load(data, unlabelled=further)
    assert loaded.unlabelled.names == load(data).unlabelled.names
    assert f"left out 10 further unlabelled images: {why}" in loaded.summary()


def test_further_images_given_twice_are_taken_once(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"a": 5, "b": 5})
    more = write_images(tmp_path / "more", 3, seed=9)[0].parent
    assert len(load(data, unlabelled=[more, more]).unlabelled) == len(load(data).unlabelled) + 3


def test_the_image_size_is_chosen_and_said(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    data = load_images(tmp_path, need_labels=False, progress=False)
    assert data.unlabelled.images.shape == (2, 1, 32, 32)
    assert "the image size was chosen: 32" in data.summary()
    assert "size was chosen" not in load(tmp_path, need_labels=False, image_size=16).summary()


@pytest.mark.parametrize("options", [{"image_size": 0}, {"image_size": -4}, {"channels": 0}])
def test_sizes_below_one_are_refused(options: dict[str, int]) -> None:
    with refused("found", "at least 1"):
        load("digits", **options)


def test_digits_come_without_a_download() -> None:
    data = load("digits")
    assert len(data.train) + len(data.validation) + len(data.test) == 1797
    assert data.classes == [str(digit) for digit in range(10)]
    assert data.train.images.dtype == torch.uint8
    assert (int(data.train.images.min()), int(data.train.images.max())) == (0, 255)


def test_images_for_prediction_keep_their_paths_and_have_no_labels(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/a": 2, "b": 1})
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=r"bad\.png"):
        images, skipped = load_folder_for_prediction(tmp_path, image_size=8, channels=3)
    assert images.names == ["b/0.png", "train/a/0.png", "train/a/1.png"]
    assert images.labels.tolist() == [-1, -1, -1]
    assert images.images.shape == (3, 3, 8, 8)
    assert [path for path, _ in skipped] == ["bad.png"]
    one, _ = load_folder_for_prediction(tmp_path / "b" / "0.png", image_size=8, channels=1)
    assert one.names == ["0.png"]
    with refused("bad.png"):
        load_folder_for_prediction(tmp_path, image_size=8, channels=3, strict=True)


def test_prediction_needs_images(tmp_path: Path) -> None:
    for name in ("digits", "owner/name", tmp_path / "gone"):
        with refused("found no image or folder of images", f"'{name}'"):
            load_folder_for_prediction(name, image_size=8, channels=1)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with refused("none of the images", "bad.png"):
        load_folder_for_prediction(tmp_path, image_size=8, channels=1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def ask(name: str, *_: Any) -> None:
        raise AssertionError(f"asked the Hub for {name}")

    monkeypatch.setattr("fasthebb.data.sources.hub_source", ask)
    yield
