"""Random changes of training images that leave their class as it is, a whole batch at a time.

=========  =========================================================================================================
"none"     nothing
"shift"    mirrored at random, shifted by up to an eighth of the side
"light"    mirrored, shifted by up to an eighth, turned by up to 15 degrees, resized by 0.8 to 1.25
"hard"     as "light", and tilted in perspective; brightness, contrast, saturation and hue changed; a rectangle of up
           to a quarter of the area hidden
=========  =========================================================================================================

All but "none" mirror left and right, which is wrong for digits, letters and whatever else has a handedness. What moves
in from outside is the image reflected. "light" and "hard" sample an image once, however many changes they compose.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from fasthebb.data.errors import DataError

Augmentation = Literal["none", "shift", "light", "hard"]

_SHIFT_SHARE = 8  # an image is shifted by at most this part of its side
_ANGLE = math.radians(15)
_SCALE = 1.25
_TILT = 0.15
_COLOUR = 1.4  # brightness, contrast and saturation are multiplied by 1 / 1.4 to 1.4
_HUE = math.radians(20)
_HIDDEN_SHARE = 0.25
_HIDDEN_RATIO = 2.0

_WARP_DRAWS = 7
_HARD_DRAWS = 15


def check_augmentation(level: str) -> None:
    """Refuse what is no level.

    Raises:
        DataError: naming the levels.
    """
    if level not in get_args(Augmentation):
        raise DataError(f"found the augmentation {level!r}, expected one of {', '.join(get_args(Augmentation))}")


def draw_augmentation(level: Augmentation, images: Tensor, generator: torch.Generator) -> Tensor:
    """What chance decides about each image, independent of the batch that the image will be in.

    Args:
        level: how much is changed.
        images: ``(N, C, H, W)``; only their shape matters.
        generator: on the CPU; the only one that is moved.

    Returns:
        ``(N, D)``. For "shift" int64: whether it is mirrored, pixels down, pixels right. For "light" and "hard"
        float32, uniform in [-1, 1), where zeros change nothing.
    """
    count, _, height, width = images.shape
    if level == "none":
        return torch.empty(count, 0)
    if level == "shift":
        mirrored = torch.randint(2, (count,), generator=generator)
        down, right = (
            torch.randint(-(side // _SHIFT_SHARE), side // _SHIFT_SHARE + 1, (count,), generator=generator)
            for side in (height, width)
        )
        return torch.stack([mirrored, down, right], 1)
    return torch.rand(count, _HARD_DRAWS if level == "hard" else _WARP_DRAWS, generator=generator) * 2 - 1


def augmented(level: Augmentation, images: Tensor, rows: Tensor, draws: Tensor) -> Tensor:
    """Pick images and change each by its own draws.

    Args:
        level: how much is changed.
        images: ``(N, C, H, W)`` uint8, or float in [0, 1], on any device.
        rows: ``(B,)`` which to pick.
        draws: ``(B, D)``, rows of ``draw_augmentation``.

    Returns:
        ``(B, C, H, W)`` in channels_last, a copy. "light" and "hard" make float32 in [0, 1] of uint8; everything else
        keeps its dtype.

    Example:
        >>> images = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
        >>> out = augmented("hard", images, torch.tensor([0]), torch.zeros(1, 15))
        >>> out.mul(255).round().int().tolist()
        [[[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]]
    """
    if level == "none":
        return images[rows].contiguous(memory_format=torch.channels_last)
    if level == "shift":
        mirrored, down, right = draws.unbind(1)
        return mirror_and_shift(images, rows, mirrored.bool(), down, right)
    pixels = images[rows]
    if pixels.dtype == torch.uint8:
        pixels = pixels.to(torch.float32).mul_(1.0 / 255)
    height, width = pixels.shape[2:]
    mirrored, angle, scale, down, right, tilt_down, tilt_right, *more = draws.to(pixels).unbind(1)
    tilt = _TILT if level == "hard" else 0.0
    pixels = warp(
        pixels,
        mirrored=mirrored < 0,
        angle=_ANGLE * angle,
        scale=_SCALE**scale,
        down=height / _SHIFT_SHARE * down,
        right=width / _SHIFT_SHARE * right,
        tilt_down=tilt * tilt_down,
        tilt_right=tilt * tilt_right,
    )
    if level == "hard":
        brightness, contrast, saturation, hue, area, ratio, top, left = more
        pixels = recolour(
            pixels,
            brightness=_COLOUR**brightness,
            contrast=_COLOUR**contrast,
            saturation=_COLOUR**saturation,
            hue=_HUE * hue,
        )
        pixels = hide_rectangle(
            pixels,
            area=_HIDDEN_SHARE * area.abs(),
            ratio=_HIDDEN_RATIO**ratio,
            top=(top + 1) / 2,
            left=(left + 1) / 2,
        )
    return pixels.contiguous(memory_format=torch.channels_last)


def mirror_and_shift(images: Tensor, rows: Tensor, mirrored: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Pick images and mirror and shift each by its own amounts, in one gather; what moves in is reflected.

    Args:
        images: ``(N, C, H, W)``.
        rows: ``(B,)`` which to pick.
        mirrored: ``(B,)`` bool.
        down: ``(B,)`` pixels, less than H either way.
        right: ``(B,)`` pixels, less than W either way.

    Returns:
        ``(B, C, H, W)`` in channels_last.

    Example:
        >>> image = torch.tensor([[[[1, 2, 3]]]])
        >>> zero = torch.tensor([0])
        >>> mirror_and_shift(image, zero, torch.tensor([False]), down=zero, right=torch.tensor([1])).tolist()
        [[[[2, 1, 2]]]]
    """
    height, width = images.shape[2:]
    y = _reflect(torch.arange(height) - down[:, None], height)  # (B, H)
    x = _reflect(torch.arange(width) - right[:, None], width)  # (B, W)
    x = torch.where(mirrored[:, None], width - 1 - x, x)
    picked = images[rows[:, None, None], :, y[:, :, None], x[:, None, :]]  # (B, H, W, C)
    return picked.permute(0, 3, 1, 2)


def warp(
    images: Tensor,
    *,
    mirrored: Tensor,
    angle: Tensor,
    scale: Tensor,
    down: Tensor,
    right: Tensor,
    tilt_down: Tensor,
    tilt_right: Tensor,
) -> Tensor:
    """Mirror each image, then resize and turn it about its centre, shift it and tilt it: one bilinear sampling.

    Tilting by t takes what is at ``p / (1 + t p / h)`` to ``p``, with p measured from the centre and h half the side.

    Args:
        images: ``(B, C, H, W)`` float in [0, 1].
        mirrored: ``(B,)`` bool.
        angle: ``(B,)`` radians, clockwise.
        scale: ``(B,)`` positive, above 1 enlarges.
        down: ``(B,)`` pixels.
        right: ``(B,)`` pixels.
        tilt_down: ``(B,)``, positive brings the lower side nearer; with ``tilt_right`` less than 1 in absolute sum.
        tilt_right: ``(B,)``, positive brings the right side nearer.

    Returns:
        ``(B, C, H, W)`` in [0, 1]; what moves in is reflected at the outermost pixels.
    """
    height, width = images.shape[2:]
    # For grid_sample -1 and 1 are the centres of the outermost pixels.
    to_x, to_y = torch.where(mirrored, -2.0, 2.0).to(images) / max(width - 1, 1), 2 / max(height - 1, 1)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    beside = torch.stack([to_x * cosine, -to_y * sine], 1)[:, :, None, None]  # (B, 2, 1, 1), x and y of a pixel's step
    below = torch.stack([to_x * sine, to_y * cosine], 1)[:, :, None, None]
    down, right, tilt_down, tilt_right = (one[:, None, None, None] for one in (down, right, tilt_down, tilt_right))
    y = (torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2)[:, None]  # (H, 1)
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2  # (W,)
    nearness = (1 + 2 / height * tilt_down * y) + 2 / width * tilt_right * x  # (B, 1, H, W)
    grid = (beside * x + below * y).div_(nearness).sub_(beside * right + below * down)  # (B, 2, H, W)
    sampled = grid_sample(
        images, grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode="reflection", align_corners=True
    )
    return sampled.clamp_(0, 1)


def recolour(images: Tensor, *, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Change the colours of each image: grey and colourfulness apart, in the mean over the channels and what is left.

    With ``x = g + d``, g the pixel's mean over the channels and m the image's mean, a pixel becomes
    ``brightness (m + contrast (g - m + saturation R d))``, R the turn of the colours about grey by ``hue``.

    Args:
        images: ``(B, C, H, W)`` float in [0, 1]; saturation and hue change nothing unless C is 3.
        brightness: ``(B,)`` factor.
        contrast: ``(B,)`` factor.
        saturation: ``(B,)`` factor.
        hue: ``(B,)`` radians; a third of a turn makes green of red.

    Returns:
        ``(B, C, H, W)``, clipped to [0, 1].
    """
    gain, offset = brightness * contrast, brightness * (1 - contrast) * images.mean((1, 2, 3))
    gain, offset, saturation, hue = (one[:, None, None] for one in (gain, offset, saturation, hue))
    if images.shape[1] == 3:
        grey = images.new_full((3, 3), 1 / 3)
        turn = images.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        colour = torch.eye(3).to(grey) - grey
        mixed = gain * (grey + saturation * (hue.cos() * colour + hue.sin() * turn))  # (B, 3, 3)
        changed = mixed @ images.flatten(2)  # (B, C, H * W)
    else:
        changed = gain * images.flatten(2)
    return changed.add_(offset).clamp_(0, 1).view_as(images)


def hide_rectangle(images: Tensor, *, area: Tensor, ratio: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Fill a rectangle of each image with the image's mean colour.

    Args:
        images: ``(B, C, H, W)`` float.
        area: ``(B,)`` of the rectangle as a share of the image's; its sides are rounded down to pixels.
        ratio: ``(B,)`` of the rectangle's height to its width, both as shares of the image's.
        top: ``(B,)`` in [0, 1), the share of the space left in height that is above it.
        left: ``(B,)`` in [0, 1), the share of the space left in width that is to the left of it.

    Returns:
        ``(B, C, H, W)``.
    """
    rows = _within((area * ratio).sqrt(), top, images.shape[2])  # (B, H)
    columns = _within((area / ratio).sqrt(), left, images.shape[3])  # (B, W)
    hidden = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(hidden, images.mean((2, 3), keepdim=True), images)


def _within(share: Tensor, start: Tensor, side: int) -> Tensor:
    """Which of a side's pixels a share of it covers that begins at ``start`` of the rest: ``(B, side)`` bool."""
    length = (share * side).floor()
    first = (start * (side - length + 1)).floor()
    positions = torch.arange(side, device=share.device)
    return (positions >= first[:, None]) & (positions < (first + length)[:, None])


def _reflect(positions: Tensor, side: int) -> Tensor:
    """Positions beyond 0..side-1 mirrored at the outermost pixel."""
    positions = positions.abs()
    return (side - 1) - ((side - 1) - positions).abs()
