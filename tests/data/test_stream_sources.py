"""Shards, folders, tables and names on the Hub are found as they are for memory, and an index lies."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fasthebb.data import DataError
from fasthebb.data.folders import walk
from fasthebb.data.shards import shard_source
from fasthebb.data.sources import open_source
from fasthebb.data.stream_folder import paths_in_order
from fasthebb.data.stream_index_cache import cache_folder
from fasthebb.data.stream_parts import SPLITS, StreamSource
from fasthebb.data.stream_sources import open_stream
from fasthebb.data.stream_tar_headers import UnusualTarError, members
from tests.data.stream_sets import jpeg, pictures, shards, table, write_shard


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTHEBB_CACHE", str(tmp_path / "cache"))


def _same(stream: StreamSource, data: Path) -> None:
    """Whether a stream lists what memory does, in the same order."""
    source = open_source(data)
    assert len(stream) == len(source.items)
    codes, names = stream.labels()
    splits = stream.splits()
    for row, item in enumerate(source.items):
        assert stream.item(row).read() == item.read()
        assert (None if codes[row] < 0 else names[codes[row]]) == item.label
        assert SPLITS[splits[row]] == item.split
    assert stream.classes == source.classes


@pytest.mark.parametrize("make", [shards, pictures, table])
def test_the_same_images_labels_and_splits_are_found(make: object, tmp_path: Path) -> None:
    make(tmp_path / "data")  # type: ignore[operator]
    _same(open_stream(tmp_path / "data"), tmp_path / "data")


def test_splits_and_unlabelled_shards_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("train-0", "val-0", "unlabeled-0"):
        write_shard(tmp_path / f"{name}.tar", [("a.jpg", jpeg(0)), ("a.cls", b"1")])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    _same(open_stream(tmp_path), tmp_path)


def test_splits_of_a_folder_and_what_lies_beside_them(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog-b", "train/dog", "test/cat", "unlabelled/x", "notes"):
        (tmp_path / place / "deep").mkdir(parents=True)
        (tmp_path / place / "a.jpg").write_bytes(jpeg(len(place)))
        (tmp_path / place / "deep" / "b.jpg").write_bytes(jpeg(len(place) + 1))
    stream, source = open_stream(tmp_path), open_source(tmp_path)
    used = stream.splits() < len(SPLITS)
    names = [stream.name_of(int(row)) for row in np.flatnonzero(used)]
    assert names == [item.name for item in source.items]
    codes, classes = stream.labels()
    assert [None if code < 0 else classes[code] for code in codes[used]] == [item.label for item in source.items]
    assert stream.skipped == source.skipped


def test_paths_come_in_the_order_in_which_they_sort(tmp_path: Path) -> None:
    for name in (
        "a/x.jpg",
        "a-b/x.jpg",
        "a.jpg",
        "a/b/c.jpg",
        "a/b-.jpg",
        "b",
        ".hidden/x.jpg",
        "é/ü.jpg",
        "a b/x.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert list(paths_in_order(tmp_path)) == walk(tmp_path)


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["a.jpg", "folder/a.jpg", "n" * 90 + "/" + "m" * 40 + ".jpg", "é" * 120 + ".jpg"])
def test_shards_of_every_kind_of_tar(format_: int, name: str, tmp_path: Path) -> None:
    if format_ == tarfile.USTAR_FORMAT and "é" in name:
        pytest.skip("cannot be written so")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format_) as tar:
        tar.addfile(tarfile.TarInfo("folder"), None)
        for position in range(2):
            member = tarfile.TarInfo(f"{position}{name}")
            member.size, member.mtime = len(jpeg(position)), 1.5  # as writers of shards do: an extended header
            tar.addfile(member, io.BytesIO(jpeg(position)))
    _same(open_stream(path), path)


def test_the_quick_reader_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "a.tar", [("a.jpg", jpeg(0)), ("b.jpg", jpeg(1))]).read_bytes()
    assert [name for name, _, _ in members(io.BytesIO(whole))] == ["a.jpg", "b.jpg"]
    flipped = bytearray(whole)
    flipped[3] ^= 1
    negative = bytearray(whole)
    negative[124:136] = b"-0000000001\0"
    for content in (bytes(flipped), bytes(negative), whole[:1000], b"", b"no archive" * 100):
        with pytest.raises(UnusualTarError):
            list(members(io.BytesIO(content)))


@pytest.mark.parametrize("keep", [1.0, 0.6, 0.3])
def test_damaged_shards_give_what_can_be_read(keep: float, tmp_path: Path) -> None:
    for number in range(2):
        write_shard(tmp_path / f"{number}.tar", [(f"{row}.jpg", jpeg(row)) for row in range(5)])
    content = (tmp_path / "1.tar").read_bytes()
    (tmp_path / "1.tar").write_bytes(content[: int(len(content.rstrip(b"\0")) * keep)])
    stream, source = open_stream(tmp_path), open_source(tmp_path)
    assert len(stream) == len(source.items)
    assert stream.skipped == source.skipped
    with pytest.raises(DataError, match="damaged shard"):
        open_stream(tmp_path, strict=True)


def test_shards_without_images_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("a.txt", b"x")])
    with pytest.raises(DataError, match="found no images in the shards"):
        open_stream(tmp_path)


def test_two_images_of_one_key_count_once(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("a.jpg", jpeg(0)), ("a.mask.png", jpeg(1)), ("b.jpg", jpeg(2)), ("b.txt", b"x")])
    _same(open_stream(tmp_path), tmp_path)
    assert open_stream(tmp_path).skipped == shard_source("", tmp_path, ["a.tar"], False).skipped


def test_a_shard_is_looked_through_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path / "data", count=20)
    open_stream(tmp_path / "data")
    assert len(list(cache_folder().iterdir())) == 2

    def never(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr("fasthebb.data.stream_tar.members", never)
        _same(open_stream(tmp_path / "data"), tmp_path / "data")
        write_shard(tmp_path / "data" / "set-0000.tar", [("new.jpg", jpeg(7))])
        with pytest.raises(AssertionError):
            open_stream(tmp_path / "data")
    _same(open_stream(tmp_path / "data"), tmp_path / "data")


def test_a_damaged_or_forbidden_cache_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path / "data", count=20)
    open_stream(tmp_path / "data")
    for number, file in enumerate(sorted(cache_folder().iterdir())):
        file.write_bytes(file.read_bytes()[:100] if number else b"")
    _same(open_stream(tmp_path / "data"), tmp_path / "data")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FASTHEBB_CACHE", str(tmp_path / "file"))
    _same(open_stream(tmp_path / "data"), tmp_path / "data")
    assert {path.suffix for path in (tmp_path / "data").iterdir()} == {".tar"}


def test_tables_of_the_hub_are_read_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(str(path) for path in table(tmp_path / "data").iterdir())
    found = SimpleNamespace(config=SimpleNamespace(data_files={"train": files[:1], "test": files[1:]}))
    asked: list[str] = []
    monkeypatch.setattr("datasets.load_dataset_builder", lambda name: asked.append(name) or found)
    stream = open_stream("somebody/cats-and-dogs")
    assert asked == ["somebody/cats-and-dogs"]
    assert len(stream) == 40
    assert stream.splits().tolist() == [0] * 20 + [2] * 20
    assert stream.item(25).read() == jpeg(25)
    found.config.data_files = {"train": ["hf://datasets/somebody/x/a.tar"]}
    with pytest.raises(DataError, match="not kept as parquet files"):
        open_stream("somebody/cats-and-dogs")


@pytest.mark.parametrize(
    ("data", "words"),
    [("digits", "leave out --stream"), ("no/such/place.tar", "found no data"), ("x.txt", "leave out --stream")],
)
def test_what_cannot_be_streamed_is_refused(
    data: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=words):
        open_stream(data)


def test_a_table_cell_that_leads_elsewhere_is_unreadable(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "secret.jpg").write_bytes(jpeg(0))
    (tmp_path / "data").mkdir()
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    rows = pyarrow.table({"image": pyarrow.array([{"bytes": None, "path": "../secret.jpg"}], kind)})
    pyarrow.parquet.write_table(rows, tmp_path / "data" / "a.parquet")
    with pytest.raises(ValueError, match="leads out of the data folder"):
        open_stream(tmp_path / "data").item(0).read()
