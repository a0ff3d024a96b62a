"""WebDataset shards: tar files in which an image and its label share a name."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fasthebb.data.errors import DataError, reason_of
from fasthebb.data.folders import IMAGE_SUFFIXES
from fasthebb.data.items import Item, Source, split_in_name

_LABEL_SUFFIXES = ("cls", "txt")
_LONGEST_LABEL = 1000  # bytes; more is a caption or a mistake


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
        split, labelled = split_in_name(name)
        images: dict[str, tuple[str, int, int]] = {}
        labels: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if not member.isfile() or member.issparse():
                        continue
                    folder, _, base = member.name.rpartition("/")
                    stem, _, suffix = base.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if f".{suffix.lower().rpartition('.')[2]}" in IMAGE_SUFFIXES:
                        images.setdefault(key, (member.name, member.offset_data, member.size))
                    elif suffix.lower() in _LABEL_SUFFIXES and member.size <= _LONGEST_LABEL:
                        content = tar.extractfile(member)
                        labels[key] = content.read().decode("utf-8").strip() if content else ""
        except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
            if strict:
                raise DataError(f"found a damaged shard '{path}' ({reason_of(error)}): make it again") from error
            skipped.append((name, f"damaged after {len(images)} images: {reason_of(error)}"))
        for key, (member_name, offset, size) in images.items():
            label = None if not labelled else _class_of(labels.get(key, ""), classes, path)
            items.append(
                Item(
                    name=f"{name}/{member_name}",
                    key=f"{path.resolve()}#{member_name}",
                    read=partial(_read_part, path, offset, size),
                    label=label,
                    split=split,
                )
            )
    if not items:
        reason = f" ({skipped[0][1]})" if skipped else ""
        raise DataError(f"found no images in the shards of '{description}'{reason}: expected uncompressed .tar files")
    return Source(description, items, classes, skipped=skipped)


def _class_names(path: Path) -> list[str] | None:
    """The lines of a list of classes; a name that comes again (ImageNet has two cranes) gets its number as well."""
    if not path.is_file():
        return None
    names: list[str] = []
    for line in path.read_text("utf-8").splitlines():
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
        stream.seek(offset)
        content = stream.read(size)
    if len(content) < size:
        raise ValueError("the shard ends before the image does")
    return content
