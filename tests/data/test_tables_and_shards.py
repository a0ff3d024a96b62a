import logging
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, load, random_pixels, refused, write_images, write_table

from fasthebb.data import load_folder_for_prediction
from fasthebb.data.sources import open_source
from fasthebb.data.tables import class_name

CLASSES = ["ant", "bee", "crane"]


def png(seed: int) -> bytes:
    return encoded(random_pixels(8, 8, 3, seed=seed))


def hub_table(count: int, seed: int = 0, **columns: Sequence[Any]) -> datasets.Dataset:
    """Images with labels 0, 1, 2, 0, ... as the Hub keeps them; further columns as they are given."""
    images = [{"bytes": png(seed + row), "path": None} for row in range(count)]
    table = datasets.Dataset.from_dict({"image": images, "label": [row % 3 for row in range(count)], **columns})
    return table.cast_column("image", datasets.Image()).cast_column("label", datasets.ClassLabel(names=CLASSES))


def plain_table(path: Path, cells: Sequence[Mapping[str, Any]], **columns: Sequence[Any]) -> Path:
    """A parquet file without the Hub's metadata."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(cells, kind), **columns}), path, row_group_size=4)
    return path


def shard(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return path


def labelled_members(count: int, start: int = 0) -> list[tuple[str, bytes]]:
    """Pairs of an image and its class, by number."""
    rows = range(start, start + count)
    return [pair for row in rows for pair in ((f"{row:04}.png", png(row)), (f"{row:04}.cls", b"%d" % (row % 3)))]


def test_parquet_is_read_as_the_hub_writes_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for split, count in (("train", 12), ("validation", 6), ("test", 3)):
        table = hub_table(count, seed=len(split), patient=[f"{split}-{row}" for row in range(count)])
        table.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    data = load(tmp_path, group="patient")
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 6, 3)
    assert data.classes == CLASSES
    assert data.train.labels.tolist() == [0, 1, 2] * 4
    assert data.train.groups == [f"train-{row}" for row in range(12)]
    assert data.train.names[3] == "data/train-00000-of-00001.parquet#3"
    assert np.array_equal(data.train.images[5].permute(1, 2, 0), random_pixels(8, 8, 3, seed=10))
    with refused("only images of validation or test", "test-00000-of-00001.parquet", "expected some to train on"):
        load(tmp_path / "data" / "test-00000-of-00001.parquet", need_labels=False)


def test_a_single_file_of_one_split_is_divided(tmp_path: Path) -> None:
    hub_table(60).to_parquet(tmp_path / "images.parquet")
    data = load(tmp_path / "images.parquet")
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 12, 12)
    assert load(tmp_path, seed=3).train.names == [name.rpartition("/")[2] for name in data.train.names]


def test_many_row_groups_are_read_in_any_order(tmp_path: Path) -> None:
    path = plain_table(tmp_path / "x.parquet", [{"bytes": png(row), "path": f"{row}.png"} for row in range(50)])
    items = open_source(path).items
    assert [item.name for item in items] == [f"{row}.png" for row in range(50)]
    for row in np.random.default_rng(0).permutation(50):
        assert items[row].read() == png(row)
    images, _ = load_folder_for_prediction(path, image_size=8, channels=3)
    assert np.array_equal(images.images[:, :, 0, 0], [random_pixels(8, 8, 3, seed=row)[0, 0] for row in range(50)])


def test_tables_without_metadata_have_their_values_for_classes(tmp_path: Path) -> None:
    cells = [{"bytes": png(row), "path": None} for row in range(30)]
    values: list[float | None] = [float(10 - row % 3) for row in range(30)]
    values[0] = None
    values[1] = float("nan")
    values[2] = -1.0
    data = load(plain_table(tmp_path / "x.parquet", cells, label=values))
    assert data.classes == ["8", "9", "10"]
    assert {f"x.parquet#{row}" for row in range(3)} <= set(data.unlabelled.names) - set(data.train.names)
    texts = load(plain_table(tmp_path / "x.parquet", cells, label=[CLASSES[row % 3] for row in range(30)]))
    assert texts.classes == CLASSES


def test_a_label_file_names_the_rows(tmp_path: Path) -> None:
    cells = [{"bytes": png(row), "path": f"scan{row}.png"} for row in range(12)]
    table = plain_table(tmp_path / "x.parquet", cells)
    rows = [(f"scan{row}.png", "pq"[row % 2]) for row in range(10)]
    data = load(table, label_file=write_table(tmp_path / "l.csv", ["file", "label"], rows))
    assert data.classes == ["p", "q"]
    assert {"scan10.png", "scan11.png"} <= set(data.unlabelled.names)


def test_a_label_file_replaces_the_labels_of_a_table_and_adds_to_its_groups(tmp_path: Path) -> None:
    hub_table(12, group=[f"p{row}" for row in range(12)]).to_parquet(tmp_path / "x.parquet")
    rows = [(f"x.parquet#{row}", "pq"[row % 2], "other" if row == 0 else "") for row in range(12)]
    for columns in (["file", "label", "group"], ["file", "label", "note"]):
        data = load(tmp_path / "x.parquet", label_file=write_table(tmp_path / "l.csv", columns, rows))
        assert data.classes == ["p", "q"]
        groups = {*(data.train.groups or []), *(data.validation.groups or []), *(data.test.groups or [])}
        assert groups == {"other" if columns[2] == "group" else "p0", *(f"p{row}" for row in range(1, 12))}


@pytest.mark.parametrize(
    ("value", "names", "expected"),
    [(2, CLASSES, "crane"), ("bee", CLASSES, "bee"), (-1, CLASSES, None), (None, CLASSES, None), ("", None, None)],
)
def test_labels_of_tables_are_names_of_classes(value: object, names: list[str], expected: str | None) -> None:
    assert class_name(value, names, "x") == expected


@pytest.mark.parametrize("value", [3, -2, 1.5, [0, 1]])
def test_labels_that_are_no_class_are_refused(value: object) -> None:
    with refused(f"the label {value}", "'x'"):
        class_name(value, CLASSES, "x")


def test_a_path_in_a_cell_is_followed_inside_the_folder_only(tmp_path: Path) -> None:
    """A table from elsewhere must not choose files of this machine."""
    inside = tmp_path / "data"
    write_images(inside / "images", 1)
    secret = write_images(tmp_path / "secret", 1)[0]
    (inside / "link.png").symlink_to(secret)
    cells = [
        {"bytes": None, "path": path}
        for path in (
            "images/0.png",
            str(secret),
            "../secret/0.png",
            "link.png",
            "images/../../secret/0.png",
            "none.png",
        )
    ]
    plain_table(inside / "x.parquet", [*cells, {"bytes": None, "path": None}])
    with pytest.warns(UserWarning, match="skipped 6 files"):
        data = load(inside / "x.parquet", need_labels=False)
    assert len(data.unlabelled) == 1
    reasons = [reason for _, reason in data.skipped]
    assert reasons[:4] == ["its path leads out of the data folder"] * 4
    assert "No such file" in reasons[4]
    assert "holds no image" in reasons[5]


def test_damaged_and_other_tables_are_one_clear_line(tmp_path: Path) -> None:
    whole = plain_table(tmp_path / "x.parquet", [{"bytes": png(0), "path": None}])
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    for data in (whole, tmp_path):
        with refused("unreadable parquet file", "x.parquet", "download it again"):
            load(data)
    pq.write_table(pa.table({"height": [1], "width": [2]}), whole)
    for data in (whole, tmp_path):
        with refused("no image column", "(height, width)", "expected 'image'"):
            load(data)


def test_a_table_beside_images_is_no_data(tmp_path: Path) -> None:
    write_images(tmp_path, 5)
    pq.write_table(pa.table({"height": [1]}), tmp_path / "a.parquet")
    assert len(load(tmp_path, need_labels=False).unlabelled) == 5


def test_a_damaged_image_in_a_table_is_skipped_with_its_row(tmp_path: Path) -> None:
    cells = [{"bytes": png(row) if row != 7 else png(row)[:60], "path": None} for row in range(12)]
    plain_table(tmp_path / "x.parquet", cells)
    with pytest.warns(UserWarning, match=r"x\.parquet#7"):
        assert len(load(tmp_path, need_labels=False).unlabelled) == 11
    with refused("cannot read 'x.parquet#7'"):
        load(tmp_path, need_labels=False, strict=True)


def test_unlabelled_splits_hold_no_labels(tmp_path: Path) -> None:
    hub_table(30).to_parquet(tmp_path / "train-00000-of-00001.parquet")
    hub_table(9, seed=100).to_parquet(tmp_path / "unsupervised-00000-of-00001.parquet")
    data = load(tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 30
    assert len(data.unlabelled) == len(data.train) + 9


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_a_hub_name_without_a_connection_is_one_clear_line(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("huggingface_hub").level
    with refused("'owner/no-such-images' is no path here", "Hugging Face Hub", "check the spelling and the connection"):
        load("owner/no-such-images")

    def fail(name: str) -> None:
        assert not logging.getLogger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING)  # of its attempts
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with refused("(ConnectionError: no route)"):
        load("owner/no-such-images")
    assert logging.getLogger("huggingface_hub").level == level


def test_a_run_folder_does_not_hide_a_name_on_the_hub(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist-hpca").mkdir()
    with refused("as a name on the Hugging Face Hub"):
        load("mnist")
    with refused("did you mean 'mnist-hpca'"):
        load("mnist-hpc")
    with refused("found no data 'mnist.parquet'"):
        load("mnist.parquet")


def test_a_set_of_the_hub_is_read_by_its_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = datasets.DatasetDict(
        train=hub_table(12, group=[f"p{row}" for row in range(12)]),
        test=hub_table(6, seed=50, group=[f"q{row}" for row in range(6)]),
        unsupervised=hub_table(5, seed=90, group=["p0"] * 5),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name: loaded)
    data = load("owner/bees")
    assert data.classes == CLASSES
    assert len(data.test) == 6
    assert data.test.names[1] == "test#1"
    assert len(data.train) + len(data.validation) == 12
    assert np.array_equal(data.test.images[0].permute(1, 2, 0), random_pixels(8, 8, 3, seed=50))
    assert set(data.unlabelled.groups or []) == set(data.train.groups or [])
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name: datasets.DatasetDict(train=loaded["train"].remove_columns("image"))
    )
    with refused("no image column in 'owner/bees'", "label, group"):
        load("owner/bees")


def test_a_set_of_the_hub_cannot_name_files_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, cached = write_images(tmp_path / "secret", 1)[0], write_images(tmp_path / "cache", 1, seed=1)[0]
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    cells = [{"bytes": None, "path": str(path)} for path in (secret, cached)]
    table = datasets.Dataset.from_dict({"image": cells}).cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(train=table))
    with pytest.warns(UserWarning, match=r"train#0 \(its path leads out of the cache"):
        assert load("owner/spy", need_labels=False).unlabelled.names == ["train#1"]


def test_shards_pair_images_with_labels(tmp_path: Path) -> None:
    shard(tmp_path / "a-000000.tar", labelled_members(30))
    shard(tmp_path / "a-000001.tar", [*labelled_members(30, 30), ("0060.png", png(60)), ("0061.json", b"{}")])
    numbers = load(tmp_path)
    assert numbers.classes == ["0", "1", "2"]
    assert len(numbers.train) + len(numbers.validation) + len(numbers.test) == 60
    assert "a-000001.tar/0060.png" in numbers.unlabelled.names
    (tmp_path / "classes.txt").write_text("ant\nbee\n\ncrane\n")
    assert load(tmp_path).classes == CLASSES
    row = int(numbers.test.names[0][-8:-4])
    assert int(numbers.test.labels[0]) == row % 3
    assert np.array_equal(numbers.test.images[0].permute(1, 2, 0), random_pixels(8, 8, 3, seed=row))
    alone = open_source(tmp_path / "a-000000.tar")
    assert [item.label for item in alone.items[:3]] == CLASSES
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    with refused("the label '2'", "a-000000.tar", "(0 to 1)"):
        load(tmp_path)


def test_classes_that_are_called_alike_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("crane\nant\ncrane\n")
    shard(tmp_path / "x.tar", labelled_members(30))
    assert load(tmp_path).classes == ["crane", "ant", "crane (2)"]


def test_shards_are_of_the_split_that_names_them(tmp_path: Path) -> None:
    for name, start, count in (("train-0", 0, 30), ("val-0", 30, 9), ("test-0", 60, 6), ("unlabeled-0", 90, 4)):
        shard(tmp_path / f"{name}.tar", labelled_members(count, start))
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test), len(data.unlabelled)) == (30, 9, 6, 34)


def test_a_text_is_a_label_only_where_there_is_no_class(tmp_path: Path) -> None:
    members = [
        *(("0.cls", b"bee"), ("0.png", png(0)), ("0.txt", b"a bee on a flower")),
        *(("1.txt", b"two ants"), ("1.png", png(1)), ("1.cls", b"ant\n")),
        *(("2.png", png(2)), ("2.txt", b"crane")),
        *(("3.png", png(3)), ("3.txt", b"caption " * 200)),
        *(("4.png", png(4)), ("4.cls", b"b\xe9e")),
        *(("5.png", png(5)), ("5.cls", b"-1")),
    ]
    items = open_source(shard(tmp_path / "x.tar", members)).items
    assert [item.label for item in items] == ["bee", "ant", "crane", None, "b\ufffde", None]


def test_further_images_of_a_sample_are_reported(tmp_path: Path) -> None:
    members = [("scan.001.png", png(0)), ("scan.002.png", png(1)), ("b/scan.png", png(2))]
    source = open_source(shard(tmp_path / "x.tar", members))
    assert [item.name for item in source.items] == ["x.tar/scan.001.png", "x.tar/b/scan.png"]
    assert source.skipped == [("x.tar", "1 image not used, called like another up to the first dot in the name")]


def test_a_shard_takes_nothing_from_outside_itself(tmp_path: Path) -> None:
    secret = write_images(tmp_path / "secret", 1)[0]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "a.png"), (tarfile.LNKTYPE, "b.png"), (tarfile.DIRTYPE, "c.png")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            tar.addfile(member)
        for name in ("../../escape.png", "/etc/passwd.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png(0))
            tar.addfile(member, BytesIO(png(0)))
    items = open_source(tmp_path / "x.tar").items
    assert [item.name for item in items] == ["x.tar/../../escape.png", "x.tar//etc/passwd.png"]
    assert [item.read() for item in items] == [png(0)] * 2
    load(tmp_path / "x.tar", need_labels=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "x.tar"]


def with_size(content: bytes, position: int, field: bytes) -> bytes:
    """A tar whose header at ``position`` says another size, with a checksum that fits."""
    header = bytearray(content[position : position + 512])
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:position] + bytes(header) + content[position + 512 :]


@pytest.mark.parametrize(
    ("field", "readable"),
    [
        (b"%011o\0" % 2**32, 2),  # more than the file has
        (b"\x80" + (2**60).to_bytes(11, "big"), 2),  # more than any memory
        (b"%011o\0" % 20, 3),  # less than the image has
        (b"\xff" + (2**88 - 512).to_bytes(11, "big"), 2),  # negative: the next header would be this one again
    ],
)
def test_a_member_that_lies_about_its_size_costs_no_more_than_what_follows(
    tmp_path: Path, field: bytes, readable: int
) -> None:
    path = shard(tmp_path / "x.tar", [(f"{row}.png", png(row)) for row in range(4)])
    content = path.read_bytes()
    path.write_bytes(with_size(content, content.index(b"2.png"), field))
    with pytest.warns(UserWarning, match=r"x\.tar"):
        data = load(path, need_labels=False)
    expected = [row for row in range(4) if row < 2 or (row == 3 and readable == 3)]
    assert data.unlabelled.names == [f"x.tar/{row}.png" for row in expected]


def whole_blocks(content: bytes) -> bytes:
    return content[: content.index(b"2.png")]


def within_a_header(content: bytes) -> bytes:
    return content[: content.index(b"2.png") + 100]


def within_an_image(content: bytes) -> bytes:
    return content[: content.index(b"2.png") + 560]


def garbled_header(content: bytes) -> bytes:
    start = content.index(b"2.png")
    return content[:start] + bytes([7]) * 512 + content[start + 512 :]


@pytest.mark.parametrize("damage", [whole_blocks, within_a_header, within_an_image, garbled_header])
def test_of_a_damaged_shard_what_can_be_read_is_kept_and_the_rest_reported(tmp_path: Path, damage: Any) -> None:
    path = shard(tmp_path / "x.tar", [(f"{row}.png", png(row)) for row in range(4)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged after [23] images"):
        data = load(path, need_labels=False)
    assert data.unlabelled.names == ["x.tar/0.png", "x.tar/1.png"]
    with refused("damaged shard", str(path)):
        load(path, need_labels=False, strict=True)


def test_what_is_no_shard_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for content in (b"", b"no tar at all" * 100):
        path.write_bytes(content)
        with refused("no images in the shards", str(path), "uncompressed .tar"):
            load(path)
    shard(path, [("a.txt", b"ant")])
    with refused("no images in the shards"):
        load(path)
