from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import refused
from torch import Tensor
from torch.nn.functional import max_pool2d

from fasthebb.data import IGNORE, Augmentation, Crops, MaskedSet, Preprocessing
from fasthebb.data.crop_augmentation import margins, mirrored, recoloured, warp_pair

LEVELS: tuple[Augmentation, ...] = get_args(Augmentation)
SIZES = [(40, 50), (64, 33), (90, 90), (20, 70)]


def as_they_are(channels: int) -> Preprocessing:
    return Preprocessing(torch.zeros(channels), torch.ones(channels), 0)


def some(
    sizes: list[tuple[int, ...]], channels: int = 1, *, deep: bool = False, seed: int = 0, masked: bool = True
) -> MaskedSet:
    """Images of which every channel is the mask times 20 (plus the channel), masks of 0 to 11."""
    generator = torch.Generator().manual_seed(seed)
    masks = [torch.randint(12, size, generator=generator, dtype=torch.uint8) for size in sizes]
    images = [torch.stack([mask * 20 + channel for channel in range(channels)]) for mask in masks]
    pixels = [image.float() / 255 if deep else image for image in images]
    names = [str(number) for number in range(len(sizes))]
    return MaskedSet(pixels, list(masks) if masked else [None] * len(masks), names)


def crops(dataset: MaskedSet, **options: Any) -> Crops:
    return Crops(dataset, as_they_are(dataset.channels), **{"crop": (16, 16), "batch_size": 8, **options})


def everything(batches: Crops) -> tuple[Tensor, Tensor]:
    pairs = list(batches)
    return torch.cat([images for images, _ in pairs]), torch.cat([masks for _, masks in pairs])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("sizes", "crop", "channels"),
    [(SIZES, (16, 16), 3), (SIZES, (64, 32), 1), ([(9, 40, 50), (12, 30, 60)], (8, 16, 16), 2)],
)
def test_batches_are_what_networks_and_losses_take(
    level: Augmentation, sizes: list[tuple[int, ...]], crop: tuple[int, ...], channels: int
) -> None:
    batches = crops(some(sizes, channels), crop=crop, batch_size=3, batches=4, augment=level)
    assert len(batches) == len(list(batches)) == 4
    for images, masks in batches:
        assert images.shape == (3, channels, *crop)
        assert masks.shape == (3, *crop)
        assert (images.dtype, masks.dtype) == (torch.float32, torch.int64)
        layout = torch.channels_last if len(crop) == 2 else torch.channels_last_3d
        assert images.is_contiguous(memory_format=layout)
        assert 0 <= images.min() < images.max() <= 1
        assert set(masks.unique().tolist()) <= {*range(12), IGNORE}


@pytest.mark.parametrize("deep", [False, True])
def test_without_augmentation_crops_are_parts_of_their_images(deep: bool) -> None:
    dataset = some(SIZES, 2, deep=deep)
    images, masks = everything(crops(dataset, batches=5))
    assert torch.equal(images[:, 0].mul(255).round().long(), masks * 20)
    assert torch.equal(images[:, 1].mul(255).round().long(), masks * 20 + 1)
    for mask in masks:
        assert any(_holds(whole, mask) for whole in dataset.masks if whole is not None)


def _holds(whole: Tensor, part: Tensor) -> bool:
    windows = whole.unfold(0, part.shape[0], 1).unfold(1, part.shape[1], 1)
    return bool((windows == part).flatten(2).all(2).any())


def test_crops_lie_everywhere() -> None:
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(10), indexing="ij")
    dataset = MaskedSet([torch.stack([rows, columns]).to(torch.uint8)], [None], ["a"])
    images, _ = everything(crops(dataset, crop=(16, 8), batches=40))
    corners = Counter((int(top), int(left)) for top, left in images[:, :, 0, 0].mul(255).round().tolist())
    assert set(corners) == {(top, left) for top in range(5) for left in range(3)}
    assert min(corners.values()) > 5


@pytest.mark.parametrize("level", ["shift", "light"])
@pytest.mark.parametrize("crop", [(16, 16), (16, 24), (5, 16, 16)])
def test_image_and_mask_are_changed_alike(level: Augmentation, crop: tuple[int, ...]) -> None:
    sizes: list[tuple[int, ...]] = [(40, 50), (60, 33)] if len(crop) == 2 else [(7, 40, 50), (5, 45, 33)]
    dataset = some(sizes)
    if level == "light":  # in large patches, in which bilinear and nearest sampling agree
        for row, mask in enumerate(dataset.masks):
            assert mask is not None
            mask[:] = (
                mask[..., ::8, ::8]
                .repeat_interleave(8, -1)
                .repeat_interleave(8, -2)[..., : mask.shape[-2], : mask.shape[-1]]
            )
            dataset.images[row][0] = mask * 20
    images, masks = everything(crops(dataset, crop=crop, batches=6, augment=level))
    inside = masks != IGNORE
    if level == "light":
        planes = masks.reshape(-1, 1, *crop[-2:]).float()
        alike = max_pool2d(planes, 5, 1, 2) == -max_pool2d(-planes, 5, 1, 2)
        alike[..., :2, :] = alike[..., -2:, :] = alike[..., :2] = alike[..., -2:] = False  # neighbours unseen
        inside &= alike.reshape(masks.shape)
        assert inside.float().mean() > 0.1
    else:
        assert inside.all()
    torch.testing.assert_close(images[:, 0][inside] * 255, masks[inside].float() * 20, atol=1e-2, rtol=0)
    plain, _ = everything(crops(dataset, crop=crop, batches=6))
    assert not torch.equal(images, plain)


def test_shift_shows_each_of_the_eight_sides_of_a_square_as_often() -> None:
    mask = torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8)
    dataset = MaskedSet([mask[None]], [mask], ["a"])
    _, masks = everything(crops(dataset, crop=(2, 2), batches=100, augment="shift"))
    seen = Counter(tuple(one.flatten().tolist()) for one in masks)
    expected = {tuple(np.rot90(m, k).ravel()) for m in (mask.numpy(), mask.numpy().T) for k in range(4)}
    assert set(seen) == expected
    assert min(seen.values()) > 60


def test_shift_mirrors_volumes_in_depth_and_turns_only_squares() -> None:
    mask = torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3)
    dataset = MaskedSet([mask[None]], [mask], ["a"])
    _, masks = everything(crops(dataset, crop=(2, 2, 3), batches=40, augment="shift"))
    seen = {tuple(one.flatten().tolist()) for one in masks}
    flips: list[list[int]] = [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]
    assert seen == {tuple(mask.flip(axes).flatten().tolist()) for axes in flips}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 20))
def test_smaller_images_are_continued_by_reflection_or_by_their_edge(height: int, width: int, seed: int) -> None:
    dataset = some([(height, width)], seed=seed)
    [image], [mask] = dataset.images, dataset.masks
    assert mask is not None
    crop = 16
    images, masks = everything(crops(dataset, crop=(crop, crop), batches=1, batch_size=3, seed=seed))
    for shown, classes in zip(images, masks, strict=True):
        inside = classes != IGNORE
        rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
        assert len(rows) == min(height, crop)
        assert len(columns) == min(width, crop)
        assert inside.sum() == len(rows) * len(columns)
        if height <= crop and width <= crop:
            top, left = int(rows[0]), int(columns[0])
            padded = image[0].numpy()
            for axis, (side, first) in enumerate(((height, top), (width, left))):
                mode: Any = "reflect" if 2 * side > crop else "edge"
                before_after = [(0, 0), (0, 0)]
                before_after[axis] = (first, crop - side - first)
                padded = np.pad(padded, before_after, mode=mode)
            assert np.array_equal(shown[0].mul(255).round(), padded)
            assert torch.equal(classes[inside].reshape(height, width), mask.long())


@pytest.mark.parametrize("level", LEVELS)
def test_small_images_go_through_every_level(level: Augmentation) -> None:
    dataset = some([(5, 9), (1, 1), (16, 3)])
    images, masks = everything(crops(dataset, crop=(32, 32), batches=4, augment=level))
    assert images.isfinite().all()
    assert (masks == IGNORE).any()
    assert (masks != IGNORE).any()
    if level == "none":
        assert torch.equal((masks != IGNORE).sum((1, 2)).unique(), torch.tensor([1, 45, 48]))


@pytest.mark.parametrize("level", LEVELS)
def test_an_epoch_repeats_and_others_differ(level: Augmentation) -> None:
    dataset = some(SIZES, 3)
    global_state = torch.random.get_rng_state()
    first, again, other_seed = (crops(dataset, augment=level, seed=seed) for seed in (1, 1, 2))
    for one, other in zip(everything(first), everything(again), strict=True):
        assert torch.equal(one, other)
    before = everything(first)[0]
    assert torch.equal(everything(first)[0], before)  # without another epoch
    first.set_epoch(1)
    assert not torch.equal(everything(first)[0], before)
    assert not torch.equal(everything(other_seed)[0], before)
    first.set_epoch(0)
    assert torch.equal(everything(first)[0], before)
    assert torch.equal(torch.random.get_rng_state(), global_state)


@pytest.mark.parametrize("level", ["none", "shift", "light"])
def test_crops_do_not_depend_on_the_batch_size(level: Augmentation) -> None:
    dataset = some(SIZES)
    small, large = (everything(crops(dataset, batch_size=size, batches=24 // size, augment=level)) for size in (4, 12))
    torch.testing.assert_close(small[0], large[0])
    assert torch.equal(small[1], large[1])


@pytest.mark.parametrize(("count", "size", "batches"), [(5, 2, 3), (4, 4, 1), (3, 8, 1), (10, 3, 4)])
def test_an_epoch_has_a_crop_of_every_image_in_whole_batches(count: int, size: int, batches: int) -> None:
    images = [torch.full((1, 20, 20), number, dtype=torch.uint8) for number in range(count)]
    dataset = MaskedSet(images, [None] * count, [str(number) for number in range(count)])
    passes = crops(dataset, batch_size=size)
    assert len(passes) == batches
    shown, masks = everything(passes)
    rows = shown[:, 0, 0, 0].mul(255).round().int().tolist()
    assert len(rows) == batches * size
    assert sorted(rows[:count]) == list(range(count))
    assert max(Counter(rows).values()) - min(Counter(rows).values()) <= 1
    assert (masks == IGNORE).all()
    assert (masks.shape, masks.dtype) == ((batches * size, 16, 16), torch.int64)


@pytest.mark.parametrize("level", LEVELS)
def test_unlabelled_images_are_cut_as_others(level: Augmentation) -> None:
    bare, masked = (everything(crops(some(SIZES, masked=which), augment=level)) for which in (False, True))
    assert torch.equal(bare[0], masked[0])
    assert (bare[1] == IGNORE).all()


def test_images_of_both_depths_share_a_batch() -> None:
    shallow, deep = some(SIZES), some(SIZES, deep=True)
    mixed = MaskedSet([*shallow.images[:2], *deep.images[2:]], shallow.masks, shallow.names)
    for level in LEVELS:
        torch.testing.assert_close(
            everything(crops(mixed, augment=level))[0], everything(crops(shallow, augment=level))[0]
        )


def test_batches_are_preprocessed() -> None:
    dataset = some([(64, 80), (96, 64)])
    plain, _ = everything(crops(dataset, crop=(32, 32)))
    for whiten in (False, True):
        preprocessing = Preprocessing.fit(dataset, whiten=whiten)
        ready, _ = everything(Crops(dataset, preprocessing, crop=(32, 32), batch_size=8))
        torch.testing.assert_close(ready, preprocessing(plain), atol=1e-4, rtol=1e-4)
    with refused("crop (48, 32)", "multiples of 32", "no whitening"):
        Crops(dataset, preprocessing, crop=(48, 32), batch_size=8)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["light", "hard"]),
    st.integers(2, 40),
    st.integers(2, 40),
    st.floats(-1, 0.999),
    st.floats(-1, 0.999),
)
def test_the_margin_holds_all_that_a_change_can_bring_in(
    level: Augmentation, height: int, width: int, angle: float, scale: float
) -> None:
    """What is sampled lies within the window: its border, of another value, does not show."""
    down, right = margins(level, (height, width))
    window = torch.zeros(1, 1, height + 2 * down + 2, width + 2 * right + 2)
    window[..., 0, :] = window[..., -1, :] = window[..., 0] = window[..., -1] = 1
    crop, mask = warp_pair(window, (window[:, 0] * 9).to(torch.uint8), torch.tensor([[angle, scale]]), (height, width))
    assert crop.shape == (1, 1, height, width)
    assert crop.max() < 1e-3
    assert mask.max() == 0


def test_no_change_cuts_out_the_middle() -> None:
    for window, crop in (((20, 24), (12, 12)), ((3, 21, 13), (3, 11, 13))):
        images, masks = torch.rand(2, 3, *window), torch.randint(9, (2, *window), dtype=torch.uint8)
        cut, classes = warp_pair(images, masks, torch.zeros(2, 2), crop)
        down, right = (window[-2] - crop[-2]) // 2, (window[-1] - crop[-1]) // 2
        middle = (..., slice(down, down + crop[-2]), slice(right, right + crop[-1]))
        torch.testing.assert_close(cut, images[middle], atol=1e-5, rtol=0)
        assert torch.equal(classes, masks[middle])
        assert (cut.shape, classes.shape, classes.dtype) == ((2, 3, *crop), (2, *crop), torch.uint8)


def test_a_turn_and_a_scale_are_what_they_say() -> None:
    """A point right of the centre moves down (clockwise) by the angle, and outwards by the scale."""
    window = torch.zeros(1, 1, 81, 81)
    window[0, 0, 40, 60] = 1
    window = max_pool2d(window, 3, 1, 1)
    for angle, scale in ((0.0, 0.9), (0.9, 0.0), (-0.9, -0.9)):
        cut, classes = warp_pair(window, window[:, 0].to(torch.uint8), torch.tensor([[angle, scale]]), (61, 61))
        y, x = (cut[0, 0] == cut.max()).nonzero().float().mean(0) - 30
        radians, radius = np.deg2rad(15) * angle, 20 * 1.25**scale
        assert abs(float(x) - radius * np.cos(radians)) < 1
        assert abs(abs(float(y)) - abs(radius * np.sin(radians))) < 1
        assert classes.sum() > 0


def test_mirroring_twice_changes_nothing() -> None:
    window = torch.rand(2, 5, 6, 6)
    for turn in (1.0, -1.0):
        for axes in ([1.0, 1, 1], [-1.0, -1, 1], [1.0, 1, -1], [-1.0, -1, -1]):
            once = mirrored(window, [*axes, turn], 3)
            assert torch.equal(mirrored(once, [*axes, turn], 3), window)
            assert torch.equal(once, window) == (axes == [1.0, 1, 1] and turn > 0)


@pytest.mark.parametrize("size", [(12, 14), (4, 12, 14)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colours_change_as_drawn(size: tuple[int, ...], channels: int) -> None:
    images = torch.rand(4, channels, *size, generator=torch.Generator().manual_seed(0)) / 2
    generator = torch.Generator().manual_seed(0)
    draws = torch.zeros(4, 6)
    torch.testing.assert_close(recoloured(images, draws, generator), images, atol=1e-5, rtol=0)
    draws[0, 0] = 0.9  # brighter
    draws[1, 1] = -0.9  # of less contrast
    draws[2, 4:] = torch.tensor([-0.9, 0.9])  # blurred
    draws[3, 4:] = torch.tensor([0.9, 0.9])  # with noise
    out = recoloured(images, draws, generator)
    torch.testing.assert_close(out[0], images[0] * 1.4**0.9, atol=1e-5, rtol=0)
    mean = images[1].mean()
    torch.testing.assert_close(out[1], mean + (images[1] - mean) * 1.4**-0.9, atol=1e-5, rtol=0)
    assert out[2].std() < 0.5 * images[2].std()
    assert abs(out[2].mean() - images[2].mean()) < 0.01
    noise = (out[3] - images[3])[(images[3] > 0.15)]
    assert 0.03 < noise.std() < 0.06
    assert abs(noise.mean()) < 0.01


def test_blur_is_scipys_and_stays_in_its_slice() -> None:
    from scipy.ndimage import gaussian_filter

    images = torch.rand(1, 1, 2, 20, 20, generator=torch.Generator().manual_seed(0))
    draws = torch.tensor([[0, 0, 0, 0, -1, 0.6]])
    blurred = recoloured(images, draws, torch.Generator())
    for depth in range(2):
        expected = gaussian_filter(images[0, 0, depth].numpy(), 0.9, mode="nearest", radius=3)
        np.testing.assert_allclose(blurred[0, 0, depth], expected, atol=1e-5)


def test_what_does_not_do_is_refused() -> None:
    flat, volumes = some(SIZES), some([(4, 20, 20)])
    with refused("no images to take crops from"):
        Crops(flat.subset([]), as_they_are(1), crop=(16, 16), batch_size=2)
    for crop in ((16,), (4, 16, 16), (0, 16)):
        with refused(f"crop {crop}", "flat images", "(H, W)"):
            crops(flat, crop=crop)
    with refused("volumes", "(D, H, W)"):
        crops(volumes)
    with refused("batch size 0"):
        crops(flat, batch_size=0)
    with refused("number of batches -1"):
        crops(flat, batches=-1)
    with refused("augmentation 'much'"):
        crops(flat, augment="much")
