"""From what a user has to the image sets of an experiment."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from fasthebb.data.channels import stack
from fasthebb.data.errors import DataError, first_few
from fasthebb.data.images import ImageData, ImageSet
from fasthebb.data.items import Item, Source, Split, class_order
from fasthebb.data.labels import apply_label_file
from fasthebb.data.reading import Decoded, check_memory, read_items
from fasthebb.data.sources import open_source
from fasthebb.data.splits import hold_out
from fasthebb.data.subsets import check_amount, labelled_subset

DEFAULT_IMAGE_SIZE = 32  # what the 6-layer network takes


def load_images(
    data: str | Path = "digits",
    *,
    unlabelled: str | Path | Sequence[str | Path] = (),
    label_file: str | Path | None = None,
    labels: str | None = None,
    group: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
    need_labels: bool = True,
) -> ImageData:
    """Read images into memory and divide them into what pre-training, fine-tuning, choosing and testing may see.

    Splits that the data have are used. Without a validation split 20 % of the training images are held out, without a
    test split another 20 %: stratified, by whole groups, and the same whatever the seed. Each image is resized by its
    shorter side and cropped to the centre square; see ``fasthebb.data.decoding`` for depth, transparency and DICOM.

    Args:
        data: "digits", a folder of images by class (optionally below train/, validation/, test/) or without labels, a
            parquet file or folder of them, WebDataset shards, or a name on the Hugging Face Hub.
        unlabelled: more of these for pre-training; their labels and splits are not read.
        label_file: CSV with file, label and optionally split and a group; its labels replace those of the data.
        labels: how many labels to use, see ``labelled_subset``; all if left out.
        group: column of the label file or table that says which images belong together; "group" if left out and there.
        image_size: side in pixels; 32 if left out.
        channels: 1 if left out and all images are grey, otherwise 3, or the number that deeper images have.
        seed: chooses the labelled subset.
        strict: whether an image that cannot be read is an error instead of being skipped.
        progress: whether a long load shows a bar on stderr.
        need_labels: whether the data must be fit for a classifier; pre-training takes any.

    Raises:
        DataError: for every mistake in the arguments or the data, in one line.

    Example:
        >>> data = load_images("digits", labels="5/class", image_size=16)
        >>> len(data.unlabelled), len(data.train), len(data.validation), tuple(data.train.images.shape[1:])
        (1079, 50, 359, (1, 16, 16))
    """
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    _check_numbers(size, channels)
    if labels is not None:
        check_amount(labels)
    source = open_source(data, group=group, strict=strict)
    if label_file is not None:
        source = apply_label_file(source, Path(label_file).expanduser(), Path(data), group)
    if group is not None and not source.grouped:
        where = first_few(source.columns, 8) or "no columns; groups come from a label file or a table"
        raise DataError(f"found no column '{group}' for groups in '{data}': found {where}")
    more = [unlabelled] if isinstance(unlabelled, str | Path) else list(unlabelled)
    extra = [open_source(one, group=group, strict=strict) for one in more]

    plan = _plan(source, need_labels)
    plan.add_unlabelled(extra, by_group=group is not None)
    if labels is not None and plan.train:
        labelled_subset(plan.train_labels(), labels, seed=seed)
    if image_size is None:
        plan.notes.insert(0, f"the image size was chosen: {size}; another is set by image_size (--image-size)")

    order = [*plan.train, *plan.unlabelled, *plan.validation, *plan.test]
    check_memory(order, size, channels)
    # Read in the order of the sources, which is the order of files and rows on the disk.
    decoded = dict(
        zip(plan.reading, read_items(plan.reading_items, size, strict=strict, progress=progress), strict=True)
    )
    skipped = [*source.skipped, *(one for other in extra for one in other.skipped)]
    data_read = _gather(plan, decoded, size, channels, skipped, str(source.description), need_labels)
    _warn_skipped(data_read.skipped, data_read.source)
    if labels is None or not len(data_read.train):
        return data_read
    return replace(data_read, train=data_read.train.subset(labelled_subset(data_read.train.labels, labels, seed=seed)))


def load_folder_for_prediction(
    path: str | Path, *, image_size: int, channels: int, strict: bool = False
) -> tuple[ImageSet, list[tuple[str, str]]]:
    """Read new images as a trained network wants them.

    Args:
        path: an image, or a folder of images nested in any way; folders are not taken for classes or splits.
        image_size: side in pixels.
        channels: 1 to N.
        strict: whether an image that cannot be read is an error.

    Returns:
        The images, labels all -1, and ``(path, reason)`` of those skipped.

    Raises:
        DataError: if there are no images there, none can be read, or the channels cannot be converted.
    """
    _check_numbers(image_size, channels)
    if not Path(path).expanduser().exists() and str(path) == "digits":
        raise DataError("found the name 'digits', expected an image or a folder of images")
    source = open_source(path, strict=strict)
    check_memory(source.items, image_size, channels)
    decoded = read_items(source.items, image_size, strict=strict, progress=True)
    pairs = list(zip(source.items, decoded, strict=True))
    pixels = [one for one in decoded if not isinstance(one, str)]
    skipped = [*source.skipped, *((item.name, one) for item, one in pairs if isinstance(one, str))]
    if not pixels:
        raise _nothing_read(str(path), skipped)
    _warn_skipped(skipped, str(path))
    names = [item.name for item, one in pairs if not isinstance(one, str)]
    images = stack(pixels, image_size, channels)
    return ImageSet(images, torch.full((len(names),), -1), names), skipped


@dataclass
class _Plan:
    """Which image goes where, decided before any is read so that the splits do not depend on what is damaged."""

    classes: list[str]
    grouped: bool
    train: list[Item] = field(default_factory=list)
    unlabelled: list[Item] = field(default_factory=list)
    validation: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reading_items: list[Item] = field(default_factory=list)
    held_groups: set[str] = field(default_factory=set)
    source_keys: set[str] = field(default_factory=set)

    @property
    def reading(self) -> list[str]:
        """Keys of the items to read."""
        return [item.key for item in self.reading_items]

    def train_labels(self) -> Tensor:
        """``(N,)`` classes of the labelled training images."""
        position = {name: value for value, name in enumerate(self.classes)}
        return torch.tensor([position[str(item.label)] for item in self.train], dtype=torch.int64)

    def add_unlabelled(self, sources: Sequence[Source], by_group: bool) -> None:
        """Add other sources to pre-training, without what is in the data already or of a group held out from it."""
        again = 0
        held = 0
        for source in sources:
            for item in source.items:
                if item.key in self.source_keys:
                    again += 1
                elif by_group and item.group and item.group in self.held_groups:
                    held += 1
                else:
                    self.source_keys.add(item.key)
                    named = replace(item, name=f"{Path(source.description).name}/{item.name}", label=None)
                    self.unlabelled.append(named)
                    self.reading_items.append(named)
        if again:
            self.notes.append(f"{again} further unlabelled images are in the data already and are not taken twice")
        if held:
            self.notes.append(f"{held} further unlabelled images are left out: their group is in validation or test")


def _plan(source: Source, need_labels: bool) -> _Plan:
    items = source.items
    present = {item.label for item in items if item.label is not None}
    if not need_labels and len(present) == 1 and source.classes is None:
        # One folder of images is how they are kept, not a class; nothing is to be held out from pre-training.
        items = [replace(item, label=None) for item in items]
        present = set()
    plan = _Plan(source.classes if source.classes and present else class_order(present), source.grouped)
    if need_labels:
        _check_labels(items, source.description)
    labelled = [item for item in items if item.label is not None]
    given = {item.split for item in labelled}
    missing: list[Split] = [split for split in ("validation", "test") if labelled and split not in given]
    pool = [item for item in labelled if item.split == "train"]
    position = {name: value for value, name in enumerate(plan.classes)}
    groups = [item.group for item in pool] if source.grouped else None
    assigned = hold_out([position[str(item.label)] for item in pool], groups, missing)
    split_of: dict[str, Split] = {item.key: split for item, split in zip(pool, assigned, strict=True)}
    items = [replace(item, split=split_of.get(item.key, item.split)) for item in items]
    if missing and pool:
        plan.notes.append(f"of the labelled training images 20 % were held out for {' and 20 % for '.join(missing)}")
    _divide(plan, items)
    if need_labels:
        _check_splits(plan, source.description)
    return plan


def _divide(plan: _Plan, items: list[Item]) -> None:
    """Put each item of the data into its set; what pre-training may not see and nobody can score is left out."""
    plan.source_keys = {item.key for item in items}
    plan.held_groups = {item.group for item in items if item.split != "train" and item.group}
    straddling = {item.group for item in items if item.split == "train" and item.label is not None} & plan.held_groups
    if straddling:
        raise DataError(
            f"found {len(straddling)} groups both in train and in validation or test "
            f"({first_few(sorted(straddling))}): mend the splits, or name another column as group"
        )
    unscored = held = 0
    for item in items:
        if item.split != "train" and item.label is None:
            unscored += 1
            continue
        if item.split == "train" and item.label is None and item.group in plan.held_groups:
            held += 1
            continue
        if item.split == "train":
            (plan.unlabelled if item.label is None else plan.train).append(item)
        else:
            (plan.validation if item.split == "validation" else plan.test).append(item)
        plan.reading_items.append(item)
    if unscored:
        plan.notes.append(f"{unscored} images of validation or test have no label and are not used")
    if held:
        plan.notes.append(f"{held} unlabelled images are left out: their group is in validation or test")
    for name, part in (("validation", plan.validation), ("test", plan.test)):
        absent = {item.label for item in plan.train} - {item.label for item in part}
        if part and absent:
            plan.notes.append(f"no image for {name} in {len(absent)} classes ({first_few(sorted(map(str, absent)))})")


def _check_labels(items: Sequence[Item], where: str) -> None:
    sizes = Counter(item.label for item in items if item.label is not None)
    if not sizes:
        raise DataError(
            f"found {len(items)} images and no labels in '{where}': expected a folder for each class, "
            f"a label column, or a label file (file,label)"
        )
    if len(sizes) == 1:
        raise DataError(
            f"found a single class ({next(iter(sizes))}) in '{where}', expected at least two: label more images"
        )
    single = sorted(str(label) for label, count in sizes.items() if count == 1)
    if single:
        raise DataError(
            f"found {len(single)} classes with a single image in '{where}' ({first_few(single)}), expected at "
            f"least two a class: label more images or leave the class out"
        )


def _check_splits(plan: _Plan, where: str) -> None:
    held_out = {item.label for item in (*plan.validation, *plan.test)}
    untaught = sorted(str(label) for label in held_out - {item.label for item in plan.train})
    if untaught:
        raise DataError(
            f"found {len(untaught)} classes without a training image in '{where}' ({first_few(untaught)}): "
            f"label training images of them"
        )
    for name, part in (("validation", plan.validation), ("test", plan.test)):
        if not part:
            raise DataError(
                f"found {len(plan.train)} labelled images in '{where}', too few (or too few groups) to hold "
                f"some out for {name}: label at least three images a class, or give a split"
            )


def _gather(
    plan: _Plan,
    decoded: dict[str, Decoded],
    size: int,
    channels: int | None,
    skipped: list[tuple[str, str]],
    source: str,
    need_labels: bool,
) -> ImageData:
    """Stack what could be read into one tensor, of which the sets are views: training images are not held twice."""
    parts = [[*plan.train], [*plan.unlabelled], [*plan.validation], [*plan.test]]
    for part in parts:
        skipped += [(item.name, str(decoded[item.key])) for item in part if isinstance(decoded[item.key], str)]
    parts = [[item for item in part if not isinstance(decoded[item.key], str)] for part in parts]
    train, unlabelled, validation, _ = parts
    items = [item for part in parts for item in part]
    pixels = [one for item in items if not isinstance(one := decoded.pop(item.key), str)]
    if not len(train) + len(unlabelled):
        raise _nothing_read(source, skipped)
    lost = {item.label for item in plan.train} - {item.label for item in train}
    if need_labels and lost:
        raise DataError(f"none of the training images of {first_few(sorted(map(str, lost)))} can be read: replace them")
    position = {name: value for value, name in enumerate(plan.classes)}
    images = stack(pixels, size, channels)
    labels = torch.tensor([position[item.label] if item.label is not None else -1 for item in items], dtype=torch.int64)

    def view(start: int, stop: int, labelled: bool = True) -> ImageSet:
        return ImageSet(
            images=images[start:stop],
            labels=labels[start:stop] if labelled else torch.full((stop - start,), -1),
            names=[item.name for item in items[start:stop]],
            groups=[item.group for item in items[start:stop]] if plan.grouped else None,
        )

    for_training = len(train) + len(unlabelled)
    return ImageData(
        unlabelled=view(0, for_training, labelled=False),
        train=view(0, len(train)),
        validation=view(for_training, for_training + len(validation)),
        test=view(for_training + len(validation), len(items)),
        classes=plan.classes,
        skipped=skipped,
        source=source,
        notes=tuple(plan.notes),
    )


def _check_numbers(image_size: int, channels: int | None) -> None:
    if image_size < 1:
        raise DataError(f"found the image size {image_size}, expected pixels, at least 1")
    if channels is not None and channels < 1:
        raise DataError(f"found {channels} channels, expected at least 1")


def _nothing_read(where: str, skipped: Sequence[tuple[str, str]]) -> DataError:
    first = f"; the first, {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
    return DataError(f"none of the images of '{where}' for training or prediction can be read{first}")


def _warn_skipped(skipped: Sequence[tuple[str, str]], where: str) -> None:
    if skipped:
        listed = first_few(f"{path} ({reason})" for path, reason in skipped)
        warnings.warn(f"skipped {len(skipped)} files of '{where}': {listed}", UserWarning, stacklevel=3)
