import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from torch import Tensor
from torchmetrics.functional.segmentation import hausdorff_distance

from fasthebb.evaluation import compare_masks, hausdorff95, segmentation_intervals, segmentation_scores


def mask_of(*rows: str) -> Tensor:
    """A mask from digits; a dot counts for nothing."""
    return torch.tensor([[255 if c == "." else int(c) for c in row] for row in rows], dtype=torch.uint8)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[Tensor], list[Tensor], int]:
    """Predicted and true masks of several sizes, and the number of classes."""
    classes, dims = draw(st.integers(2, 4)), draw(st.integers(2, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    predicted, true = [], []
    for _ in range(draw(st.integers(1, 5))):
        size = draw(st.tuples(*[st.integers(1, 7)] * dims))
        most = draw(st.integers(1, classes))  # higher classes are absent
        predicted.append(torch.randint(0, most, size, generator=generator).to(torch.uint8))
        truth = torch.randint(0, most, size, generator=generator).to(torch.uint8)
        ignored = torch.rand(size, generator=generator) < draw(st.sampled_from([0.0, 0.3]))
        ignored.view(-1)[0] = False
        true.append(truth.masked_fill(ignored, 255))
    return predicted, true, classes


def sets_of(predicted: Tensor, true: Tensor, index: int) -> tuple[set[Any], set[Any]]:
    """Pixels of a class in either mask, where pixels count."""
    counts = {tuple(p) for p in (true != 255).nonzero().tolist()}
    own = {tuple(p) for p in (predicted == index).nonzero().tolist()} & counts
    return own, {tuple(p) for p in (true == index).nonzero().tolist()}


def outline_of(pixels: set[Any]) -> list[Any]:
    found = []
    for pixel in pixels:
        beside = [
            tuple(at + step * (axis == own) for own, at in enumerate(pixel))
            for axis in range(len(pixel))
            for step in (-1, 1)
        ]
        if any(neighbour not in pixels for neighbour in beside):
            found.append(pixel)
    return found


def distance_of(own: set[Any], truth: set[Any]) -> float | None:
    """95 % Hausdorff distance, from all pairs of pixels."""
    if not own or not truth:
        return None
    apart = distance.cdist(outline_of(own), outline_of(truth))
    return max(float(np.percentile(apart.min(axis=1), 95)), float(np.percentile(apart.min(axis=0), 95)))


@settings(max_examples=80, deadline=None)
@given(drawn=pairs())
def test_scores_are_those_of_sets_of_pixels(drawn: tuple[list[Tensor], list[Tensor], int]) -> None:
    predicted, true, classes = drawn
    dice, jaccard = np.ones((2, len(true), classes - 1)) * 100
    totals = np.zeros((classes - 1, 4))
    apart: list[float] = []
    undefined = 0
    for n, (own_mask, truth_mask) in enumerate(zip(predicted, true, strict=True)):
        for index in range(1, classes):
            own, truth = sets_of(own_mask, truth_mask, index)
            totals[index - 1] += (len(own & truth), len(own), len(truth), len(own | truth))
            if own | truth:
                dice[n, index - 1] = 100 * 2 * len(own & truth) / (len(own) + len(truth))
                jaccard[n, index - 1] = 100 * len(own & truth) / len(own | truth)
            found = distance_of(own, truth)
            if found is not None:
                apart.append(found)
            undefined += bool(own) != bool(truth)
    scores = segmentation_scores(predicted, true, classes)
    assert scores["dice"] == pytest.approx(dice.mean())
    assert scores["jaccard"] == pytest.approx(jaccard.mean())
    pooled = [[2 * hits / (a + b), hits / union] if union else [1.0, 1.0] for hits, a, b, union in totals]
    assert [scores["dice_pooled"], scores["jaccard_pooled"]] == pytest.approx(100 * np.mean(pooled, axis=0))
    assert scores["hausdorff95"] == (pytest.approx(np.mean(apart)) if apart else None)
    assert scores["hausdorff95_undefined"] == undefined
    overlap = compare_masks(predicted, true, classes)
    assert overlap.per_image()["dice"] == pytest.approx(dice.mean(axis=1))
    assert overlap.per_image()["jaccard"] == pytest.approx(jaccard.mean(axis=1))
    assert overlap.per_class()["dice"] == pytest.approx(dice.mean(axis=0))
    assert overlap.per_class()["jaccard"] == pytest.approx(jaccard.mean(axis=0))
    for number, value in enumerate(overlap.per_image()["hausdorff95"]):
        own_apart = [distance_of(*sets_of(predicted[number], true[number], index)) for index in range(1, classes)]
        defined = [value for value in own_apart if value is not None]
        assert value == (pytest.approx(np.mean(defined)) if defined else None)


def test_few_pixels_are_scored_as_on_paper() -> None:
    scores = segmentation_scores([mask_of("0110", "0000")], [mask_of("0011", "000.")], 2)
    assert scores == {
        "dice": 50.0,
        "jaccard": pytest.approx(100 / 3),
        "dice_pooled": 50.0,
        "jaccard_pooled": pytest.approx(100 / 3),
        "hausdorff95": pytest.approx(0.95),
        "hausdorff95_undefined": 0,
    }


def test_a_class_in_neither_mask_is_right_and_one_in_one_of_them_wrong() -> None:
    blank, object_ = mask_of("000", "000"), mask_of("010", "000")
    assert segmentation_scores([blank], [blank], 2)["dice"] == 100
    for own, truth in ((blank, object_), (object_, blank)):
        scores = segmentation_scores([own], [truth], 2)
        assert scores["dice"] == scores["jaccard"] == scores["dice_pooled"] == 0
        assert scores["hausdorff95"] is None
        assert scores["hausdorff95_undefined"] == 1
    assert segmentation_scores([object_, object_], [object_, blank], 2)["dice"] == 50
    assert segmentation_scores([object_, object_], [object_, blank], 2)["dice_pooled"] == pytest.approx(200 / 3)


def test_pixels_that_do_not_count_make_no_difference() -> None:
    true = mask_of("01..", "0110", "00..")
    first, second = mask_of("0111", "0110", "0000"), mask_of("0100", "0110", "0011")
    assert segmentation_scores([first], [true], 2) == segmentation_scores([second], [true], 2)
    assert segmentation_scores([first], [true], 2)["dice"] == 100


@pytest.mark.parametrize("seed", range(5))
def test_few_pixels_far_away_matter_to_the_maximum_alone(seed: int) -> None:
    true = torch.zeros(60, 60, dtype=torch.uint8)
    true[10:50, 10:50] = 1
    own = true.roll(2, dims=1)
    distances = []
    for stray in (False, True):
        if stray:
            own[0, seed] = 1
        whole = hausdorff_distance(own[None].long(), true[None].long(), num_classes=2, input_format="index")
        ours = hausdorff95((own == 1).numpy(), (true == 1).numpy())
        assert ours is not None
        assert ours <= float(whole)
        distances.append((ours, float(whole)))
    assert distances[0] == (2.0, 2.0)
    assert distances[1][0] == 2.0
    assert distances[1][1] > 10


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.integers(0, 5), far=st.integers(0, 30))
def test_distance_is_symmetric_and_moves_with_both_masks(seed: int, shift: int, far: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = np.zeros((2, 50, 50), dtype=bool)
    first[5:12, 5:12], second[5:12, 5 + shift : 12 + shift] = generator.random((2, 7, 7)) < 0.6
    there, back = hausdorff95(first, second), hausdorff95(second, first)
    assert there == back
    assert hausdorff95(np.roll(first, far, 0), np.roll(second, far, 0)) == there
    if first.any():
        assert hausdorff95(first, first) == 0
        assert hausdorff95(first, np.roll(first, shift, axis=1)) <= shift  # type: ignore[operator]


def some_masks(count: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    true = [(torch.rand(12, 12, generator=generator) < 0.4).to(torch.uint8) for _ in range(count)]
    flips = [torch.rand(12, 12, generator=generator) < 0.5 * torch.rand(1, generator=generator) for _ in range(count)]
    return [torch.where(flip, 1 - mask, mask) for mask, flip in zip(true, flips, strict=True)], true


def test_interval_of_the_mean_is_the_normal_one() -> None:
    predicted, true = some_masks(80)
    values = np.array(compare_masks(predicted, true, 2).per_image()["dice"], dtype=float)
    low, high = segmentation_intervals(predicted, true, 2)["dice"]
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.7)


def test_intervals_hold_their_scores_and_groups_widen_them() -> None:
    predicted, true = some_masks(12)
    predicted, true = [m for m in predicted for _ in range(5)], [m for m in true for _ in range(5)]
    groups = [f"slide {n // 5}" for n in range(60)]
    scores = segmentation_scores(predicted, true, 2, groups)
    alone = segmentation_intervals(predicted, true, 2)
    assert scores["intervals"] == segmentation_intervals(predicted, true, 2, groups=groups)
    assert set(scores["intervals"]) == set(alone) == {"dice", "jaccard", "dice_pooled", "jaccard_pooled"}
    for name, (low, high) in scores["intervals"].items():
        assert low < scores[name] < high
        assert high - low == pytest.approx((alone[name][1] - alone[name][0]) * 5**0.5, rel=0.2)


def test_a_single_group_or_image_says_nothing_about_others() -> None:
    predicted, true = some_masks(3)
    assert segmentation_intervals(predicted, true, 2, groups=["one"] * 3) == {}
    assert segmentation_intervals(predicted[:1], true[:1], 2) == {}


@pytest.mark.parametrize(
    ("predicted", "true", "classes", "said"),
    [
        ([], [], 2, "at least one, found 0 and 0"),
        (["01"], [], 2, "found 1 and 0"),
        (["01"], ["01"], 1, "found 1 as the number of classes"),
        (["011"], ["01"], 2, r"mask 0: found a predicted mask of \(1, 3\) for a true one of \(1, 2\)"),
        (["01", "01"], ["01", ".."], 2, "mask 1 has no pixel that counts, all are 255"),
        (["02"], ["01"], 2, "mask 0: predicted classes must lie between 0 and 1, found 0 to 2"),
        (["0."], ["01"], 2, "predicted classes must lie between 0 and 1, found 0 to 255"),
        (["01"], ["03"], 2, "true classes must lie between 0 and 1, found 0 to 3"),
    ],
)
def test_what_cannot_be_scored_is_refused(predicted: list[str], true: list[str], classes: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        segmentation_scores([mask_of(m) for m in predicted], [mask_of(m) for m in true], classes)


def test_a_group_an_image() -> None:
    predicted, true = some_masks(3)
    with pytest.raises(ValueError, match="found 2 groups for 3 images"):
        segmentation_scores(predicted, true, 2, ["a", "b"])
