"""From what a user has to the image sets of an experiment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from fasthebb.data.channels import stack
from fasthebb.data.errors import DataError, count_of, first_few, missing_path
from fasthebb.data.images import ImageData, ImageSet
from fasthebb.data.items import Item, Source, Split
from fasthebb.data.labels import apply_label_file
from fasthebb.data.plan import Plan, make_plan, once
from fasthebb.data.reading import Decoded, check_memory, read_items
from fasthebb.data.sources import open_source
from fasthebb.data.stream_set import StreamData
from fasthebb.data.subsets import check_amount, labelled_subset, labels_asked

DEFAULT_IMAGE_SIZE = 32  # what the 6-layer network takes
Held = TypeVar("Held", bound=ImageData | StreamData)


def load_images(
    data: str | Path = "digits",
    *,
    unlabelled: str | Path | Sequence[str | Path] = (),
    label_file: str | Path | None = None,
    labels: str | None = None,
    group: str | None = None,
    image_size: int | None = None,
    default_size: int = DEFAULT_IMAGE_SIZE,
    channels: int | None = None,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
    need_labels: bool = True,
    testing: bool = True,
) -> ImageData:
    """Read images into memory and divide them into what pre-training, fine-tuning, choosing and testing may see.

    Splits that the data have are used. Without a validation split 20 % of the training images are held out, without a
    test split another 20 %: stratified, by whole groups, and the same whatever the seed. Each image is resized by its
    shorter side and cropped to the centre square; see ``fasthebb.data.decoding`` for depth, transparency and DICOM.

    Args:
        data: "digits", a folder of images by class (optionally below train/, validation/, test/) or without labels, a
            parquet file or folder of them, WebDataset shards, a folder of IDX files (as MNIST comes in), or a name on
            the Hugging Face Hub.
        unlabelled: more of these for pre-training; their labels and splits are not read.
        label_file: CSV with file, label and optionally split and a group; its labels replace those of the data.
        labels: how many labels to use, see ``labelled_subset``; all if left out.
        group: column of the label file or table that says which images belong together; "group" if left out and there.
        image_size: side in pixels; ``default_size`` if left out, which is then noted.
        default_size: side in pixels that the network takes.
        channels: 1 if left out and all images are grey, otherwise 3, or the number that deeper images have.
        seed: chooses the labelled subset.
        strict: whether an image that cannot be read is an error instead of being skipped.
        progress: whether a long load shows a bar on stderr.
        need_labels: whether the data must be fit for a classifier; pre-training takes any.
        testing: whether images are needed for validation and test; otherwise none are held out from training.

    Raises:
        DataError: for every mistake in the arguments or the data, in one line.

    Example:
        >>> data = load_images("digits", labels="5/class", image_size=16)
        >>> len(data.unlabelled), len(data.train), len(data.validation), tuple(data.train.images.shape[1:])
        (1079, 50, 359, (1, 16, 16))
    """
    size = default_size if image_size is None else image_size
    _check_numbers(size, channels)
    if labels is not None:
        check_amount(labels)
    source = _labelled_source(data, label_file, group, strict)
    more = [unlabelled] if isinstance(unlabelled, str | Path) else list(unlabelled)
    extra = [open_source(one, group=group, strict=strict, plain=True) for one in more]

    plan = make_plan(source, need_labels, testing)
    plan.add_unlabelled(extra)
    if not plan.train and not plan.unlabelled:
        raise DataError(
            f"found only images of validation or test in '{data}', expected some to train on: give these too"
        )
    if labels is not None and plan.train:  # before the long reading, so that a mistake is told at once
        plan.check_draw(labels, seed)
    if image_size is None:
        plan.notes.insert(0, f"the image size was chosen: {size}; another is set by image_size (--image-size)")

    order = [*plan.train, *plan.unlabelled, *plan.validation, *plan.test]
    check_memory(order, size, channels)
    # Read in the order of the sources, which is the order of files and rows on the disk.
    decoded = dict(
        zip(plan.reading, read_items(plan.reading_items, size, strict=strict, progress=progress), strict=True)
    )
    skipped = [*source.skipped, *(one for other in extra for one in other.skipped)]
    data_read = _gather(plan, decoded, size, channels, skipped, str(source.description), need_labels, testing)
    _warn_skipped(data_read.skipped, data_read.source)
    return data_read if labels is None or not len(data_read.train) else draw_labels(data_read, labels, seed)


def draw_labels(data: Held, labels: str, seed: int) -> Held:
    """The same images with some of the labels of training, see ``labelled_subset``.

    Raises:
        DataError: if there are fewer than asked for.

    Example:
        >>> len(draw_labels(load_images("digits", image_size=8), "3/class", seed=0).train)
        30
    """
    train = data.train
    chosen = labelled_subset(train.labels, labels, seed=seed, groups=train.groups, classes=data.classes)
    asked = labels_asked(train.labels, labels)
    note = f"{len(chosen)} labels were drawn, {asked} were asked for: a draw takes whole groups"
    notes = data.notes if len(chosen) == asked else (*data.notes, note)
    drawn: Any = train.subset(chosen)  # of the kind that the data are of
    return replace(data, train=drawn, notes=notes)


def _labelled_source(data: str | Path, label_file: str | Path | None, group: str | None, strict: bool) -> Source:
    """Each image of the data once, with its labels, before any is read."""
    source = open_source(data, group=group, strict=strict)
    if label_file is not None:
        source = apply_label_file(source, Path(label_file).expanduser(), Path(data), group)
    if group is not None and not source.grouped:
        where = first_few(source.columns, 8) or "no columns; groups come from a label file or a table"
        raise DataError(f"found no column '{group}' for groups in '{data}': found {where}")
    return once(source)


def load_for_scoring(
    data: str | Path,
    classes: Sequence[str],
    *,
    split: Split | Literal["all"] = "test",
    label_file: str | Path | None = None,
    group: str | None = None,
    image_size: int,
    channels: int,
    strict: bool = False,
    progress: bool = True,
) -> tuple[ImageSet, list[tuple[str, str]]]:
    """Read the labelled images that a trained network is scored on, and no others.

    Args:
        data: as for ``load_images``.
        classes: the network's class names; the images may lack some, and labels are positions in this list.
        split: "test", "validation" or "train" as ``load_images`` divides the data; "all" takes every labelled image.
        label_file: CSV that labels the images.
        group: column of groups.
        image_size: side in pixels.
        channels: 1 to N.
        strict: whether an image that cannot be read is an error.
        progress: whether a long load shows a bar on stderr.

    Returns:
        The images, and ``(path, reason)`` of those skipped.

    Raises:
        DataError: if there are no such images, or one of a class that the network does not know.
    """
    source = _labelled_source(data, label_file, group, strict)
    items = [item for item in source.items if item.label is not None]
    unknown = sorted({str(item.label) for item in items} - set(classes))
    if unknown:
        raise DataError(
            f"found {count_of(len(unknown), 'class')} in '{data}' that the classifier does not know "
            f"({first_few(unknown)}); it knows {first_few(classes, 10)}: evaluate it on images of its own classes"
        )
    if split != "all":
        plan = make_plan(replace(source, items=items, classes=list(classes)), need_labels=False)
        items = {"train": plan.train, "validation": plan.validation, "test": plan.test}[split]
    if not items:
        of_split = "" if split == "all" else f" for {split}"
        raise DataError(f"found no labelled images{of_split} in '{data}': give labelled ones, or another split")
    check_memory(items, image_size, channels)
    decoded = read_items(items, image_size, strict=strict, progress=progress)
    return _readable(items, decoded, list(source.skipped), str(data), image_size, channels, classes)


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
    if not Path(path).expanduser().exists():  # and no name on the Hub either
        raise missing_path(Path(path).expanduser(), "image or folder of images")
    source = open_source(path, strict=strict, plain=True)
    check_memory(source.items, image_size, channels)
    decoded = read_items(source.items, image_size, strict=strict, progress=True)
    items = [replace(item, label=None) for item in source.items]
    return _readable(items, decoded, list(source.skipped), str(path), image_size, channels, ())


def _readable(
    items: Sequence[Item],
    decoded: Sequence[Decoded],
    skipped: list[tuple[str, str]],
    where: str,
    image_size: int,
    channels: int,
    classes: Sequence[str],
) -> tuple[ImageSet, list[tuple[str, str]]]:
    """The images that could be read as one set, and what was skipped."""
    pairs = list(zip(items, decoded, strict=True))
    skipped += [(item.name, one) for item, one in pairs if isinstance(one, str)]
    kept = [(item, one) for item, one in pairs if not isinstance(one, str)]
    if not kept:
        raise _nothing_read(where, skipped)
    _warn_skipped(skipped, where)
    names = [item.name for item, _ in kept]
    position = {name: value for value, name in enumerate(classes)}
    labels = torch.tensor([-1 if item.label is None else position[item.label] for item, _ in kept], dtype=torch.int64)
    groups = [item.group for item, _ in kept]
    pixels = stack([one for _, one in kept], image_size, channels, names)
    return ImageSet(pixels, labels, names, groups if any(groups) else None), skipped


def _drop_copies(plan: Plan, decoded: dict[str, Decoded]) -> None:
    """Drop further unlabelled images that are copies of images of the data, under the same name in another folder.

    Labelled images are often copied out of the folder that holds all of them; without this, pre-training would see
    those held out for validation and test.
    """

    def mark(item: Item) -> tuple[str, int]:
        pixels = decoded[item.key]
        return item.name.rpartition("/")[2], hash(pixels if isinstance(pixels, str) else pixels.tobytes())

    further = [item for item in plan.unlabelled if item.key in plan.further]
    if not further:
        return
    own = {mark(item) for item in plan.reading_items if item.key not in plan.further}
    copies = {item.key for item in further if mark(item) in own}
    if copies:
        plan.unlabelled = [item for item in plan.unlabelled if item.key not in copies]
        plan.notes.append(f"left out {count_of(len(copies), 'further unlabelled image')}: copies of images in the data")


def _gather(
    plan: Plan,
    decoded: dict[str, Decoded],
    size: int,
    channels: int | None,
    skipped: list[tuple[str, str]],
    source: str,
    need_labels: bool,
    testing: bool,
) -> ImageData:
    """Stack what could be read into one tensor, of which the sets are views: training images are not held twice."""
    _drop_copies(plan, decoded)
    parts = [[*plan.train], [*plan.unlabelled], [*plan.validation], [*plan.test]]
    for part in parts:
        skipped += [(item.name, str(decoded[item.key])) for item in part if isinstance(decoded[item.key], str)]
    parts = [[item for item in part if not isinstance(decoded[item.key], str)] for part in parts]
    train, unlabelled, validation, test = parts
    items = [item for part in parts for item in part]
    pixels = [one for item in items if not isinstance(one := decoded.pop(item.key), str)]
    if not len(train) + len(unlabelled):
        raise _nothing_read(source, skipped)
    lost = {item.label for item in plan.train} - {item.label for item in train}
    if need_labels and lost:
        raise DataError(f"none of the training images of {first_few(sorted(map(str, lost)))} can be read: replace them")
    if need_labels and testing and not (validation and test):
        raise DataError(f"none of the images for {'test' if validation else 'validation'} can be read: replace them")
    position = {name: value for value, name in enumerate(plan.classes)}
    images = stack(pixels, size, channels, [item.name for item in items])
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
        warnings.warn(f"skipped {count_of(len(skipped), 'file')} of '{where}': {listed}", UserWarning, stacklevel=4)
