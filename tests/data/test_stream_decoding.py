"""The quick way to decode gives what the thorough one gives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasthebb.data.decoding import decode
from fasthebb.data.items import Item
from fasthebb.data.reading import read_item
from fasthebb.data.stream_decoding import decode_quickly, jpeg_size, read_quickly
from fasthebb.data.stream_sources import open_stream
from tests.data.image_files import encoded, random_pixels
from tests.data.stream_sets import jpeg

IMAGENET = Path(__file__).parents[3] / "shared" / "data" / "imagenet-sample"


@pytest.mark.parametrize("size", [(40, 40), (60, 40), (40, 60), (61, 40), (300, 40), (40, 33)])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("side", [8, 16, 32, 50])
def test_jpegs_are_the_same_but_for_the_edge_of_the_crop(size: tuple[int, int], grey: bool, side: int) -> None:
    content = jpeg(1, size, grey)
    quick, thorough = decode_quickly(content, side).astype(int), decode(content, side).astype(int)
    assert quick.shape == thorough.shape == (side, side, 1 if grey else 3)
    inner = slice(1, -1)
    assert np.abs(quick - thorough)[inner, inner].max() <= 2
    assert np.abs(quick - thorough).mean() < 0.5


def test_every_other_image_takes_the_thorough_way() -> None:
    turned = Image.fromarray(random_pixels(20, 30, 3))
    exif = turned.getexif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    turned.save(stream, "JPEG", exif=exif)
    others = [
        stream.getvalue(),
        encoded(random_pixels(20, 30, 3)),
        encoded(random_pixels(20, 30, 4)),
        encoded(random_pixels(20, 30), "TIFF"),
        encoded(random_pixels(20, 30).astype(np.uint16) * 257),
    ]
    cmyk = io.BytesIO()
    Image.fromarray(random_pixels(20, 30, 4), "CMYK").save(cmyk, "JPEG")
    for content in [*others, cmyk.getvalue()]:
        assert jpeg_size(content) is None
        assert np.array_equal(decode_quickly(content, 8), decode(content, 8))


def test_large_jpegs_are_decoded_at_a_reduced_scale_as_in_memory() -> None:
    content = jpeg(1, (400, 300))
    assert jpeg_size(content) == (400, 300)
    assert np.array_equal(decode_quickly(content, 32), decode(content, 32))


@pytest.mark.parametrize("cut", [0, 3, 50, 200, -40])
def test_damage_is_worded_as_in_memory(cut: int) -> None:
    item = Item("a.jpg", "", lambda: jpeg(3, (64, 64))[:cut])
    assert isinstance(read_quickly(item, 16), str)
    assert read_quickly(item, 16) == read_item(item, 16, strict=False)


def test_random_bytes_never_come_through_otherwise_than_in_memory() -> None:
    generator = np.random.default_rng(0)
    whole = jpeg(5, (64, 48))
    for _ in range(100):
        broken = bytearray(whole)
        for at in generator.integers(2, len(whole), 3):
            broken[at] = generator.integers(256)
        item = Item("a.jpg", "", lambda content=bytes(broken): content)  # type: ignore[misc]
        quick, thorough = read_quickly(item, 16), read_item(item, 16, strict=False)
        if isinstance(thorough, str):
            # What Pillow refuses for its ending torchvision may still take; never a crash, never other pixels.
            assert isinstance(quick, str) or quick.shape[:2] == (16, 16)
        else:
            assert not isinstance(quick, str)


@pytest.mark.skipif(not IMAGENET.is_dir(), reason="the ImageNet sample is not there")
def test_photographs_are_the_same_to_a_tenth_of_a_grey_value() -> None:
    source = open_stream(IMAGENET)
    differences = []
    for row in range(0, len(source), 20):
        content = source.item(row).read()
        assert isinstance(content, bytes)
        differences.append(np.abs(decode_quickly(content, 224).astype(int) - decode(content, 224).astype(int)).mean())
    assert max(differences) < 0.5
    assert np.mean(differences) < 0.1
