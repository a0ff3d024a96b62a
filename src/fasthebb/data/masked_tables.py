"""Masks in tables: the column "mask" beside the column of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fasthebb.data.errors import DataError, first_few, import_optional, reason_of
from fasthebb.data.items import Item, Source, split_in_name
from fasthebb.data.masked_items import Masks
from fasthebb.data.tables import _hub_bytes, _ParquetImages

MASK_COLUMN = "mask"


def parquet_masks(root: Path, files: Sequence[str], source: Source) -> Masks:
    """The masks of parquet files.

    Args:
        root: the folder that ``files`` are relative to.
        files: the parquet files.
        source: their images, as ``parquet_source`` lists them: row by row of file by file.

    Raises:
        DataError: if a column of that name holds no encoded images.
    """
    pq = import_optional("pyarrow.parquet", "train")
    masks = Masks()
    rows = iter(source.items)
    for name in files:
        file = pq.ParquetFile(root / name)
        schema = file.schema_arrow
        labelled = split_in_name(name)[1]
        present = MASK_COLUMN in schema.names
        kind = str(schema.field(MASK_COLUMN).type) if present else ""
        if present and not kind.startswith(("struct<bytes", "binary", "large_binary")):
            raise DataError(
                f"found the column 'mask' of the type {kind} in '{root / name}', expected an encoded image a row"
            )
        if present:
            _check_image_column(source, str(root / name))
        read = _ParquetImages(root / name, file, MASK_COLUMN)
        for row_group in range(file.num_row_groups):
            filled = [False] * file.metadata.row_group(row_group).num_rows
            if present:
                filled = _filled(file, row_group, root / name)
            for inside, has_mask in enumerate(filled):
                item = next(rows)
                if not labelled:
                    masks.exempt.add(item.key)
                elif has_mask:
                    masks.of[item.key] = _mask(item, partial(read, row_group, inside))
    return masks


def hub_masks(name: str, source: Source) -> Masks:
    """The masks of a data set of the Hugging Face Hub.

    Args:
        name: "owner/name".
        source: its images, as ``hub_source`` lists them: row by row of split by split. The data lie in its cache.

    Raises:
        DataError: if a column of that name holds no images.
    """
    datasets = import_optional("datasets", "train")
    masks = Masks()
    rows = iter(source.items)
    for split_name, table in datasets.load_dataset(name).items():
        labelled = split_in_name(split_name)[1]
        present = MASK_COLUMN in table.column_names
        if present and not isinstance(table.features[MASK_COLUMN], datasets.Image):
            raise DataError(f"found the column 'mask' of '{name}' without images ({first_few(table.column_names, 8)})")
        encoded = None
        if present:
            _check_image_column(source, name)
            encoded = table.select_columns([MASK_COLUMN]).cast_column(MASK_COLUMN, datasets.Image(decode=False))
        for row in range(len(table)):
            item = next(rows)
            if not labelled:
                masks.exempt.add(item.key)
            elif encoded is not None and encoded[row][MASK_COLUMN] is not None:
                masks.of[item.key] = _mask(item, partial(_hub_bytes, encoded, row, MASK_COLUMN))
    return masks


def _filled(file: Any, row_group: int, path: Path) -> list[bool]:
    """For each row of a row group whether it has a mask."""
    try:
        column = file.read_row_group(row_group, columns=[MASK_COLUMN]).column(MASK_COLUMN)
    except Exception as error:  # a damaged file fails in many ways
        raise DataError(f"found an unreadable parquet file '{path}' ({reason_of(error)}): download it again") from error
    return [bool(valid) for valid in column.is_valid().to_pylist()]


def _mask(image: Item, read: Callable[[], bytes]) -> Item:
    return Item(f"mask of {image.name}", f"{image.key}:mask", read)


def _check_image_column(source: Source, where: str) -> None:
    """Whether the images were not taken from the column of masks, for want of another."""
    if MASK_COLUMN not in source.columns:
        raise DataError(f"found masks and no images in '{where}', expected the columns image and mask")
