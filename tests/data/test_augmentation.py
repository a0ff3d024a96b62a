import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from fasthebb.data import Augmentation, Batches, ImageSet, Preprocessing
from fasthebb.data.augmentation import augmented, draw_augmentation, hide_rectangle, recolour, warp

LEVELS: tuple[Augmentation, ...] = get_args(Augmentation)
SAMPLED: tuple[Augmentation, ...] = ("light", "hard")


def noise(*shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    images = torch.randint(256, shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.uint8)
    return images if dtype == torch.uint8 else images.to(dtype) / 255


def changed(level: Augmentation, images: Tensor, seed: int = 0) -> Tensor:
    draws = draw_augmentation(level, images, torch.Generator().manual_seed(seed))
    return augmented(level, images, torch.arange(len(images)), draws)


def warped(images: Tensor, **changes: float | bool) -> Tensor:
    """``warp`` with the same changes for each image, and nothing else."""
    nothing = {"mirrored": False, "angle": 0.0, "scale": 1.0, "down": 0.0, "right": 0.0}
    nothing |= {"tilt_down": 0.0, "tilt_right": 0.0}
    return warp(images, **{name: torch.full((len(images),), value) for name, value in (nothing | changes).items()})


def recoloured(images: Tensor, **changes: float) -> Tensor:
    nothing = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    return recolour(images, **{name: torch.full((len(images),), value) for name, value in (nothing | changes).items()})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_level_keeps_shape_range_and_dtype(level: Augmentation, dtype: torch.dtype, channels: int) -> None:
    images = noise(20, channels, 12, 17, dtype=dtype)
    out = changed(level, images)
    assert out.shape == images.shape
    assert out.is_contiguous(memory_format=torch.channels_last)
    becomes_float = dtype == torch.uint8 and level in SAMPLED
    assert out.dtype == (torch.float32 if becomes_float else dtype)
    if out.dtype != torch.uint8:
        assert 0 <= out.min() < 0.2
        assert 0.8 < out.max() <= 1
    assert torch.equal(out.to(images.dtype), images) == (level == "none")


@pytest.mark.parametrize("level", SAMPLED)
def test_bytes_and_floats_are_changed_alike(level: Augmentation) -> None:
    images = noise(20, 3, 16, 16)
    torch.testing.assert_close(changed(level, images), changed(level, images.float() / 255), atol=1e-5, rtol=0)


def test_shift_is_what_a_loop_over_images_gives() -> None:
    images, seed, epoch = noise(50, 3, 16, 24), 7, 2
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]) // 2)
    order = torch.randperm(50, generator=generator)
    mirrored = torch.randint(2, (50,), generator=generator)
    down = torch.randint(-2, 3, (50,), generator=generator)
    right = torch.randint(-3, 4, (50,), generator=generator)
    expected = []
    for row in order.tolist():
        image = images[row].flip(-1) if mirrored[row] else images[row]
        padded = np.pad(image.numpy(), ((0, 0), (2, 2), (3, 3)), mode="reflect")
        top, left = 2 - int(down[row]), 3 - int(right[row])
        expected.append(torch.from_numpy(padded[:, top : top + 16, left : left + 24]))
    as_they_are = Preprocessing(torch.zeros(3), torch.ones(3), 16)
    named = ImageSet(images, torch.arange(50), [str(row) for row in range(50)])
    batches = Batches(named, as_they_are, batch_size=50, shuffle=True, seed=seed, augment="shift")
    batches.set_epoch(epoch)
    [(out, labels)] = batches
    assert labels.tolist() == order.tolist()
    assert torch.equal(out, as_they_are(torch.stack(expected)))


@pytest.mark.parametrize("level", SAMPLED)
@pytest.mark.parametrize("shape", [(5, 3, 32, 32), (5, 1, 9, 20), (5, 2, 1, 1), (5, 3, 1, 6)])
def test_draws_of_zero_change_nothing(level: Augmentation, shape: tuple[int, ...]) -> None:
    images = noise(*shape, dtype=torch.float32)
    draws = torch.zeros_like(draw_augmentation(level, images, torch.Generator()))
    torch.testing.assert_close(augmented(level, images, torch.arange(5), draws), images, atol=1e-5, rtol=0)


EAST = (5, 10)  # row and column; the middle of 11 x 11 pixels is (5, 5)


@pytest.mark.parametrize(
    ("start", "changes", "end"),
    [
        (EAST, {"angle": math.pi / 2}, (10, 5)),
        (EAST, {"angle": math.atan2(3, 4)}, (8, 9)),
        (EAST, {"angle": -math.atan2(3, 4)}, (2, 9)),
        ((6, 7), {"scale": 2.0}, (7, 9)),
        ((9, 1), {"scale": 0.5}, (7, 3)),
        (EAST, {"mirrored": True}, (5, 0)),
        (EAST, {"down": 2.0, "right": -1.0}, (7, 9)),
        ((5, 9), {"tilt_right": 0.275}, EAST),  # 5 / (1 + 0.275 * 5 / 5.5) = 4
        ((1, 5), {"tilt_down": -0.275}, (0, 5)),
        ((5, 8), {"right": 1.0, "tilt_right": 0.275}, EAST),  # shifted first
        (EAST, {"mirrored": True, "angle": math.pi / 2, "right": 3.0}, (0, 8)),
        ((5, 6), {"mirrored": True, "angle": math.pi / 2, "scale": 2.0, "down": -1.0}, (2, 5)),
    ],
)
def test_a_pixel_moves_where_it_should(start: tuple[int, int], changes: dict[str, float], end: tuple[int, int]) -> None:
    images = torch.zeros(2, 1, 11, 11)
    images[:, :, start[0], start[1]] = 1
    out = warped(images, **changes)[1, 0]
    assert out[end] > 0.999


def test_an_image_that_is_not_square_is_turned_without_distortion() -> None:
    images = torch.zeros(1, 1, 5, 21)
    images[..., 2, 12] = 1
    out = warped(images, angle=math.pi / 2)[0, 0]
    assert out[4, 10] > 0.999


def test_what_moves_in_is_reflected_at_the_outermost_pixels() -> None:
    images = noise(2, 3, 6, 8, dtype=torch.float32)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 0), (3, 0)), mode="reflect")
    expected = torch.from_numpy(padded)[:, :, :6, :8]
    torch.testing.assert_close(warped(images, down=2.0, right=3.0), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", SAMPLED)
def test_mirror_angle_scale_and_shift_have_their_ranges(level: Augmentation) -> None:
    count, side = 400, 65
    middle = side // 2
    ramp = torch.linspace(0, 1, side)
    images = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)]).expand(count, 2, side, side)
    draws = draw_augmentation(level, images, torch.Generator().manual_seed(0))
    draws[:, 7:] = 0  # where each pixel is from can be read from the image
    if level == "hard":
        draws[:, 5:7] = 0
    source = augmented(level, images, torch.arange(count), draws).double() * (side - 1) - middle  # x and y
    along_x = (source[:, :, middle, middle + 8] - source[:, :, middle, middle - 8]) / 16  # (N, 2)
    along_y = (source[:, :, middle + 8, middle] - source[:, :, middle - 8, middle]) / 16
    area = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
    mirrored = area.sign()
    assert 0.4 < (mirrored < 0).double().mean() < 0.6
    along_x[:, 0] *= mirrored
    along_y[:, 0] *= mirrored
    torch.testing.assert_close(along_y[:, 0], -along_x[:, 1], atol=1e-3, rtol=0)  # similar to what it was
    torch.testing.assert_close(along_y[:, 1], along_x[:, 0], atol=1e-3, rtol=0)
    scale = area.abs().rsqrt()
    assert 0.8 - 1e-3 < scale.min() < 0.82
    assert 1.22 < scale.max() < 1.25 + 1e-3
    angle = torch.atan2(-along_x[:, 1], along_x[:, 0]).rad2deg()
    assert -15.1 < angle.min() < -14
    assert 14 < angle.max() < 15.1
    there = torch.stack([along_x, along_y], 2)  # (N, 2, 2), from the new place to the old one
    from_middle = source[:, :, middle, middle] * torch.stack([mirrored, torch.ones_like(mirrored)], 1)
    shift = -torch.linalg.solve(there, from_middle)
    assert (shift.amax(0) > 7.5).all()
    assert (shift.abs() < side / 8 + 0.05).all()


def test_hard_tilts_and_light_does_not() -> None:
    side, middle = 65, 32
    ramp = torch.linspace(0, 1, side).expand(100, 1, side, side)
    bends = {}
    for level in SAMPLED:
        draws = draw_augmentation(level, ramp, torch.Generator().manual_seed(0))
        draws[:, 7:] = 0
        x = augmented(level, ramp, torch.arange(100), draws)[:, 0, middle] * (side - 1)
        bends[level] = (x[:, middle - 8] + x[:, middle + 8] - 2 * x[:, middle]).abs()
    assert bends["light"].max() < 1e-3
    assert bends["hard"].max() > 0.3
    assert bends["hard"].max() < 2


def test_colours_change_by_their_factors() -> None:
    images = 0.3 + 0.3 * noise(8, 3, 10, 10, dtype=torch.float32)
    torch.testing.assert_close(recoloured(images), images)
    torch.testing.assert_close(recoloured(images, brightness=1.2), 1.2 * images)
    mean = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(recoloured(images, contrast=0.5), mean + 0.5 * (images - mean))
    grey = images.mean(1, keepdim=True)
    torch.testing.assert_close(recoloured(images, saturation=0.0), grey.expand_as(images))
    torch.testing.assert_close(recoloured(images, saturation=1.3), grey + 1.3 * (images - grey))
    torch.testing.assert_close(recoloured(images, hue=2 * math.pi / 3), images[:, [2, 0, 1]])
    torch.testing.assert_close(recoloured(images, brightness=10.0), torch.ones_like(images))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_without_three_channels_only_brightness_and_contrast_change(channels: int) -> None:
    images = 0.3 + 0.3 * noise(8, channels, 10, 10, dtype=torch.float32)
    assert torch.equal(recoloured(images, saturation=0.2, hue=1.0), recoloured(images))
    torch.testing.assert_close(recoloured(images, brightness=0.8), 0.8 * images)


def test_each_image_has_its_own_colours() -> None:
    images = torch.full((200, 3, 4, 4), 0.5)
    draws = torch.zeros(200, 15)
    draws[:, 7:11] = torch.linspace(-1, 1, 200)[:, None]
    out = augmented("hard", images, torch.arange(200), draws)
    torch.testing.assert_close(out[:, 0, 0, 0], 0.5 * 1.4 ** torch.linspace(-1, 1, 200))


def test_the_hidden_part_is_a_rectangle_of_up_to_a_quarter_filled_with_the_mean() -> None:
    images = noise(500, 3, 16, 24, dtype=torch.float32)
    draws = draw_augmentation("hard", images, torch.Generator().manual_seed(1))
    draws[:, :11] = 0
    out = augmented("hard", images, torch.arange(500), draws)
    mean = images.mean((2, 3), keepdim=True)
    hidden = ((out - mean).abs() < 1e-5).all(1)  # (N, H, W)
    torch.testing.assert_close(torch.where(hidden[:, None], images, out), images, atol=1e-4, rtol=0)
    rows, columns = hidden.any(2), hidden.any(1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None, :])
    for side in (rows, columns):  # no gaps
        assert (side.int().diff(dim=1).abs().sum(1) <= 2).all()
    share = hidden.double().mean((1, 2))
    assert share.max() <= 0.25
    assert share.max() > 0.2
    assert 0.07 < share.mean() < 0.125
    assert rows.any(0).all()  # anywhere
    assert columns.any(0).all()


def test_a_hidden_rectangle_is_where_it_is_asked_for() -> None:
    images = noise(2, 1, 8, 8, dtype=torch.float32)
    quarter, square = torch.full((2,), 0.25), torch.ones(2)
    out = hide_rectangle(images, area=quarter, ratio=square, top=torch.zeros(2), left=torch.full((2,), 0.999))
    expected = images.clone()
    expected[:, :, :4, 4:] = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("level", LEVELS)
def test_draws_are_a_row_an_image_and_move_one_generator(level: Augmentation) -> None:
    images = noise(9, 3, 16, 16)
    before = torch.get_rng_state()
    first, again = (draw_augmentation(level, images, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(first) == 9
    assert torch.equal(first, again)
    rows = torch.tensor([7, 2])
    some = augmented(level, images, rows, first[rows])
    torch.testing.assert_close(some, augmented(level, images, torch.arange(9), first)[rows], atol=1e-5, rtol=0)
