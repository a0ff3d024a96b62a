"""Folders of image files: by class, by split and class, flat, or nested."""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path

from fasthebb.data.errors import DataError, count_of
from fasthebb.data.items import SPLIT_NAMES, UNLABELLED_NAMES, Item, Source, Split

IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
        ".jp2",
        ".avif",
        ".dcm",
        ".dicom",
    ]
)
# Images in formats that are not read: said to the user, whereas a README or a table beside the images is not.
UNREADABLE_SUFFIXES = frozenset(
    [
        ".heic",
        ".heif",
        ".svg",
        ".psd",
        ".raw",
        ".cr2",
        ".nef",
        ".arw",
        ".dng",
        ".nii",
        ".czi",
        ".lif",
        ".nd2",
        ".npy",
        ".npz",
    ]
)


def walk(root: Path) -> list[str]:
    """Files below ``root``, relative to it, sorted, without hidden ones; links are followed, never in circles.

    Raises:
        DataError: if a folder cannot be listed: its images must not be missing in silence.
    """
    found: list[str] = []
    seen = {root.resolve()}
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        here = Path(folder)
        descend = []
        for name in sorted(subfolders):
            target = (here / name).resolve()
            if not name.startswith(".") and target not in seen:
                seen.add(target)
                descend.append(name)
        subfolders[:] = descend
        relative = here.relative_to(root)
        found += [(relative / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot list the folder '{error.filename}' ({error.strerror}): allow it, or remove it") from error


def is_image(root: Path, file: str) -> bool:
    """Whether a file is to be read as an image: by its suffix, or as DICOM, whose files often have none."""
    suffix = Path(file).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():  # the dots of a DICOM identifier look like numeric suffixes
        return False
    if not (root / file).is_file():  # a broken link; or a pipe, which would never end
        return False
    with (root / file).open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def folder_source(root: Path, files: list[str], strict: bool = False, plain: bool = False) -> Source:
    """The images among ``files`` of a folder.

    The first folder below the root (or below ``train/``, ``validation/``, ``test/``) is the class. Images that lie in
    no such folder, or in ``unlabelled/``, have no label.

    Args:
        root: the folder.
        files: its files, relative to it.
        strict: whether an image in a format that is not read is an error.
        plain: whether to take every image, whatever its folders are called, without class and split.

    Raises:
        DataError: if none of them is an image.
    """
    images = [file for file in files if is_image(root, file)]
    if not images:
        raise _nothing(root, files)
    kept = set(images)
    skipped = [
        (file, "this format is not read; export it as PNG or TIFF")
        for file in files
        if file not in kept and Path(file).suffix.lower() in UNREADABLE_SUFFIXES
    ]
    if strict and skipped:
        raise DataError(f"cannot read '{skipped[0][0]}': {skipped[0][1]}")
    tops = {file.partition("/")[0] for file in images if "/" in file}
    by_split = not plain and any(SPLIT_NAMES.get(top.lower()) == "train" for top in tops)
    real_folder = functools.cache(Path.resolve)
    items: list[Item] = []
    beside: Counter[str] = Counter()
    for file in images:
        parts = [] if plain else file.split("/")[:-1]
        split: Split = "train"
        if by_split:
            top = parts.pop(0) if parts else ""
            if top.lower() not in SPLIT_NAMES and top.lower() not in UNLABELLED_NAMES:
                beside[top or "."] += 1
                continue
            split = SPLIT_NAMES.get(top.lower(), "train")
            if top.lower() in UNLABELLED_NAMES:
                parts = []
        label = parts[0] if parts and parts[0].lower() not in UNLABELLED_NAMES else None
        path = root / file
        key = str(path.resolve()) if path.is_symlink() else str(real_folder(path.parent) / path.name)
        items.append(Item(file, key, path.read_bytes, label, split))
    skipped += [
        (f"{top}/", f"{count_of(count, 'image')} not used, beside train/, validation/ and test/")
        for top, count in beside.items()
    ]
    return Source(str(root), items, skipped=skipped)


def _nothing(root: Path, files: list[str]) -> DataError:
    if not files:
        return DataError(f"found an empty folder '{root}', expected images, parquet files or WebDataset shards")
    kinds = Counter(Path(file).suffix.lower() or "no suffix" for file in files)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3))
    return DataError(
        f"found no images in '{root}', only {count_of(len(files), 'other file')} ({found}): expected PNG, JPEG, TIFF, "
        f"DICOM, ... or parquet files or .tar shards of images"
    )
