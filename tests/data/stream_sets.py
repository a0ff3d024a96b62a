"""Small sets of JPEGs in every form that can be streamed, for the tests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from fasthebb.data.errors import import_optional


def jpeg(seed: int, size: tuple[int, int] = (24, 20), grey: bool = False) -> bytes:
    """A smooth picture that differs from seed to seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    (image.convert("L") if grey else image).save(content, "JPEG", quality=95)
    return content.getvalue()


def write_shard(path: Path, pictures: list[tuple[str, bytes]], **how: int) -> Path:
    """A tar file of these names and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as tar:  # type: ignore[call-overload]
        for name, content in pictures:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def shards(folder: Path, count: int = 40, a_shard: int = 10, broken: tuple[int, ...] = ()) -> Path:
    """WebDataset shards of two classes; images with these numbers are damaged."""
    for start in range(0, count, a_shard):
        entries: list[tuple[str, bytes]] = []
        for number in range(start, min(start + a_shard, count)):
            content = jpeg(number)
            entries.append((f"{number:04d}.jpg", content[:100] if number in broken else content))
            entries.append((f"{number:04d}.cls", str(number % 2).encode()))
        write_shard(folder / f"set-{start:04d}.tar", entries)
    return folder


def pictures(folder: Path, count: int = 40) -> Path:
    """A folder for each of two classes."""
    for number in range(count):
        place = folder / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:04d}.jpg").write_bytes(jpeg(number))
    return folder


def table(folder: Path, count: int = 40, row_group: int = 5) -> Path:
    """Parquet files of two classes, in row groups."""
    arrow, parquet = import_optional("pyarrow", "train"), import_optional("pyarrow.parquet", "train")
    folder.mkdir(parents=True, exist_ok=True)
    for part, start in enumerate(range(0, count, count // 2)):
        numbers = range(start, start + count // 2)
        rows = arrow.table(
            {
                "image": [{"bytes": jpeg(number), "path": None} for number in numbers],
                "label": ["cat" if number % 2 else "dog" for number in numbers],
            }
        )
        parquet.write_table(rows, folder / f"part-{part}.parquet", row_group_size=row_group)
    return folder
