from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, random_pixels, refused
from mask_files import load, mask_files, random_mask, write_table


def test_columns_image_and_mask_are_read_row_by_row(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("validation", 3), ("test", 6)):
        write_table(tmp_path / "data" / f"{split}-00000-of-00001.parquet", mask_files(count, seed=count), seed=count)
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 3, 6)
    for count, part in ((10, data.train), (3, data.validation), (6, data.test)):
        for row in range(count):
            assert np.array_equal(part.images[row][0], random_pixels(8, 8, seed=count + row))
            assert np.array_equal(part.masks[row], random_mask(8, 8, seed=count + row) // 255)
    assert data.train.groups is None
    assert data.train.names[4] == "data/train-00000-of-00001.parquet#4"


def test_groups_are_kept_together_and_drawn_apart(tmp_path: Path) -> None:
    groups = [f"field {row // 4}" for row in range(60)]
    path = write_table(tmp_path / "tiles.parquet", mask_files(60), group=groups)
    data = load(path)
    parts = [set(part.groups or []) for part in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [9, 3, 3]
    assert len(set.union(*parts)) == 15
    for seed in range(5):
        drawn = load(path, labels="5", seed=seed).train
        assert drawn.groups is not None
        assert len(set(drawn.groups)) == len(drawn) == 5


def test_groups_are_read_from_a_named_column(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", mask_files(20), patient=[row // 2 for row in range(20)])
    assert load(path, group="patient").train.groups is not None
    assert load(path).train.groups is None
    with refused("no column 'patients'", "mask, patient"):
        load(path, group="patients")


def test_splits_that_divide_a_group_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_table(tmp_path / f"{split}.parquet", mask_files(3), group=["a", "b", split])
    with refused("found 2 groups in more than one of train, validation and test (a, b)"):
        load(tmp_path)


def test_rows_without_a_mask_are_named_unless_they_are_said_to_have_none(tmp_path: Path) -> None:
    masks = [*mask_files(8), None]
    path = write_table(tmp_path / "train.parquet", masks)
    with refused("1 image without a mask (train.parquet#8)"):
        load(path)
    assert len(load(path, need_masks=False).unlabelled) == 9 - 4
    write_table(tmp_path / "train.parquet", masks[:-1])
    write_table(tmp_path / "unlabelled.parquet", [None, None], seed=50)
    data = load(tmp_path)
    assert (len(data.train), len(data.unlabelled)) == (4, 6)


def test_tables_without_a_column_of_masks_are_for_pretraining(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", mask_files(3))
    pq.write_table(pq.read_table(path).drop_columns(["mask"]), path)
    assert len(load(path, need_masks=False).unlabelled) == 3
    with refused("3 images and no masks", "columns image and mask"):
        load(path)


def test_columns_that_hold_no_masks_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", mask_files(3))
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["mask"]).append_column("mask", pa.array([1, 2, 3])), path)
    with refused("column 'mask' of the type int64"):
        load(path)
    pq.write_table(table.drop_columns(["image"]), path)
    with refused("masks and no images", "columns image and mask"):
        load(path)


def test_a_data_set_of_the_hub_is_read_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def table(count: int, seed: int, group: int = 0, masked: bool = True) -> datasets.Dataset:
        images = [{"bytes": encoded(random_pixels(8, 8, seed=seed + row)), "path": None} for row in range(count)]
        masks = [{"bytes": mask, "path": None} if masked else None for mask in mask_files(count, seed=seed)]
        kinds = datasets.Features(image=datasets.Image(), mask=datasets.Image(), group=datasets.Value("int32"))
        return datasets.Dataset.from_dict(
            {"image": images, "mask": masks, "group": range(group, group + count)}, features=kinds
        )

    loaded = datasets.DatasetDict(train=table(6, 0), test=table(3, 20), unsupervised=table(4, 40, 40, masked=False))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: loaded)
    with refused("more than one of train, validation and test"):
        load("owner/cells")
    loaded["test"] = loaded["test"].remove_columns("group").add_column("group", [100, 101, 102])
    data = load("owner/cells")
    assert (len(data.train), len(data.validation), len(data.test), len(data.unlabelled)) == (5, 1, 3, 9)
    for row, name in enumerate(data.train.names):
        number = int(name.rpartition("#")[2])
        assert np.array_equal(data.train.images[row][0], random_pixels(8, 8, seed=number))
        assert np.array_equal(data.train.masks[row], random_mask(8, 8, seed=number) // 255)


def test_images_without_masks_have_no_other_door(tmp_path: Path) -> None:
    with refused("1797 images and no masks in 'digits'"):
        load("digits")
    assert len(load("digits", need_masks=False).unlabelled) == 1797
