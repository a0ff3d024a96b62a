"""A training on a stream that is stopped anywhere goes on exactly where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from fasthebb import HPCA
from fasthebb.data import DataError, Preprocessing, StreamBatches, load_stream
from fasthebb.models import cnn6
from fasthebb.training import Classifier, HebbianPretraining, fit, last_checkpoint, make_trainer
from tests.data.stream_sets import pictures, shards, table


class StoppedError(Exception):
    """What a test ends a training with."""


class StopAt(lightning.Callback):
    """Write a checkpoint after so many steps, and end."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path, self.steps = step, path, 0

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        self.steps += 1
        if self.steps == self.step:
            trainer.save_checkpoint(self.path)
            raise StoppedError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTHEBB_CACHE", str(tmp_path / "cache"))


def _batches(data: Path, batch_size: int = 5, workers: int = 0, labelled: bool = False) -> StreamBatches:
    stream = load_stream(data, image_size=32, workers=workers, progress=False)
    preprocessing = Preprocessing(torch.full((3,), 0.5), torch.full((3,), 0.25), 32)
    images = stream.train if labelled else stream.unlabelled
    return StreamBatches(images, preprocessing, batch_size=batch_size, shuffle=True, seed=4, augment="shift")


def _module(labelled: bool) -> lightning.LightningModule:
    torch.manual_seed(0)
    network = cnn6(2, width=0.05, hidden=8, hebbian=not labelled)
    if labelled:
        return Classifier(network, classes=2, epochs=2)
    return HebbianPretraining(network, HPCA(max_lr=0.1), epochs=2)


def _weights(module: lightning.LightningModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("make", [shards, table])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("step", [2, 4, 7])  # of 5 an epoch
def test_weights_are_those_of_a_training_that_was_not_stopped(
    make: Any, labelled: bool, step: int, tmp_path: Path
) -> None:
    make(tmp_path / "data")
    whole = _module(labelled)
    fit(
        make_trainer(epochs=2, out=tmp_path / "whole", progress=False),
        whole,
        _batches(tmp_path / "data", 5, 0, labelled),
    )

    checkpoint = tmp_path / "stopped.ckpt"
    trainer = make_trainer(epochs=2, out=tmp_path / "part", progress=False, callbacks=[StopAt(step, checkpoint)])
    with pytest.raises(StoppedError):
        fit(trainer, _module(labelled), _batches(tmp_path / "data", 5, 0, labelled))
    resumed = _module(labelled)
    # Another number of workers changes nothing either.
    loader = _batches(tmp_path / "data", 5, 1, labelled)
    fit(make_trainer(epochs=2, out=tmp_path / "part", progress=False), resumed, loader, ckpt=checkpoint)
    for name, value in _weights(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_it_goes_on_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    shards(tmp_path / "data")
    whole = _module(False)
    fit(make_trainer(epochs=2, out=tmp_path / "whole", progress=False), whole, _batches(tmp_path / "data"))
    trainer = make_trainer(epochs=2, out=tmp_path / "part", progress=False, callbacks=[StopAt(6, tmp_path / "no.ckpt")])
    with pytest.raises(StoppedError):
        fit(trainer, _module(False), _batches(tmp_path / "data"))
    resumed = _module(False)
    checkpoint = last_checkpoint(tmp_path / "part" / "checkpoints")  # of the end of the first epoch
    fit(
        make_trainer(epochs=2, out=tmp_path / "part", progress=False),
        resumed,
        _batches(tmp_path / "data"),
        ckpt=checkpoint,
    )
    assert trainer.global_step == 6
    for name, value in _weights(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_lightning_alone_keeps_the_place(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Look(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            seen.append(batch[0].sum())
            return self.weight.sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def trained(ckpt: Path | None, *callbacks: lightning.Callback) -> None:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
        )
        trainer.fit(Look(), _batches(tmp_path / "data"), ckpt_path=ckpt, weights_only=True)

    pictures(tmp_path / "data")
    trained(None)
    whole, seen = seen, []
    with pytest.raises(StoppedError):
        trained(None, StopAt(3, tmp_path / "stopped.ckpt"))
    loops = torch.load(tmp_path / "stopped.ckpt", weights_only=True)["loops"]["fit_loop"]
    assert loops["state_dict"]["combined_loader"][0]["batches"] == 3
    trained(tmp_path / "stopped.ckpt")
    assert len(whole) == len(seen) == 5
    assert all(torch.equal(one, other) for one, other in zip(whole, seen, strict=True))


def test_the_place_is_given_and_taken(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    batches, again = _batches(tmp_path / "data"), _batches(tmp_path / "data")
    batches.set_epoch(3)
    iterator = iter(batches)
    passed = [next(iterator)[0] for _ in range(2)]
    again.load_state_dict(batches.state_dict())
    rest = [images for images, _ in again]
    assert all(torch.equal(one, other) for one, other in zip(rest, (images for images, _ in iterator), strict=True))
    again.set_epoch(3)
    assert torch.equal(torch.cat([images for images, _ in again]), torch.cat(passed + rest))


@pytest.mark.parametrize("change", ["batch_size", "data"])
def test_the_place_in_other_data_is_refused(change: str, tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    pictures(tmp_path / "more", count=60)
    batches = _batches(tmp_path / "data")
    next(iter(batches))
    other = _batches(tmp_path / "more") if change == "data" else _batches(tmp_path / "data", batch_size=6)
    with pytest.raises(DataError, match="the checkpoint is from the middle of other data"):
        other.load_state_dict(batches.state_dict())


def test_another_number_of_processes_may_go_on_with_the_same_joined_batches(tmp_path: Path) -> None:
    stream = load_stream(pictures(tmp_path / "data"), image_size=16, workers=0, progress=False).unlabelled
    preprocessing = Preprocessing(torch.full((3,), 0.5), torch.full((3,), 0.25), 16)
    one = StreamBatches(stream, preprocessing, batch_size=6, shuffle=True)
    iterator = iter(one)
    next(iterator)
    halves = [
        StreamBatches(stream, preprocessing, batch_size=3, shuffle=True, rank=rank, world_size=2) for rank in (0, 1)
    ]
    for half in halves:
        half.load_state_dict(one.state_dict())
    for (images, _), (first, _), (second, _) in zip(iterator, *halves, strict=True):
        assert torch.equal(images[0::2], first)
        assert torch.equal(images[1::2], second)
