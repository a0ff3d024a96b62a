"""Parquet tables as a stream, on this machine or on the Hub: row groups are read when their turn comes, each once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.errors import DataError, first_few, import_optional, reason_of
from fasthebb.data.items import split_in_name
from fasthebb.data.stream_parts import SPLITS, Part, StreamSource, positions_of
from fasthebb.data.tables import (
    _IMAGE_COLUMNS,
    _features,
    _image_columns,
    _label_column,
    _preferred,
    cell_bytes,
    class_name,
)

TOGETHER_BYTES = 2**25
"""Encoded images that are mixed, as they can only be read block by block."""
Opener = Callable[[str], Any]
"""From a path to a file object."""


class RowGroups:
    """The row groups last read, of all tables of a source; one process reads them, for all its workers.

    Args:
        most: bytes of encoded images that are held, or a single row group if that is larger.
    """

    def __init__(self, most: int = TOGETHER_BYTES * 5 // 4) -> None:
        self.most = most
        self._held: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._bytes = 0

    def column(self, opener: Opener, path: str, group: int, name: str) -> Any:
        """One column of a row group."""
        key = (path, group)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        parquet = import_optional("pyarrow.parquet", "train")
        with opener(path) as stream, parquet.ParquetFile(stream) as file:
            column = file.read_row_group(group, columns=[name]).column(name)
        self._held[key] = column
        self._bytes += column.nbytes
        while self._bytes > self.most and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return column


class ParquetPart(Part):
    """One table: the sizes of its row groups are held.

    Args:
        path: of the table.
        name: relative to the data.
        opener: how to open it.
        held: where row groups are kept.

    Raises:
        DataError: if it is damaged or has no images.
    """

    def __init__(self, path: str, name: str, opener: Opener, held: RowGroups) -> None:
        self.path, self.name, self._opener, self._held = path, name, opener, held
        parquet = import_optional("pyarrow.parquet", "train")
        try:
            with opener(path) as stream, parquet.ParquetFile(stream) as file:
                schema, metadata = file.schema_arrow, file.metadata
                groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
                counts = [group.num_rows for group in groups]
                largest = max((group.total_byte_size for group in groups), default=0)
        except Exception as error:  # a damaged file fails in many ways
            raise DataError(
                f"found an unreadable parquet file '{path}' ({reason_of(error)}): download it again"
            ) from error
        images = _image_columns(schema)
        if not images:
            raise DataError(f"found no image column in '{path}' ({first_few(schema.names, 8)}): expected 'image'")
        self._image = _preferred(images, _IMAGE_COLUMNS)
        features = _features(schema)
        self._label = _label_column(schema, features)
        names = features.get(self._label, {}).get("names") if self._label else None
        self.classes = None if names is None else [str(one) for one in names]
        self.blocks = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.block_bytes = largest
        self.count = int(self.blocks[-1])

    def splits(self) -> NDArray[np.uint8]:
        """The split that the file's name says, for all."""
        return np.full(self.count, SPLITS.index(split_in_name(self.name)[0]), np.uint8)

    def labels(self) -> tuple[NDArray[np.int32], list[str]]:
        """The label column, read anew."""
        if self._label is None or not split_in_name(self.name)[1]:
            return np.full(self.count, -1, np.int32), []
        parquet = import_optional("pyarrow.parquet", "train")
        with self._opener(self.path) as stream, parquet.ParquetFile(stream) as file:
            column = file.read(columns=[self._label]).column(self._label).combine_chunks()
        if import_optional("pyarrow.types", "train").is_nested(column.type):
            for value in column.to_pylist():
                class_name(value, None, self.path)  # which says that a list is no label
            return np.full(self.count, -1, np.int32), []
        column = column.dictionary_encode()
        named = [class_name(value, self.classes, self.path) for value in column.dictionary.to_pylist()]
        table, names = positions_of(named)
        return table[column.indices.fill_null(len(named)).to_numpy(zero_copy_only=False)], names

    def content(self, row: int) -> Callable[[], bytes]:
        """The bytes themselves: a worker that has one image of a row group would have to read all of it."""
        assert self.blocks is not None
        group = int(np.searchsorted(self.blocks, row, side="right")) - 1
        column = self._held.column(self._opener, self.path, group, self._image)
        cell = column[row - int(self.blocks[group])].as_py()
        try:
            return partial(bytes, cell_bytes(cell, Path(self.path).parent))
        except (ValueError, OSError) as error:
            return partial(_fail, reason_of(error))

    def name_of(self, row: int) -> str:
        """The table and the row."""
        return f"{self.name}#{row}"


def _fail(reason: str) -> bytes:
    """Tell, where the image is wanted, why there is none."""
    raise ValueError(reason)


def stream_parquet(
    description: str, paths: Sequence[str], names: Sequence[str], opener: Opener, roots: tuple[str, ...] = ()
) -> StreamSource:
    """The rows of parquet files, with the columns that ``parquet_source`` takes; only their footers are read.

    Args:
        description: how the summary calls the data.
        paths: parquet files.
        names: the same as the user would write them, which say the splits.
        opener: how to open one.
        roots: resolved path of the folder.

    Raises:
        DataError: if a file is damaged or has no images.
    """
    held = RowGroups()
    parts = [ParquetPart(path, name, opener, held) for path, name in zip(paths, names, strict=True)]
    classes = next((part.classes for part in reversed(parts) if part.classes is not None), None)
    kept: list[Part] = [part for part in parts if part.count]
    if not kept:
        raise DataError(
            f"found no rows in the tables of '{description}', expected an image in each: download them again"
        )
    return StreamSource(description, kept, classes, [], roots)
