from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import encoded, random_pixels, refused, write_images
from mask_files import load, random_mask, tiff, write_pair, write_pairs


def test_two_folders_are_matched_by_name_and_held_out_from(tmp_path: Path) -> None:
    data = load(write_pairs(tmp_path, 20))
    assert (len(data.train), len(data.validation), len(data.test), len(data.unlabelled)) == (12, 4, 4, 12)
    assert data.classes == ["background", "foreground"]
    for part in (data.train, data.validation, data.test):
        for image, mask, name in zip(part.images, part.masks, part.names, strict=True):
            number = int(Path(name).stem)
            assert name == f"images/{number:02}.png"
            assert np.array_equal(image[0], random_pixels(*image.shape[1:], seed=number))
            assert mask is not None
            assert np.array_equal(mask, random_mask(*image.shape[1:], seed=number) // 255)
    everywhere = [*data.train.names, *data.validation.names, *data.test.names]
    assert sorted(everywhere) == [f"images/{number:02}.png" for number in range(20)]
    assert data.unlabelled.names == data.train.names
    assert data.unlabelled.masks == [None] * 12
    assert all(one is other for one, other in zip(data.unlabelled.images, data.train.images, strict=True))


def test_the_seed_does_not_change_what_is_held_out(tmp_path: Path) -> None:
    write_pairs(tmp_path, 15)
    first, other = load(tmp_path, seed=0, labels="3"), load(tmp_path, seed=5, labels="3")
    assert first.test.names == other.test.names
    assert first.validation.names == other.validation.names
    assert first.unlabelled.names == other.unlabelled.names
    assert first.train.names != other.train.names


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_splits_of_the_data_are_used_above_and_below(tmp_path: Path, layout: str) -> None:
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        write_pairs(tmp_path / "made", count, seed=len(split))
        for kind in ("images", "masks"):
            target = tmp_path / "data" / layout.format(split=split, kind=kind)
            target.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "made" / kind).rename(target)
    data = load(tmp_path / "data")
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 2, 3)
    assert not data.notes


def test_folders_inside_and_other_suffixes_are_matched(tmp_path: Path) -> None:
    for number in range(4):
        mask = tiff(random_mask(6, 7, seed=number))
        write_pair(tmp_path, f"slide/{number}", random_pixels(6, 7, 3, seed=number), None)
        path = tmp_path / "masks" / "slide" / f"{number}.TIF"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mask)
    data = load(tmp_path, testing=False)
    assert len(data.train) == 4
    assert data.train.names[1] == "images/slide/1.png"
    assert np.array_equal(data.train.masks[1], random_mask(6, 7, seed=1) // 255)


def test_an_unlabelled_folder_needs_no_masks(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    write_images(tmp_path / "unlabelled", 3, seed=9)
    data = load(tmp_path)
    assert (len(data.train), len(data.unlabelled)) == (3, 6)
    assert data.unlabelled.names[-1] == "unlabelled/2.png"


def test_extra_unlabelled_folders_are_read_without_their_masks(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 5)
    write_images(tmp_path / "flat" / "deep", 3, seed=50)
    write_pairs(tmp_path / "masked", 4, seed=80)
    (tmp_path / "masked" / "masks" / "00.png").write_bytes(b"")
    data = load(tmp_path / "data", unlabelled=[tmp_path / "flat", tmp_path / "masked"])
    assert (len(data.train), len(data.unlabelled)) == (3, 10)
    assert data.unlabelled.names[3:] == [
        *(f"flat/deep/{number}.png" for number in range(3)),
        *(f"masked/images/0{number}.png" for number in range(4)),
    ]


def test_copies_of_held_out_images_are_no_unlabelled_ones(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 10)
    everything = tmp_path / "all"
    everything.mkdir()
    for path in (tmp_path / "data" / "images").iterdir():
        (everything / path.name).write_bytes(path.read_bytes())
    write_images(everything / "new", 2, seed=70)
    data = load(tmp_path / "data", unlabelled=everything)
    assert len(data.unlabelled) == 6 + 2
    assert any("copies" in note for note in data.notes)


def test_images_alone_are_enough_to_pretrain_on(tmp_path: Path) -> None:
    write_images(tmp_path / "flat", 5)
    data = load(tmp_path / "flat", need_masks=False)
    assert (len(data.unlabelled), len(data.train), len(data.test)) == (5, 0, 0)
    assert data.classes == []
    with refused("5 images and no masks", "folders images/ and masks/", "columns image and mask"):
        load(tmp_path / "flat")


def test_pretraining_sees_what_training_will_see(tmp_path: Path) -> None:
    write_pairs(tmp_path, 10)
    (tmp_path / "masks" / "03.png").write_bytes(b"damaged")  # not read
    with pytest.warns(UserWarning, match="skipped"):
        later = load(tmp_path)
    first = load(tmp_path, need_masks=False)
    assert set(later.unlabelled.names) <= set(first.unlabelled.names)
    assert len(first.unlabelled) == 6
    assert not set(first.unlabelled.names) & {*later.test.names, *later.validation.names}
    assert (len(first.train), len(first.validation), len(first.test)) == (0, 0, 0)


def test_missing_partners_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, 8)
    (tmp_path / "masks" / "03.png").unlink()
    with refused("1 image without a mask (images/03.png)", "--unlabelled"):
        load(tmp_path)
    for number in (1, 2, 4):
        (tmp_path / "masks" / f"0{number}.png").unlink()
    with refused("4 images without a mask (images/01.png, images/02.png, images/03.png, ...)"):
        load(tmp_path)
    (tmp_path / "images" / "06.png").unlink()
    with refused("4 images without a mask", "and 1 mask without an image (masks/06.png)"):
        load(tmp_path)


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    (tmp_path / "masks" / "01.tif").write_bytes(tiff(random_mask(9, 10)))
    with refused("masks/01.png", "masks/01.tif", "same name"):
        load(tmp_path)


def test_masks_without_images_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "masks", 3)
    with refused("3 masks and no images", "images/"):
        load(tmp_path)
    with refused("3 masks and no images"):
        load(tmp_path, need_masks=False)


def test_what_lies_beside_is_said(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    write_images(tmp_path / "overlays", 2)
    (tmp_path / "images" / "scan.czi").write_bytes(b"x")
    with pytest.warns(UserWarning, match="skipped"):
        data = load(tmp_path)
    assert dict(data.skipped)["overlays/"] == "2 images not used"
    assert "format is not read" in dict(data.skipped)["images/scan.czi"]
    with refused("scan.czi", "format is not read"):
        load(tmp_path, strict=True)


def test_too_few_to_hold_out_and_nothing_to_train_on(tmp_path: Path) -> None:
    with refused("found 2 masks", "too few", "validation", "at least three images"):
        load(write_pairs(tmp_path / "two", 2))
    write_pairs(tmp_path / "given" / "train", 3)
    (tmp_path / "given" / "test").mkdir()
    write_pairs(tmp_path / "given" / "test", 2)
    data = load(tmp_path / "given")
    assert (len(data.train), len(data.validation), len(data.test)) == (2, 1, 2)
    assert len(load(tmp_path / "two", testing=False).train) == 2


def test_misspelt_folders_and_groups_are_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "nuclei", 5)
    with refused("found no data", "did you mean", "nuclei"):
        load(tmp_path / "nucleii")
    with refused("no column 'patient'", "groups come from a table"):
        load(tmp_path / "nuclei", group="patient")


def test_linked_images_are_read_once(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    (tmp_path / "images" / "again.png").symlink_to(tmp_path / "images" / "00.png")
    (tmp_path / "masks" / "again.png").symlink_to(tmp_path / "masks" / "00.png")
    with pytest.warns(UserWarning, match="the same file as"):
        data = load(tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 5
    assert torch.equal(data.train.images[0], data.unlabelled.images[0])


def test_a_summary_says_what_there_is(tmp_path: Path) -> None:
    write_pairs(tmp_path, 10)
    (tmp_path / "images" / "00.png").write_bytes(encoded(random_pixels(8, 9, 3)))
    lines = load(tmp_path, labels="3").summary().splitlines()
    assert lines[0] == f"{tmp_path}: 6 images to pre-train on, masks unread"
    assert lines[1] == "  masks: 3 train, 2 validation, 2 test"
    assert lines[2] == "  classes: 2 (background, foreground)"
    assert "3 channels, 8 x 9 to 1" in lines[3]
    assert "20 % were held out" in lines[4]
