"""A label file: which images are labelled, how, and to which patient they belong."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

from fasthebb.data.errors import DataError, count_of, first_few, missing_path, reason_of
from fasthebb.data.items import SPLIT_NAMES, Item, Source, Split

# What a spreadsheet or a table library leaves in a cell that has no label.
_NO_LABEL = frozenset({"", "-1", "nan"})


@dataclass(frozen=True)
class _Row:
    label: str | None
    group: str
    split: Split | None


def apply_label_file(source: Source, path: Path, root: Path, group: str | None) -> Source:
    """Label the images of a source by a table, in place of the labels that the source has.

    The file is CSV (comma, semicolon or tab; UTF-8) with a header: ``file``, ``label``, and optionally ``split``
    (train, validation, test) and a column of groups. Files are named relative to the data folder, or by a base name
    that only one image has. An empty label or -1 is unlabelled; an empty split is train.

    Args:
        source: the images.
        path: the label file.
        root: the data folder, for files named by absolute paths.
        group: name of the column of groups, by default "group" if there is one.

    Raises:
        DataError: if the file is missing or malformed, names images that are not there, or one twice.
    """
    header, records = _read(path)
    columns = {name.strip().lower(): name for name in header}
    for needed in ("file", "label"):
        if needed not in columns:
            raise DataError(
                f"found the columns {first_few(header, 6)} in '{path}', expected at least file and label: rename them, "
                f"or add a first line that names them"
            )
    group_column = next((name for name in header if name.strip() == group), None) if group else columns.get("group")
    by_name = {item.name: position for position, item in enumerate(source.items)}
    by_key = {item.key: position for position, item in enumerate(source.items)}
    by_base: dict[str, list[int]] = {}
    for row, item in enumerate(source.items):
        by_base.setdefault(item.name.rpartition("/")[2], []).append(row)

    rows: dict[int, _Row] = {}
    missing: list[str] = []
    for record in records:
        file = (record[columns["file"]] or "").strip()
        name = re.sub(r"^(\./)+", "", file.replace("\\", "/"))
        position = by_name.get(name, by_name.get(file))
        if position is None and Path(file).is_absolute():
            position = by_key.get(str(Path(file).resolve()))
        if position is None and "/" not in name:
            alike = by_base.get(name, [])
            if len(alike) > 1:
                listed = first_few(source.items[one].name for one in alike)
                raise DataError(
                    f"'{path}' names '{file}', which {len(alike)} images are called ({listed}): give its path"
                )
            position = alike[0] if alike else None
        if position is None:
            missing.append(file or "an empty name")
            continue
        if position in rows:
            raise DataError(f"'{path}' names '{file}' twice: keep one line an image")
        rows[position] = _Row(
            label=_label(record[columns["label"]]),
            group=(record[group_column] or "").strip() if group_column else "",
            split=_split(record[columns["split"]], path) if "split" in columns else None,
        )
    if missing:
        raise DataError(
            f"'{path}' names {count_of(len(missing), 'file')} not among the {count_of(len(source.items), 'image')} of "
            f"'{root}' ({first_few(missing)}): expected paths relative to that folder"
        )
    items = [_labelled(item, rows.get(position), "split" in columns) for position, item in enumerate(source.items)]
    return replace(
        source,
        items=items,
        classes=None,
        columns=[*source.columns, *header],
        grouped=group_column is not None or source.grouped,
    )


def _labelled(item: Item, row: _Row | None, has_splits: bool) -> Item:
    if row is None:
        return replace(item, label=None)
    split = (row.split or "train") if has_splits else item.split
    return replace(item, label=row.label, group=row.group or item.group, split=split)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not path.is_file():
        raise missing_path(path, "label file")
    try:
        text = path.read_text("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="", strict=True)
        header = list(reader.fieldnames or [])
        records = []
        for record in reader:
            if None in record:
                raise DataError(
                    f"line {reader.line_num} of '{path}' has more cells than the header: quote what contains a "
                    f"'{delimiter}'"
                )
            if any(cell.strip() for cell in record.values()):  # spreadsheets leave lines of empty cells
                records.append(record)
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text: save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataError(
            f"'{path}' is no table of comma-separated values ({reason_of(error)}): save it as CSV again"
        ) from error
    if not records:
        raise DataError(f"found no lines in '{path}' below the header, expected one an image: file, label")
    return header, records


def _label(cell: str) -> str | None:
    text = cell.strip()
    whole = re.fullmatch(r"(-?\d+)\.0+", text)  # whole numbers beside empty cells are often saved as 1.0
    text = whole[1] if whole else text
    return None if text.lower() in _NO_LABEL else text


def _split(cell: str, path: Path) -> Split | None:
    text = cell.strip().lower()
    if text and text not in SPLIT_NAMES:
        raise DataError(f"found the split '{cell.strip()}' in '{path}', expected train, validation or test")
    return SPLIT_NAMES[text] if text else None
