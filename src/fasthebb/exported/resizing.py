"""Resizing as a part of a graph, for images of any size."""

import torch
from torch import Tensor, nn


class CentreSquare(nn.Module):
    """Resize the shorter side and crop to the centre square, as files are read.

    Each axis is one matrix of weights: bilinear interpolation whose triangles widen with the scale where the image
    shrinks, so that every pixel counts. The matrices are computed from the image's size within the graph, which
    therefore has no branches. An image that has the size already passes unchanged.

    Args:
        image_size: height and width of the results, in pixels.

    >>> CentreSquare(2)(torch.arange(16.0).reshape(1, 1, 4, 4) / 16).shape
    torch.Size([1, 1, 2, 2])
    >>> images = torch.rand(1, 3, 5, 5)
    >>> torch.equal(CentreSquare(5)(images), images)
    True
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size

    def forward(self, images: Tensor) -> Tensor:
        """``(N, C, H, W)`` float to ``(N, C, image_size, image_size)``."""
        rows, columns = (torch.arange(side, dtype=torch.float32, device=images.device) for side in images.shape[2:])
        height, width = rows[-1] + 1, columns[-1] + 1  # as tensors, so that a graph computes with them
        side = torch.minimum(height, width)
        return self._weights(rows, height, side) @ images @ self._weights(columns, width, side).T

    def _weights(self, places: Tensor, length: Tensor, side: Tensor) -> Tensor:
        """``(image_size, length)``: what each pixel of an axis gives to each of the result's; rows add up to 1."""
        scale = side / self.image_size
        wanted = torch.arange(self.image_size, dtype=torch.float32, device=places.device)
        centres = (length - side) / 2 + (wanted + 0.5) * scale
        distances = (places + 0.5 - centres[:, None]).abs() / scale.clamp(min=1)
        weights = (1 - distances).clamp(min=0)
        return weights / weights.sum(1, keepdim=True)
