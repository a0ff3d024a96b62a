"""IDX files, in which MNIST and its relatives come: all images of a split in one file, their labels in another."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.errors import DataError, count_of, first_few, reason_of
from fasthebb.data.items import SPLIT_NAMES, Item, Source, Split, image_of
from fasthebb.data.reading import available_memory

_NAME = re.compile(r"(?P<split>.*?)[-_.]?(?P<what>images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?", re.IGNORECASE)
_UNSIGNED_BYTES = 0x08
_PART = 2**24
_SPLITS: dict[str, Split] = {**SPLIT_NAMES, "t10k": "test"}  # as the ten thousand test images are called


def is_idx(file: str) -> bool:
    """Whether a file is called as these are.

    >>> is_idx("raw/train-images-idx3-ubyte.gz"), is_idx("labels.csv")
    (True, False)
    """
    return _NAME.fullmatch(Path(file).name) is not None


def idx_source(description: str, root: Path, files: Sequence[str]) -> Source:
    """The images of IDX files, with the labels of the file that is called the same but for one word.

    Labels are class names as they are, whole numbers. A file named for a split (``train-``, ``t10k-``) is of it.

    Args:
        description: how the summary calls the data.
        root: the folder that ``files`` are relative to.
        files: IDX files, perhaps compressed by gzip.

    Raises:
        DataError: if a file is damaged, or has no counterpart, or one of another length.
    """
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for file in files:
        if parts := _NAME.fullmatch(Path(file).name):
            kept = found.setdefault((str(Path(file).parent), parts["split"].lower()), {})
            kept.setdefault(parts["what"].lower(), root / file)
    items: list[Item] = []
    for (_, name), pair in found.items():
        if "images" not in pair:
            raise DataError(f"found '{pair['labels']}' without its images: put the file of images beside it")
        images = _read(pair["images"], 3)
        labels = _read(pair["labels"], 1) if "labels" in pair else None
        if labels is not None and len(labels) != len(images):
            raise DataError(
                f"found {len(images)} images in '{pair['images']}' and {len(labels)} labels in '{pair['labels']}', "
                "expected one label an image: get both files again"
            )
        short, real = pair["images"].relative_to(root).as_posix(), pair["images"].resolve()
        items += [
            Item(
                name=f"{short}#{row}",
                key=f"{real}#{row}",
                read=partial(image_of, images, row),
                label=None if labels is None else str(labels[row]),
                split=_SPLITS.get(name, "train"),
            )
            for row in range(len(images))
        ]
    if not items:
        raise DataError(
            f"found no images in '{description}' ({first_few(files)}), expected at least one: get the files again"
        )
    return Source(description, items)


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file: two zeros, the type, the number of dimensions, their sizes, the values.

    Raises:
        DataError: if that is not what is in it.
    """
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as opened:
            file = cast(IO[bytes], opened)
            head = file.read(4)
            if head != struct.pack(">HBB", 0, _UNSIGNED_BYTES, dimensions):
                raise ValueError(f"expected an IDX file of bytes in {count_of(dimensions, 'dimension')}")
            sides = file.read(4 * dimensions)
            if len(sides) < 4 * dimensions:
                raise ValueError("it is cut short")
            shape = struct.unpack(f">{dimensions}I", sides)
            size = int(np.prod(shape, dtype=np.float64))
            values = _at_most(file, size + 1)  # no more is unpacked than there should be
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"cannot read '{path}': {reason_of(error)}; get it again") from error
    if len(values) != size:
        found = "more" if len(values) > size else f"{len(values)}"
        raise DataError(f"found {found} values in '{path}', expected {size}, as its head says: get it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _at_most(file: IO[bytes], size: int) -> bytes:
    """The next bytes, as far as there are any: memory is asked for what is there, not for what the head says."""
    available = available_memory()
    parts: list[bytes] = []
    while size > 0 and (part := file.read(min(size, _PART))):
        parts.append(part)
        size -= len(part)
        if available is not None and len(parts) * _PART > available / 2:  # a small file may unfold into anything
            raise ValueError("it unfolds into more than fits into memory")
    return b"".join(parts)
