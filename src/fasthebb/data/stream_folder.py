"""A folder of any number of image files as a stream: some 25 bytes an image are held, its name."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.errors import DataError, count_of
from fasthebb.data.folders import IMAGE_SUFFIXES, UNREADABLE_SUFFIXES, _nothing, _refuse, is_image
from fasthebb.data.items import SPLIT_NAMES, UNLABELLED_NAMES
from fasthebb.data.stream_parts import NOWHERE, SPLITS, Part, StreamSource, positions_of


class FolderPart(Part):
    """The images of a folder, in the order of their paths.

    Args:
        root: the folder.
        names: file names, encoded, one behind the other.
        ends: ``(N,)`` where each of them ends.
        folders: relative paths of the folders that hold images, "" for the root.
        folder_of: ``(N,)`` positions in ``folders``.
        said: for each folder what its path says: code of the split, and class.
    """

    def __init__(
        self,
        root: Path,
        names: bytes,
        ends: NDArray[np.int64],
        folders: list[str],
        folder_of: NDArray[np.int32],
        said: list[tuple[int, str | None]],
    ) -> None:
        self.root, self.name, self.count = root, str(root), len(ends)
        self._names, self._ends, self._folders, self._folder_of, self._said = names, ends, folders, folder_of, said

    def splits(self) -> NDArray[np.uint8]:
        """By folder."""
        return np.array([split for split, _ in self._said], np.uint8)[self._folder_of]

    def labels(self) -> tuple[NDArray[np.int32], list[str]]:
        """By folder."""
        table, names = positions_of([label for _, label in self._said])
        return table[self._folder_of], names

    def content(self, row: int) -> Callable[[], bytes]:
        """The whole file."""
        return (self.root / self.name_of(row)).read_bytes

    def name_of(self, row: int) -> str:
        """The path relative to the folder."""
        start = int(self._ends[row - 1]) if row else 0
        name = os.fsdecode(self._names[start : int(self._ends[row])])
        folder = self._folders[int(self._folder_of[row])]
        return f"{folder}/{name}" if folder else name


def stream_folder(root: Path, *, strict: bool, plain: bool) -> StreamSource:
    """The images of a folder, with the classes and splits that ``folder_source`` finds and in its order.

    Other than there, a file that links make appear twice counts twice.

    Args:
        root: the folder.
        strict: whether an image in a format that is not read is an error.
        plain: whether to take every image, whatever its folders are called, without class and split.

    Raises:
        DataError: if there are no images.
    """
    names, ends = bytearray(), array("q")
    folders: dict[str, int] = {}
    folder_of = array("i")
    skipped: list[tuple[str, str]] = []
    for file in paths_in_order(root):
        folder, _, name = file.rpartition("/")
        # The common case first: a path object for each of a million names is slow.
        if f".{name.rpartition('.')[2].lower()}" not in IMAGE_SUFFIXES and not is_image(root, file):
            if Path(file).suffix.lower() in UNREADABLE_SUFFIXES:
                skipped.append((file, "this format is not read; export it as PNG or TIFF"))
            continue
        names += os.fsencode(name)
        ends.append(len(names))
        folder_of.append(folders.setdefault(folder, len(folders)))
    if not ends:
        raise _nothing(root, list(paths_in_order(root)))
    if strict and skipped:
        raise DataError(f"cannot read '{skipped[0][0]}': {skipped[0][1]}")
    tops = {folder.partition("/")[0] for folder in folders if folder}
    by_split = not plain and any(SPLIT_NAMES.get(top.lower()) == "train" for top in tops)
    said = [_said_by(folder, by_split, plain) for folder in folders]
    counts = np.bincount(np.frombuffer(folder_of, np.int32), minlength=len(folders))
    beside: dict[str, int] = {}
    for (folder, position), (split, _) in zip(folders.items(), said, strict=True):
        if split == NOWHERE:
            top = folder.partition("/")[0] or "."
            beside[top] = beside.get(top, 0) + int(counts[position])
    skipped += [
        (f"{top}/", f"{count_of(count, 'image')} not used, beside train/, validation/ and test/")
        for top, count in beside.items()
    ]
    part = FolderPart(root, bytes(names), np.array(ends, np.int64), list(folders), np.array(folder_of, np.int32), said)
    return StreamSource(str(root), [part], None, skipped, (str(root.resolve()),))


def paths_in_order(root: Path) -> Iterator[str]:
    """What ``sorted(walk(root))`` gives, holding no more than one folder's names at a time."""
    seen = {root.resolve()}

    def below(folder: Path, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                # Paths sort as if each folder's name ended in the slash that follows it.
                found = sorted(entry.name + "/" * entry.is_dir() for entry in entries if entry.name[0] != ".")
        except OSError as error:
            _refuse(error)
            raise
        for name in found:
            if not name.endswith("/"):
                yield prefix + name
                continue
            target = (folder / name).resolve()
            if target not in seen:
                seen.add(target)
                yield from below(folder / name, prefix + name)

    return below(root, "")


def _said_by(folder: str, by_split: bool, plain: bool) -> tuple[int, str | None]:
    """Code of the split and class that the path of a folder says."""
    parts = [] if plain or not folder else folder.split("/")
    split = 0
    if by_split:
        top = parts.pop(0).lower() if parts else ""
        if top not in SPLIT_NAMES and top not in UNLABELLED_NAMES:
            return NOWHERE, None
        split = SPLITS.index(SPLIT_NAMES.get(top, "train"))
        if top in UNLABELLED_NAMES:
            parts = []
    return split, parts[0] if parts and parts[0].lower() not in UNLABELLED_NAMES else None
