"""From images and masks that a user has to the sets of an experiment in segmentation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fasthebb.data.channels import common_channels, convert
from fasthebb.data.decoding import Pixels
from fasthebb.data.errors import DataError, count_of, first_few
from fasthebb.data.items import Item, Source
from fasthebb.data.loading import _drop_copies, _nothing_read, _warn_skipped
from fasthebb.data.mask_draws import check_masks, check_not_empty, masks_asked, masks_drawn
from fasthebb.data.mask_values import MaskValues, values_in
from fasthebb.data.masked import MaskedData, MaskedSet
from fasthebb.data.masked_items import Masks
from fasthebb.data.masked_reading import Pair, read_pairs
from fasthebb.data.masked_sources import open_masked, open_unlabelled
from fasthebb.data.plan import Plan, make_plan, once

_MASKED = "mask"  # to the plan of splits, an image with a mask is one of the only class


def load_masked(
    data: str | Path,
    *,
    unlabelled: str | Path | Sequence[str | Path] = (),
    labels: str | None = None,
    group: str | None = None,
    channels: int | None = None,
    ignore_value: int | None = None,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
    testing: bool = True,
    need_masks: bool = True,
    classes: Sequence[str] | None = None,
) -> MaskedData:
    """Read images and masks into memory and divide them into what learning, choosing and testing may see.

    Splits that the data have are used. Without a validation split 20 % of the training images are held out, without a
    test split another 20 %: by whole groups, and the same whatever the seed. Images keep their sizes; see
    ``fasthebb.data.native`` for depth, transparency and volumes.

    The classes come from the values of all training masks: 0 is the background; of two values the other is the
    foreground (0 and 255, 0 and 1); of more, each is a class.

    Args:
        data: a folder with images/ and masks/, whose files have the same names up to the suffix, optionally divided
            into train/, validation/ and test/; a parquet file or folder of them, or a name on the Hugging Face Hub,
            with the columns image and mask.
        unlabelled: more images for pre-training: of these, or of any kind that ``load_images`` takes; no mask is read.
        labels: how many masks to use, "5" or a fraction "0.05", see ``masks_drawn``; all if left out.
        group: column of the table that says which images belong together; "group" if left out and there.
        channels: 1 if left out and all images are grey, otherwise 3, or the number that deeper images have.
        ignore_value: number in the masks of pixels that count for nothing.
        seed: chooses the masks to use.
        strict: whether an image or mask that cannot be read is an error instead of being skipped.
        progress: whether a long load shows a bar on stderr.
        testing: whether images are needed for validation and test; otherwise none are held out from training.
        need_masks: whether every image must have a mask; pre-training reads none, and takes a folder of images alone.
            The result then has unlabelled images only, without those that would be held out.
        classes: class names of a trained network, for scoring it: masks are read as its own were, and may be empty.

    Raises:
        DataError: for every mistake in the arguments or the data, in one line.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for kind in ("images", "masks"):
        ...         (Path(folder) / kind).mkdir()
        ...         for number in range(5):
        ...             Image.new("L", (6 + number, 8), 255).save(Path(folder) / kind / f"{number}.png")
        ...     data = load_masked(folder, labels="2")
        >>> len(data.unlabelled), len(data.train), len(data.validation), len(data.test), data.classes
        (3, 2, 1, 1, ['background', 'foreground'])
    """
    if labels is not None:
        check_masks(labels)
    for what, number, least in (("channels", channels, 1), ("the ignore value", ignore_value, 0)):
        if number is not None and number < least:
            raise DataError(f"found {number} for {what}, expected at least {least}")
    source, masks = open_masked(data, group=group, strict=strict, need_masks=need_masks)
    if group is not None and not source.grouped:
        where = first_few(source.columns, 8) or "no columns; groups come from a table"
        raise DataError(f"found no column '{group}' for groups in '{data}': found {where}")
    more = [unlabelled] if isinstance(unlabelled, str | Path) else list(unlabelled)
    extra = [open_unlabelled(one, group=group, strict=strict) for one in more]
    source = once(_with_labels(source, masks))
    plan = _plan(source, testing, need_masks)
    plan.add_unlabelled(extra)
    if not plan.train and not plan.unlabelled:
        raise DataError(
            f"found only images of validation or test in '{data}', expected some to train on: give these too"
        )
    if labels is not None and plan.train and need_masks:  # before the long reading, so that a mistake is told at once
        masks_asked(len(plan.train), labels)

    wanted = masks.of if need_masks else {}
    pairs = [(item, wanted.get(item.key)) for item in plan.reading_items]
    decoded, values = _apart(plan.reading, read_pairs(pairs, channels=channels, strict=strict, progress=progress))
    _drop_copies(plan, decoded)
    skipped = [*source.skipped, *(one for other in extra for one in other.skipped)]
    skipped += [(item.name, one) for item in _every(plan) if isinstance(one := decoded[item.key], str)]
    for part in (plan.train, plan.unlabelled, plan.validation, plan.test):
        part[:] = [item for item in part if not isinstance(decoded[item.key], str)]
    if not plan.train and not plan.unlabelled:
        raise _nothing_read(str(data), skipped)
    if need_masks:
        _check_sets(plan, testing, str(data))

    images = _tensors(_every(plan), decoded, channels)
    names, classed = _classed(plan, values, ignore_value, classes) if need_masks else ([], {})
    for_pretraining = _set([*plan.train, *plan.unlabelled], images, {}, plan.grouped)
    parts = (plan.train, plan.validation, plan.test) if need_masks else ([], [], [])
    train, validation, test = (_set(part, images, classed, plan.grouped) for part in parts)
    result = MaskedData(for_pretraining, train, validation, test, names, skipped, source.description, tuple(plan.notes))
    _warn_skipped(skipped, str(data))
    if labels is not None and need_masks:
        return draw_masks(result, labels, seed)
    if need_masks and classes is None:
        check_not_empty(train)
    return result


def draw_masks(data: MaskedData, labels: str, seed: int) -> MaskedData:
    """The same images with some of the masks of training, see ``masks_drawn``.

    Args:
        data: images and masks.
        labels: "5" or "0.05".
        seed: chooses them.

    Raises:
        DataError: if there are fewer than asked for, or all of those drawn are empty.
    """
    train = data.train.subset(masks_drawn(data.train.groups, len(data.train), labels, seed=seed))
    check_not_empty(train)
    return replace(data, train=train)


def _with_labels(source: Source, masks: Masks) -> Source:
    """The images of a source, those with a mask as ones of the only class."""
    items = [replace(item, label=_MASKED if item.key in masks.of else None) for item in source.items]
    return replace(source, items=items, classes=[_MASKED])


def _plan(source: Source, testing: bool, need_masks: bool) -> Plan:
    """Which image goes where: those with a mask are shared out, whether their masks will be read or not."""
    plan = make_plan(source, need_labels=False, testing=testing)
    if need_masks and not plan.train:
        raise DataError(
            f"found only masks of validation or test in '{source.description}', expected some to train on: give these "
            f"too"
        )
    missing = [name for name, part in (("validation", plan.validation), ("test", plan.test)) if not part]
    if need_masks and testing and missing:
        groups = len({item.group for item in plan.train} - {""})
        of_groups, what = (f" of {count_of(groups, 'group')}", "groups") if groups else ("", "images")
        raise DataError(
            f"found {count_of(sum(item.label is not None for item in _every(plan)), 'mask')}{of_groups} in "
            f"'{source.description}', too few to hold some out for {missing[0]}: draw masks of at least three {what}, "
            f"or give a split"
        )
    return plan


def _apart(keys: Sequence[str], read: Sequence[Pair | str]) -> tuple[dict[str, Pixels | str], dict[str, Pixels]]:
    """What was read by key: images, or why they cannot be read, and masks. Each is held by nothing else."""
    decoded = {key: one if isinstance(one, str) else one[0] for key, one in zip(keys, read, strict=True)}
    values = {
        key: one[1] for key, one in zip(keys, read, strict=True) if not isinstance(one, str) and one[1] is not None
    }
    return decoded, values


def _every(plan: Plan) -> list[Item]:
    return [*plan.train, *plan.unlabelled, *plan.validation, *plan.test]


def _check_sets(plan: Plan, testing: bool, where: str) -> None:
    """Whether what damage has left is enough."""
    needed = {"training": plan.train}
    if testing:
        needed |= {"validation": plan.validation, "test": plan.test}
    for name, part in needed.items():
        if not part:
            raise DataError(f"none of the images and masks for {name} in '{where}' can be read: replace them")


def _tensors(items: Sequence[Item], decoded: dict[str, Pixels | str], channels: int | None) -> dict[str, Tensor]:
    """Decoded images as tensors ``(C, *size)`` of one number of channels, by key; they are taken out of ``decoded``.

    Raises:
        DataError: if volumes and flat images are mixed, or the channels cannot be converted.
    """
    by_dims: defaultdict[int, list[str]] = defaultdict(list)
    by_channels: defaultdict[int, list[str]] = defaultdict(list)
    for item in items:
        pixels = decoded[item.key]
        assert not isinstance(pixels, str)
        by_dims[pixels.ndim].append(item.name)
        by_channels[pixels.shape[-1]].append(item.name)
    if len(by_dims) > 1:
        flat, volumes = by_dims[3], by_dims[4]
        raise DataError(
            f"found {count_of(len(flat), 'flat image')} ({first_few(flat)}) and {count_of(len(volumes), 'volume')} "
            f"({first_few(volumes)}), expected one kind: divide them; a TIFF of several pages is a volume, unless it "
            f"names them channels (axes CYX)"
        )
    count = common_channels(by_channels) if channels is None else channels
    for have, names in by_channels.items():
        if have != count and {have, count} != {1, 3}:
            raise DataError(
                f"found {count_of(have, 'channel')} in '{names[0]}', asked for {count}: only 1 and 3 are converted to "
                f"each other"
            )
    tensors: dict[str, Tensor] = {}
    for item in items:
        pixels = decoded.pop(item.key)
        assert not isinstance(pixels, str)
        lines = pixels.reshape(-1, *pixels.shape[-2:])  # a volume as one tall image, for `convert`
        converted = convert(lines, count).reshape(*pixels.shape[:-1], count)
        tensors[item.key] = torch.from_numpy(np.require(converted, requirements=["C", "W"])).movedim(-1, 0)
    return tensors


def _classed(
    plan: Plan, values: dict[str, Pixels], ignore: int | None, classes: Sequence[str] | None
) -> tuple[list[str], dict[str, Tensor]]:
    """The class names, and masks of classes by key; these are taken out of ``values``.

    Raises:
        DataError: if the training masks hold no classes, or one of validation or test has a value of its own.
    """
    masked = [*plan.train, *plan.validation, *plan.test]
    found = {item.key: values_in(values[item.key]) for item in masked}
    in_training = {item.name: found[item.key] for item in plan.train}
    known = MaskValues.of(in_training, ignore) if classes is None else MaskValues.named(classes, in_training, ignore)
    for item in masked:
        known.check(item.name, found[item.key])
    names = known.names() if classes is None else list(classes)
    return names, {item.key: torch.from_numpy(known.classes_of(values.pop(item.key))) for item in masked}


def _set(items: Sequence[Item], images: dict[str, Tensor], masks: dict[str, Tensor], grouped: bool) -> MaskedSet:
    return MaskedSet(
        images=[images[item.key] for item in items],
        masks=[masks.get(item.key) for item in items],
        names=[item.name for item in items],
        groups=[item.group for item in items] if grouped else None,
    )
