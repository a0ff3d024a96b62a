from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import dicom, encoded, random_pixels, refused
from mask_files import load, random_mask, tiff, write_pair, write_pairs
from numpy.typing import NDArray
from PIL import Image

from fasthebb.data import IGNORE, DataError, MaskedSet, draw_masks, masked_reading

GREEN_AND_RED = [0, 0, 0, 0, 255, 0, 255, 0, 0]


def palette(mask: NDArray[Any]) -> bytes:
    image = Image.fromarray(mask)
    image.putpalette(GREEN_AND_RED)
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def one_kind(root: Path, encode: Callable[[NDArray[Any]], bytes], values: tuple[int, ...]) -> Any:
    """Five images whose masks are encoded in one way, and their values."""
    masks = [random_mask(9, 8, values=values, seed=number) for number in range(5)]
    for number, mask in enumerate(masks):
        write_pair(root, str(number), random_pixels(9, 8, seed=number), encode(mask))
    data = load(root, testing=False)
    return data, masks


@pytest.mark.parametrize(
    ("encode", "values"),
    [
        (encoded, (0, 255)),
        (encoded, (0, 1)),
        (encoded, (0, 7)),
        (lambda mask: encoded(mask > 0), (0, 1)),
        (lambda mask: encoded(mask.astype(np.uint16)), (0, 65535)),
        (lambda mask: encoded(np.repeat(mask[:, :, None], 3, 2)), (0, 255)),
        (lambda mask: encoded(np.concatenate([mask[:, :, None], np.full((9, 8, 1), 255, np.uint8)], 2)), (0, 1)),
        (lambda mask: tiff(mask.astype(np.float32)), (0, 1)),
        (lambda mask: tiff(mask.astype(np.int64)), (0, 200_000)),
        (lambda mask: encoded(mask, "BMP"), (0, 255)),
        (lambda mask: dicom(mask.astype(np.uint16)), (0, 1000)),
    ],
)
def test_two_values_are_background_and_foreground(
    tmp_path: Path, encode: Callable[[NDArray[Any]], bytes], values: tuple[int, ...]
) -> None:
    data, masks = one_kind(tmp_path, encode, values)
    assert data.classes == ["background", "foreground"]
    for number in range(5):
        assert data.train.masks[number].dtype == torch.uint8
        assert np.array_equal(data.train.masks[number], masks[number] > 0)


@pytest.mark.parametrize(
    ("encode", "values"),
    [
        (encoded, (0, 1, 2)),
        (palette, (0, 1, 2)),
        (encoded, (0, 1, 2, 3, 253)),
        (encoded, (0, 1, 300, 4000)),
        (lambda mask: tiff(mask.astype(np.float64)), (0, 1, 2)),
        (lambda mask: tiff(mask.astype(np.uint32) * 100), (0, 1, 2000)),
    ],
)
def test_more_values_are_classes_in_their_order(
    tmp_path: Path, encode: Callable[[NDArray[Any]], bytes], values: tuple[int, ...]
) -> None:
    data, masks = one_kind(tmp_path, encode, values)
    factor = 100 if values[-1] == 2000 else 1
    assert data.classes == ["background", *(str(value * factor) for value in values[1:])]
    for number in range(5):
        assert np.array_equal(data.train.masks[number], np.searchsorted(values, masks[number]))


def test_an_ignored_value_is_no_class(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5, values=(0, 1, 2, 255))
    with refused("value 255", "and 1, 2 in the", "ignore_value=255 (--ignore-value 255)"):
        load(tmp_path)
    data = load(tmp_path, ignore_value=255, testing=False)
    assert data.classes == ["background", "1", "2"]
    for number, mask in enumerate(data.train.masks):
        assert np.array_equal(mask, random_mask(*mask.shape, values=(0, 1, 2, 255), seed=number))
    assert load(tmp_path, ignore_value=2, testing=False).classes == ["background", "1", "255"]
    data = load(tmp_path, ignore_value=0, testing=False)
    assert data.classes == ["background", "1", "2", "255"]
    assert {int(value) for mask in data.train.masks for value in mask.unique()} == {1, 2, 3, IGNORE}
    with refused("-1 for the ignore value"):
        load(tmp_path, ignore_value=-1)


def test_two_values_and_an_ignored_one_are_binary(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5, values=(0, 3, 128))
    data = load(tmp_path, ignore_value=128, testing=False)
    assert data.classes == ["background", "foreground"]
    stored = random_mask(8, 9, values=(0, 3, 128))
    assert np.array_equal(data.train.masks[0], np.select([stored == 3, stored == 128], [1, IGNORE]))


def test_instance_masks_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", random_pixels(30, 30), np.arange(900, dtype=np.uint16).reshape(30, 30))
    write_pair(tmp_path, "b", random_pixels(30, 30, seed=1), np.arange(900, dtype=np.uint16).reshape(30, 30) // 2)
    with refused("found 900 values", "900 in that of 'images/a.png'", "at most 254", "instance masks"):
        load(tmp_path, testing=False)


def test_smoothed_masks_are_refused(tmp_path: Path) -> None:
    mask = np.clip(np.arange(400), 0, 255).astype(np.uint8).reshape(20, 20)
    write_pair(tmp_path, "a", random_pixels(20, 20), mask)
    with refused("value 255", "1, 2, 3, ...", "smoothed", "JPEG"):
        load(tmp_path, testing=False)
    mask[mask == 255] = 254
    write_pair(tmp_path, "a", random_pixels(20, 20), mask)
    with refused("found 255 values"):
        load(tmp_path, testing=False)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (random_pixels(9, 8, 3), ("colours", "palette")),
        (encoded(random_pixels(9, 8, 4)), ("colours",)),
        (tiff(np.full((9, 8), 0.5, np.float32)), ("0.5", "whole numbers")),
        (tiff(np.full((9, 8), np.nan, np.float32)), ("nan", "whole numbers")),
        (tiff(np.full((9, 8), -1, np.int16)), ("-1", "from 0")),
        (b"", ("empty file",)),
        (random_mask(8, 8), ("9 x 8 pixels", "8 x 8 pixels", "same size", "images/bad.png")),
        (tiff(random_mask(5, 9, 8)), ("9 x 8 pixels", "5 x 9 x 8 voxels", "axes CYX")),
    ],
)
def test_masks_that_do_not_do_are_named(tmp_path: Path, mask: Any, words: tuple[str, ...]) -> None:
    write_pairs(tmp_path, 4)
    write_pair(tmp_path, "bad", random_pixels(9, 8), mask)
    with refused("masks/bad.png", *words):
        load(tmp_path)


def test_a_value_that_no_training_mask_has_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, 10, values=(0, 1))
    held_out = load(tmp_path).test.names[1]
    write_pairs(tmp_path / "other", 10, values=(0, 1, 4))
    stem = Path(held_out).name
    (tmp_path / "masks" / stem).write_bytes((tmp_path / "other" / "masks" / stem).read_bytes())
    with refused("found the value 4", held_out, "0, 1"):
        load(tmp_path)


def test_an_empty_mask_is_allowed_and_nothing_but_empty_ones_are_not(tmp_path: Path) -> None:
    blank = np.zeros((9, 8), np.uint8)
    for number in range(5):
        write_pair(tmp_path, str(number), random_pixels(9, 8, seed=number), blank if number else random_mask(9, 8))
    data = load(tmp_path, testing=False)
    assert sorted(int(mask.sum()) > 0 for mask in data.train.masks) == [False] * 4 + [True]
    refusals = 0
    for seed in range(10):
        try:
            load(tmp_path, testing=False, labels="2", seed=seed)
        except DataError as error:
            refusals += 1
            assert "nothing but background in 2 training masks" in str(error)
            assert "another seed" in str(error)
    assert 0 < refusals < 10
    write_pair(tmp_path, "0", random_pixels(9, 8), blank)
    with refused("nothing but background in 5 training masks"):
        load(tmp_path, testing=False)


def test_damaged_files_are_skipped_with_a_warning_or_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, 10)
    names = [Path(name).stem for name in load(tmp_path).train.names]
    whole = tiff(random_pixels(9, 8), compression="zlib")
    (tmp_path / "images" / f"{names[0]}.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "masks" / f"{names[1]}.png").write_bytes(encoded(random_mask(9, 8))[:40])
    with pytest.warns(UserWarning, match="skipped 2 files") as warned:
        data = load(tmp_path)
    assert f"images/{names[0]}.png" in str(warned[0].message)
    reasons = dict(data.skipped)
    assert "cut short" in reasons[f"images/{names[0]}.png"]
    assert reasons[f"images/{names[1]}.png"].startswith("its mask: ")
    assert [Path(name).stem for name in data.train.names] == names[2:]
    with refused("cannot read", f"images/{names[0]}.png"):
        load(tmp_path, strict=True)
    (tmp_path / "images" / f"{names[0]}.png").write_bytes(b"")
    with refused("cannot read", f"images/{names[0]}.png", "empty"):
        load(tmp_path, strict=True)


def test_nothing_readable_is_told(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write_pairs(tmp_path / split, 3)
    for path in (tmp_path / "test" / "images").iterdir():
        path.write_bytes(b"no image")
    with refused("for test", "can be read"):
        load(tmp_path)
    for path in (tmp_path / "train" / "masks").iterdir():
        path.write_bytes(b"no image")
    with refused("none of the images", "can be read"):
        load(tmp_path, testing=False)


def test_deep_and_shallow_images_of_several_channels_are_normal(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(100, 4000, (9, 8)).astype(np.uint16)
    write_pair(tmp_path, "a", deep, random_mask(9, 8))
    write_pair(tmp_path, "b", random_pixels(9, 8, 3), random_mask(9, 8))
    data = load(tmp_path, testing=False)
    first, second = data.train.images
    assert (first.dtype, second.dtype) == (torch.float32, torch.uint8)
    assert first.shape == second.shape == (3, 9, 8)
    assert first.min() == 0
    assert first.max() == 1
    assert "float32 in [0, 1] (1 of them)" in data.summary()
    grey = load(tmp_path, testing=False, channels=1)
    assert grey.train.channels == 1


def test_five_channels_are_kept_and_not_converted(tmp_path: Path) -> None:
    for number in range(3):
        image = tiff(random_pixels(5, 9, 8, seed=number), imagej=True, metadata={"axes": "CYX"})
        write_pair(tmp_path, str(number), image, random_mask(9, 8))
    data = load(tmp_path, testing=False)
    assert data.train.channels == 5
    assert np.array_equal(data.train.images[1], random_pixels(5, 9, 8, seed=1))
    with refused("5 channels", "asked for 3"):
        load(tmp_path, testing=False, channels=3)
    with refused("0 for channels"):
        load(tmp_path, channels=0)
    write_pair(tmp_path, "3", random_pixels(9, 8), random_mask(9, 8))
    with refused("expected one number of channels"):
        load(tmp_path, testing=False)


@pytest.mark.parametrize("labels", ["5/class", "0", "2.5", "many"])
def test_malformed_amounts_are_refused_before_anything_is_read(labels: str) -> None:
    with refused(f"'{labels}'", "a total (5) or a fraction with a decimal point"):
        load("nowhere", labels=labels)


def test_more_masks_than_there_are_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    write_pairs(tmp_path, 10)
    (tmp_path / "images" / "00.png").write_bytes(b"")
    with refused("asked for 7 masks, there are 6 for training"):
        load(tmp_path, labels="7", strict=True)


def test_masks_are_drawn_later_as_they_are_at_once(tmp_path: Path) -> None:
    write_pairs(tmp_path, 15)
    everything = load(tmp_path)
    for labels, count in (("2", 2), ("0.5", 5), ("1.0", 9)):
        drawn, at_once = draw_masks(everything, labels, 3), load(tmp_path, labels=labels, seed=3)
        assert drawn.train.names == at_once.train.names
        assert len(drawn.train) == count
        assert len(drawn.unlabelled) == 9
        assert drawn.test is everything.test
    assert set(draw_masks(everything, "2", 3).train.names) < set(draw_masks(everything, "5", 3).train.names)


def test_masks_are_scored_with_the_classes_of_a_network(tmp_path: Path) -> None:
    write_pairs(tmp_path / "two", 5, values=(0, 3))
    data = load(tmp_path / "two", testing=False, classes=["background", "1", "3"])
    assert data.classes == ["background", "1", "3"]
    assert {int(value) for mask in data.train.masks for value in mask.unique()} == {0, 2}
    data = load(tmp_path / "two", testing=False, classes=["background", "foreground"])
    assert {int(value) for mask in data.train.masks for value in mask.unique()} == {0, 1}
    with refused("found the value 3", "no class"):
        load(tmp_path / "two", classes=["background", "1", "2"])
    write_pairs(tmp_path / "three", 5, values=(0, 1, 3))
    with refused("3 values (0, 1, 3)", "knows background and foreground"):
        load(tmp_path / "three", classes=["background", "foreground"])
    write_pairs(tmp_path / "none", 5, values=(0,))
    assert len(load(tmp_path / "none", classes=["background", "foreground"]).test) == 1


def test_what_would_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path, 30)
    monkeypatch.setattr(masked_reading, "available_memory", lambda: 3000)
    with refused("30 images at their own sizes", "GiB are free"):
        load(tmp_path)
    monkeypatch.setattr(masked_reading, "available_memory", lambda: None)
    assert len(load(tmp_path).train) == 18


def test_a_set_must_fit_together() -> None:
    image, mask = torch.zeros(1, 4, 5, dtype=torch.uint8), torch.zeros(4, 5, dtype=torch.uint8)
    MaskedSet([image, image], [mask, None], ["a", "b"], ["x", ""])
    with refused("a mask (or None), a name and a group an image"):
        MaskedSet([image], [mask], ["a"], [])
    with refused("'b'", "of one C"):
        MaskedSet([image, image[:, None]], [mask, None], ["a", "b"])
    with refused("torch.float64"):
        MaskedSet([image.double()], [None], ["a"])
    for wrong in (mask[1:], mask.long()):
        with refused("expected a mask of (4, 5) uint8"):
            MaskedSet([image], [wrong], ["a"])
