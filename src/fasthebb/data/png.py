"""Deep PNG files made over, so that a decoder written in C never meets a damaged one.

torchvision's decoder (0.29) ends the whole process, with a segmentation fault, at a PNG whose checksums or compressed
data are damaged. What it is given is therefore checked and written anew.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type, those that have 16 bits
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_FILTERS = 5


def remade(content: bytes) -> bytes:
    """A PNG of 16 bits with the same pixels, and nothing in it that they do not need.

    Args:
        content: the file; its width and height are to be checked before.

    Raises:
        ValueError: if it is damaged or cut short, or is no PNG of 16 bits.
    """
    chunks = list(_chunks(content))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13 or chunks[-1][0] != b"IEND":
        raise ValueError("a chunk is missing")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    known = colour in _CHANNELS and depth == 16 and (compression, filtering) == (0, 0) and interlace in (0, 1)
    if not known or not width or not height:
        raise ValueError("the header is none of a PNG of 16 bits")
    pixel = 2 * _CHANNELS[colour]
    values = _values(b"".join(data for kind, data in chunks if kind == b"IDAT"), width, height, pixel, interlace)
    kept = [(b"IHDR", chunks[0][1])]
    kept += [(kind, data) for kind, data in chunks if kind == b"tRNS" and colour in (0, 2) and len(data) == pixel][:1]
    kept += [(b"IDAT", zlib.compress(values, 0)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in kept)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk, up to the one that ends the file."""
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", content[at : at + 8].ljust(8, b"\0"))
        data, checksum = content[at + 8 : at + 8 + length], content[at + 8 + length : at + 12 + length]
        if len(checksum) < 4 or zlib.crc32(kind + data) != int.from_bytes(checksum, "big"):
            raise ValueError("a chunk is damaged or cut short")
        yield kind, data
        at += 12 + length


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _values(data: bytes, width: int, height: int, pixel: int, interlace: int) -> bytes:
    """The filtered rows, unpacked no further than they may be."""
    if interlace:
        parts = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _ADAM7]
    else:
        parts = [(width, height)]
    rows = [(across, down) for across, down in parts if across > 0 and down > 0]
    size = sum((1 + across * pixel) * down for across, down in rows)
    unpacking = zlib.decompressobj()
    try:
        values = unpacking.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError("its data are damaged") from error
    if len(values) != size or not unpacking.eof:
        raise ValueError("its data are cut short, or more than there should be")
    start = 0
    for across, down in rows:
        step = 1 + across * pixel
        filters = np.frombuffer(values, np.uint8)[start : start + step * down : step]
        if filters.max() >= _FILTERS:
            raise ValueError("its data are damaged")
        start += step * down
    return values
