from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image_files import load, refused, write_images, write_table
from torch import Tensor

from fasthebb.data import labelled_subset
from fasthebb.data.subsets import labels_asked

quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32)


@st.composite
def some_labels(draw: st.DrawFn, largest: int = 40) -> Tensor:
    """Shuffled labels of up to six classes of very different sizes, some of them -1; class numbers may be left out."""
    sizes = draw(st.dictionaries(st.integers(0, 9), st.integers(1, largest), min_size=1, max_size=6))
    labels = [label for label, size in sizes.items() for _ in range(size)] + [-1] * draw(st.integers(0, 5))
    return torch.from_numpy(np.random.default_rng(draw(seeds)).permutation(labels))


@st.composite
def labels_in_groups(draw: st.DrawFn, one_class: bool = False) -> tuple[Tensor, list[str]]:
    """Labels, and groups of one to several images, of one class or of several; some images have no group."""
    labels = draw(some_labels(largest=12))
    generator = np.random.default_rng(draw(seeds))
    numbers = generator.integers(0, draw(st.integers(1, 30)), len(labels))
    groups = [f"p{number}" if number else "" for number in numbers]
    if one_class:
        groups = [f"{group}-{label}" if group else "" for group, label in zip(groups, labels.tolist(), strict=True)]
    return labels, groups


def sizes_of(labels: Tensor) -> dict[int, int]:
    return {label: count for label, count in Counter(labels.tolist()).items() if label >= 0}


def group_sizes(labels: Tensor, groups: list[str]) -> Counter[str]:
    """Labelled images of each group, those without a name being one each."""
    return Counter(group or f"#{row}" for row, group in enumerate(groups) if labels[row] >= 0)


def smallest_draw(labels: Tensor, groups: list[str], seed: int) -> int:
    """The least total that can be drawn; what is refused says it."""
    total = sum(sizes_of(labels).values())
    for count in range(len(sizes_of(labels)), total + 1):
        try:
            return len(labelled_subset(labels, str(count), seed=seed, groups=groups))
        except ValueError as error:
            assert "whole groups" in str(error)
            least = int(str(error).rpartition("at least ")[2])
            assert least > count
            return least
    raise AssertionError("nothing can be drawn")


@quick
@given(some_labels(), st.data(), seeds)
def test_a_total_is_that_many_labels_of_every_class(labels: Tensor, data: st.DataObject, seed: int) -> None:
    sizes = sizes_of(labels)
    count = data.draw(st.integers(len(sizes), sum(sizes.values())))
    chosen = labelled_subset(labels, str(count), seed=seed)
    assert len(chosen) == count
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert sizes_of(labels[chosen]).keys() == sizes.keys()
    assert (labels[chosen] >= 0).all()


@quick
@given(some_labels(), st.data(), seeds)
def test_no_class_is_ahead_while_another_lags(labels: Tensor, data: st.DataObject, seed: int) -> None:
    """Sainte-Laguë: the last image of a class was due, by (drawn - 1/2) / size, before the next of any other."""
    sizes = sizes_of(labels)
    count = data.draw(st.integers(len(sizes), sum(sizes.values())))
    drawn = sizes_of(labels[labelled_subset(labels, str(count), seed=seed)])
    ahead = max((drawn[label] - 0.5) / sizes[label] for label in sizes if drawn[label] > 1) if count > len(sizes) else 0
    behind = min(((drawn[label] + 0.5) / sizes[label] for label in sizes if drawn[label] < sizes[label]), default=2)
    assert ahead <= behind + 1e-9


@quick
@given(some_labels(), st.floats(0.01, 1), seeds)
def test_a_fraction_is_the_total_that_it_rounds_to(labels: Tensor, fraction: float, seed: int) -> None:
    sizes = sizes_of(labels)
    text = f"{fraction:.4f}"
    count = int(float(text) * sum(sizes.values()) + 0.5)
    assume(count >= len(sizes))
    by_fraction, by_total = (labelled_subset(labels, amount, seed=seed) for amount in (text, str(count)))
    assert by_fraction.tolist() == by_total.tolist()


@quick
@given(some_labels(), seeds)
def test_one_point_zero_is_every_label(labels: Tensor, seed: int) -> None:
    for groups in (None, [str(row % 3) for row in range(len(labels))]):
        chosen = labelled_subset(labels, "1.0", seed=seed, groups=groups)
        assert chosen.tolist() == torch.nonzero(labels >= 0).reshape(-1).tolist()


@quick
@given(some_labels(), st.data(), seeds)
def test_a_count_a_class_is_that_many_of_each(labels: Tensor, data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(1, min(sizes_of(labels).values())))
    chosen = labelled_subset(labels, f"{count}/class", seed=seed)
    assert sizes_of(labels[chosen]) == dict.fromkeys(sizes_of(labels), count)


@quick
@given(some_labels(), st.data(), seeds)
def test_smaller_draws_lie_within_larger_ones(labels: Tensor, data: st.DataObject, seed: int) -> None:
    sizes = sizes_of(labels)
    total, least = sum(sizes.values()), min(sizes.values())
    small, large = sorted(data.draw(st.tuples(*[st.integers(len(sizes), total)] * 2)))
    few, many = sorted(data.draw(st.tuples(*[st.integers(1, least)] * 2)))
    for first, second in ((f"{small}", f"{large}"), (f"{small}", "1.0"), (f"{few}/class", f"{many}/class")):
        inner, outer = (labelled_subset(labels, amount, seed=seed).tolist() for amount in (first, second))
        assert set(inner) <= set(outer)


def test_the_seed_decides_and_nothing_else() -> None:
    labels = torch.arange(400) % 10
    groups = [f"p{row // 4}" for row in range(400)]
    for given_groups in (None, groups):
        draws: list[list[int]] = []
        for seed in (0, 0, 1):
            torch.rand(3 + len(draws))  # what ran before makes no difference
            np.random.rand(3 + len(draws))
            draws.append(labelled_subset(labels, "40", seed=seed, groups=given_groups).tolist())
        assert draws[0] == draws[1] != draws[2]


def test_every_image_is_drawn_by_some_seed() -> None:
    labels = torch.arange(20) % 2
    groups = [f"p{row // 2}" for row in range(20)]
    for given_groups in (None, groups):
        draws = [labelled_subset(labels, "6", seed=seed, groups=given_groups).tolist() for seed in range(60)]
        assert {row for draw in draws for row in draw} == set(range(20))


@quick
@given(labels_in_groups(), seeds)
def test_groups_are_drawn_whole(drawn_from: tuple[Tensor, list[str]], seed: int) -> None:
    labels, groups = drawn_from
    least = smallest_draw(labels, groups, seed)
    total = sum(sizes_of(labels).values())
    for amount in (str(least), str((least + total) // 2), "1/class"):
        chosen = labelled_subset(labels, amount, seed=seed, groups=groups)
        inside = {groups[row] for row in chosen} - {""}
        left = set(range(len(labels))) - set(chosen.tolist())
        assert not inside & {groups[row] for row in left if labels[row] >= 0}
        assert sizes_of(labels[chosen]).keys() == sizes_of(labels).keys()
        assert (labels[chosen] >= 0).all()


@quick
@given(labels_in_groups(), seeds)
def test_totals_of_groups_are_beginnings_of_one_order(drawn_from: tuple[Tensor, list[str]], seed: int) -> None:
    """A larger total gives the same draw, or one group more which fills it to the last image."""
    labels, groups = drawn_from
    sizes = group_sizes(labels, groups)
    least = smallest_draw(labels, groups, seed)
    before: set[int] = set()
    for count in range(least, sum(sizes.values()) + 1):
        draw = set(labelled_subset(labels, str(count), seed=seed, groups=groups).tolist())
        if draw != before:
            assert before < draw
            assert len(draw) == count
            if before:
                added = {groups[row] or f"#{row}" for row in draw - before}
                assert len(added) == 1
                assert len(draw - before) == sizes[added.pop()]
        before = draw
    assert before == set(torch.nonzero(labels >= 0).reshape(-1).tolist())


@quick
@given(labels_in_groups(), seeds)
def test_a_count_a_class_takes_no_group_more_than_it_needs(drawn_from: tuple[Tensor, list[str]], seed: int) -> None:
    labels, groups = drawn_from
    before: set[int] = set()
    for count in range(1, min(sizes_of(labels).values()) + 1):
        draw = labelled_subset(labels, f"{count}/class", seed=seed, groups=groups).tolist()
        assert set(draw) >= before
        before = set(draw)
        drawn = sizes_of(labels[draw])
        assert min(drawn.values()) >= count
        by_group: dict[str, Counter[int]] = {}
        for row in draw:
            by_group.setdefault(groups[row] or f"#{row}", Counter())[int(labels[row])] += 1
        assert any(min(drawn[label] - lost[label] for label in drawn) < count for lost in by_group.values())


@quick
@given(labels_in_groups(one_class=True), seeds)
def test_no_class_is_ahead_of_another_by_more_than_a_group(drawn_from: tuple[Tensor, list[str]], seed: int) -> None:
    labels, groups = drawn_from
    sizes, of_group = sizes_of(labels), group_sizes(labels, groups)
    largest = {
        label: max(of_group[groups[row] or f"#{row}"] for row in torch.nonzero(labels == label).reshape(-1).tolist())
        for label in sizes
    }
    total, least = sum(sizes.values()), smallest_draw(labels, groups, seed)
    amounts = [str(least + (total - least) * part // 5) for part in range(5)] + [f"{min(sizes.values())}/class"]
    for amount in amounts:
        share = dict.fromkeys(sizes, 1) if "class" in amount else sizes
        chosen = labelled_subset(labels, amount, seed=seed, groups=groups).tolist()
        drawn = sizes_of(labels[chosen])
        taken = Counter(label for _, label in {(groups[row] or f"#{row}", int(labels[row])) for row in chosen})
        behind = min(
            ((drawn[label] + 0.5) / share[label] for label in sizes if drawn[label] < sizes[label]), default=1e9
        )
        for label in sizes:
            if taken[label] > 1:  # the first of a class comes whatever its size
                assert (drawn[label] - largest[label] + 0.5) / share[label] <= behind + 1e-9


def test_a_large_group_is_not_needed_to_cover_every_class() -> None:
    labels = torch.tensor([0] * 30 + [1] * 30 + [0, 1, 2] + [2] * 9)
    groups = ["large"] * 60 + ["small"] * 3 + [f"p{n}" for n in range(9)]
    for seed in range(5):
        assert len(labelled_subset(labels, "1/class", seed=seed, groups=groups)) <= 4


def test_a_rare_class_does_not_make_a_count_a_class_large() -> None:
    labels = torch.tensor([0] * 190 + [1] * 10)
    groups = [f"p{row // 2}" for row in range(200)]
    for seed in range(5):
        drawn = sizes_of(labels[labelled_subset(labels, "5/class", seed=seed, groups=groups)])
        assert drawn == {0: 6, 1: 6}


def test_too_small_a_draw_of_groups_names_the_smallest() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    groups = list("aaaabbbb")
    with refused("asked for 7 labels", "whole groups", "8 images", "at least 8"):
        labelled_subset(labels, "7", seed=0, groups=groups)
    assert len(labelled_subset(labels, "8", seed=0, groups=groups)) == 8


def test_groups_without_names_are_no_groups() -> None:
    labels = torch.arange(30) % 3
    for amount in ("7", "2/class"):
        alone = labelled_subset(labels, amount, seed=1)
        assert labelled_subset(labels, amount, seed=1, groups=[""] * 30).tolist() == alone.tolist()


@pytest.mark.parametrize("groups", [None, list("aabbccddef")])
def test_more_than_there_is_and_less_than_one_a_class_are_refused(groups: list[str] | None) -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, -1])
    for amount, *words in (
        ("10", "asked for 10 labels", "there are 9", "ask for fewer"),
        ("3/class", "3/class", "class scarce has 2", "ask for fewer"),
        ("1", "which is 1 for 2 classes", "at least one a class", "ask for more"),
        ("0.1", "labels '0.1', which is 1 for 2 classes", "ask for more"),
    ):
        with refused(*words):
            labelled_subset(labels, amount, seed=0, groups=groups, classes=["many", "scarce"])
    with refused("1/class", "no labels in the training images"):
        labelled_subset(torch.tensor([-1]), "1/class", seed=0)
    with refused("3 groups for 2 labels"):
        labelled_subset(torch.tensor([0, 1]), "2", seed=0, groups=list("abc"))


@pytest.mark.parametrize("amount", ["", "0", "-5", "0.0", "1.01", "2.0", "5 /class", "0/class", "1e3", "half", "5%"])
def test_amounts_of_another_form_are_refused(amount: str) -> None:
    with refused(f"'{amount}'", "a total (400)", "a fraction with a decimal point (0.01; 1.0 is all)", "(5/class)"):
        labelled_subset(torch.tensor([0, 1]), amount, seed=0)
    with refused(f"'{amount}'"):
        load("there is no such data", labels=amount)  # said before anything is read


def test_labels_asked_counts_what_an_amount_means() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2 + [-1] * 5)
    assert [labels_asked(labels, amount) for amount in ("4", "0.25", "2/class", "1.0")] == [4, 3, 4, 10]


def test_a_draw_leaves_the_other_images_for_pre_training() -> None:
    whole, few = load("digits"), load("digits", labels="3/class")
    assert len(few.train) == 30
    assert set(few.train.names) <= set(whole.train.names)
    assert few.unlabelled.names == whole.unlabelled.names
    for name in ("validation", "test"):
        assert getattr(few, name).names == getattr(whole, name).names
        assert not set(getattr(few, name).names) & set(few.unlabelled.names)
    assert load("digits", labels="3/class", seed=1).train.names != few.train.names
    with refused("asked for 99999 labels, there are 1079"):
        load("digits", labels="99999")


@pytest.fixture
def patients(tmp_path: Path) -> dict[str, Path]:
    """60 images of 20 patients, three each, of two classes: options of ``load``."""
    folder = write_images(tmp_path / "images", 60)[0].parent
    rows = [(f"{n}.png", "well" if n % 3 else "sick", f"p{n // 3}") for n in range(60)]
    return {"data": folder, "label_file": write_table(tmp_path / "labels.csv", ["file", "label", "patient"], rows)}


def test_labels_are_drawn_by_whole_groups_and_what_differs_is_said(patients: dict[str, Path]) -> None:
    data = load(**patients, group="patient", labels="8")
    assert data.train.groups is not None
    assert set(Counter(data.train.groups).values()) == {3}
    assert len(data.train) == 6
    assert "6 labels were drawn, 8 were asked for: a draw takes whole groups" in data.summary()
    exact = load(**patients, group="patient", labels="9")
    assert len(exact.train) == 9
    assert "asked for" not in exact.summary()
    assert set(data.train.names) < set(exact.train.names)
    assert len(load(**patients, labels="8").train) == 8
    with refused("whole groups", "at least 3"):
        load(**patients, group="patient", labels="2")


def test_a_draw_that_cannot_be_is_refused_before_the_images_are_read(
    patients: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("read the images first")

    monkeypatch.setattr("fasthebb.data.loading.read_items", read)
    with refused("asked for 2 labels", "whole groups"):
        load(**patients, group="patient", labels="2")
    with refused("there are 36"):
        load(**patients, labels="99")


def test_names_of_classes_are_used_where_a_draw_is_refused(patients: dict[str, Path]) -> None:
    with refused("30/class", "class sick has 12"):
        load(**patients, labels="30/class")
