from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import encoded, load, random_pixels, refused, write_images, write_table

from fasthebb.data.items import Split
from fasthebb.data.splits import hold_out

quick = settings(max_examples=60, deadline=None)
some_labels = st.lists(st.integers(0, 5), min_size=1, max_size=120)
some_splits = st.sampled_from([["validation", "test"], ["validation"], ["test"]])


@st.composite
def labels_in_groups(draw: st.DrawFn) -> tuple[list[int], list[str]]:
    labels = draw(some_labels)
    numbers = draw(st.lists(st.integers(0, 12), min_size=len(labels), max_size=len(labels)))
    return labels, [f"p{number}" if number else "" for number in numbers]


@quick
@given(some_labels, some_splits)
def test_a_fifth_of_each_class_is_held_out_for_each_split(labels: list[int], held_out: list[Split]) -> None:
    assigned = hold_out(labels, None, held_out)
    assert set(assigned) <= {"train", *held_out}
    counts = Counter(zip(labels, assigned, strict=True))
    for label, size in Counter(labels).items():
        assert counts[label, "train"] >= 1
        if size >= 3:
            for split in held_out:
                assert counts[label, split] == int(0.2 * size + 0.5)
        else:
            assert counts[label, "train"] == size


@quick
@given(labels_in_groups(), some_splits)
def test_groups_never_straddle_and_train_keeps_every_class(
    drawn: tuple[list[int], list[str]], held_out: list[Split]
) -> None:
    labels, groups = drawn
    assigned = hold_out(labels, groups, held_out)
    assert set(assigned) <= {"train", *held_out}
    for group in set(groups) - {""}:
        assert len({split for split, name in zip(assigned, groups, strict=True) if name == group}) == 1
    assert {label for label, split in zip(labels, assigned, strict=True) if split == "train"} == set(labels)


@quick
@given(st.integers(3, 12), st.integers(1, 4), st.integers(1, 3), some_splits)
def test_where_every_group_has_every_class_each_split_gets_its_share(
    groups: int, classes: int, images: int, held_out: list[Split]
) -> None:
    labels = [label for _ in range(groups) for label in range(classes) for _ in range(images)]
    names = [str(group) for group in range(groups) for _ in range(classes * images)]
    assigned = hold_out(labels, names, held_out)
    for split in held_out:
        share = len({name for name, one in zip(names, assigned, strict=True) if one == split})
        assert share >= 1
        assert abs(share - 0.2 * groups) <= 1


@quick
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=6, max_size=60), some_splits)
def test_groups_of_one_class_are_shared_out_by_class(groups: list[tuple[int, int]], held_out: list[Split]) -> None:
    """No split is off its share of a class by more than the largest group of that class."""
    labels = [label for label, size in groups for _ in range(size)]
    names = [str(number) for number, (_, size) in enumerate(groups) for _ in range(size)]
    assigned = hold_out(labels, names, held_out)
    counts = Counter(zip(labels, assigned, strict=True))
    for label, total in Counter(labels).items():
        largest = max(size for one, size in groups if one == label)
        for split in held_out:
            assert abs(counts[label, split] - 0.2 * total) <= largest


def test_one_large_group_leaves_the_shares_exact() -> None:
    assigned = hold_out([0] * 40, ["large"] * 10 + [str(n) for n in range(30)], ["validation", "test"])
    assert Counter(assigned) == {"train": 24, "validation": 8, "test": 8}


def test_a_rare_class_is_shared_out_too() -> None:
    """Twenty groups of fifty common images, ten of them with a rare one."""
    groups = [str(group) for group in range(20) for _ in range(51 if group < 10 else 50)]
    rare = [1 if row and row < 510 and (row + 1) % 51 == 0 else 0 for row in range(len(groups))]
    assigned = hold_out(rare, groups, ["validation", "test"])
    assert Counter(split for split, label in zip(assigned, rare, strict=True) if label) == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }


def test_the_only_group_of_a_class_stays_in_train() -> None:
    """Though the twenty other classes in it, of which train has its share already, would send it elsewhere."""
    labels = [row % 20 for row in range(200)] + [20]
    groups = ["first"] * 160 + ["second"] * 41
    assert hold_out(labels[:200], groups[:200], ["test"])[-1] == "test"
    assert hold_out(labels, groups, ["test"])[-1] == "train"


@quick
@given(labels_in_groups())
def test_the_split_is_the_same_whatever_ran_before(drawn: tuple[list[int], list[str]]) -> None:
    labels, groups = drawn
    for given_groups in (None, groups):
        first = hold_out(labels, given_groups, ["validation", "test"])
        np.random.rand(3)
        assert hold_out(labels, given_groups, ["validation", "test"]) == first


def test_images_without_a_group_are_each_alone() -> None:
    labels = [0, 1] * 50
    assert Counter(hold_out(labels, ["one", "one", *[""] * 98], ["test"]))["test"] == pytest.approx(20, abs=2)
    assert hold_out(labels, [""] * 100, ["test"]) == hold_out(labels, None, ["test"])


def test_splits_are_disjoint_and_the_seed_does_not_change_them() -> None:
    first, second = load("digits", seed=0), load("digits", seed=1)
    parts = [first.train, first.validation, first.test]
    assert len({name for part in parts for name in part.names}) == sum(len(part) for part in parts) == 1797
    assert first.unlabelled.names == first.train.names
    for name in ("train", "validation", "test"):
        assert getattr(first, name).names == getattr(second, name).names
    for part in (first.validation, first.test):
        assert np.bincount(part.labels) == pytest.approx(np.full(10, 36), abs=2)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """90 images in a flat folder."""
    return write_images(tmp_path / "images", 90)[0].parent


def test_patients_are_in_one_split_only_and_their_other_images_with_them(images: Path, tmp_path: Path) -> None:
    """Thirty patients of three images, of which two are labelled."""
    rows = [(f"{n}.png", "" if n % 3 == 2 else "ab"[n % 2], f"p{n // 3}") for n in range(90)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient"], rows)
    data = load(images, label_file=table, group="patient")
    members = [set(part.groups or []) for part in (data.unlabelled, data.validation, data.test)]
    assert [len(group) for group in members] == [18, 6, 6]
    assert len(set.union(*members)) == 30
    assert (len(data.unlabelled), len(data.validation), len(data.test)) == (18 * 3, 6 * 2, 6 * 2)
    assert "left out 12 unlabelled images: their group is in validation or test" in data.summary()
    assert set(data.train.groups or []) == members[0]
    by_image = load(images, label_file=table)
    assert by_image.train.groups is None
    assert len(by_image.unlabelled) == 90 - len(by_image.validation) - len(by_image.test)


def test_unlabelled_images_of_unknown_groups_are_pointed_out(images: Path, tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], f"p{n // 3}") for n in range(30)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient"], rows)
    assert "found no group for 60 unlabelled images" in load(images, label_file=table, group="patient").summary()
    assert "found no group" not in load(images, label_file=table).summary()


def test_further_tables_do_not_bring_held_out_patients_back(images: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [(f"{n}.png", "ab"[n % 2], f"p{n // 3}") for n in range(30)]
    pixels = [{"bytes": encoded(random_pixels(8, 8, seed=n)), "path": None} for n in range(12)]
    table = datasets.Dataset.from_dict({"image": pixels, "group": [f"p{n}" for n in range(10)] + [None, "new"]})
    table.cast_column("image", datasets.Image()).to_parquet(tmp_path / "more.parquet")
    for column, options in (("group", {}), ("group", {"group": "group"})):
        labels = write_table(tmp_path / "l.csv", ["file", "label", column], rows)
        data = load(images, label_file=labels, unlabelled=tmp_path / "more.parquet", **options)
        held = set(data.validation.groups or []) | set(data.test.groups or [])
        assert len(held) == 4
        assert not held & set(data.unlabelled.groups or [])
        assert "left out 4 further unlabelled images: their group is in validation or test" in data.summary()
        assert sum(name.startswith("more.parquet/") for name in data.unlabelled.names) == 8


def test_given_splits_that_divide_a_group_are_refused(images: Path, tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], f"p{n // 3}", "test" if n % 10 == 9 else "train") for n in range(30)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient", "split"], rows)
    with refused("3 groups in more than one of train, validation and test", "(p3, p6, p9)", "mend the splits"):
        load(images, label_file=table, group="patient")
    assert len(load(images, label_file=table).test) == 3
    rows = [(f"{n}.png", "ab"[n % 2], f"p{n // 3}", ["train", "test", "val"][n // 10]) for n in range(30)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient", "split"], rows)
    with refused("2 groups in more than one", "(p3, p6)"):
        load(images, label_file=table, group="patient")


def test_unlabelled_images_of_a_test_group_are_left_out_where_splits_are_given(images: Path, tmp_path: Path) -> None:
    """A test image may have unlabelled neighbours of the same patient in train."""
    rows = [(f"{n}.png", "ab"[n % 2], f"p{n // 6}", "test" if n >= 24 else "") for n in range(30)]
    rows += [(f"{n}.png", "", "p4", "") for n in range(30, 35)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient", "split"], rows)
    data = load(images, label_file=table, group="patient")
    assert not {f"{n}.png" for n in range(24, 35)} & set(data.unlabelled.names)
    assert len(data.test) == 6
    blind = [(file, "", patient, split) for file, _, patient, split in rows]  # as pre-training may be told
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient", "split"], blind)
    data = load(images, label_file=table, group="patient", need_labels=False)
    assert not {f"{n}.png" for n in range(24, 35)} & set(data.unlabelled.names)
    assert len(data.unlabelled) == 90 - 11


def test_too_few_groups_are_refused(images: Path, tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], "one" if n < 10 else "two") for n in range(20)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "patient"], rows)
    with refused("20 labelled images of 2 groups", "hold some out for test", "at least three groups"):
        load(images, label_file=table, group="patient")
