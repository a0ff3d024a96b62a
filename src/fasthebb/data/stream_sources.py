"""One front door for sets that stay where they are: a name or a path to a stream."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from fasthebb.data.errors import DataError, import_optional, missing_path, reason_of
from fasthebb.data.folders import is_image
from fasthebb.data.idx import is_idx
from fasthebb.data.stream_folder import paths_in_order, stream_folder
from fasthebb.data.stream_parquet import stream_parquet
from fasthebb.data.stream_parts import StreamSource
from fasthebb.data.stream_tar import stream_shards
from fasthebb.data.tables import has_images, quiet_hub

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LOOKED_AT = 1000
"""Files of a folder that say whether it holds shards, tables or images."""


def open_stream(data: str | Path, *, strict: bool = False, plain: bool = False, progress: bool = False) -> StreamSource:
    """Find out what ``data`` is and where its images lie, reading none of them.

    Args:
        data: a folder of images, of parquet files or of tar shards, one such file, or a Hub name.
        strict: whether damaged shards, and formats that are not read, are errors.
        plain: whether folders are no classes and no splits.
        progress: whether a long look through shards shows a bar.

    Raises:
        DataError: if there is nothing of the kind, or nothing that can be streamed.
    """
    path = Path(data).expanduser()
    if not path.exists():
        if _HUB_NAME.fullmatch(str(data)) and str(data) != "digits" and not path.suffix:
            return _hub_stream(str(data))
        if str(data) == "digits":
            raise DataError("found the digits of scikit-learn, which are not read as a stream: leave out --stream")
        raise missing_path(path, "data")
    if path.is_dir():
        return _folder_of_something(path, strict, plain, progress)
    if path.suffix.lower() == ".parquet":
        return _tables(path, path.parent, [path.name])
    if path.suffix.lower() == ".tar":
        return stream_shards(str(path), path.parent, [path.name], strict=strict, progress=progress)
    raise DataError(f"found the file '{path}', streams are read from folders, .parquet and .tar: leave out --stream")


def _folder_of_something(path: Path, strict: bool, plain: bool, progress: bool) -> StreamSource:
    """Tables, shards or image files, by what comes first; a large folder of images is not listed for it."""
    tables: list[str] = []
    shards: list[str] = []
    idx = images = 0
    for number, file in enumerate(paths_in_order(path)):
        if file.lower().endswith(".parquet"):
            tables.append(file)
        elif file.lower().endswith(".tar"):
            shards.append(file)
        else:
            images += is_image(path, file)
            idx += is_idx(file)
        if number >= _LOOKED_AT and not tables and not shards:
            break
    if tables and (not images or has_images(path / tables[0])):
        return _tables(path, path, tables)
    if shards and not images:
        return stream_shards(str(path), path, shards, strict=strict, progress=progress)
    if idx and not images:
        raise DataError(f"found IDX files in '{path}', which are not read as a stream: leave out --stream")
    return stream_folder(path, strict=strict, plain=plain)


def _tables(described: Path, root: Path, files: list[str]) -> StreamSource:
    paths = [str(root / name) for name in files]
    return stream_parquet(str(described), paths, files, partial(open, mode="rb"), (str(root.resolve()),))


def _hub_stream(name: str) -> StreamSource:
    """The parquet tables of a set on the Hugging Face Hub, read over the network as they are needed.

    ``datasets`` finds them and fixes the revision. Its own streaming is not used: what it has shuffled cannot be gone
    on with exactly.
    """
    datasets = import_optional("datasets", "train")
    try:
        with quiet_hub():
            found: dict[Any, Any] = dict(datasets.load_dataset_builder(name).config.data_files or {})
    except Exception as error:  # network, authentication, missing configuration, unsupported scripts
        raise DataError(
            f"'{name}' is no path here, and as a name on the Hugging Face Hub it could not be found "
            f"({type(error).__name__}: {reason_of(error)}): check the spelling and the connection, or give a folder"
        ) from error
    files = [(str(split), str(file)) for split, listed in found.items() for file in listed]
    if not files or not all(file.lower().endswith(".parquet") for _, file in files):
        raise DataError(f"'{name}' is not kept as parquet files on the Hub: download it, and give its folder")
    names = [f"{split}/{file.rpartition('/')[2]}" for split, file in files]
    return stream_parquet(name, [file for _, file in files], names, _open_anywhere)


def _open_anywhere(path: str) -> Any:
    """A file of this machine or of the Hub."""
    if path.startswith("hf://"):
        return import_optional("huggingface_hub", "train").HfFileSystem().open(path)
    return Path(path).open("rb")
