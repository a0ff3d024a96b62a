import gzip
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from image_files import random_pixels, refused, write_images
from mask_files import load, random_mask, tiff
from numpy.typing import NDArray

from fasthebb.data.decoding import UnreadableError
from fasthebb.data.native import decode_mask, decode_native
from fasthebb.data.volumes import is_nifti, nifti_axes, read_nifti, read_stack


def nifti(volume: NDArray[Any], affine: Any = None, kind: Any = nibabel.Nifti1Image) -> bytes:
    """``(D, H, W)``, or ``(D, H, W, C)``, stored as i, j, k (and channels)."""
    image = kind(np.moveaxis(volume, (0, 2), (2, 0)), np.eye(4) if affine is None else affine)
    content: bytes = image.to_bytes()
    return content


def write_volumes(root: Path, count: int, suffix: str = ".nii.gz", **options: Any) -> None:
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shape = (3 + number, 6, 7)
        for kind, values in (
            ("images", random_pixels(*shape, seed=number)),
            ("masks", random_mask(*shape, values=(0, 1, 2), seed=number)),
        ):
            content = tiff(values, **options) if suffix == ".tif" else nifti(values)
            path = root / kind / f"{number}{suffix}"
            path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".nii", {}),
        (".nii.gz", {}),
        (".tif", {"photometric": "minisblack"}),
        (".tif", {"metadata": None, "photometric": "minisblack", "compression": "zlib"}),
        (".tif", {"imagej": True, "metadata": {"axes": "ZYX"}}),
        (".tif", {"ome": True, "metadata": {"axes": "ZYX"}}),
        (".tif", {"bigtiff": True, "photometric": "minisblack"}),
        (".tif", {"byteorder": ">", "photometric": "minisblack"}),
    ],
)
def test_volumes_and_their_masks_are_read(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    write_volumes(tmp_path, 3, suffix, **options)
    data = load(tmp_path, testing=False)
    assert data.classes == ["background", "1", "2"]
    assert (data.train.dims, data.train.channels) == (3, 1)
    for number in range(3):
        shape = (3 + number, 6, 7)
        assert data.train.images[number].dtype == torch.uint8
        assert np.array_equal(data.train.images[number][0], random_pixels(*shape, seed=number))
        assert np.array_equal(data.train.masks[number], random_mask(*shape, values=(0, 1, 2), seed=number))
    assert "3 x 6 x 7 to 5 x 6 x 7 voxels" in data.summary()
    extra = load(tmp_path, testing=False, unlabelled=tmp_path / "images" / f"1{suffix}")
    assert len(extra.unlabelled) == 3


def test_images_and_masks_of_two_formats_match(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, ".nii.gz")
    (tmp_path / "masks" / "1.nii.gz").unlink()
    mask = random_mask(4, 6, 7, values=(0, 1, 2), seed=1)
    (tmp_path / "masks" / "1.tif").write_bytes(tiff(mask, photometric="minisblack"))
    assert np.array_equal(load(tmp_path, testing=False).train.masks[1], mask)


def test_deep_volumes_are_stretched_over_all_their_slices() -> None:
    values = np.arange(4000, dtype=np.int16).reshape(10, 20, 20) - 1000
    for content in (nifti(values), gzip.compress(nifti(values)), nifti(values, kind=nibabel.Nifti2Image)):
        assert is_nifti(content)
        pixels = decode_native(content)
        assert (pixels.shape, pixels.dtype) == ((10, 20, 20, 1), np.float32)
        low, high = np.percentile(values, (0.5, 99.5))
        np.testing.assert_allclose(pixels[..., 0], np.clip((values - low) / (high - low), 0, 1), atol=1e-6)
    stack = decode_native(tiff(values.view(np.uint16), photometric="minisblack"))
    assert (stack.shape, stack.dtype) == ((10, 20, 20, 1), np.float32)


def test_the_scale_in_a_header_is_applied_to_masks() -> None:
    image = nibabel.Nifti1Image(np.array([0, 2, 4, 6], np.int16).reshape(4, 1, 1).repeat(3, 2), np.eye(4))
    image.header.set_slope_inter(0.5, 0)
    mask = decode_mask(image.to_bytes())
    assert (mask.dtype, mask.shape) == (np.uint8, (3, 1, 4))
    assert mask[0, 0].tolist() == [0, 1, 2, 3]


def test_channels_of_volumes() -> None:
    values = random_pixels(4, 5, 6, 2)
    assert np.array_equal(read_nifti(nifti(values)), values)
    five = nibabel.Nifti1Image(np.moveaxis(values, (0, 2), (2, 0))[:, :, :, None], np.eye(4)).to_bytes()
    assert np.array_equal(read_nifti(five), values)
    colour = np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = 9
    assert read_nifti(nibabel.Nifti1Image(colour, np.eye(4)).to_bytes())[0, 0, 0].tolist() == [0, 9, 0]
    for axes, order in (("ZCYX", (0, 3, 1, 2)), ("CZYX", (3, 0, 1, 2))):
        content = tiff(values.transpose(order), ome=True, metadata={"axes": axes}, photometric="minisblack")
        assert np.array_equal(read_stack(content), values)
    pages = tiff(random_pixels(4, 5, 6, 3), photometric="rgb")
    assert np.array_equal(read_stack(pages), random_pixels(4, 5, 6, 3))


def test_single_slices_and_channels_are_flat() -> None:
    assert decode_native(nifti(random_pixels(1, 5, 6))).shape == (5, 6, 1)
    assert decode_mask(nifti(random_mask(1, 5, 6))).shape == (5, 6)
    assert read_stack(tiff(random_pixels(5, 6))) is None
    assert decode_native(tiff(random_pixels(3, 5, 6), imagej=True, metadata={"axes": "CYX"})).shape == (5, 6, 3)
    assert decode_native(tiff(random_pixels(4, 5, 6), imagej=True, metadata={"axes": "TYX"})).shape == (5, 6, 1)


def test_white_is_zero_is_turned_round() -> None:
    values = random_pixels(4, 5, 6)
    assert np.array_equal(read_stack(tiff(values, photometric="miniswhite")), 255 - values[..., None])


def test_axes_that_do_not_say_which_is_depth_are_refused() -> None:
    with pytest.raises(UnreadableError, match="axes QQYX"):
        decode_native(tiff(random_pixels(2, 3, 5, 6), photometric="minisblack"))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"imagej": True}, {"compression": "zlib"}])
def test_truncated_stacks_are_not_read_in_part(share: float, options: dict[str, Any], capfd: Any) -> None:
    whole = tiff(random_pixels(8, 40, 50), photometric="minisblack", **options)
    for decode in (decode_native, decode_mask):
        with pytest.raises(Exception, match=r"cut short|read|truncated"):
            decode(whole[: int(len(whole) * share)])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("zipped", [False, True])
def test_truncated_nifti_is_not_read_in_part(share: float, zipped: bool) -> None:
    whole = nifti(random_pixels(8, 40, 50))
    whole = gzip.compress(whole) if zipped else whole
    with pytest.raises(Exception, match=r"cut short|damaged|cannot identify"):
        decode_native(whole[: int(len(whole) * share)])


def test_damaged_volumes_are_skipped_and_named(tmp_path: Path) -> None:
    write_volumes(tmp_path, 4)
    path = tmp_path / "images" / "2.nii.gz"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.warns(UserWarning, match=r"images/2.nii.gz"):
        data = load(tmp_path, testing=False)
    assert len(data.train) == 3
    with refused("cannot read 'images/2.nii.gz'"):
        load(tmp_path, testing=False, strict=True)


def test_a_small_file_that_unfolds_into_much_is_refused() -> None:
    content = bytearray(nifti(random_pixels(4, 5, 6)))
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    for bomb in (bytes(content), gzip.compress(bytes(content))):
        with pytest.raises(UnreadableError, match="GiB"):
            decode_native(bomb)


def test_orientations_that_differ_are_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, ".nii")
    turned = nifti(random_mask(4, 6, 7), affine=np.diag([-1.0, -1, 1, 1]))
    assert nifti_axes(turned) == "LPS"
    (tmp_path / "masks" / "1.nii").write_bytes(turned)
    with refused("axes RAS in 'images/1.nii'", "LPS in its mask 'masks/1.nii'"):
        load(tmp_path, testing=False)


def test_volumes_and_flat_images_are_not_mixed(tmp_path: Path) -> None:
    write_volumes(tmp_path / "data", 4)
    write_images(tmp_path / "flat", 2)
    with refused("2 flat images (flat/0.png, flat/1.png)", "4 volumes (images/0.nii.gz", "divide them"):
        load(tmp_path / "data", unlabelled=tmp_path / "flat", testing=False)


def test_a_stack_with_a_flat_mask_is_told_about_channels(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, ".tif", photometric="minisblack")
    (tmp_path / "masks" / "0.tif").write_bytes(tiff(random_mask(6, 7)))
    with refused("images/0.tif", "3 x 6 x 7 voxels", "6 x 7 pixels", "axes CYX"):
        load(tmp_path, testing=False)


@pytest.mark.parametrize(("package", "suffix"), [("nibabel", ".nii.gz"), ("tifffile", ".tif")])
def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str) -> None:
    write_volumes(tmp_path, 3, suffix, **({"photometric": "minisblack"} if suffix == ".tif" else {}))
    monkeypatch.setitem(sys.modules, package, None)
    with refused(f"the package {package}", "fasthebb[medical]"):
        load(tmp_path, testing=False)


def test_a_single_volume_and_a_folder_of_them_are_enough_to_pretrain_on(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3)
    assert len(load(tmp_path / "images", need_masks=False).unlabelled) == 3
    assert len(load(tmp_path / "images" / "0.nii.gz", need_masks=False).unlabelled) == 1
