"""Random changes of crops and their masks, a whole batch at a time.

=========  =========================================================================================================
"none"     nothing
"shift"    mirrored in every axis; turned by 0 or 90 degrees where the crop is square: microscopes have no up
"light"    as "shift", turned by up to 15 degrees and resized by 0.8 to 1.25
"hard"     as "light"; brightness and contrast, of 3 channels also saturation and hue, changed; a third of the crops
           blurred, a third with noise
=========  =========================================================================================================

Images are sampled bilinearly, masks take the nearest pixel. Volumes are mirrored along D too, turned and resized in the
plane of H and W, all slices alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, pad

from fasthebb.data.augmentation import Augmentation, recolour

_ANGLE = math.radians(15)
_SCALE = 1.25
_COLOUR = 1.4  # brightness, contrast and saturation are multiplied by 1 / 1.4 to 1.4
_HUE = math.radians(20)
_BLUR = 1.5  # pixels, the largest deviation of the kernel
_BLUR_RADIUS = 3  # pixels
_NOISE = 0.05  # the largest deviation, of values in [0, 1]

_MIRROR_DRAWS = 4  # three axes and a turn
_WARP_DRAWS = 2
_COLOUR_DRAWS = 6
_DRAWS: dict[Augmentation, int] = {
    "none": 0,
    "shift": _MIRROR_DRAWS,
    "light": _MIRROR_DRAWS + _WARP_DRAWS,
    "hard": _MIRROR_DRAWS + _WARP_DRAWS + _COLOUR_DRAWS,
}


def draw_changes(level: Augmentation, count: int, generator: torch.Generator) -> Tensor:
    """What chance decides about each of ``count`` crops: ``(count, D)`` float32, uniform in [-1, 1).

    For "hard": mirrored in W, H and D, and turned by 90 degrees, where negative; angle, scale; brightness, contrast,
    saturation, hue; blur (below -1/3) or noise (above 1/3), and how much. The other levels have the first of these.
    """
    return torch.rand(count, _DRAWS[level], generator=generator) * 2 - 1


def margins(level: Augmentation, crop: Sequence[int]) -> tuple[int, ...]:
    """Pixels on either side of a crop that a change may bring into it, for each of its axes.

    Example:
        >>> margins("light", (128, 128)), margins("hard", (8, 64, 64)), margins("shift", (64, 64))
        ((34, 34), (0, 17, 17), (0, 0))
    """
    if level in ("none", "shift"):
        return (0,) * len(crop)
    *depth, height, width = crop
    cosine, sine = _SCALE * math.cos(_ANGLE), _SCALE * math.sin(_ANGLE)
    beyond = (cosine * height + sine * width - height, cosine * width + sine * height - width)
    return (*(0 for _ in depth), *(math.ceil(max(one, 0) / 2) for one in beyond))


def mirrored(window: Tensor, draws: Sequence[float], dims: int) -> Tensor:
    """One window ``(..., *size)`` mirrored and, if H and W are equal, turned, as its draws say, if it has any.

    Example:
        >>> mirrored(torch.tensor([[1, 2], [3, 4]]), [-1.0, 1.0, 1.0, 1.0], 2).tolist()
        [[2, 1], [4, 3]]
    """
    if not draws:
        return window
    *axes, turned = draws[:_MIRROR_DRAWS]
    if turned < 0 and window.shape[-1] == window.shape[-2]:
        window = window.transpose(-1, -2)  # with a mirror, which half of them get, a turn by 90 degrees
    flipped = [-1 - axis for axis in range(dims) if axes[axis] < 0]
    return window.flip(flipped) if flipped else window


def warp_pair(images: Tensor, masks: Tensor, draws: Tensor, crop: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Turn and resize windows about their centres and cut the crops out of them, in one sampling.

    Args:
        images: ``(B, C, *window)`` float.
        masks: ``(B, *window)`` uint8.
        draws: ``(B, 2)`` in [-1, 1), of angle and scale; zeros change nothing.
        crop: size of the results, less than the window by even numbers; equal in D.

    Returns:
        ``(B, C, *crop)`` and ``(B, *crop)`` of the same dtypes.
    """
    height, width = crop[-2:]
    planes, flat = images.flatten(1, -3), masks if masks.ndim == 4 else masks[:, None]
    tall, wide = planes.shape[2:]
    scale = _SCALE ** -draws[:, 1]
    cosine, sine = scale * (_ANGLE * draws[:, 0]).cos(), scale * (_ANGLE * draws[:, 0]).sin()
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    # For grid_sample -1 and 1 are the centres of the outermost pixels.
    to_x, to_y = 2 / max(wide - 1, 1), 2 / max(tall - 1, 1)
    across = to_x * ((cosine[:, None] * x)[:, None, :] - (sine[:, None] * y)[:, :, None])  # (B, H, W)
    down = to_y * ((sine[:, None] * x)[:, None, :] + (cosine[:, None] * y)[:, :, None])
    grid = torch.stack([across, down], 3)
    sampled = grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=True)
    classes = grid_sample(flat.to(grid.dtype), grid, mode="nearest", padding_mode="border", align_corners=True)
    return sampled.reshape(*images.shape[:2], *crop), classes.to(masks.dtype).reshape(len(masks), *crop)


def recoloured(images: Tensor, draws: Tensor, generator: torch.Generator) -> Tensor:
    """Change the colours of crops, and blur them or add noise.

    Args:
        images: ``(B, C, *size)`` float in [0, 1].
        draws: ``(B, 6)`` on the CPU, see ``draw_changes``; zeros change nothing.
        generator: of the noise, on the CPU.

    Returns:
        ``(B, C, *size)`` in [0, 1].
    """
    brightness, contrast, saturation, hue, kind, amount = draws.unbind(1)
    tall = images if images.ndim == 4 else images.flatten(2, 3)  # a volume as one tall image
    changed = recolour(
        tall,
        brightness=(_COLOUR**brightness).to(images),
        contrast=(_COLOUR**contrast).to(images),
        saturation=(_COLOUR**saturation).to(images),
        hue=(_HUE * hue).to(images),
    ).view(images.shape)
    blurry = torch.nonzero(kind < -1 / 3).reshape(-1)
    noisy = torch.nonzero(kind > 1 / 3).reshape(-1)
    if len(blurry):
        rows = blurry.to(images.device)
        changed[rows] = _blurred(changed[rows], (_BLUR * amount[blurry].abs()).to(images))
    if len(noisy):
        rows = noisy.to(images.device)
        noise = torch.randn(len(noisy), *images.shape[1:], generator=generator).to(images)
        deviation = (_NOISE * amount[noisy].abs()).to(images).reshape(-1, *[1] * (images.ndim - 1))
        changed[rows] = changed[rows].addcmul_(noise, deviation).clamp_(0, 1)
    return changed


def _blurred(images: Tensor, deviation: Tensor) -> Tensor:
    """Each image convolved with a Gaussian of its own deviation ``(B,)`` in pixels, in the plane of H and W."""
    planes = images.flatten(1, -3)  # (B, C, H, W), or (B, C * D, H, W)
    taps = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=images.device)
    kernels = (-0.5 * (taps / deviation.clamp_min(1e-3)[:, None]) ** 2).softmax(1)  # (B, 7)
    kernels = kernels.repeat_interleave(planes.shape[1], 0)[:, None, None]  # (B * C, 1, 1, 7)
    lines = pad(planes, [_BLUR_RADIUS] * 4, mode="replicate").reshape(
        1, -1, *(s + 2 * _BLUR_RADIUS for s in planes.shape[2:])
    )
    lines = conv2d(lines, kernels, groups=len(kernels))
    return conv2d(lines, kernels.transpose(2, 3), groups=len(kernels)).reshape(images.shape)
