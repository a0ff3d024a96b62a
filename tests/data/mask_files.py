"""Small images with masks, as files and tables of many kinds."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from image_files import encoded, random_pixels
from numpy.typing import NDArray

from fasthebb.data import MaskedData, load_masked


def load(data: str | Path, **options: Any) -> MaskedData:
    return load_masked(data, **{"progress": False, **options})


def random_mask(*shape: int, values: Sequence[int] = (0, 255), seed: int = 0) -> NDArray[Any]:
    """Random values, of which none is missing."""
    mask = np.random.default_rng([seed, *shape]).choice(values, shape)
    mask.flat[: len(values)] = values
    return mask.astype(np.uint8 if max(values) < 256 else np.uint16)


def write_pair(root: Path, name: str, image: NDArray[Any] | bytes, mask: NDArray[Any] | bytes | None) -> None:
    """``images/<name>.png`` and ``masks/<name>.png`` below ``root``."""
    for kind, content in (("images", image), ("masks", mask)):
        if content is not None:
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else encoded(content))


def write_pairs(root: Path, count: int, seed: int = 0, values: Sequence[int] = (0, 255)) -> Path:
    """``count`` grey images ``00.png``, ``01.png``, ... of differing sizes with their masks."""
    for number in range(count):
        shape = (8 + number % 5, 9 + number % 3)
        image = random_pixels(*shape, seed=seed + number)
        write_pair(root, f"{number:02}", image, random_mask(*shape, values=values, seed=seed + number))
    return root


def write_table(path: Path, masks: Sequence[bytes | None], seed: int = 0, **columns: Sequence[Any]) -> Path:
    """A parquet file of images of 8 x 8 pixels, one a mask."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": encoded(random_pixels(8, 8, seed=seed + row)), "path": None} for row in range(len(masks))]
    cells = [None if mask is None else {"bytes": mask, "path": None} for mask in masks]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": pa.array(images, kind), "mask": pa.array(cells, kind), **columns})
    pq.write_table(table, path, row_group_size=4)
    return path


def mask_files(count: int, seed: int = 0, values: Sequence[int] = (0, 255)) -> list[bytes]:
    return [encoded(random_mask(8, 8, values=values, seed=seed + row)) for row in range(count)]


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()
