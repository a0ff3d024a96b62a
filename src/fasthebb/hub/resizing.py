"""Images of any size, as a network has seen them in training."""

from torch import Tensor

from fasthebb.data.channels import stack
from fasthebb.data.decoding import _resize  # the one way in which images are resized, from files too


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
