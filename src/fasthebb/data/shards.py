"""WebDataset shards: tar files in which an image and its label share a name."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fasthebb.data.errors import DataError, count_of, reason_of
from fasthebb.data.folders import IMAGE_SUFFIXES
from fasthebb.data.items import Item, Source, split_in_name

_LABEL_SUFFIXES = ("cls", "txt")
_LONGEST_LABEL = 1000  # bytes; more is a caption or a mistake


class NoImagesError(DataError):
    """Shards without images.

    Args:
        description: how the summary calls the data.
        skipped: names of shards, and why they were not read.
    """

    def __init__(self, description: str, skipped: Sequence[tuple[str, str]]) -> None:
        reason = f" ({skipped[0][1]})" if skipped else ""
        super().__init__(
            f"found no images in the shards of '{description}'{reason}: expected uncompressed .tar files of images"
        )
        self.reason = skipped[0][1] if skipped else ""


def shard_source(description: str, root: Path, files: Sequence[str], strict: bool) -> Source:
    """The images of tar shards, with labels from ``.cls`` or ``.txt`` of the same name.

    A whole number in a label is a line of ``classes.txt`` (one class a line, the first is 0) where that file lies
    beside the shards, otherwise a class name as it is. A shard named for a split (``val-000000.tar``) is of it.

    Args:
        description: how the summary calls the data.
        root: the folder that ``files`` are relative to.
        files: tar files, not compressed.
        strict: whether a damaged shard is an error; otherwise what can be read of it is kept.

    Raises:
        DataError: if there are no images in the shards, or a label is not in ``classes.txt``.
    """
    classes = _class_names(root / "classes.txt")
    items: list[Item] = []
    skipped: list[tuple[str, str]] = []
    for name in files:
        path = root / name
        real = path.resolve()
        split, labelled = split_in_name(name)
        images: dict[str, tuple[str, int, int]] = {}
        labels: dict[str, str] = {}
        further = 0
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if member.size < 0:  # `tarfile` would go in circles
                        raise tarfile.ReadError(f"'{member.name}' has a negative size")
                    if not member.isfile() or member.issparse():
                        continue
                    folder, _, base = member.name.rpartition("/")
                    stem, _, suffix = base.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if f".{suffix.lower().rpartition('.')[2]}" in IMAGE_SUFFIXES:
                        further += key in images
                        images.setdefault(key, (member.name, member.offset_data, member.size))
                    elif suffix.lower() in _LABEL_SUFFIXES and member.size <= _LONGEST_LABEL:
                        content = tar.extractfile(member)
                        text = content.read().decode("utf-8", "replace").strip() if content else ""
                        # Beside a .cls, a .txt is a caption.
                        labels[key] = labels.get(key, text) if suffix.lower() == "txt" else text
                _check_end(tar)
        except (tarfile.TarError, OSError) as error:
            if strict:
                raise DataError(f"found a damaged shard '{path}' ({reason_of(error)}): make it again") from error
            skipped.append((name, f"damaged after {count_of(len(images), 'image')}: {reason_of(error)}"))
        if further:
            reason = "not used, called like another up to the first dot in the name"
            skipped.append((name, f"{count_of(further, 'image')} {reason}"))
        for key, (member_name, offset, size) in images.items():
            label = None if not labelled else _class_of(labels.get(key, ""), classes, path)
            items.append(
                Item(
                    name=f"{name}/{member_name}",
                    key=f"{real}#{member_name}",
                    read=partial(_read_part, path, offset, size),
                    label=label,
                    split=split,
                )
            )
    if not items:
        raise NoImagesError(description, skipped)
    return Source(description, items, classes, skipped=skipped)


def _check_end(tar: tarfile.TarFile) -> None:
    """Whether an archive ends as it should: `tarfile` takes what it does not understand for the end, in silence.

    Raises:
        TarError: if it does not.
    """
    if tar.fileobj is not None:
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it goes on with what is no tar, or was cut short")


def _class_names(path: Path) -> list[str] | None:
    """The lines of a list of classes; a name that comes again (ImageNet has two cranes) gets its number as well."""
    if not path.is_file():
        return None
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text: save it as UTF-8, one class a line") from error
    names: list[str] = []
    for line in text.splitlines():
        if name := line.strip():
            names.append(f"{name} ({len(names)})" if name in names else name)
    return names


def _class_of(text: str, classes: list[str] | None, shard: Path) -> str | None:
    if text in ("", "-1"):
        return None
    if classes is None or text in classes:
        return text
    if text.isdecimal() and int(text) < len(classes):
        return classes[int(text)]
    raise DataError(f"found the label '{text}' in '{shard}', expected a line of classes.txt (0 to {len(classes) - 1})")


def _read_part(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as stream:
        if offset + size > stream.seek(0, os.SEEK_END):  # said before that much memory is asked for
            raise ValueError("the shard ends before the image does")
        stream.seek(offset)
        return stream.read(size)
