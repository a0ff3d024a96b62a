"""Where images and their masks lie: a list of images as of any source, and the mask of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fasthebb.data.folders import is_image, walk
from fasthebb.data.items import Item, Source
from fasthebb.data.masked_folders import is_picture, masked_folder, plain_folder
from fasthebb.data.masked_items import Masks
from fasthebb.data.masked_tables import hub_masks, parquet_masks
from fasthebb.data.sources import open_source
from fasthebb.data.tables import has_images, parquet_source
from fasthebb.data.volumes import NIFTI_SUFFIXES


def open_masked(data: str | Path, *, group: str | None, strict: bool, need_masks: bool) -> tuple[Source, Masks]:
    """Find out what ``data`` is and list its images and masks.

    Args:
        data: a folder of images/ and masks/, parquet files with columns image and mask, a name on the Hub; without
            ``need_masks`` also what ``open_source`` takes, and a folder of images alone.
        group: column of groups, for tables.
        strict: whether formats that are not read are errors.
        need_masks: whether every image must have a mask, those of a split or folder "unlabelled" excepted.

    Returns:
        The images, without labels, and their masks, none of them read.

    Raises:
        DataError: if there is nothing of the kind, or images and masks do not belong to each other.
    """
    path = Path(data).expanduser()
    files = walk(path) if path.is_dir() else []
    tables = _tables(path, files)
    if tables:
        root = path if path.is_dir() else path.parent
        source = parquet_source(str(path), root, tables, group)
        masks = parquet_masks(root, tables, source)
    elif _pictures(path, files):
        source, masks = masked_folder(path, files, strict)
    else:
        source = _others(path, data, group, strict)
        masks = Masks() if path.exists() or str(data) == "digits" else hub_masks(str(data), source)
    if need_masks:
        masks.check_pairs(source, str(data))
    # Whatever labels a source gives, of its folders or columns, are of whole images.
    return replace(source, items=[replace(item, label=None) for item in source.items], classes=None), masks


def open_unlabelled(data: str | Path, *, group: str | None, strict: bool) -> Source:
    """The images of ``data`` for pre-training: of folders images/ and masks/ those in images/, else all.

    Raises:
        DataError: if there are none.
    """
    path = Path(data).expanduser()
    files = walk(path) if path.is_dir() else []
    if not _tables(path, files) and _pictures(path, files):
        return plain_folder(path, files, strict)
    return _others(path, data, group, strict)


def _tables(path: Path, files: list[str]) -> list[str]:
    """The parquet files to read; none where there are images beside them, unless the tables hold images too."""
    if path.is_file() and path.suffix.lower() == ".parquet":
        return [path.name]
    tables = [file for file in files if file.lower().endswith(".parquet")]
    some_images = any(is_image(path, file) for file in files)
    return tables if tables and (not some_images or has_images(path / tables[0])) else []


def _pictures(path: Path, files: list[str]) -> bool:
    return any(is_picture(path, file) for file in files)


def _others(path: Path, data: str | Path, group: str | None, strict: bool) -> Source:
    if path.is_file() and path.name.lower().endswith(NIFTI_SUFFIXES):
        return Source(str(path), [Item(path.name, str(path.resolve()), path.read_bytes)])
    return open_source(data, group=group, strict=strict, plain=True)
