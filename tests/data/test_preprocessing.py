import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import load, refused, write_classes, write_images, write_table
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from fasthebb.data import ImageSet, Preprocessing, preprocessing


def some_images(count: int, channels: int, side: int, seed: int = 0) -> Tensor:
    """Smooth images, whose pixels are correlated as those of photographs are, with a blank border."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, max(side // 4, 2), max(side // 4, 2), generator=generator)
    images = torch.nn.functional.interpolate(coarse, side, mode="bilinear")
    images = (images + 0.1 * torch.rand(images.shape, generator=generator)).mul(230).to(torch.uint8)
    images[:, :, 0] = 7
    return images


def standardised(images: Tensor, fitted_on: Tensor) -> NDArray[np.float64]:
    x, train = images.numpy().astype(np.float64) / 255, fitted_on.numpy().astype(np.float64) / 255
    mean, std = train.mean((0, 2, 3), keepdims=True), train.std((0, 2, 3), keepdims=True)
    return np.asarray((x - mean) / std)


def tiles_of(x: NDArray[np.float64], tile: int) -> list[NDArray[np.float64]]:
    """Each tile of each image as a vector, row by row of tiles."""
    corners = list(itertools.product(range(0, x.shape[2], tile), range(0, x.shape[3], tile)))
    return [image[:, r : r + tile, c : c + tile].reshape(-1) for image in x for r, c in corners]


def zca(images: Tensor, fitted_on: Tensor, tile: int) -> NDArray[np.float64]:
    """METHOD's whitening in float64, ``U diag((S + 1e-2)^-1/2) U'``, tile by tile: ``(tiles, D)``."""
    train = np.stack(tiles_of(standardised(fitted_on, fitted_on), tile))
    values, vectors = np.linalg.eigh(np.cov(train, rowvar=False, bias=True))
    matrix = vectors @ np.diag((np.maximum(values, 0) + 1e-2) ** -0.5) @ vectors.T
    return np.stack([matrix @ (one - train.mean(0)) for one in tiles_of(standardised(images, fitted_on), tile)])


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("scale", [1, 255])
def test_standardised_images_have_mean_0_and_deviation_1_in_each_channel(channels: int, scale: int) -> None:
    images = some_images(50, channels, 12)
    images[:, 0] //= 3
    fitted = Preprocessing.fit(images if scale == 1 else images.float() / 255)
    out = fitted(images if scale == 1 else images.float() / 255)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double().mean((0, 2, 3)), torch.zeros(channels).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.double().std((0, 2, 3)), torch.ones(channels).double(), atol=1e-3, rtol=0)
    np.testing.assert_allclose(out.numpy(), standardised(images, images), atol=1e-5)


def test_a_constant_channel_becomes_zero() -> None:
    images = some_images(5, 2, 8)
    images[:, 1] = 9
    out = Preprocessing.fit(images)(images)
    assert out[:, 1].abs().max() < 1e-6
    assert out[:, 0].std() > 0.5


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 6), (2, 8)])
def test_whitening_is_the_formula_of_the_method(channels: int, side: int) -> None:
    train, new = some_images(300, channels, side), some_images(20, channels, side, seed=1)
    fitted = Preprocessing.fit(train, whiten=True)
    for images in (train, new):
        expected = zca(images, train, side).reshape(images.shape)
        np.testing.assert_allclose(fitted(images).numpy(), expected, atol=2e-3, rtol=1e-3)


def test_whitened_pixels_are_uncorrelated_where_they_vary() -> None:
    train = some_images(4000, 1, 8)
    out = Preprocessing.fit(train, whiten=True)(train).reshape(4000, -1).numpy()
    covariance = np.cov(out, rowvar=False)
    values = np.linalg.eigvalsh(np.cov(np.stack(tiles_of(standardised(train, train), 8)), rowvar=False))
    expected = values / (values + 1e-2)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), np.sort(expected), atol=1e-2)


def test_larger_images_are_whitened_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "TILE", 6)
    train = some_images(100, 2, 18)
    out = Preprocessing.fit(train, whiten=True)(train).numpy()
    np.testing.assert_allclose(np.stack(tiles_of(out, 6)), zca(train, train, 6), atol=2e-3, rtol=1e-3)


def test_tiles_are_of_32_pixels_and_do_not_touch_each_other() -> None:
    images = some_images(20, 1, 64)
    fitted = Preprocessing.fit(images, whiten=True)
    assert fitted.tile == 32
    assert fitted.whitening is not None
    assert fitted.whitening.shape == (32 * 32, 32 * 32)
    changed = images.clone()
    changed[:, :, 32:, :32] = 0
    difference = (fitted(changed) - fitted(images)).abs().amax((0, 1))
    assert difference[32:, :32].min() > 0
    assert difference[:32].max() == difference[32:, 32:].max() == 0


def test_what_is_left_beyond_the_last_whole_tile_is_whitened_with_its_mirror_image() -> None:
    images = some_images(20, 1, 50)
    fitted = Preprocessing.fit(images, whiten=True)
    assert fitted.tile == 32
    of_whole_tiles = Preprocessing.fit(images[:, :, :32, :32], whiten=True)
    assert fitted(images).shape == images.shape
    same_scale = Preprocessing(of_whole_tiles.mean, of_whole_tiles.std, 32, fitted.whitening, fitted.tile_mean)
    same_scale.mean, same_scale.std = fitted.mean, fitted.std
    torch.testing.assert_close(fitted(images)[:, :, :32, :32], same_scale(images[:, :, :32, :32]))
    mirrored = torch.cat([images, images[:, :, -15:-1].flip(2)], 2)  # 64 rows
    mirrored = torch.cat([mirrored, mirrored[:, :, :, -15:-1].flip(3)], 3)
    torch.testing.assert_close(fitted(mirrored)[:, :, :50, :50], fitted(images))


def test_images_smaller_than_a_tile_are_refused() -> None:
    fitted = Preprocessing.fit(some_images(4, 1, 32), whiten=True)
    with refused("16 x 16", "image size of 32"):
        fitted(some_images(1, 1, 16))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 9), st.booleans(), st.integers(0, 99))
def test_what_is_saved_comes_back_exactly(channels: int, side: int, whiten: bool, seed: int) -> None:
    images = some_images(12, channels, side, seed)
    fitted = Preprocessing.fit(images, whiten=whiten)
    restored = Preprocessing.from_saved({**fitted.metadata(), "model": "x"}, {**fitted.tensors(), "w": torch.ones(1)})
    assert restored.metadata() == fitted.metadata()
    assert restored.state_dict().keys() == fitted.state_dict().keys()
    assert all(torch.equal(value, fitted.state_dict()[name]) for name, value in restored.state_dict().items())
    assert torch.equal(restored(images), fitted(images))
    assert (restored.image_size, restored.tile) == (side, side if whiten else 0)


def test_it_survives_a_safetensors_file(tmp_path: Path) -> None:
    images = some_images(40, 3, 8)
    fitted = Preprocessing.fit(images, whiten=True)
    save_file(fitted.tensors(), tmp_path / "w.safetensors")
    restored = Preprocessing.from_saved(fitted.metadata(), load_file(tmp_path / "w.safetensors"))
    assert torch.equal(restored(images), fitted(images))


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None},
        {"std": "[1.0]"},
        {"mean": "words"},
        {"channels": "2"},
        {"image_size": "16"},
        {"tile": "0"},
        {"image_size": "Infinity"},
        {"channels": "null"},
    ],
)
def test_what_was_not_saved_whole_is_refused(change: dict[str, str | None]) -> None:
    fitted = Preprocessing.fit(some_images(12, 3, 8), whiten=True)
    metadata = {key: value for key, value in (fitted.metadata() | change).items() if value is not None}
    with refused("found"):
        Preprocessing.from_saved(metadata, fitted.tensors())


def test_a_file_without_its_whitening_is_refused() -> None:
    fitted = Preprocessing.fit(some_images(12, 3, 8), whiten=True)
    for missing in fitted.tensors():
        tensors = {name: value for name, value in fitted.tensors().items() if name != missing}
        with refused("found"):
            Preprocessing.from_saved(fitted.metadata(), tensors)


def test_what_does_not_fit_is_refused() -> None:
    for shape in ((0, 1, 8, 8), (3, 8, 8), (3, 1, 8, 9)):
        with refused(str(shape), "square ones (N, C, S, S) and at least one"):
            Preprocessing.fit(torch.zeros(shape, dtype=torch.uint8))
    with refused("(2, 1, 8, 8)", "expected (N, 3, H, W)"):
        Preprocessing.fit(some_images(4, 3, 8))(some_images(2, 1, 8))


def test_large_sets_are_fitted_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images(50, 2, 4)
    whole = Preprocessing.fit(images, whiten=True)
    monkeypatch.setattr(preprocessing, "_CHUNK", 7)
    parts = Preprocessing.fit(images, whiten=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=2e-3, rtol=1e-5)


def test_images_are_not_changed_and_batches_do_not_matter() -> None:
    images = some_images(20, 3, 8)
    fitted = Preprocessing.fit(images, whiten=True)
    for given_images in (images, images.float() / 255):
        before = given_images.clone()
        together = fitted(given_images)
        assert torch.equal(given_images, before)
        apart = torch.cat([fitted(part) for part in given_images.split(7)])
        torch.testing.assert_close(apart, together, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("whiten", [False, True])
def test_labels_and_held_out_images_make_no_difference(tmp_path: Path, whiten: bool) -> None:
    """Fitted on the unlabelled images: neither other labels nor other validation and test images change a bit."""
    folder = write_images(tmp_path / "images", 40)[0].parent
    splits = ["train", "validation", "test", "train"]

    def fitted(kinds: str) -> Preprocessing:
        rows = [(f"{n}.png", kinds[n % len(kinds)], splits[n % 4]) for n in range(40)]
        table = write_table(tmp_path / "l.csv", ["file", "label", "split"], rows)
        return Preprocessing.fit(load(folder, label_file=table).unlabelled, whiten=whiten)

    first, relabelled = fitted("aaaabbbb"), fitted("bbbbaaaaaaaa")
    for path in write_images(tmp_path / "other", 40, seed=5):
        if splits[int(path.stem) % 4] != "train":
            (folder / path.name).write_bytes(path.read_bytes())
    retested = fitted("aaaabbbb")
    (folder / "0.png").write_bytes((tmp_path / "other" / "0.png").read_bytes())
    retrained = fitted("aaaabbbb")
    for name, value in first.state_dict().items():
        assert torch.equal(relabelled.state_dict()[name], value)
        assert torch.equal(retested.state_dict()[name], value)
    assert not torch.equal(retrained.mean, first.mean)


def test_a_set_of_images_is_fitted_as_its_tensor(tmp_path: Path) -> None:
    data = load(write_classes(tmp_path, {"a": 6, "b": 6}))
    by_set, by_tensor = Preprocessing.fit(data.unlabelled), Preprocessing.fit(data.unlabelled.images)
    assert by_set.metadata() == by_tensor.metadata()
    assert isinstance(data.unlabelled, ImageSet)
