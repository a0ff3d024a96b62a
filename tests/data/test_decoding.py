import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import dicom, encoded, load, png_bomb, png_chunk, random_pixels, refused, write_classes
from numpy.typing import NDArray
from PIL import Image

from fasthebb.data import decoding, load_folder_for_prediction, reading
from fasthebb.data.channels import stack
from fasthebb.data.decoding import UnreadableError, decode, stretch
from fasthebb.data.reading import check_memory
from fasthebb.data.sources import open_source

deep = np.random.default_rng(0).integers(0, 2**16, (12, 12), dtype=np.uint16)
ramp = np.linspace(0, 1, 16 * 16).reshape(16, 16)


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    stream = BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def by_percentiles(values: NDArray[Any]) -> NDArray[np.float64]:
    """The stated scaling: the 0.5 and 99.5 percentiles become 0 and 1."""
    low, high = np.percentile(values.astype(np.float64), [0.5, 99.5])
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)


def test_grey_and_colour_keep_every_pixel() -> None:
    grey, colour = random_pixels(8, 8), random_pixels(8, 8, 3)
    assert np.array_equal(decode(encoded(grey), 8)[:, :, 0], grey)
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        assert np.array_equal(decode(encoded(colour, kind), 8), colour)
    assert decode(encoded(colour, "JPEG"), 8).shape == (8, 8, 3)


def test_the_shorter_side_is_resized_and_the_centre_kept() -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    for pixels in (wide, wide.transpose(1, 0, 2)):
        for kind in ("PNG", "JPEG"):
            fitted = decode(encoded(np.ascontiguousarray(pixels), kind), 8).astype(int)
            assert fitted.shape == (8, 8, 3)
            assert fitted[1:-1, 1:-1].min() > 190


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert abs(decode(encoded(stripes), 8)[:, 1:-1].astype(int) - 127).max() <= 4


def test_transparency_is_composited_on_white() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :, 0] = 200
    pixels[:4, :, 3] = 255
    pixels[4:, :, 3] = 51
    colour = decode(encoded(pixels), 8).astype(int)
    assert colour.shape == (8, 8, 3)
    assert np.unique(colour[:4].reshape(-1, 3), axis=0).tolist() == [[200, 0, 0]]
    assert abs(colour[4:] - [255 - 11, 204, 204]).max() <= 1
    grey = decode(encoded(np.dstack([pixels[:, :, 0], pixels[:, :, 3]])), 8).astype(int)
    assert grey.shape == (8, 8, 1)
    assert abs(grey[4:] - 244).max() <= 1


def test_palettes_bits_and_the_orientation_of_a_camera_are_applied() -> None:
    colour = np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 4, axis=1).repeat(8, axis=0)
    stream = BytesIO()
    Image.fromarray(colour).quantize(4).save(stream, "PNG")
    assert abs(decode(stream.getvalue(), 8).astype(int) - colour).max() <= 2
    bits = random_pixels(8, 8) > 127
    assert np.array_equal(decode(encoded(bits), 8)[:, :, 0], bits * np.uint8(255))
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by a quarter
    half = np.zeros((32, 32), np.uint8)
    half[:16] = 255
    shown = decode(encoded(half, "JPEG", exif=turned, quality=95), 8)[:, :, 0]
    assert shown[:, 5:].min() > 250
    assert shown[:, :3].max() < 5


def test_grey_colour_and_transparent_images_of_all_sizes_go_together(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 3, "b": 5})
    (tmp_path / "a" / "wide.png").write_bytes(encoded(random_pixels(30, 50, 3)))
    (tmp_path / "a" / "clear.png").write_bytes(encoded(random_pixels(5, 4, 4)))
    assert load(tmp_path).unlabelled.images.shape[1:] == (3, 8, 8)
    assert load(tmp_path, channels=1, image_size=13).unlabelled.images.shape[1:] == (1, 13, 13)
    (tmp_path / "a" / "wide.png").unlink()
    (tmp_path / "a" / "clear.png").unlink()
    assert load(tmp_path).unlabelled.images.shape[1:] == (1, 8, 8)
    assert load(tmp_path, channels=3).unlabelled.images.shape[1:] == (3, 8, 8)
    assert load(tmp_path).unlabelled.images.dtype == torch.uint8


def test_grey_is_repeated_and_colour_becomes_its_luminance() -> None:
    grey, colour = random_pixels(4, 4, 1), random_pixels(4, 4, 3)
    repeated = stack([grey], 4, 3, ["x"])[0]
    assert all(np.array_equal(plane, grey[:, :, 0]) for plane in repeated.numpy())
    luminance = colour @ np.array([0.299, 0.587, 0.114])
    assert abs(stack([colour], 4, 1, ["x"])[0, 0].numpy() - luminance).max() <= 0.51
    assert abs(stack([colour / np.float32(255)], 4, 1, ["x"])[0, 0].numpy() - luminance / 255).max() < 1e-6


def test_the_first_layer_fits_as_many_channels_as_there_are(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for number in range(4):
            planes = np.random.default_rng(number).random((5, 9, 9), np.float32)
            (tmp_path / folder / f"{number}.tif").write_bytes(tiff(planes))
    data = load(tmp_path)
    assert data.unlabelled.images.shape[1:] == (5, 8, 8)
    assert "5 channels" in data.summary()
    assert "float32 in [0, 1]" in data.summary()
    with refused("5 channels in 'a/", "asked for 3", "only 1 and 3"):
        load(tmp_path, channels=3)
    with refused("5 channels"):
        load_folder_for_prediction(tmp_path, image_size=8, channels=1)
    (tmp_path / "b" / "photo.png").write_bytes(encoded(random_pixels(9, 9, 3)))
    with refused("1 image of 3 channels, such as b/photo.png; 8 images of 5 channels, such as ", "expected one number"):
        load(tmp_path)


def test_one_deep_image_makes_all_of_them_float() -> None:
    images = stack([np.full((2, 2, 1), 51, np.uint8), np.full((2, 2, 1), 0.5, np.float32)], 2, None, ["a", "b"])
    assert images.dtype == torch.float32
    torch.testing.assert_close(images[:, 0, 0, 0], torch.tensor([0.2, 0.5]))


@pytest.mark.parametrize(
    "content",
    [
        encoded(deep),
        encoded(deep, "TIFF"),
        encoded(deep.astype(np.int32), "TIFF"),
        encoded(deep.astype(np.float32) / 7 - 300, "TIFF"),
        tiff(deep.astype(np.float64) * 1e-5),
        tiff(deep.astype(np.int32) - 40_000),
        dicom(deep),
        dicom(deep, RescaleSlope=2, RescaleIntercept=-1024),
    ],
    ids=["png", "tiff", "tiff-int32", "tiff-float32", "tiff-float64", "tiff-negative", "dicom", "dicom-rescaled"],
)
def test_deep_images_keep_their_depth_scaled_by_percentiles(content: bytes) -> None:
    pixels = decode(content, 12)
    assert pixels.dtype == np.float32
    assert pixels.shape == (12, 12, 1)
    np.testing.assert_allclose(pixels[:, :, 0], by_percentiles(deep), atol=1e-6)
    assert len(np.unique(pixels)) > 130  # not the few that would be left of 8 bits of a narrow range


def test_a_narrow_range_of_16_bits_is_not_lost() -> None:
    narrow = (30_000 + 40 * ramp).astype(np.uint16)
    for content in (encoded(narrow), encoded(narrow, "TIFF"), dicom(narrow)):
        assert len(np.unique(decode(content, 16))) > 35


def test_deep_colour_is_scaled_by_all_channels_together() -> None:
    colour = np.random.default_rng(1).integers(0, 2**16, (12, 12, 3), dtype=np.uint16)
    colour[:, :, 2] //= 4
    for content in (
        tiff(colour, photometric="rgb"),
        tiff(colour.transpose(2, 0, 1), photometric="rgb", planarconfig=2),
    ):
        np.testing.assert_allclose(decode(content, 12), by_percentiles(colour), atol=1e-6)


def test_deep_colour_of_png_and_its_transparency() -> None:
    def png(pixels: NDArray[np.uint16], kind: int) -> bytes:
        height, width = pixels.shape[:2]
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
        header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, kind, 0, 0, 0])
        body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body

    colour = np.random.default_rng(2).integers(0, 2**16, (12, 12, 3), dtype=np.uint16)
    np.testing.assert_allclose(decode(png(colour, 2), 12), by_percentiles(colour), atol=1e-6)
    alpha = np.full((12, 12, 1), 13_107, np.uint16)  # a fifth
    on_white = by_percentiles(colour) * 0.2 + 0.8
    clear = np.dstack([colour, alpha])
    np.testing.assert_allclose(decode(png(clear, 6), 12), on_white, atol=1e-5)
    np.testing.assert_allclose(
        decode(tiff(clear, photometric="rgb", extrasamples=["unassalpha"]), 12), on_white, atol=1e-5
    )


def test_of_moments_and_slices_the_first_is_taken_and_planes_are_channels() -> None:
    values = np.random.default_rng(3).integers(0, 2**16, (4, 2, 12, 12), dtype=np.uint16)
    first = by_percentiles(values[0].transpose(1, 2, 0))
    for axes in ("ZCYX", "TCYX"):
        np.testing.assert_allclose(decode(tiff(values, imagej=True, metadata={"axes": axes}), 12), first, atol=1e-6)
    pages = random_pixels(4, 12, 12, 3)
    assert np.array_equal(decode(tiff(pages, photometric="rgb"), 12), pages[0])
    grey = pages[:, :, :, 0]
    assert np.array_equal(decode(tiff(grey, photometric="minisblack"), 12), grey.transpose(1, 2, 0))
    np.testing.assert_allclose(decode(dicom(values[:, 0]), 12)[:, :, 0], by_percentiles(values[0, 0]), atol=1e-6)
    with pytest.raises(UnreadableError, match="80 planes are a stack"):
        decode(tiff(np.zeros((80, 5, 5), np.uint8), photometric="minisblack"), 4)


def test_where_zero_is_white_the_image_is_inverted() -> None:
    for values in (random_pixels(12, 12), deep):
        plain = decode(tiff(values), 12).astype(float)
        white = decode(tiff(values, photometric="miniswhite"), 12).astype(float)
        np.testing.assert_allclose(white, (255 if values.dtype == np.uint8 else 1) - plain, atol=1e-6)
    np.testing.assert_allclose(
        decode(dicom(deep, PhotometricInterpretation="MONOCHROME1"), 12), 1 - decode(dicom(deep), 12), atol=1e-6
    )


def test_a_dicom_window_replaces_the_percentiles() -> None:
    values = np.arange(256, dtype=np.int16).reshape(16, 16) * 10 - 1000
    for function, expected in (
        ("LINEAR", (values - (200 - 0.5)) / (400 - 1) + 0.5),
        ("LINEAR_EXACT", (values - 200) / 400 + 0.5),
        ("SIGMOID", 1 / (1 + np.exp(-4 * (values - 200) / 400))),
    ):
        window = {"WindowCenter": 200, "WindowWidth": 400, "VOILUTFunction": function}
        pixels = decode(dicom(values, **window), 16)[:, :, 0]
        np.testing.assert_allclose(pixels, np.clip(expected, 0, 1), atol=1e-6)
    several = {"WindowCenter": [200, 40], "WindowWidth": [400, 80], "VOILUTFunction": "LINEAR_EXACT"}
    np.testing.assert_allclose(
        decode(dicom(values, **several), 16)[:, :, 0], np.clip((values - 200) / 400 + 0.5, 0, 1), atol=1e-6
    )
    rescaled = dicom(values, RescaleSlope=0.5, RescaleIntercept=100, WindowCenter=200, WindowWidth=400)
    np.testing.assert_allclose(
        decode(rescaled, 16)[:, :, 0], np.clip((values * 0.5 + 100 - 199.5) / 399 + 0.5, 0, 1), atol=1e-6
    )
    unusable = dicom(deep, WindowCenter=200, WindowWidth=0)
    np.testing.assert_allclose(decode(unusable, 12)[:, :, 0], by_percentiles(deep), atol=1e-6)


def test_dicom_is_known_by_its_content_and_colour_kept(tmp_path: Path) -> None:
    colour = random_pixels(8, 8, 3)
    assert np.array_equal(decode(dicom(colour), 8), colour)
    for name in ("IM000001", "1.2.840.113", "scan.dcm"):
        (tmp_path / name).write_bytes(dicom(deep))
    (tmp_path / "notes").write_text("no image")
    assert [item.name for item in open_source(tmp_path).items] == ["1.2.840.113", "IM000001", "scan.dcm"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(width=32) | st.integers(-(2**31), 2**31), min_size=1, max_size=30),
    st.floats(0.5, 100),
    st.floats(-1e3, 1e3),
)
def test_stretched_values_lie_between_0_and_1_in_the_same_order(
    values: list[float], scale: float, shift: float
) -> None:
    array = np.array(values, np.float64)
    finite = np.isfinite(array)
    if not finite.any():
        with pytest.raises(UnreadableError, match="no pixel has a finite value"):
            stretch(array)
        return
    stretched = stretch(array)
    assert ((stretched >= 0) & (stretched <= 1)).all()
    assert (np.diff(stretched[finite][np.argsort(array[finite], kind="stable")]) >= 0).all()
    assert (stretched[~finite] == 0).all()
    if np.ptp(array[finite]) > 1e-3 and np.abs(array[finite]).max() < 1e6:
        assert stretched.max() == 1
        np.testing.assert_allclose(stretch(array * scale + shift), stretched, atol=1e-4)


def test_a_single_pixel_that_differs_still_shows() -> None:
    values = np.full(1000, 5.0)
    values[7] = 5.25
    assert np.flatnonzero(stretch(values)).tolist() == [7]
    assert stretch(values)[7] == 1


def truncated(content: bytes) -> bytes:
    return content[: len(content) * 3 // 5]


def garbled(content: bytes) -> bytes:
    return bytes(200) + content[200:]


def nothing(content: bytes) -> bytes:
    return b""


KINDS: dict[str, Callable[[], bytes]] = {
    "x.png": lambda: encoded(random_pixels(40, 40, 3)),
    "x.jpg": lambda: encoded(random_pixels(40, 40, 3), "JPEG"),
    "x.gif": lambda: encoded(random_pixels(40, 40), "GIF"),
    "x.bmp": lambda: encoded(random_pixels(40, 40, 3), "BMP"),
    "x.webp": lambda: encoded(random_pixels(40, 40, 3), "WEBP"),
    "deep.png": lambda: encoded(random_pixels(40, 40).astype(np.uint16) * 200),
    "deep.tif": lambda: encoded(random_pixels(40, 40).astype(np.uint16) * 200, "TIFF"),
    "planes.tif": lambda: tiff(random_pixels(5, 40, 40).astype(np.uint16)),
    "x.dcm": lambda: dicom(random_pixels(40, 40).astype(np.uint16)),
}


@pytest.mark.parametrize("damage", [truncated, garbled, nothing])
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_image_among_good_ones_is_skipped_with_its_path(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    content = KINDS[name]()
    write_classes(tmp_path, {"a": 5, "b": 5})
    bad = tmp_path / "a" / name
    bad.write_bytes(content)
    if name != "planes.tif":
        assert load(tmp_path).skipped == []
    bad.write_bytes(damage(content))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load(tmp_path)
    assert [str(one.message).partition(":")[0] for one in caught] == [f"skipped 1 file of '{tmp_path}'"]
    assert [path for path, _ in data.skipped] == [f"a/{name}"]
    reason = data.skipped[0][1]
    assert reason
    assert not any(word in reason for word in ("0x", ".cpp", "operator", "<_io"))
    assert f"skipped: 1 - a/{name} ({reason})" in data.summary()
    assert not any(name in part.names for part in (data.unlabelled, data.validation, data.test))
    with refused(f"cannot read 'a/{name}'", reason, "mend or remove it"):
        load(tmp_path, strict=True)


def test_the_splits_do_not_depend_on_what_is_damaged(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 15, "b": 15})
    before = load(tmp_path)
    (tmp_path / "a" / "3.png").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"a/3\.png"):
        after = load(tmp_path)
    for name in ("unlabelled", "train", "validation", "test"):
        assert getattr(after, name).names == [one for one in getattr(before, name).names if one != "a/3.png"]


def test_a_class_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(b"damaged")
    with refused("none of the training images of b can be read"):
        load(tmp_path)
    write_classes(tmp_path / "splits", {"train/a": 2, "train/b": 2, "val/a": 1, "test/a": 1})
    for split in ("test", "val"):
        (tmp_path / "splits" / split / "a" / "0.png").write_bytes(b"damaged")
        with refused(f"none of the images for {'validation' if split == 'val' else split} can be read"):
            load(tmp_path / "splits")
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"damaged")
    with refused("none of the images", str(tmp_path), "the first, "):
        load(tmp_path, need_labels=False)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_bomb_is_skipped_before_it_unfolds(tmp_path: Path, depth: int) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "bomb.png").write_bytes(png_bomb(60_000, depth))
    with pytest.warns(UserWarning, match=r"a/bomb\.png \(.*178956970"):
        assert len(load(tmp_path).skipped) == 1


def test_a_tiff_that_unfolds_into_more_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = np.zeros((12, 400, 400), np.uint8)
    bomb = tiff(planes, compression="zlib", photometric="minisblack")
    assert decode(bomb, 8).shape == (8, 8, 12)
    monkeypatch.setattr(decoding, "_MAX_BYTES", 1_000_000)
    with pytest.raises(UnreadableError, match=r"\(12, 400, 400\) unfolds into"):
        decode(bomb, 8)
    assert decode(tiff(planes, photometric="minisblack"), 8).shape == (8, 8, 12)  # as large as its file says


def test_pages_that_lead_back_to_each_other_have_an_end() -> None:
    tifffile = pytest.importorskip("tifffile")
    written = BytesIO()
    with tifffile.TiffWriter(written) as writer:
        for side in (8, 6):  # pages of different sizes, which tifffile looks at one by one
            writer.write(np.ones((side, side), np.uint16), photometric="minisblack", metadata=None)
    content = bytearray(written.getvalue())
    with tifffile.TiffFile(BytesIO(content)) as file:
        first, last = (page.offset for page in file.pages)
    following = last + 2 + 12 * int.from_bytes(content[last : last + 2], "little")
    content[following : following + 4] = first.to_bytes(4, "little")
    assert decode(bytes(content), 8).shape == (8, 8, 1)


def test_a_tiff_without_all_of_its_rows_is_refused() -> None:
    """Pillow takes the missing ones for black."""
    whole = tiff(random_pixels(24, 20), rowsperstrip=8)
    height = struct.pack("<HHIH", 257, 4, 1, 24)  # tag, type, count, value
    assert whole.count(height) == 1
    with pytest.raises(UnreadableError, match="some of its 4000 rows are missing"):
        decode(whole.replace(height, struct.pack("<HHIH", 257, 4, 1, 4000)), 8)
    assert decode(whole, 20).shape == (20, 20, 1)


def test_values_that_are_no_image_are_refused() -> None:
    with pytest.raises(UnreadableError, match="complex64"):
        decode(tiff(np.ones((4, 4), np.complex64)), 4)
    with pytest.raises(UnreadableError, match="no pixel has a finite value"):
        decode(tiff(np.full((4, 4), np.nan, np.float32)), 4)
    with pytest.raises(UnreadableError, match="colour palette"):
        decode(dicom(deep, PhotometricInterpretation="PALETTE COLOR"), 4)


def test_a_set_that_does_not_fit_into_memory_is_refused_with_a_size_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path, {"a": 5, "b": 5})
    source = open_source(tmp_path)
    monkeypatch.setattr(reading, "available_memory", lambda: 10_000)
    check_memory(source.items, 8, None)
    with refused("10 images of 1 x 64 x 64", "at most 21"):
        check_memory(source.items, 64, None)
    check_memory(source.items, 21, None)
    with refused("10 images of 1 x 64 x 64"):
        load(tmp_path, image_size=64)


@pytest.mark.parametrize(("module", "content"), [("tifffile", tiff(random_pixels(5, 8, 8))), ("pydicom", dicom(deep))])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, content: bytes
) -> None:
    (tmp_path / "x.tif").write_bytes(content)
    monkeypatch.setitem(sys.modules, module, None)
    with refused(f"the package {module}", "pip install 'fasthebb[medical]'"):
        load(tmp_path, need_labels=False)
