"""Two folders with matching names: images/ and masks/, optionally divided into train/, validation/ and test/."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from fasthebb.data.errors import DataError, count_of
from fasthebb.data.folders import UNREADABLE_SUFFIXES, is_image
from fasthebb.data.items import SPLIT_NAMES, UNLABELLED_NAMES, Item, Source
from fasthebb.data.masked_items import Masks
from fasthebb.data.volumes import NIFTI_SUFFIXES

_KINDS = ("images", "masks")


class _Place(NamedTuple):
    """Where a file is: images/ or masks/ or neither, its split or "unlabelled", the rest of its path without suffix."""

    kind: str
    split: str
    stem: str


def is_picture(root: Path, file: str) -> bool:
    """Whether a file is to be read as an image, a volume or a mask."""
    return file.lower().endswith(NIFTI_SUFFIXES) or is_image(root, file)


def masked_folder(root: Path, files: list[str], strict: bool) -> tuple[Source, Masks]:
    """The images among ``files`` of a folder, and their masks.

    Images lie in images/, or are all there are if there is no such folder. An image's mask has its name in masks/, up
    to the suffix. The split is the folder above images/ and masks/, or the one below each of them.

    Args:
        root: the folder.
        files: its files, relative to it.
        strict: whether an image in a format that is not read is an error.

    Returns:
        The images, without labels, and their masks.

    Raises:
        DataError: if two images or two masks have the same name, or none is in images/ though there are masks.
    """
    pictures = [file for file in files if is_picture(root, file)]
    # As for classes, folders named as splits are splits if there is one to train on.
    divided = any(_place(file, True).split == "train" for file in pictures)
    places = {file: _place(file, divided) for file in pictures}
    paired = any(place.kind for place in places.values())
    skipped = _skipped(files, strict)
    images: dict[tuple[str, str], str] = {}
    masks: dict[tuple[str, str], str] = {}
    beside: Counter[str] = Counter()
    for file, place in places.items():
        if (paired and not place.kind and place.split != "unlabelled") or (divided and not place.split):
            beside[file.rpartition("/")[0] or "."] += 1
            continue
        found = masks if place.kind == "masks" else images
        other = found.setdefault((place.split, place.stem if paired else file), file)
        if other != file:
            raise DataError(
                f"found '{other}' and '{file}' in '{root}', of the same name up to the suffix: which belongs to which "
                f"is matched by name, rename or remove one"
            )
    if not images:
        raise DataError(f"found {count_of(len(masks), 'mask')} and no images in '{root}': expected them in images/")
    skipped += [(f"{top}/", f"{count_of(count, 'image')} not used") for top, count in beside.items()]
    items = {name: _item(root, file, name[0]) for name, file in images.items()}
    own = Masks(
        of={items[name].key: _item(root, file, name[0]) for name, file in masks.items() if name in items},
        exempt={item.key for (split, _), item in items.items() if split == "unlabelled"},
        orphans=[file for name, file in masks.items() if name not in items],
    )
    return Source(str(root), list(items.values()), skipped=skipped), own


def plain_folder(root: Path, files: list[str], strict: bool) -> Source:
    """Every image among ``files``, whatever its folders are called; where there are folders images/, those in them."""
    pictures = [file for file in files if is_picture(root, file)]
    inside = [file for file in pictures if _place(file, True).kind == "images"]
    apart = [file for file in pictures if _place(file, True).kind != "masks"]
    items = [_item(root, file, "") for file in inside or apart]
    if not items:
        raise DataError(f"found {count_of(len(pictures), 'mask')} and no images in '{root}': expected them in images/")
    return Source(str(root), items, skipped=_skipped(files, strict))


def _place(file: str, divided: bool) -> _Place:
    """What the first two folders of a path say.

    Example:
        >>> _place("val/images/a/b.nii.gz", True), _place("masks/test/b.png", True).split
        (_Place(kind='images', split='validation', stem='a/b'), 'test')
    """
    *folders, name = file.split("/")
    kind = split = ""
    for folder in folders[:2]:
        word = folder.lower()
        if word in _KINDS and not kind:
            kind = word
        elif divided and word in SPLIT_NAMES and not split:
            split = SPLIT_NAMES[word]
        elif word in UNLABELLED_NAMES and not split:
            split = "unlabelled"
        else:
            break
        folders = folders[1:]
    suffix = next((end for end in NIFTI_SUFFIXES[::-1] if name.lower().endswith(end)), Path(name).suffix)
    return _Place(kind, split, "/".join([*folders, name[: len(name) - len(suffix)]]))


def _item(root: Path, file: str, split: str) -> Item:
    path = root / file
    return Item(file, str(path.resolve()), path.read_bytes, split=SPLIT_NAMES.get(split, "train"))


def _skipped(files: list[str], strict: bool) -> list[tuple[str, str]]:
    reason = "this format is not read; export it as PNG, TIFF or NIfTI"
    skipped = [file for file in files if Path(file).suffix.lower() in UNREADABLE_SUFFIXES - {".nii"}]
    if strict and skipped:
        raise DataError(f"cannot read '{skipped[0]}': {reason}")
    return [(file, reason) for file in skipped]
