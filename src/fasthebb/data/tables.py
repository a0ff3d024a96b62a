"""Tables of images: parquet files on the Hub's pattern, and data sets by their name on the Hub."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fasthebb.data.errors import DataError, first_few, import_optional, reason_of
from fasthebb.data.items import Item, Source, split_in_name

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
_ROW_GROUPS_HELD = 2  # threads at work on both sides of a boundary must not read each other's row group again and again


class _ParquetImages:
    """Encoded images of one file, its row groups read when first asked for and held while in use."""

    def __init__(self, path: Path, file: Any, column: str) -> None:
        self._path, self._file, self._column = path, file, column
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, row_group: int, row: int) -> bytes:
        with self._lock:
            if row_group not in self._held:
                table = self._file.read_row_group(row_group, columns=[self._column])
                self._held[row_group] = table.column(self._column).combine_chunks()
                if len(self._held) > _ROW_GROUPS_HELD:
                    self._held.popitem(last=False)
            cell = self._held[row_group][row].as_py()
        return cell_bytes(cell, self._path.parent)


def cell_bytes(cell: Any, folder: Path) -> bytes:
    """The encoded image of a table's cell: bytes, or ``{"bytes", "path"}`` with the path below ``folder``.

    Raises:
        ValueError: if the cell holds no image, or a path that leads out of the folder.
    """
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, dict) and cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    if isinstance(cell, dict) and cell.get("path"):
        path = (folder / cell["path"]).resolve()
        if not path.is_relative_to(folder.resolve()):  # a table from elsewhere must not choose files of this machine
            raise ValueError("its path leads out of the data folder")
        content: bytes = path.read_bytes()
        return content
    raise ValueError("the table's cell holds no image")


def has_images(path: Path) -> bool:
    """Whether a parquet file has a column of images."""
    pq = import_optional("pyarrow.parquet", "train")
    try:
        return bool(_image_columns(pq.read_schema(path)))
    except (OSError, ValueError):  # pyarrow's own errors derive from these
        return False


def parquet_source(description: str, root: Path, files: Sequence[str], group: str | None) -> Source:
    """The rows of parquet files: columns image ``{bytes, path}`` and, if there is one, a label.

    Class names come from the ``ClassLabel`` of the Hub's metadata; without it the label's values are the names. Splits
    come from file names (``data/train-00000-of-00001.parquet``).

    Args:
        description: how the summary calls the data.
        root: the folder that ``files`` are relative to.
        files: parquet files.
        group: column of groups, by default "group" if there is one.

    Raises:
        DataError: if a file is damaged, has no images, or labels beyond its class names.
    """
    pq = import_optional("pyarrow.parquet", "train")
    items: list[Item] = []
    classes: list[str] | None = None
    columns: list[str] = []
    grouped = False
    for name in files:
        path = root / name
        try:
            file = pq.ParquetFile(path)
            schema = file.schema_arrow
            images = _image_columns(schema)
            if not images:
                raise DataError(f"found no image column in '{path}' ({first_few(schema.names, 8)}): expected 'image'")
            image = _preferred(images, _IMAGE_COLUMNS)
            features = _features(schema)
            label = _label_column(schema, features)
            group_column = group if group in schema.names else "group" if group is None else None
            wanted = [column for column in (label, group_column) if column in schema.names]
            rows = file.read(columns=wanted).to_pydict() if wanted else {}
            paths = _paths(file, schema, image)
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            if sum(sizes) != len(paths):
                raise ValueError(f"its row groups have {sum(sizes)} rows, its columns {len(paths)}")
        except DataError:
            raise
        except Exception as error:  # a damaged file fails in many ways
            raise DataError(
                f"found an unreadable parquet file '{path}' ({reason_of(error)}): download it again"
            ) from error
        names = features.get(label, {}).get("names") if label else None
        if names is not None:
            classes = [str(one) for one in names]
        columns += [column for column in schema.names if column not in columns and column != image]
        grouped = grouped or group_column in schema.names
        split, labelled = split_in_name(name)
        read, real = _ParquetImages(path, file, image), path.resolve()
        row = 0
        for row_group, size in enumerate(sizes):
            for inside in range(size):
                value = rows[label][row] if label and labelled else None
                member = rows[group_column][row] if group_column in rows else None
                items.append(
                    Item(
                        name=paths[row] or f"{name}#{row}",
                        key=f"{real}#{row}",
                        read=partial(read, row_group, inside),
                        label=class_name(value, names, str(path)),
                        split=split,
                        group="" if member is None else str(member),
                    )
                )
                row += 1
    if not items:
        raise DataError(
            f"found no rows in the tables of '{description}', expected an image in each: download them again"
        )
    return Source(description, items, classes, columns, grouped)


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Without what the Hub's package tells of each of its attempts while there is no connection: one line is enough."""
    hub_logging = import_optional("huggingface_hub.utils.logging", "train")
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)


def hub_source(name: str, group: str | None) -> Source:
    """A data set of the Hugging Face Hub, by its name.

    Args:
        name: "owner/name".
        group: column of groups, by default "group" if there is one.

    Raises:
        DataError: if it cannot be fetched or has no images.
    """
    datasets = import_optional("datasets", "train")
    try:
        with quiet_hub():
            loaded = datasets.load_dataset(name)
    except Exception as error:  # network, authentication, missing configuration, unsupported scripts
        raise DataError(
            f"'{name}' is no path here, and as a name on the Hugging Face Hub it could not be loaded "
            f"({type(error).__name__}: {reason_of(error)}): check the spelling and the connection, or give a folder"
        ) from error
    items: list[Item] = []
    classes: list[str] | None = None
    columns: list[str] = []
    grouped = False
    for split_name, table in loaded.items():
        images = [column for column, kind in table.features.items() if isinstance(kind, datasets.Image)]
        if not images:
            raise DataError(f"found no image column in '{name}' ({first_few(table.column_names, 8)}): expected 'image'")
        image = _preferred(images, _IMAGE_COLUMNS)
        labels = [column for column, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)]
        labels = labels or [column for column in _LABEL_COLUMNS if column in table.column_names]
        label = _preferred(labels, _LABEL_COLUMNS) if labels else None
        names = getattr(table.features[label], "names", None) if label else None
        classes = names or classes
        split, labelled = split_in_name(split_name)
        group_column = group or "group"
        columns += [column for column in table.column_names if column not in columns and column != image]
        grouped = grouped or group_column in table.column_names
        values = table[label][:] if label and labelled else [None] * len(table)
        members = table[group_column][:] if group_column in table.column_names else [None] * len(table)
        encoded = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        for row, (value, member) in enumerate(zip(values, members, strict=True)):
            items.append(
                Item(
                    name=f"{split_name}#{row}",
                    key=f"{name}:{split_name}#{row}",
                    read=partial(_hub_bytes, encoded, row, image),
                    label=class_name(value, names, name),
                    split=split,
                    group="" if member is None else str(member),
                )
            )
    return Source(name, items, classes, columns, grouped)


def class_name(value: Any, names: Sequence[str] | None, where: str) -> str | None:
    """The class name of a table's label; ``None`` for an empty one or -1.

    Raises:
        DataError: if it is a position beyond ``names``, or neither a number nor a text.

    Example:
        >>> class_name(1, ["ant", "bee"], "x"), class_name(7.0, None, "x"), class_name(-1, None, "x")
        ('bee', '7', None)
    """
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        value = None if math.isnan(value) else int(value)  # whole numbers beside empty cells are often saved as 1.0
    if value is None or value in (-1, ""):
        return None
    if isinstance(value, str):
        return value
    if not isinstance(value, int):
        raise DataError(f"found the label {value!r} in '{where}', expected one whole number or text an image")
    if names is None:
        return str(value)
    if not 0 <= value < len(names):
        raise DataError(
            f"found the label {value} in '{where}', expected 0 to {len(names) - 1}: it names {len(names)} classes"
        )
    return str(names[value])


def _hub_bytes(table: Any, row: int, column: str) -> bytes:
    cell = table[row][column]
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    config = import_optional("datasets", "train").config
    hub = import_optional("huggingface_hub.constants", "train")
    path = Path(cell["path"]).resolve()
    caches = (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, hub.HF_HUB_CACHE)
    if not any(path.is_relative_to(Path(cache).expanduser().resolve()) for cache in caches):
        raise ValueError("its path leads out of the cache of the Hub")  # a table from elsewhere may name any file
    return path.read_bytes()


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: kind for name, kind in features.items() if isinstance(kind, dict)}


def _image_columns(schema: Any) -> list[str]:
    declared = [name for name, kind in _features(schema).items() if kind.get("_type") == "Image"]
    if declared:
        return [name for name in declared if name in schema.names]
    shaped = [f.name for f in schema if str(f.type).startswith("struct<bytes: binary")]
    return shaped or [f.name for f in schema if f.name in _IMAGE_COLUMNS and str(f.type) in ("binary", "large_binary")]


def _label_column(schema: Any, features: dict[str, dict[str, Any]]) -> str | None:
    declared = [name for name, kind in features.items() if kind.get("_type") == "ClassLabel" and name in schema.names]
    likely = declared or [name for name in _LABEL_COLUMNS if name in schema.names]
    return _preferred(likely, _LABEL_COLUMNS) if likely else None


def _preferred(found: Sequence[str], liked: Sequence[str]) -> str:
    return next((name for name in liked if name in found), found[0])


def _paths(file: Any, schema: Any, image: str) -> list[str | None]:
    """Names of the images, where every row has one and no two the same; otherwise rows are known by number."""
    blank: list[str | None] = [None] * file.metadata.num_rows
    if not str(schema.field(image).type).startswith("struct") or schema.field(image).type.get_field_index("path") < 0:
        return blank
    column = file.read(columns=[f"{image}.path"]).column(image).combine_chunks()
    paths: list[str | None] = column.field("path").to_pylist() if len(column) else []
    return paths if None not in paths and "" not in paths and len(set(paths)) == len(blank) else blank
