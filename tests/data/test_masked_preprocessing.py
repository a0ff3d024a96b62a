from typing import Any

import numpy as np
import pytest
import torch
from image_files import refused
from torch import Tensor

from fasthebb.data import MaskedSet, Preprocessing, preprocessing

SIZES = [(40, 70), (64, 33), (20, 90), (96, 64)]


def images_of(sizes: list[tuple[int, ...]], channels: int = 2, *, deep: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (channels, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    return [image.float() / 255 for image in images] if deep else images


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("sizes", [SIZES, [(5, 9, 8), (20, 4, 7)]])
def test_every_pixel_counts_alike(sizes: list[tuple[int, ...]], deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of(sizes, deep=deep)
    pixels = np.concatenate([image.reshape(2, -1).numpy() / (1 if deep else 255) for image in images], 1)
    monkeypatch.setattr(preprocessing, "_ROWS", 32)
    for source in (images, MaskedSet(images, [None] * len(images), list("abcd")[: len(images)])):
        fitted = Preprocessing.fit(source)
        np.testing.assert_allclose(fitted.mean, pixels.mean(1), rtol=1e-5)
        np.testing.assert_allclose(fitted.std, pixels.std(1), rtol=1e-5)
        assert (fitted.image_size, fitted.tile) == (0, 0)
        restored = Preprocessing.from_saved(fitted.metadata(), fitted.tensors())
        for image in images:
            expected = image.numpy() / (1 if deep else 255) - fitted.mean.numpy().reshape(2, *[1] * (image.ndim - 1))
            out = fitted(image[None])
            assert out.shape == (1, *image.shape)
            std = fitted.std.numpy().reshape(2, *[1] * (image.ndim - 1))
            np.testing.assert_allclose(out[0], expected / std, atol=1e-4)
            assert torch.equal(restored(image[None]), out)


def test_alike_images_are_fitted_as_their_tensor() -> None:
    images = images_of([(32, 32)] * 40, 1)
    for whiten in (False, True):
        listed, stacked = (
            Preprocessing.fit(images, whiten=whiten),
            Preprocessing.fit(torch.stack(images), whiten=whiten),
        )
        for name, value in stacked.state_dict().items():
            torch.testing.assert_close(listed.state_dict()[name], value, atol=1e-3, rtol=1e-4)
    assert (listed.image_size, listed.tile) == (32, 32)


def test_whitening_takes_the_whole_tiles_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "TILE", 8)
    images = images_of(SIZES)
    whole = [image[:, : image.shape[1] // 8 * 8, : image.shape[2] // 8 * 8] for image in images]
    tiles = torch.cat(
        [one.unfold(1, 8, 8).unfold(2, 8, 8).permute(1, 2, 0, 3, 4).reshape(-1, 2, 8, 8) for one in whole]
    )
    fitted = Preprocessing.fit(images, whiten=True)
    mean, std = (value.reshape(1, 2, 1, 1) for value in (fitted.mean, fitted.std))
    flat = ((tiles / 255 - mean) / std).reshape(len(tiles), -1).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True))
    matrix = vectors @ np.diag((np.maximum(values, 0) + 1e-2) ** -0.5) @ vectors.T
    np.testing.assert_allclose(fitted.whitening, matrix, atol=2e-3)
    monkeypatch.setattr(preprocessing, "_CHUNK", 10)
    parts = Preprocessing.fit(images, whiten=True)
    torch.testing.assert_close(parts.whitening, fitted.whitening, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("sizes", "options", "words"),
    [
        ([], {}, ("no images", "at least one")),
        ([(20, 90), (31, 31)], {"whiten": True}, ("no image of at least 32 x 32",)),
        ([(4, 40, 40)], {"whiten": True}, ("volumes", "flat tiles")),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    sizes: list[tuple[int, ...]], options: dict[str, Any], words: tuple[str, ...]
) -> None:
    with refused(*words):
        Preprocessing.fit(images_of(sizes), **options)


def test_volumes_are_not_whitened() -> None:
    fitted = Preprocessing.fit(images_of([(64, 64)], 1), whiten=True)
    with refused("volumes (1, 1, 4, 32, 32)", "flat images"):
        fitted(torch.zeros(1, 1, 4, 32, 32))
    with refused("expected (N, 1, H, W)"):
        fitted(torch.zeros(1, 3, 32, 32))
