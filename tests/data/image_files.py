"""Small image files of many kinds, and the error that a user gets."""

import csv
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fasthebb.data import DataError, ImageData, load_images


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """What is done inside is a user's mistake, told in one line that has all these words."""
    with pytest.raises(DataError) as error:
        yield
    line = str(error.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def load(data: str | Path, **options: Any) -> ImageData:
    return load_images(data, **{"image_size": 8, "progress": False, **options})


def random_pixels(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng([seed, *shape]).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def write_images(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """``count`` different grey images ``0.png``, ``1.png``, ... of 8 x 8 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path, pixels in zip(paths, random_pixels(count, 8, 8, seed=seed), strict=True):
        path.write_bytes(encoded(pixels))
    return paths


def write_classes(root: Path, counts: Mapping[str, int]) -> Path:
    """A folder of images for each class (or path of folders)."""
    for seed, (name, count) in enumerate(counts.items()):
        write_images(root / name, count, seed=seed + 1)
    return root


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_bomb(side: int, depth: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises ``side`` x ``side`` grey pixels."""
    header = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def dicom(values: NDArray[Any], **attributes: Any) -> bytes:
    """An uncompressed DICOM image ``(H, W)`` or ``(frames, H, W)`` of 16 bits, or RGB ``(H, W, 3)`` of 8."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = values.dtype == np.uint8
    data.Rows, data.Columns = values.shape[:2] if colour else values.shape[-2:]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    if colour:
        data.PlanarConfiguration = 0
    elif values.ndim == 3:
        data.NumberOfFrames = len(values)
    for name, value in attributes.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    stream = BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
