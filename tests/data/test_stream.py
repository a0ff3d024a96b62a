"""A stream gives what the same set in memory gives, to every process its part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fasthebb.data import Batches, DataError, Preprocessing, StreamBatches, fit_on_sample, load_images, load_stream
from fasthebb.data.stream_order import epoch_order
from fasthebb.data.stream_set import StreamSet
from tests.data.stream_sets import jpeg, pictures, shards, table, write_shard

Maker = Callable[[Path], Path]
MAKERS = pytest.mark.parametrize("make", [shards, pictures, table])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTHEBB_CACHE", str(tmp_path / "cache"))


def _plain(size: int = 16, channels: int = 3) -> Preprocessing:
    return Preprocessing(torch.full((channels,), 0.5), torch.full((channels,), 0.25), size)


def _streamed(data: Path, workers: int = 0, need_labels: bool = True, **more: object) -> StreamSet:
    return load_stream(data, image_size=16, workers=workers, progress=False, need_labels=need_labels, **more).unlabelled  # type: ignore[arg-type]


@MAKERS
def test_the_sets_are_those_that_memory_would_hold(make: Maker, tmp_path: Path) -> None:
    make(tmp_path / "data")
    held = load_images(tmp_path / "data", image_size=16, labels="0.5", seed=3, progress=False)
    stream = load_stream(tmp_path / "data", image_size=16, labels="0.5", seed=3, workers=0, progress=False)
    assert stream.classes == held.classes
    for name in ("unlabelled", "train", "validation", "test"):
        one, other = getattr(held, name), getattr(stream, name)
        assert torch.equal(one.labels, other.labels), name
        assert torch.equal(one.images, other.read(np.arange(len(other))).images), name


@pytest.mark.parametrize("make", [shards, pictures])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_memory(make: Maker, workers: int, tmp_path: Path) -> None:
    make(tmp_path / "data")
    held = load_images(tmp_path / "data", image_size=16, progress=False)
    stream = load_stream(tmp_path / "data", image_size=16, workers=workers, progress=False)
    one = Batches(held.train, _plain(), batch_size=7, shuffle=True, seed=5)
    other = StreamBatches(stream.train, _plain(), batch_size=7, shuffle=True, seed=5)
    one.set_epoch(2)
    other.set_epoch(2)
    assert len(one) == len(other)
    for (images, labels), (streamed, found) in zip(one, other, strict=True):
        assert torch.equal(labels, found)
        # 24 x 20 pixels differ by an even number, so that torchvision resizes; one grey value is 1 / 255 / 0.25.
        assert (images - streamed).abs().mean() < 0.5 / 255 / 0.25
        assert streamed.is_contiguous(memory_format=torch.channels_last)


def test_the_preprocessing_of_a_small_set_is_that_of_all_its_images(tmp_path: Path) -> None:
    held = load_images(shards(tmp_path / "data"), image_size=16, progress=False)
    stream = load_stream(tmp_path / "data", image_size=16, workers=0, progress=False)
    for whiten in (False, True):
        one, other = Preprocessing.fit(held.unlabelled, whiten=whiten), fit_on_sample(stream.unlabelled, whiten=whiten)
        torch.testing.assert_close(one.mean, other.mean, atol=2e-3, rtol=0)
        torch.testing.assert_close(one.std, other.std, atol=2e-3, rtol=0)
    again = fit_on_sample(stream.unlabelled, whiten=True)
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), again.state_dict().values(), strict=True))


@MAKERS
@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("augment", ["none", "light"])
def test_processes_share_the_batches_of_one_without_overlap_or_gap(
    make: Maker, world_size: int, augment: str, tmp_path: Path
) -> None:
    images = _streamed(make(tmp_path / "data"))  # 24 images
    assert len(images) == 24
    whole = list(StreamBatches(images, _plain(), batch_size=5 * world_size, shuffle=True, augment=augment))  # type: ignore[arg-type]
    parts = [
        list(
            StreamBatches(
                images,
                _plain(),
                batch_size=5,
                shuffle=True,
                augment=augment,  # type: ignore[arg-type]
                rank=rank,
                world_size=world_size,
            )
        )
        for rank in range(world_size)
    ]
    assert [len(part) for part in parts] == [len(whole)] * world_size
    for number, (batch, _) in enumerate(whole):
        joined = torch.empty_like(batch)
        for rank in range(world_size):
            joined[rank::world_size] = parts[rank][number][0]
        assert torch.equal(joined, batch)


def test_a_process_without_an_image_in_the_last_batch_gets_an_empty_one(tmp_path: Path) -> None:
    images = _streamed(pictures(tmp_path / "data")).subset(list(range(5)))
    batches = StreamBatches(images, _plain(), batch_size=2, shuffle=True, rank=1, world_size=2)
    found = [tuple(batch.shape) for batch, _ in batches]
    assert found == [(2, 3, 16, 16), (0, 3, 16, 16)]
    assert [batches.joined_size(number) for number in range(len(batches))] == [4, 1]


@MAKERS
def test_epochs_differ_and_repeat(make: Maker, tmp_path: Path) -> None:
    images = _streamed(make(tmp_path / "data"))
    orders = []
    for epoch in (0, 1, 0):
        batches = StreamBatches(images, _plain(), batch_size=24, shuffle=True, seed=1)
        batches.set_epoch(epoch)
        orders.append(next(iter(batches))[0])
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0].sum((1, 2, 3)).sort().values, orders[1].sum((1, 2, 3)).sort().values)


def test_augmentation_does_not_depend_on_batch_size_or_workers(tmp_path: Path) -> None:
    found = []
    for size, workers in ((4, 0), (9, 2)):
        images = _streamed(pictures(tmp_path / "data"), workers=workers)
        batches = StreamBatches(images, _plain(), batch_size=size, shuffle=True, augment="hard")
        found.append(torch.cat([batch for batch, _ in batches]))
    torch.testing.assert_close(found[0], found[1])
    plain = torch.cat([batch for batch, _ in StreamBatches(images, _plain(), batch_size=9, shuffle=True)])
    assert (plain - found[0]).abs().mean() > 0.1


def test_an_order_of_blocks_holds_few_of_them_together() -> None:
    blocks = np.arange(0, 1000, 10)
    order = epoch_order(1000, torch.Generator().manual_seed(0), blocks, together=4).numpy()
    assert sorted(order) == list(range(1000))
    for start in range(0, 1000, 40):
        assert len(set(order[start : start + 40] // 10)) == 4
    assert (order[:40] != np.sort(order[:40])).any()


def test_each_row_group_is_read_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    images = _streamed(table(tmp_path / "data", count=60))
    monkeypatch.setattr("fasthebb.data.stream_batches.TOGETHER_BYTES", 2 * images.source.block_bytes)
    held = images.source.parts[0]._held  # type: ignore[attr-defined]
    held._held.clear()
    held._bytes, held.most = 0, 5 * images.source.block_bytes
    read: list[tuple[str, int]] = []
    whole = parquet.ParquetFile.read_row_group

    def counted(file: parquet.ParquetFile, group: int, **how: object) -> object:
        read.append((str(file.reader), group))
        return whole(file, group, **how)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", counted)
    seen = sum(len(batch) for batch, _ in StreamBatches(images, _plain(), batch_size=4, shuffle=True))
    assert seen == len(images)
    assert len(read) == len(images.blocks())  # type: ignore[arg-type]


def test_what_cannot_be_read_is_left_out_and_told_of_once(tmp_path: Path) -> None:
    images = _streamed(shards(tmp_path / "data", broken=tuple(range(0, 40, 5))), need_labels=False)
    batches = StreamBatches(images, _plain(), batch_size=6, shuffle=True)
    with pytest.warns(UserWarning, match=r"skipped \d files of .*set-00\d\d.tar/00\d\d.jpg \(Truncated File Read"):
        seen = sum(len(batch) for batch, _ in batches)
    with pytest.warns(UserWarning, match="skipped 8 files"):
        held = load_images(tmp_path / "data", image_size=16, progress=False, need_labels=False).unlabelled
    assert seen == len(held) == len(images) - len(images.unreadable)
    assert not set(images.unreadable) & set(held.names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(len(batch) for batch, _ in StreamBatches(images, _plain(), batch_size=6, shuffle=True)) == seen


def test_a_batch_of_which_nothing_can_be_read_becomes_one_image(tmp_path: Path) -> None:
    images = _streamed(shards(tmp_path / "data", broken=(8,)), need_labels=False)
    position = [images.source.name_of(int(row))[-8:] for row in images.rows].index("0008.jpg")
    batches = StreamBatches(images.subset([position]), _plain(), batch_size=1, shuffle=True)
    with pytest.warns(UserWarning, match="skipped 1 file"):
        ((batch, labels),) = batches
    assert torch.equal(batch, _plain()(images.spare))
    assert labels.tolist() == [-1]


def test_under_strict_the_first_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    images = _streamed(shards(tmp_path / "data", broken=(8,)), need_labels=False, strict=True)
    with pytest.raises(DataError, match=r"cannot read 'set-0000.tar/0008.jpg': Truncated File Read"):
        list(StreamBatches(images, _plain(), batch_size=6, shuffle=True))


def test_grey_and_colour_become_what_was_asked_for(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "a.tar", [("0.jpg", jpeg(0)), ("1.jpg", jpeg(1, grey=True))])
    assert _streamed(tmp_path / "data", need_labels=False).channels == 3
    images = _streamed(tmp_path / "data", need_labels=False, channels=1)
    ((batch, _),) = StreamBatches(images, _plain(channels=1), batch_size=2, shuffle=False)
    assert batch.shape == (2, 1, 16, 16)


def test_further_unlabelled_images_come_behind_the_data(tmp_path: Path) -> None:
    data, more = shards(tmp_path / "data"), table(tmp_path / "more", count=10)
    images = _streamed(data, unlabelled=[more])
    assert len(images) == 24 + 10
    assert images.labels.unique().tolist() == [-1]
    with pytest.raises(DataError, match="lie within each other"):
        _streamed(data, unlabelled=[data])


@pytest.mark.parametrize(("batch_size", "rank"), [(0, 0), (4, 2)])
def test_numbers_out_of_range_are_refused(batch_size: int, rank: int, tmp_path: Path) -> None:
    images = _streamed(pictures(tmp_path / "data"))
    with pytest.raises(DataError, match="expected"):
        StreamBatches(images, _plain(), batch_size=batch_size, shuffle=True, rank=rank, world_size=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_neither_read_nor_moved(workers: int, tmp_path: Path) -> None:
    images = _streamed(pictures(tmp_path / "data"), workers=workers)
    before = torch.get_rng_state()
    first = torch.cat([batch for batch, _ in StreamBatches(images, _plain(), batch_size=9, shuffle=True)])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    again = torch.cat([batch for batch, _ in StreamBatches(images, _plain(), batch_size=9, shuffle=True)])
    assert torch.equal(first, again)
