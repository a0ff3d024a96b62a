"""Images of any size, as a network has seen them in training."""

import torch
from torch import Tensor

from fasthebb.data.channels import convert, stack
from fasthebb.data.decoding import _resize  # the one way in which images are resized, from files too
from fasthebb.data.errors import DataError, count_of


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Images ``(N, C, *size)`` with grey made colour, or the other way round, in their dtype and on their device.

    Raises:
        DataError: the channels cannot be converted.

    >>> import torch
    >>> with_channels(torch.full((2, 3, 4, 5), 7, dtype=torch.uint8), 1).shape
    torch.Size([2, 1, 4, 5])
    """
    have = images.shape[1]
    if have == channels:
        return images
    if {have, channels} != {1, 3}:
        raise DataError(
            f"found {count_of(have, 'channel')}, expected {channels}: only 1 and 3 are converted to each other"
        )
    pixels = images.detach().cpu().movedim(1, -1).reshape(-1, 1, have).numpy()
    changed = torch.from_numpy(convert(pixels, channels)).reshape(len(images), *images.shape[2:], channels)
    return changed.movedim(-1, 1).contiguous().to(images.device)


def fitted(images: Tensor, image_size: int, channels: int) -> Tensor:
    """Resize the shorter side to `image_size` and crop to the centre square; make grey colour, or the other way round.

    Args:
        images: ``(N, C, H, W)``, uint8 or float32 in [0, 1].
        image_size: height and width of the results, in pixels.
        channels: of the results.

    Returns:
        ``(N, channels, image_size, image_size)``, in the dtype and on the device of `images`; these themselves where
        they are as they should be.

    Raises:
        DataError: the channels cannot be converted.

    >>> import torch
    >>> fitted(torch.full((2, 1, 6, 8), 7, dtype=torch.uint8), 3, 3).shape
    torch.Size([2, 3, 3, 3])
    """
    if images.shape[1:] == (channels, image_size, image_size) or not len(images):
        return images
    pixels = [_resize(image.permute(1, 2, 0).cpu().numpy(), image_size) for image in images.detach()]
    names = [f"image {index}" for index in range(len(pixels))]
    return stack(pixels, image_size, channels, names).to(images.device)
