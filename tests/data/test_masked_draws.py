from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import refused

from fasthebb.data.mask_draws import masks_asked, masks_drawn

GROUPS = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(GROUPS, st.integers(1, 40), st.integers(0, 99))
def test_a_draw_has_as_many_masks_as_asked_of_as_many_groups_as_there_are(
    groups: list[str], count: int, seed: int
) -> None:
    count = min(count, len(groups))
    rows = masks_drawn(groups, len(groups), str(count), seed=seed)
    assert rows.dtype == torch.int64
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == count
    every = Counter(group or str(row) for row, group in enumerate(groups))
    drawn = Counter(groups[row] or str(row) for row in rows.tolist())
    assert len(drawn) == min(count, len(every))
    # No group has two more than one that could still give.
    least = min((drawn[group] for group in every if drawn[group] < every[group]), default=count)
    assert max(drawn.values()) <= least + 1


@settings(max_examples=40, deadline=None)
@given(GROUPS, st.integers(0, 99))
def test_draws_of_one_seed_are_nested(groups: list[str], seed: int) -> None:
    before: set[int] = set()
    for count in range(1, len(groups) + 1):
        rows = set(masks_drawn(groups, len(groups), str(count), seed=seed).tolist())
        assert before < rows
        before = rows
    assert set(masks_drawn(groups, len(groups), "1.0", seed=seed).tolist()) == set(range(len(groups)))


def test_seeds_draw_differently_and_every_mask_alike() -> None:
    counts: Counter[int] = Counter()
    for seed in range(600):
        counts.update(masks_drawn(None, 10, "3", seed=seed).tolist())
    assert set(counts) == set(range(10))
    assert all(130 < count < 230 for count in counts.values())


def test_large_and_small_groups_are_as_likely() -> None:
    groups = ["large"] * 30 + ["b", "c", "d"]
    hits = sum(groups[int(masks_drawn(groups, 33, "1", seed=seed))] == "large" for seed in range(400))
    assert 60 < hits < 140
    rows = {int(masks_drawn(groups, 33, "1", seed=seed)) for seed in range(400)}
    assert len(rows) > 25


def test_amounts_are_totals_and_fractions() -> None:
    assert [masks_asked(464, amount) for amount in ("5", "0.05", ".1", "1.0", "464")] == [5, 23, 46, 464, 464]
    with refused("asked for 465 masks, there are 464"):
        masks_asked(464, "465")
    with refused("asked for 0.01 masks, there are 20", "at least one"):
        masks_asked(20, "0.01")
