"""Choosing an epoch by images that were held out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fasthebb.models import Network
from fasthebb.training import Classifier, best_weights, fit, folds, last_checkpoint, make_trainer


def test_the_weights_of_the_best_epoch_are_kept(
    make_model: Callable[..., Network], make_loader: Any, tmp_path: Path
) -> None:
    class Recorder(Callback):
        def __init__(self) -> None:
            self.values: list[float] = []
            self.states: list[dict[str, Any]] = []

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            self.values.append(float(trainer.callback_metrics["val_top1"]))
            self.states.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    history = Recorder()
    module = Classifier(make_model(), classes=3, epochs=6, lr=0.05)
    trainer = make_trainer(epochs=6, out=tmp_path, progress=False, keep_best="val_top1", callbacks=[history])
    fit(trainer, module, make_loader(), make_loader(images=30, seed=5))
    best = history.values.index(max(history.values))
    kept = best_weights(trainer)
    for name, value in history.states[best].items():
        if name != "_loss_sum":
            assert torch.equal(kept[name], value), name
    found = last_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert found.name == "last.ckpt"


def test_folds_are_stratified_and_leave_every_image_out_once() -> None:
    labels = torch.arange(30) % 3
    held: list[int] = []
    for rest, out in folds(labels, None, 5, seed=1):
        assert sorted([*rest, *out]) == list(range(30))
        assert torch.bincount(labels[out]).tolist() == [2, 2, 2]
        held += out
    assert sorted(held) == list(range(30))


def test_folds_do_not_tear_groups() -> None:
    labels = torch.arange(40) % 2
    groups = [f"p{row // 4}" for row in range(36)] + [""] * 4
    for rest, out in folds(labels, groups, 4, seed=0):
        assert not {groups[row] for row in rest} & {groups[row] for row in out} - {""}


def test_a_single_image_of_a_class_leaves_nothing_to_hold_out() -> None:
    with pytest.raises(ValueError, match="a class with a single labelled image"):
        list(folds(torch.tensor([0, 0, 1]), None, 5, seed=0))
    assert len(list(folds(torch.tensor([0, 0, 0, 1, 1]), None, 5, seed=0))) == 2
