import itertools
import random
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import refused
from numpy.typing import NDArray
from torch import Tensor

from fasthebb.data import Augmentation, Batches, DataError, ImageSet, Preprocessing
from fasthebb.data.augmentation import mirror_and_shift

CHANGING = ["shift", "light", "hard"]
LEVELS = st.sampled_from(get_args(Augmentation))


def numbered(count: int = 37, side: int = 16) -> ImageSet:
    """Images that differ everywhere; an image's label is its position."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 2, side, side), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count), [str(row) for row in range(count)])


def plain(images: ImageSet) -> Preprocessing:
    """Leaves values as they are, in [0, 1]."""
    channels = images.images.shape[1]
    return Preprocessing(torch.zeros(channels), torch.ones(channels), images.images.shape[-1])


def epoch(batches: Batches, number: int = 0) -> tuple[Tensor, Tensor]:
    """All of an epoch, in order of the labels: images and the order in which they came."""
    batches.set_epoch(number)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return images[labels.argsort()], labels


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), LEVELS, st.booleans(), st.integers(-3, 2**70))
def test_every_image_comes_once(
    count: int, size: int, shuffle: bool, augment: Augmentation, drop_last: bool, seed: int
) -> None:
    images = numbered(count, side=8)
    batches = Batches(
        images, plain(images), batch_size=size, shuffle=shuffle, augment=augment, drop_last=drop_last, seed=seed
    )
    lengths = [len(labels) for _, labels in batches]
    assert len(lengths) == len(batches)
    assert lengths[:-1] == [size] * (len(lengths) - 1)
    assert sum(lengths) == (count // size * size if drop_last else count)
    labels = [label for _, labels in batches for label in labels.tolist()]
    assert len(set(labels)) == len(labels)
    if not shuffle:
        assert labels == list(range(len(labels)))


def test_batches_are_ready_for_the_network() -> None:
    images = numbered()
    preprocessing = Preprocessing.fit(images, whiten=True)
    for augment in get_args(Augmentation):
        for x, labels in Batches(images, preprocessing, batch_size=10, shuffle=True, augment=augment):
            assert x.dtype == torch.float32
            assert x.is_contiguous(memory_format=torch.channels_last)
            assert labels.dtype == torch.int64
            assert not x.requires_grad
            if augment == "none":
                torch.testing.assert_close(x, preprocessing(images.images[labels]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("level", CHANGING)
def test_each_epoch_has_its_order_and_each_pass_of_it_the_same(level: Augmentation) -> None:
    images = numbered()
    batches = Batches(images, plain(images), batch_size=8, shuffle=True, augment=level, seed=3)
    passes = [epoch(batches, number) for number in (0, 1, 0)]
    assert passes[0][1].tolist() != passes[1][1].tolist()
    assert not torch.equal(passes[0][0], passes[1][0])
    assert passes[0][1].tolist() == passes[2][1].tolist()
    assert torch.equal(passes[0][0], passes[2][0])


def test_the_seed_decides() -> None:
    images = numbered()
    orders = [
        epoch(Batches(images, plain(images), batch_size=8, shuffle=True, seed=seed))[1].tolist() for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("level", CHANGING)
def test_global_generators_are_neither_read_nor_moved(level: Augmentation) -> None:
    images = numbered()
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        states = torch.get_rng_state(), np.random.get_state(), random.getstate()
        results.append(epoch(Batches(images, plain(images), batch_size=8, shuffle=True, augment=level)))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert str(np.random.get_state()) == str(states[1])
        assert random.getstate() == states[2]
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1].tolist() == results[1][1].tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 5), st.booleans(), LEVELS)
def test_the_batch_size_changes_no_image(size: int, number: int, shuffle: bool, level: Augmentation) -> None:
    images = numbered()
    whole, parts = (
        epoch(Batches(images, plain(images), batch_size=one, shuffle=shuffle, augment=level, seed=5), number)
        for one in (37, size)
    )
    rounding = 0 if level in ("none", "shift") else 1e-5
    torch.testing.assert_close(whole[0], parts[0], atol=rounding, rtol=0)
    assert whole[1].tolist() == parts[1].tolist()


def test_augmented_images_are_mirrored_and_shifted_by_up_to_an_eighth() -> None:
    images = numbered(250, side=24)
    out, _ = epoch(Batches(images, plain(images), batch_size=250, shuffle=True, augment="shift"))
    moves = set()
    for image, moved in zip(images.images, out.mul(255).round().to(torch.uint8), strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
        found = [move for move in ALL_MOVES if np.array_equal(moved_by(padded, *move), moved.numpy())]
        assert len(found) == 1
        moves.add(found[0])
    assert {down for down, _, _ in moves} == {right for _, right, _ in moves} == set(range(-3, 4))
    assert {mirrored for *_, mirrored in moves} == {False, True}
    assert len(moves) > 60


ALL_MOVES = list(itertools.product(range(-4, 5), range(-4, 5), (False, True)))


def moved_by(padded: NDArray[np.uint8], down: int, right: int, mirrored: bool) -> NDArray[np.uint8]:
    """The image of 24 x 24 pixels within, moved and then mirrored."""
    window = padded[:, 4 - down : 28 - down, 4 - right : 28 - right]
    return window[:, :, ::-1] if mirrored else window


@pytest.mark.parametrize("level", CHANGING)
def test_small_images_are_augmented_too(level: Augmentation) -> None:
    for side in (1, 2, 7):
        images = numbered(5, side)
        out, _ = epoch(Batches(images, plain(images), batch_size=2, shuffle=True, augment=level))
        assert out.shape == images.images.shape
        assert out.isfinite().all()


def test_what_moves_in_is_reflected_as_often_as_it_takes() -> None:
    one = torch.arange(3).reshape(1, 1, 1, 3)
    row, zero, no = torch.tensor([0]), torch.tensor([0]), torch.tensor([False])
    assert mirror_and_shift(one, row, no, zero, torch.tensor([-2])).tolist() == [[[[2, 1, 0]]]]


@pytest.mark.parametrize("level", CHANGING)
def test_the_images_themselves_stay_as_they_are(level: Augmentation) -> None:
    images = numbered()
    before = images.images.clone()
    for x, _ in Batches(images, plain(images), batch_size=5, shuffle=False, augment=level):
        x.zero_()
    for x, _ in Batches(images, plain(images), batch_size=37, shuffle=False):
        x.zero_()
    assert torch.equal(images.images, before)
    deep = ImageSet(images.images.float() / 255, images.labels, images.names)
    kept = deep.images.clone()
    for augment in ("none", level):
        for x, _ in Batches(deep, plain(deep), batch_size=37, shuffle=False, augment=augment):
            x.zero_()
    assert torch.equal(deep.images, kept)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_at_least_one_image(size: int) -> None:
    images = numbered(3)
    with refused(f"batch size {size}", "at least 1"):
        Batches(images, plain(images), batch_size=size, shuffle=False)


def test_an_unknown_augmentation_is_refused() -> None:
    images = numbered(3)
    wrong: Any
    for wrong in ("strong", True, None):
        with refused(f"{wrong!r}", "none, shift, light, hard"):
            Batches(images, plain(images), batch_size=1, shuffle=False, augment=wrong)


def test_a_subset_keeps_what_is_known_of_its_images() -> None:
    images = numbered(5)
    grouped = ImageSet(images.images, images.labels, images.names, list("vwxyz"))
    few = grouped.subset([3, 0])
    assert (few.names, few.labels.tolist(), few.groups) == (["3", "0"], [3, 0], ["y", "v"])
    few.images.zero_()
    assert grouped.images[3].any()
    broken: dict[str, Any]
    for broken in ({"labels": torch.arange(4)}, {"names": ["x"]}, {"groups": []}, {"images": images.images[:, 0]}):
        kept: dict[str, Any] = {"images": images.images, "labels": images.labels, "names": images.names}
        with refused("expected images (N, C, H, W)"):
            ImageSet(**{**kept, **broken})


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 15), st.integers(1, 5), st.booleans(), st.sampled_from(["none", "shift"]))
def test_processes_share_the_batches_of_one_without_overlap_or_gap(
    size: int, processes: int, shuffle: bool, level: Augmentation
) -> None:
    images = numbered()
    how: dict[str, Any] = {"shuffle": shuffle, "augment": level, "seed": 5}
    shares = [
        Batches(images, plain(images), batch_size=size, rank=rank, world_size=processes, **how)
        for rank in range(processes)
    ]
    whole = Batches(images, plain(images), batch_size=size * processes, **how)
    assert [len(share) for share in shares] == [len(whole)] * processes
    for number, (joined, *parts) in enumerate(zip(whole, *shares, strict=True)):
        sizes = [len(labels) for _, labels in parts]
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == len(joined[1]) == shares[0].joined_size(number) == whole.joined_size(number)
        together = torch.cat([labels for _, labels in parts])
        assert sorted(together.tolist()) == sorted(joined[1].tolist())
        of_joined = {int(label): image for image, label in zip(*joined, strict=True)}
        for x, labels in parts:
            assert x.shape[1:] == joined[0].shape[1:]
            assert all(torch.equal(image, of_joined[int(label)]) for image, label in zip(x, labels, strict=True))


def test_a_rank_that_is_no_process_is_refused() -> None:
    images = numbered()
    with pytest.raises(DataError, match=r"found the rank 2, expected 0 to 1"):
        Batches(images, plain(images), batch_size=4, shuffle=True, rank=2, world_size=2)
