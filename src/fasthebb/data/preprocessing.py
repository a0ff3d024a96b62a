"""Standardisation and whitening, fitted once and stored with the weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fasthebb.data.errors import DataError, count_of
from fasthebb.data.images import ImageSet
from fasthebb.data.masked import MaskedSet

TILE = 32  # pixels: a larger image is whitened in tiles of this size, as one matrix for all of it would not fit
WHITENING_FLOOR = 1e-2

_CHUNK = 2048  # images
_ROWS, _SLICES = 512, 16  # of a large image or volume at a time; whole tiles
_WHITENING_KEY = "preprocessing.whitening"
_TILE_MEAN_KEY = "preprocessing.tile_mean"


class Preprocessing(nn.Module):
    """Images to network inputs: standardised by channel and, if fitted so, ZCA-whitened.

    Standardised is ``(x - mean) / std`` with ``x`` in [0, 1]. Whitened is that, less its mean pixel by pixel, times
    ``U diag((S + 1e-2)^-1/2) U'``, where ``U diag(S) U'`` is the covariance of the standardised pixels over all
    channels of a tile together. Tiles do not overlap; an image of at most 32 x 32 is one tile. What is left of a larger
    one beyond the last whole tile (18 of 210 pixels) is not fitted on, and whitened in tiles that go on with its mirror
    image.

    The mean of each pixel has to go because whitening multiplies what never varies by ten: the blank border of centred
    objects would be a constant larger than all that differs between images.

    Attributes:
        mean: ``(C,)`` float32, of pixels in [0, 1].
        std: ``(C,)`` float32; 1 for a channel that is constant.
        whitening: ``(D, D)`` float32 with ``D = C * tile * tile``, or ``None``.
        tile_mean: ``(D,)`` float32, mean of the standardised tiles, or ``None``.
        image_size: side in pixels of the images that it was fitted on; of images of differing sizes that of a tile, 0
            without whitening.
        tile: side of a tile in pixels, 0 without whitening.

    Example:
        >>> images = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2)
        >>> preprocessing = Preprocessing.fit(images)
        >>> abs(float(preprocessing(images).mean())) < 1e-6
        True
    """

    mean: Tensor
    std: Tensor
    whitening: Tensor | None
    tile_mean: Tensor | None

    def __init__(
        self,
        mean: Tensor,
        std: Tensor,
        image_size: int,
        whitening: Tensor | None = None,
        tile_mean: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean.to(torch.float32))
        self.register_buffer("std", std.to(torch.float32))
        self.register_buffer("whitening", None if whitening is None else whitening.to(torch.float32))
        self.register_buffer("tile_mean", None if tile_mean is None else tile_mean.to(torch.float32))
        self.image_size = image_size
        self.tile = 0 if whitening is None else min(TILE, image_size)
        inputs = len(mean) * self.tile**2
        shapes = [None if t is None else tuple(t.shape) for t in (whitening, tile_mean)]
        if shapes not in ([None, None], [(inputs, inputs), (inputs,)]):
            raise DataError(
                f"found whitening and tile mean of shapes {shapes}, expected ({inputs}, {inputs}), ({inputs},)"
            )

    @classmethod
    def fit(cls, images: Tensor | ImageSet | MaskedSet | Sequence[Tensor], *, whiten: bool = False) -> Preprocessing:
        """Fit on training images; neither labels nor masks are used.

        Args:
            images: ``(N, C, S, S)`` uint8, or float in [0, 1], or a set of such; read in chunks. Or N images of any
                sizes ``(C, H, W)`` or ``(C, D, H, W)``, or a set of such; these are whitened in tiles of 32 x 32, what
                is left of an image beyond the last whole tile is not looked at.
            whiten: whether to whiten too; flat images only.

        Raises:
            DataError: if there are no images, or whitening does not fit their size.
        """
        if isinstance(images, ImageSet | MaskedSet):
            return cls.fit(images.images, whiten=whiten)
        if isinstance(images, Tensor):
            if images.ndim != 4 or len(images) == 0 or images.shape[2] != images.shape[3]:
                raise DataError(
                    f"found images of shape {tuple(images.shape)}, expected square ones (N, C, S, S) and at least one"
                )
            return cls._fit(_chunks(images), _chunks(images) if whiten else None, images.shape[-1])
        if not len(images):
            raise DataError("found no images to fit a preprocessing on, expected at least one")
        if whiten and images[0].ndim != 3:
            raise DataError("found volumes, whitening works in flat tiles: leave whitening out")
        return cls._fit(_slabs(images), _whole_tiles(images) if whiten else None, TILE if whiten else 0)

    @classmethod
    def _fit(cls, chunks: Iterable[Tensor], to_whiten: Iterable[Tensor] | None, image_size: int) -> Preprocessing:
        """Fit on chunks ``(n, C, *size)``, and whiten by others of whole tiles."""
        moments = torch.zeros(2, 1, dtype=torch.float64)
        count = 0
        for x in chunks:
            exact = x.double()
            axes = [0, *range(2, x.ndim)]
            count += x.numel() // x.shape[1]
            moments = moments + torch.stack([exact.sum(axes), exact.square_().sum(axes)])
        mean, squares = moments / count
        std = (squares - mean**2).clamp_min(0).sqrt()
        std = torch.where(std > 1e-6, std, torch.ones_like(std))  # a constant channel becomes 0, not 0 / 0
        fitted = cls(mean, std, image_size)
        return fitted if to_whiten is None else cls(mean, std, image_size, *fitted._zca(to_whiten))

    def forward(self, images: Tensor) -> Tensor:
        """Preprocess a batch.

        Args:
            images: ``(N, C, H, W)``, or ``(N, C, D, H, W)`` without whitening, uint8 or float in [0, 1], on any device.

        Returns:
            The same shape, float32 on the images' device.

        Raises:
            DataError: if the channels differ from the fitted ones, or tiles do not fit.
        """
        if images.ndim not in (4, 5) or images.shape[1] != len(self.mean):
            raise DataError(f"found images {tuple(images.shape)}, expected (N, {len(self.mean)}, H, W)")
        if images.ndim == 5 and self.whitening is not None:
            raise DataError(f"found volumes {tuple(images.shape)}, this preprocessing whitens flat images (N, C, H, W)")
        x = self._standardise(images)
        if self.whitening is None or self.tile_mean is None:
            return x
        x = self._continued(x)
        tiles, tile = self._tiles(x), self.tile
        batch, channels, height, width = x.shape
        white = (tiles - self.tile_mean.to(x.device)) @ self.whitening.to(x.device)  # (N * h * w, D)
        grid = white.reshape(batch, height // tile, width // tile, channels, tile, tile)
        whole = grid.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)
        return whole[:, :, : images.shape[2], : images.shape[3]]

    def metadata(self) -> dict[str, str]:
        """What is stored beside ``tensors()``, as JSON texts: mean, std, channels, image_size, tile."""
        return {
            "mean": json.dumps(self.mean.tolist()),  # a float32 written as float64 comes back exactly
            "std": json.dumps(self.std.tolist()),
            "channels": json.dumps(len(self.mean)),
            "image_size": json.dumps(self.image_size),
            "tile": json.dumps(self.tile),
        }

    def tensors(self) -> dict[str, Tensor]:
        """What whitening needs, "preprocessing.whitening" and "preprocessing.tile_mean", or nothing without it."""
        if self.whitening is None or self.tile_mean is None:
            return {}
        return {_WHITENING_KEY: self.whitening, _TILE_MEAN_KEY: self.tile_mean}

    @classmethod
    def from_saved(cls, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Preprocessing:
        """The inverse of ``metadata()`` and ``tensors()``, exact; other entries in either are ignored.

        Raises:
            DataError: if an entry is missing or does not fit the others.
        """
        try:
            mean, std = (torch.tensor(json.loads(metadata[key]), dtype=torch.float32) for key in ("mean", "std"))
            channels, image_size, tile = (int(json.loads(metadata[key])) for key in ("channels", "image_size", "tile"))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise DataError("found no usable preprocessing beside the weights: save them again") from error
        whitening = tensors.get(_WHITENING_KEY)
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise DataError(
                f"found the means {mean.tolist()} and deviations {std.tolist()} beside the weights, expected finite "
                f"numbers, and deviations above 0: save them again"
            )
        if mean.shape != (channels,) or std.shape != (channels,) or (tile > 0) != (whitening is not None):
            raise DataError(
                f"found {count_of(mean.numel(), 'mean')}, {count_of(std.numel(), 'deviation')} and "
                f"{'a' if whitening is not None else 'no'} whitening matrix for {count_of(channels, 'channel')} and "
                f"tile {tile} beside the weights: save them again"
            )
        return cls(mean, std, image_size, whitening, tensors.get(_TILE_MEAN_KEY))

    def extra_repr(self) -> str:
        """Channels, size and tile, for ``print``."""
        return f"channels={len(self.mean)}, image_size={self.image_size}, tile={self.tile}"

    def _standardise(self, images: Tensor) -> Tensor:
        scale = 1.0 / 255 if images.dtype == torch.uint8 else 1.0
        mean, std = (v.to(images.device).reshape(-1, *[1] * (images.ndim - 2)) for v in (self.mean, self.std))
        return images.to(torch.float32).mul(scale).sub_(mean).div_(std)

    def _continued(self, x: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` larger than a tile, mirrored at the lower right as far as the last tile goes."""
        down, right = (-x.shape[2] % self.tile, -x.shape[3] % self.tile)
        if min(x.shape[2:]) < self.tile or not (down or right):
            return x
        return nn.functional.pad(x, (0, right, 0, down), mode="reflect")

    def _tiles(self, x: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` as tiles ``(N * h * w, D)``, a tile's values ordered by channel, row, column."""
        channels, height, width = x.shape[1:]
        tile = min(TILE, self.image_size)
        if height % tile or width % tile:
            low = max(height // tile, 1) * tile
            raise DataError(
                f"found images of {height} x {width} pixels, whitening works in tiles of {tile} x {tile}: "
                f"choose an image size of {low} or {low + tile}, or no whitening"
            )
        grid = x.reshape(len(x), channels, height // tile, tile, width // tile, tile)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels * tile * tile)

    def _zca(self, chunks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """The whitening matrix ``(D, D)`` and the mean ``(D,)`` of the standardised tiles, in float64."""
        inputs = len(self.mean) * min(TILE, self.image_size) ** 2
        products = torch.zeros(inputs, inputs, dtype=torch.float64)
        sums = torch.zeros(inputs, dtype=torch.float64)
        count = 0
        tile = min(TILE, self.image_size)
        for x in chunks:
            height, width = (max(side // tile, 1) * tile for side in x.shape[2:])
            tiles = self._tiles(self._standardise(x[:, :, :height, :width]))
            products += (tiles.T @ tiles).double()
            sums += tiles.double().sum(0)
            count += len(tiles)
        if not count:
            raise DataError(f"found no image of at least {TILE} x {TILE} pixels to whiten: leave whitening out")
        mean = sums / count
        covariance = products / count - torch.outer(mean, mean)
        eigenvalues, vectors = torch.linalg.eigh(covariance)
        gains = (eigenvalues.clamp_min(0) + WHITENING_FLOOR).rsqrt()
        return (vectors * gains) @ vectors.T, mean


def _chunks(images: Tensor) -> Iterator[Tensor]:
    """Images in chunks, as float32 in [0, 1]."""
    for start in range(0, len(images), _CHUNK):
        yield _unit(images[start : start + _CHUNK])


def _slabs(images: Sequence[Tensor]) -> Iterator[Tensor]:
    """Images of any sizes ``(C, *size)`` one by one, large ones in slabs ``(1, C, *size)``, as float32 in [0, 1]."""
    for image in images:
        thick = _ROWS if image.ndim == 3 else _SLICES
        for start in range(0, image.shape[1], thick):
            yield _unit(image[None, :, start : start + thick])


def _unit(images: Tensor) -> Tensor:
    return images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images.to(torch.float32)


def _whole_tiles(images: Sequence[Tensor]) -> Iterator[Tensor]:
    """Images of any sizes ``(C, H, W)`` as tiles ``(n, C, 32, 32)``, as float32 in [0, 1], many at a time."""
    held: list[Tensor] = []
    for x in _slabs(images):
        grid = x[0].unfold(1, TILE, TILE).unfold(2, TILE, TILE) if min(x.shape[2:]) >= TILE else x.new_empty(0)
        if grid.numel():
            held.append(grid.permute(1, 2, 0, 3, 4).flatten(0, 1))
        if sum(map(len, held)) >= _CHUNK:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)
