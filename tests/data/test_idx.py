import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import load, random_pixels, refused, write_images
from numpy.typing import NDArray


def idx(path: Path, values: NDArray[np.uint8]) -> Path:
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    content = head + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def pair(folder: Path, split: str, count: int, end: str = "") -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    folder.mkdir(exist_ok=True)
    images, labels = random_pixels(count, 8, 8, seed=len(split)), (np.arange(count) % 3).astype(np.uint8)
    idx(folder / f"{split}-images-idx3-ubyte{end}", images)
    idx(folder / f"{split}-labels-idx1-ubyte{end}", labels)
    return images, labels


@pytest.mark.parametrize("end", ["", ".gz"])
def test_images_and_labels_are_read_as_they_are(tmp_path: Path, end: str) -> None:
    (tmp_path / "README").write_text("not an image")
    pair(tmp_path, "train", 30, end)
    images, labels = pair(tmp_path, "t10k", 12, end)
    data = load(tmp_path)
    assert list(data.classes) == ["0", "1", "2"]
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 12)
    assert np.array_equal(data.test.images[:, 0].numpy(), images)
    assert data.test.labels.tolist() == labels.tolist()


def test_images_alone_are_unlabelled(tmp_path: Path) -> None:
    idx(tmp_path / "more-images.idx3-ubyte", random_pixels(5, 8, 8))
    data = load(tmp_path, need_labels=False)
    assert len(data.unlabelled) == 5


def test_folders_of_images_are_not_taken_for_idx(tmp_path: Path) -> None:
    write_images(tmp_path / "ant", 12)
    pair(tmp_path, "train", 30)
    assert len(load(tmp_path, need_labels=False).unlabelled) == 12


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    pair(tmp_path, "train", 30)
    labels = tmp_path / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-3])
    with refused("found 27 values", "expected 30"):
        load(tmp_path)
    labels.write_bytes(whole + b"x")
    with refused("found more values"):
        load(tmp_path)
    labels.write_bytes(b"<html>not found</html>")
    with refused("cannot read", "expected an IDX file of bytes in 1 dimension"):
        load(tmp_path)
    labels.write_bytes(b"")
    with refused("cannot read"):
        load(tmp_path)
    idx(labels, np.zeros(7, np.uint8))
    with refused("30 images", "7 labels"):
        load(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with refused("without its images"):
        load(tmp_path)


def test_a_cut_archive_is_told_in_one_line(tmp_path: Path) -> None:
    pair(tmp_path, "train", 30, ".gz")
    images = tmp_path / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-40])
    with refused("cannot read", images.name):
        load(tmp_path)
