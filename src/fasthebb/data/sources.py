"""One front door for every kind of source: a name or a path to a list of items."""

from __future__ import annotations

import difflib
import re
from functools import partial
from pathlib import Path

import numpy as np

from fasthebb.data.errors import DataError, import_optional, missing_path, near_path
from fasthebb.data.folders import IMAGE_SUFFIXES, folder_source, is_image, walk
from fasthebb.data.idx import idx_source, is_idx
from fasthebb.data.items import Item, Source, image_of
from fasthebb.data.shards import shard_source
from fasthebb.data.tables import has_images, hub_source, parquet_source

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def open_source(data: str | Path, *, group: str | None = None, strict: bool = False, plain: bool = False) -> Source:
    """Find out what ``data`` is and list its images, reading none yet.

    Args:
        data: "digits", a folder of images, parquet files, tar shards or IDX files, one parquet file, shard or image, or
            a Hub name.
        group: column of groups, for tables.
        strict: whether damaged shards, and formats that are not read, are errors.
        plain: whether folders are no classes and no splits.

    Raises:
        DataError: if there is nothing of the kind, with the nearest name that exists, or it holds no images.

    Example:
        >>> source = open_source("digits")
        >>> len(source.items), source.items[0].label
        (1797, '0')
    """
    path = Path(data).expanduser()
    if not path.exists():
        if str(data) == "digits":
            return digits_source()
        return _elsewhere(str(data), path, group)
    if path.is_dir():
        files = walk(path)
        tables = [file for file in files if file.lower().endswith(".parquet")]
        some_images = any(is_image(path, file) for file in files)
        if tables and (not some_images or has_images(path / tables[0])):
            return parquet_source(str(path), path, tables, group)
        shards = [file for file in files if file.lower().endswith(".tar")]
        if shards and not some_images:
            return shard_source(str(path), path, shards, strict)
        if (idx := [file for file in files if is_idx(file)]) and not some_images:
            return idx_source(str(path), path, idx)
        return folder_source(path, files, strict, plain)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return parquet_source(str(path), path.parent, [path.name], group)
    if suffix == ".tar":
        return shard_source(str(path), path.parent, [path.name], strict)
    if suffix in IMAGE_SUFFIXES or is_image(path.parent, path.name):
        return Source(str(path), [Item(path.name, str(path.resolve()), path.read_bytes)])
    raise DataError(
        f"found the file '{path}', expected a folder of images, .parquet or .tar: unpack it or give its folder"
    )


def digits_source() -> Source:
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels, their values 0..16 stretched to 0..255."""
    digits = import_optional("sklearn.datasets", "train").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    items = [
        Item(f"digits#{row}", f"digits#{row}", partial(image_of, images, row), str(int(digits.target[row])))
        for row in range(len(images))
    ]
    return Source("digits", items, [str(digit) for digit in range(10)])


def _elsewhere(data: str, path: Path, group: str | None) -> Source:
    """A name that is no path: on the Hub, unless it looks like a path that was misspelt."""
    owner = data.partition("/")[0]
    # Only what is very alike: a run folder "cifar10-out" here must not hide the Hub's "cifar10".
    misspelt = near_path(path, 0.8) is not None or ("/" in data and Path(owner).is_dir())
    if (
        misspelt
        or path.suffix.lower() in (".parquet", ".tar", ".zip", *IMAGE_SUFFIXES)
        or not _HUB_NAME.fullmatch(data)
    ):
        raise missing_path(path, "data")
    if difflib.get_close_matches(data.lower(), ["digits"], cutoff=0.8):
        raise DataError(f"found no data '{data}': did you mean 'digits'?")
    if set(owner) <= {"."}:
        raise missing_path(path, "data")
    return hub_source(data, group)
