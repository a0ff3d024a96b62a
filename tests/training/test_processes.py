"""What a process knows of the others without asking them. Several of them are in tests/runs/test_processes.py."""

from typing import Any

import pytest
import torch

from fasthebb.data import FeatureBatches
from fasthebb.training import processes
from fasthebb.training.processes import added_up, first_alone, joined_images, of_mean, share
from fasthebb.training.resumable import Resumable


def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "process_count", lambda: 2)


def loader(rank: int) -> FeatureBatches:
    return FeatureBatches(
        torch.eye(5), torch.arange(5), batch_size=2, shuffle=False, rank=rank, world_size=2
    )  # four rows, then one


def test_rows_of_features_are_shared_as_images_are() -> None:
    shares = [[labels.tolist() for _, labels in loader(rank)] for rank in range(2)]
    assert shares == [[[0, 2], [4]], [[1, 3], []]]


def test_both_processes_know_how_many_images_a_step_has(monkeypatch: pytest.MonkeyPatch) -> None:
    two(monkeypatch)
    for rank in range(2):
        for batches in (loader(rank), Resumable(loader(rank))):
            known = [joined_images(batches, number, rows) for number, (rows, _) in enumerate(batches)]
            assert known == [4, 1]


def test_where_the_loader_does_not_know_no_batch_counts_as_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    two(monkeypatch)
    batches: list[Any] = []
    assert [joined_images(batches, 0, torch.zeros(count, 1)) for count in (0, 1, 3)] == [2, 2, 6]


def test_losses_weigh_so_that_their_average_is_the_joined_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    two(monkeypatch)
    parts = [torch.tensor([1.0, 2.0, 6.0]), torch.tensor([5.0])]
    weighed = [of_mean(part.mean(), len(part), 4) for part in parts]
    assert torch.stack(weighed).mean() == torch.cat(parts).mean()


def test_alone_nothing_is_shared_or_changed() -> None:
    loss = torch.tensor(3.0)
    assert of_mean(loss, 2, 2) is loss
    assert added_up(loss) is loss
    assert share() == {"rank": 0, "world_size": 1}
    assert joined_images([], 0, torch.zeros(1, 1)) == 1
    with pytest.raises(ValueError, match="as it was"):
        first_alone(lambda: _fail("as it was"))


def _fail(why: str) -> None:
    raise ValueError(why)
