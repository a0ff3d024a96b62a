"""Checkpoints in the middle of epochs: what goes on from them ends as what was not interrupted, bit for bit."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fasthebb import HPCA, SWTA
from fasthebb.models import Network
from fasthebb.training import (
    TERMINATED,
    Classifier,
    HebbianPretraining,
    MeanTeacher,
    Segmenter,
    SelfTraining,
    TaughtClassifier,
    Terminated,
    VAEPretraining,
    fit,
    last_checkpoint,
    make_trainer,
    trained_seconds,
)
from fasthebb.training.resumable import Resumable

Model = Callable[..., Network]


def classifier(make_model: Model) -> Any:
    return Classifier(make_model(), classes=3, epochs=3)


def probe(make_model: Model) -> Any:
    return Classifier(make_model(), classes=3, epochs=3, probe=True)


def taught(make_model: Model) -> Any:
    return TaughtClassifier(make_model(), classes=3, epochs=3)


def hebbian(make_model: Model) -> Any:
    return HebbianPretraining(make_model(), HPCA(max_lr=0.1), epochs=3)


def greedy(make_model: Model) -> Any:
    return HebbianPretraining(make_model(), SWTA(), lr=0.01, epochs=1, order="greedy")


def looked_on(make_model: Model) -> Any:
    return HebbianPretraining(make_model(), SWTA(), lr=0.01, epochs=3, classes=3)


def autoencoder(make_model: Model) -> Any:
    return VAEPretraining(make_model(hebbian=False), epochs=3)


def student(make_model: Model) -> Any:
    teacher = torch.softmax(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), 1)
    module = SelfTraining(make_model(), teacher=teacher, labels=torch.tensor([0, 1, 2]))
    module.total_epochs = 3  # type: ignore[assignment]
    return module


TRAININGS = [classifier, probe, taught, hebbian, greedy, looked_on, autoencoder, student]


def interrupted(make_loader: Any, **options: Any) -> Any:
    """A loader during whose second epoch SIGTERM comes."""

    class Interrupted(make_loader):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for index, batch in enumerate(super().__iter__()):
                if self.epoch == 1 and index == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    return Interrupted(**options)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("training", TRAININGS)
def test_sigterm_ends_within_the_epoch_and_the_rest_follows_exactly(
    make_model: Model, make_loader: Any, tmp_path: Path, training: Callable[..., Any]
) -> None:
    size = {"images": 40, "batch": 4}
    if training is student:
        size["classes"] = 40  # its labels are rows of the targets

    def start(out: str, loader: Any, ckpt: Path | None = None) -> Any:
        torch.manual_seed(1)
        module = training(make_model)
        trainer = make_trainer(epochs=module.total_epochs, out=tmp_path / out, progress=False)
        fit(trainer, module, loader, None, ckpt)
        return module

    whole = start("whole", make_loader(**size))
    with pytest.raises(Terminated, match=r"goes on from step \d+, in epoch 1") as end:
        start("parts", interrupted(make_loader, **size))
    assert end.value.code == TERMINATED
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    assert checkpoint is not None
    progress = torch.load(checkpoint, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert 0 < progress["current"]["ready"] < 10
    resumed = start("parts", make_loader(**size), checkpoint)
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.parametrize("kind", [Segmenter, MeanTeacher])
def test_segmentation_goes_on_within_an_epoch(
    make_unet: Callable[..., Any], make_discs: Any, tmp_path: Path, kind: type[Segmenter]
) -> None:
    from fasthebb.training import LabelledAndUnlabelled

    def both(loader: Any) -> Any:
        return loader if kind is Segmenter else LabelledAndUnlabelled(loader, make_discs(batches=10, seed=1))

    def start(out: str, loader: Any, ckpt: Path | None = None) -> Segmenter:
        torch.manual_seed(1)
        module = kind(make_unet())
        fit(make_trainer(epochs=2, out=tmp_path / out, progress=False), module, both(loader), None, ckpt)
        return module

    whole = start("whole", make_discs(batches=10))
    with pytest.raises(Terminated):
        start("parts", interrupted(make_discs, batches=10))
    resumed = start("parts", make_discs(batches=10), last_checkpoint(tmp_path / "parts" / "checkpoints"))
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_checkpoints_are_written_every_so_many_minutes(make_model: Model, make_loader: Any, tmp_path: Path) -> None:
    written: list[float] = []

    class Looking(make_loader):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                path = tmp_path / "checkpoints" / "last.ckpt"
                if path.exists() and path.stat().st_mtime_ns not in written:
                    written.append(path.stat().st_mtime_ns)
                time.sleep(0.02)
                yield batch

    def count(minutes: float) -> int:
        written.clear()
        trainer = make_trainer(epochs=1, out=tmp_path, progress=False, checkpoint_minutes=minutes)
        fit(trainer, Classifier(make_model(), classes=3, epochs=1), Looking(images=80, batch=4))
        (tmp_path / "checkpoints" / "last.ckpt").unlink()
        return len(written)

    assert count(0) == 0
    assert count(0.0005) > 3  # 30 ms


def test_sigterm_in_the_last_batch_leaves_the_checkpoint_of_the_epoch(
    make_model: Model, make_loader: Any, tmp_path: Path
) -> None:
    class Late(make_loader):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield from super().__iter__()

        def set_epoch(self, epoch: int) -> None:
            super().set_epoch(epoch)
            if epoch == 1 and len(self.epochs_told) == 2:  # between two epochs
                os.kill(os.getpid(), signal.SIGTERM)

    module = Classifier(make_model(), classes=3, epochs=3)
    with pytest.raises(Terminated):
        fit(make_trainer(epochs=3, out=tmp_path, progress=False), module, Late())
    checkpoint = last_checkpoint(tmp_path / "checkpoints")
    resumed, whole = (Classifier(make_model(), classes=3, epochs=3) for _ in range(2))
    fit(make_trainer(epochs=3, out=tmp_path, progress=False), resumed, make_loader(), None, checkpoint)
    fit(make_trainer(epochs=3, out=None, progress=False), whole, make_loader())
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize("asked", [True, False])
def test_a_process_that_is_to_end_says_nothing_of_the_others_that_have_ended(
    make_model: Model, make_loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr("fasthebb.training.trainer.has_lost_others", lambda error: "Gloo" in str(error))

    class Alone(make_loader):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for number, batch in enumerate(super().__iter__()):
                yield batch
                if number == 1:
                    if asked:
                        os.kill(os.getpid(), signal.SIGTERM)
                    raise RuntimeError("Gloo: connection closed by peer")

    trainer = make_trainer(epochs=3, out=tmp_path, progress=False)
    with pytest.raises(Terminated if asked else RuntimeError):
        fit(trainer, Classifier(make_model(), classes=3, epochs=3), Alone(images=80, batch=4))


def test_signal_handlers_are_put_back(make_model: Model, make_loader: Any, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Terminated):
        fit(
            make_trainer(epochs=2, out=tmp_path, progress=False),
            Classifier(make_model(), classes=3, epochs=2),
            interrupted(make_loader, images=40, batch=4),
        )
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == before


def test_the_seconds_of_an_epoch_are_those_of_all_its_parts(
    make_model: Model, make_loader: Any, tmp_path: Path
) -> None:
    class Slow(make_loader):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for index, batch in enumerate(super().__iter__()):
                if index == 1:
                    time.sleep(0.5)
                if index == 4:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    module = Classifier(make_model(), classes=3, epochs=1)
    with pytest.raises(Terminated):
        fit(make_trainer(epochs=1, out=tmp_path, progress=False), module, Slow(images=40, batch=4))
    checkpoint = last_checkpoint(tmp_path / "checkpoints")
    trainer = make_trainer(epochs=1, out=tmp_path, progress=False)
    fit(trainer, Classifier(make_model(), classes=3, epochs=1), make_loader(images=40, batch=4), None, checkpoint)
    assert 0.5 < trained_seconds(tmp_path) < 60


SLURM = """
import os, signal, sys, torch
from torch import nn
from fasthebb.training import Classifier, fit, last_checkpoint, make_trainer
class Loader:
    def __len__(self): return 10
    def __iter__(self):
        for index in range(10):
            if index == 4 and not os.path.exists("requeued"):
                os.kill(os.getpid(), signal.SIGUSR1)
            yield torch.full((4, 1, 4, 4), float(index)), torch.arange(4) % 2
torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2))
trainer = make_trainer(epochs=2, out="run", progress=False)
fit(trainer, Classifier(model, classes=2, epochs=2), Loader(), None, last_checkpoint("run/checkpoints"))
"""


def test_slurm_is_asked_to_queue_the_job_again_between_two_steps(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text("#!/bin/sh\necho $@ > requeued\n")
    scontrol.chmod(0o755)
    slurm = {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}
    slurm |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "1"}
    path = f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        [sys.executable, "-c", SLURM],
        cwd=tmp_path,
        env={**os.environ, **slurm, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "requeued").read_text().split() == ["requeue", "42"]
    written = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert "last.ckpt" in written
    (own,) = (tmp_path / "run" / "checkpoints").glob("hpc_ckpt_*.ckpt")
    progress = torch.load(own, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert progress["started"] == progress["processed"]  # no step was under way


def test_a_loader_with_a_state_of_its_own_is_asked_for_it() -> None:
    class Stream:
        def __init__(self) -> None:
            self.at = 0

        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Any:
            while self.at < 6:
                self.at += 1
                yield self.at
            self.at = 0

        def state_dict(self) -> dict[str, int]:
            return {"at": self.at}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.at = state["at"]

    batches = Resumable(Stream())
    iterator = iter(batches)
    assert [next(iterator) for _ in range(4)] == [1, 2, 3, 4]
    again = Resumable(Stream())
    again.load_state_dict(batches.state_dict())
    assert list(again) == [5, 6]
