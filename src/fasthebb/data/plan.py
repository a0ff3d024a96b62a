"""Which image goes where, decided before any is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from fasthebb.data.errors import DataError, count_of, first_few
from fasthebb.data.items import Item, Source, Split, class_order
from fasthebb.data.splits import hold_out
from fasthebb.data.subsets import labelled_subset


@dataclass
class Plan:
    """The sets of an experiment; what is damaged cannot change them, as nothing has been read yet."""

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
    further: set[str] = field(default_factory=set)

    @property
    def reading(self) -> list[str]:
        """Keys of the items to read."""
        return [item.key for item in self.reading_items]

    def train_labels(self) -> Tensor:
        """``(N,)`` classes of the labelled training images."""
        position = {name: value for value, name in enumerate(self.classes)}
        return torch.tensor([position[str(item.label)] for item in self.train], dtype=torch.int64)

    def check_draw(self, labels: str, seed: int) -> None:
        """Raise what drawing this amount of labels would raise."""
        groups = [item.group for item in self.train] if self.grouped else None
        labelled_subset(self.train_labels(), labels, seed=seed, groups=groups, classes=self.classes)

    def add_unlabelled(self, sources: Sequence[Source]) -> None:
        """Add other sources to pre-training, without what is in the data already or of a group held out from it."""
        again = 0
        held = 0
        for source in sources:
            for item in source.items:
                if item.key in self.source_keys:
                    again += 1
                elif self.grouped and item.group in self.held_groups:
                    held += 1
                else:
                    self.source_keys.add(item.key)
                    self.further.add(item.key)
                    named = replace(item, name=f"{Path(source.description).name}/{item.name}", label=None)
                    self.unlabelled.append(named)
                    self.reading_items.append(named)
        if again:
            again_named = count_of(again, "further unlabelled image")
            self.notes.append(f"left out {again_named}: the same files as in the data")
        if held:
            held_named = count_of(held, "further unlabelled image")
            self.notes.append(f"left out {held_named}: their group is in validation or test")
        unknown = sum(not item.group for item in self.unlabelled)
        if self.held_groups and unknown:
            self.notes.append(
                f"found no group for {count_of(unknown, 'unlabelled image')}, and some may be of groups in validation "
                f"or test: name theirs as well, with an empty label"
            )


def make_plan(source: Source, need_labels: bool, testing: bool = True) -> Plan:
    """Hold out what the source does not split itself, and put each item into its set.

    Args:
        source: each image once.
        need_labels: whether the data must be fit for a classifier.
        testing: whether images are needed for validation and test; none are held out otherwise.

    Raises:
        DataError: for labels, groups or splits that do not do.
    """
    items = source.items
    present = {item.label for item in items if item.label is not None}
    if not need_labels and len(present) == 1 and source.classes is None:
        # One folder of images is how they are kept, not a class; nothing is to be held out from pre-training.
        items = [replace(item, label=None) for item in items]
        present = set()
    plan = Plan(source.classes if source.classes and present else class_order(present), source.grouped)
    if need_labels:
        _check_labels(items, source.description)
    labelled = [item for item in items if item.label is not None]
    _check_groups(labelled)
    given = {item.split for item in labelled}
    missing: list[Split] = [split for split in ("validation", "test") if testing and labelled and split not in given]
    pool = [item for item in labelled if item.split == "train"]
    position = {name: value for value, name in enumerate(plan.classes)}
    groups = [item.group for item in pool] if source.grouped else None
    assigned = hold_out([position[str(item.label)] for item in pool], groups, missing)
    split_of: dict[str, Split] = {item.key: split for item, split in zip(pool, assigned, strict=True)}
    items = [replace(item, split=split_of.get(item.key, item.split)) for item in items]
    if missing and pool:
        plan.notes.append(f"of the labelled training images 20 % were held out for {' and 20 % for '.join(missing)}")
    _divide(plan, items)
    if need_labels and testing:
        _check_splits(plan, source.description)
    return plan


def _divide(plan: Plan, items: list[Item]) -> None:
    """Put each item of the data into its set; what pre-training may not see and nobody can score is left out."""
    plan.source_keys = {item.key for item in items}
    # Without a label too: pre-training on the images alone leaves out what a label file will later test on.
    plan.held_groups = {item.group for item in items if item.split != "train" and item.group}
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
        plan.notes.append(f"left out {count_of(unscored, 'image')} of validation or test: without a label")
    if held:
        plan.notes.append(f"left out {count_of(held, 'unlabelled image')}: their group is in validation or test")
    for name, part in (("validation", plan.validation), ("test", plan.test)):
        absent = {item.label for item in plan.train} - {item.label for item in part}
        if part and absent:
            listed = first_few(sorted(map(str, absent)))
            plan.notes.append(f"no image for {name} in {count_of(len(absent), 'class')} ({listed})")


def _check_labels(items: Sequence[Item], where: str) -> None:
    sizes = Counter(item.label for item in items if item.label is not None)
    if not sizes:
        raise DataError(
            f"found {count_of(len(items), 'image')} and no labels in '{where}': expected a folder for each class, "
            f"a label column, or a label file (file,label)"
        )
    if len(sizes) == 1:
        raise DataError(
            f"found a single class ({next(iter(sizes))}) in '{where}', expected at least two: label more images, "
            f"or give the folder inside it if that one holds the classes"
        )
    single = sorted(str(label) for label, count in sizes.items() if count == 1)
    if single:
        raise DataError(
            f"found {count_of(len(single), 'class')} with a single image in '{where}' ({first_few(single)}), expected "
            f"at least two a class: label more images or leave the class out"
        )


def _check_groups(labelled: Sequence[Item]) -> None:
    """Whether the splits that the data have keep groups together."""
    splits: dict[str, set[Split]] = {}
    for item in labelled:
        splits.setdefault(item.group, set()).add(item.split)
    straddling = sorted(group for group, found in splits.items() if group and len(found) > 1)
    if straddling:
        raise DataError(
            f"found {count_of(len(straddling), 'group')} in more than one of train, validation and test "
            f"({first_few(straddling)}): mend the splits, or name another column as group"
        )


def _check_splits(plan: Plan, where: str) -> None:
    held_out = {item.label for item in (*plan.validation, *plan.test)}
    untaught = sorted(str(label) for label in held_out - {item.label for item in plan.train})
    if untaught:
        raise DataError(
            f"found {count_of(len(untaught), 'class')} without a training image in '{where}' ({first_few(untaught)}): "
            f"label training images of them"
        )
    for name, part in (("validation", plan.validation), ("test", plan.test)):
        if not part:
            labelled = [*plan.train, *plan.validation, *plan.test]
            groups = len({item.group for item in labelled} - {""})
            of_groups, what = (f" of {count_of(groups, 'group')}", "groups") if groups else ("", "images a class")
            raise DataError(
                f"found {count_of(len(labelled), 'labelled image')}{of_groups} in '{where}', too few to hold some out "
                f"for {name}: label at least three {what}, or give a split"
            )


def once(source: Source) -> Source:
    """The source without files that links make it hold twice; of these, one that has a label is kept.

    Raises:
        DataError: if they have different labels or splits.
    """
    kept: dict[str, Item] = {}
    skipped = list(source.skipped)
    for item in source.items:
        other = kept.setdefault(item.key, item)
        if other is item:
            continue
        if None not in (item.label, other.label) and (item.label, item.split) != (other.label, other.split):
            raise DataError(
                f"'{other.name}' and '{item.name}' are the same file, in different classes or splits: remove one"
            )
        first, again = (item, other) if other.label is None else (other, item)
        kept[item.key] = first
        skipped.append((again.name, f"the same file as {first.name}"))
    return replace(source, items=list(kept.values()), skipped=skipped)
