from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthebb.data import Crops, MaskedSet, Preprocessing
from fasthebb.training import LabelledAndUnlabelled


class Counting:
    """Gives ``(epoch, number)``."""

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        epoch = self.epoch
        return iter([(epoch, number) for number in range(self.count)])


@given(st.integers(1, 9), st.integers(1, 9))
def test_every_batch_is_new_over_all_epochs(labelled: int, unlabelled: int) -> None:
    pairs = LabelledAndUnlabelled(Counting(labelled), Counting(unlabelled))
    assert len(pairs) == max(labelled, unlabelled)
    seen: list[Any] = []
    for epoch in range(3):
        pairs.set_epoch(epoch)
        found = [*pairs]
        assert len(found) == len(pairs)
        assert [*pairs] == found
        seen += found
    for side, count in enumerate((labelled, unlabelled)):
        batches = [pair[side] for pair in seen]
        assert len(set(batches)) == len(batches)
        assert [number for _, number in batches[: len(pairs)]] == [number % count for number in range(len(pairs))]


@pytest.mark.parametrize(("counts", "which"), [((0, 2), "labelled"), ((2, 0), "unlabelled")])
def test_no_batches_are_refused(counts: tuple[int, int], which: str) -> None:
    with pytest.raises(ValueError, match=f"the {which} images have no batches, expected at least one"):
        LabelledAndUnlabelled(*map(Counting, counts))


def test_crops_of_few_masks_go_round_beside_those_of_many_images() -> None:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (1, 20, 24), generator=generator, dtype=torch.uint8) for _ in range(6)]
    masks = [torch.ones(20, 24, dtype=torch.uint8) if number < 2 else None for number in range(6)]
    everything = MaskedSet(images, masks, [str(number) for number in range(6)])
    how: dict[str, Any] = {"crop": (16, 16), "batch_size": 2}
    preprocessing = Preprocessing.fit(everything)
    pairs = LabelledAndUnlabelled(
        Crops(everything.subset([0, 1]), preprocessing, **how), Crops(everything, preprocessing, seed=1, **how)
    )
    found = [*pairs]
    assert len(found) == 3
    assert all(pair[0][1].eq(1).all() for pair in found)
    assert found[0][1][0].shape == (2, 1, 16, 16)
    assert not torch.equal(found[0][0][0], found[1][0][0])  # other places
    again = [*pairs]
    assert all(torch.equal(one[0][0], other[0][0]) for one, other in zip(found, again, strict=True))
