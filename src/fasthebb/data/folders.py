"""Folders of image files: by class, by split and class, flat, or nested."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from fasthebb.data.errors import DataError
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
    """Files below ``root``, relative to it, sorted, without hidden ones; links are followed, never in circles."""
    found: list[str] = []
    seen = {root.resolve()}
    for folder, subfolders, files in os.walk(root, followlinks=True):
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


def is_image(root: Path, file: str) -> bool:
    """Whether a file is to be read as an image: by its suffix, or as DICOM, whose files often have none."""
    suffix = Path(file).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():  # the dots of a DICOM identifier look like numeric suffixes
        return False
    with (root / file).open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def folder_source(root: Path, files: list[str]) -> Source:
    """The images among ``files`` of a folder.

    The first folder below the root (or below ``train/``, ``validation/``, ``test/``) is the class. Images that lie in
    no such folder, or in ``unlabelled/``, have no label.

    Args:
        root: the folder.
        files: its files, relative to it.

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
    tops = {file.partition("/")[0] for file in images if "/" in file}
    by_split = any(SPLIT_NAMES.get(top.lower()) == "train" for top in tops)
    real_root = root.resolve()
    items: list[Item] = []
    beside: Counter[str] = Counter()
    for file in images:
        parts = file.split("/")[:-1]
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
        key = str(path.resolve()) if path.is_symlink() else str(real_root / file)
        items.append(Item(file, key, path.read_bytes, label, split))
    skipped += [
        (f"{top}/", f"{count} images beside train/, validation/ and test/ are not used")
        for top, count in beside.items()
    ]
    return Source(str(root), items, skipped=skipped)


def _nothing(root: Path, files: list[str]) -> DataError:
    if not files:
        return DataError(f"found an empty folder '{root}', expected images, parquet files or WebDataset shards")
    kinds = Counter(Path(file).suffix.lower() or "no suffix" for file in files)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3))
    return DataError(
        f"found no images in '{root}', only {len(files)} other files ({found}): expected PNG, JPEG, TIFF, DICOM, ... "
        f"or parquet files or .tar shards of images"
    )
