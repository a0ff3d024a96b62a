"""WebDataset shards as a stream: where each image lies is known, images are read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from fasthebb.data.errors import count_of
from fasthebb.data.folders import IMAGE_SUFFIXES
from fasthebb.data.items import split_in_name
from fasthebb.data.shards import (
    _LABEL_SUFFIXES,
    _LONGEST_LABEL,
    NoImagesError,
    _class_names,
    _class_of,
    _read_part,
    shard_source,
)
from fasthebb.data.stream_index_cache import Arrays, as_bytes, as_texts, index_file, load_index, store_index
from fasthebb.data.stream_parts import SPLITS, Part, StreamSource, positions_of
from fasthebb.data.stream_tar_headers import UnusualTarError, members

_QUIET_SECONDS = 2.0


class TarPart(Part):
    """One shard: 20 bytes an image are held.

    Args:
        path: of the shard.
        name: relative to the data.
        classes: lines of ``classes.txt``, ``None`` without it.
        index: of ``_index``.
        known: classes of labels that another shard has had.
    """

    def __init__(
        self, path: Path, name: str, classes: list[str] | None, index: Arrays, known: dict[str, str | None]
    ) -> None:
        self.path, self.name, self.classes, self._known = path, name, classes, known
        self._offsets = index["offsets"].astype(np.int64)
        self._sizes = index["sizes"].astype(np.int64)
        self._labels = index["labels"].astype(np.int32)
        self._texts = as_texts(index["texts"])
        self.count = len(self._offsets)

    def splits(self) -> NDArray[np.uint8]:
        """The split that the shard's name says, for all."""
        return np.full(self.count, SPLITS.index(split_in_name(self.name)[0]), np.uint8)

    def labels(self) -> tuple[NDArray[np.int32], list[str]]:
        """By ``.cls`` or ``.txt``, as in memory."""
        if not split_in_name(self.name)[1]:
            return np.full(self.count, -1, np.int32), []
        table, names = positions_of([self._class_named(text) for text in self._texts])
        return table[self._labels], names

    def _class_named(self, text: str) -> str | None:
        """The class of a label, looked up once for all shards."""
        if text not in self._known:
            self._known[text] = _class_of(text, self.classes, self.path)
        return self._known[text]

    def content(self, row: int) -> Callable[[], bytes]:
        """A piece of the shard."""
        return partial(_read_part, self.path, int(self._offsets[row]), int(self._sizes[row]))

    def name_of(self, row: int) -> str:
        """The shard and the name within it, which is looked up anew: names are not held."""
        names = as_texts(_index(self.path, False, ("names",))["names"])
        return f"{self.name}/{names[row]}" if row < len(names) else f"{self.name}#{row}"


def stream_shards(
    description: str, root: Path, files: Sequence[str], *, strict: bool, progress: bool = False
) -> StreamSource:
    """The images of tar shards, as ``shard_source`` finds them; the headers of each are read once and kept.

    Args:
        description: how the summary calls the data.
        root: the folder that ``files`` are relative to.
        files: tar files, not compressed.
        strict: whether a damaged shard is an error; otherwise what can be read of it is kept.
        progress: whether a long look through shards shows a bar.

    Raises:
        DataError: if there are no images in the shards, or a label is not in ``classes.txt``.
    """
    classes = _class_names(root / "classes.txt")
    known: dict[str, str | None] = {}
    parts: list[Part] = []
    skipped: list[tuple[str, str]] = []
    bar = tqdm(files, desc="looking through shards", unit="shard", delay=_QUIET_SECONDS, disable=not progress)
    for name in bar:
        index = _index(root / name, strict, ("offsets", "sizes", "labels", "texts", "skipped"))
        skipped += [(name, reason) for reason in as_texts(index["skipped"]) if reason]
        if len(index["offsets"]):
            parts.append(TarPart(root / name, name, classes, index, known))
    if not parts:
        raise NoImagesError(description, skipped)
    return StreamSource(description, parts, classes, skipped, (str(root.resolve()),))


def _index(path: Path, strict: bool, keys: Sequence[str]) -> Arrays:
    """Offsets, sizes, labels and names of a shard's images, from the cache if they are there."""
    file = index_file(path)
    found = load_index(file, keys)
    if found is None or (strict and len(found["skipped"])):
        try:
            found = _plain_index(path)
        except UnusualTarError:
            found = _thorough_index(path, strict)
        store_index(file, found)
    return found


def _plain_index(path: Path) -> Arrays:
    """The same rules as ``shard_source``: the first image of a key counts, and a .cls before a .txt."""
    images: dict[str, tuple[str, int, int]] = {}
    texts: dict[str, str] = {}
    further = 0
    with path.open("rb") as stream:
        for name, offset, size in members(stream):
            folder, _, base = name.rpartition("/")
            stem, _, suffix = base.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            suffix = suffix.lower()
            if f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES:
                further += key in images
                images.setdefault(key, (name, offset, size))
            elif suffix in _LABEL_SUFFIXES and size <= _LONGEST_LABEL:
                stream.seek(offset)
                text = stream.read(size).decode("utf-8", "replace").strip()
                texts[key] = texts.get(key, text) if suffix == "txt" else text
    reason = f"{count_of(further, 'image')} not used, called like another up to the first dot in the name"
    return _arrays(
        [(name, offset, size, texts.get(key, "")) for key, (name, offset, size) in images.items()],
        [reason] if further else [],
    )


def _thorough_index(path: Path, strict: bool) -> Arrays:
    """By ``shard_source``, which knows all of tar and what to do about damage."""
    try:
        source = shard_source(str(path), path.parent, [path.name], strict)
    except NoImagesError as error:
        if strict:
            raise
        return _arrays([], [error.reason])
    rows = []
    for item in source.items:
        assert isinstance(item.read, partial)
        _, offset, size = item.read.args
        rows.append((item.name.removeprefix(f"{path.name}/"), offset, size, item.label or ""))
    return _arrays(rows, [reason for _, reason in source.skipped])


def _arrays(rows: Sequence[tuple[str, int, int, str]], skipped: Sequence[str]) -> Arrays:
    texts = {text: position for position, text in enumerate(dict.fromkeys(text for *_, text in rows))}
    return {
        "offsets": np.array([offset for _, offset, _, _ in rows], np.int64),
        "sizes": np.array([size for _, _, size, _ in rows], np.int64),
        "labels": np.array([texts[text] for *_, text in rows], np.int32),
        "texts": as_bytes(texts),
        "names": as_bytes(name for name, *_ in rows),
        "skipped": as_bytes(skipped),
    }
