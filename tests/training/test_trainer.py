import csv
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fasthebb.models import Network
from fasthebb.training import Classifier, fit, last_checkpoint, make_trainer
from fasthebb.training.checkpoints import AtomicCheckpointIO
from fasthebb.training.metrics_file import MetricsFile

Model = Callable[..., Network]


def test_run_folder_holds_metrics_and_two_checkpoints(make_model: Model, loader: Any, tmp_path: Path) -> None:
    module = Classifier(make_model(), classes=3, epochs=3)
    fit(make_trainer(epochs=3, out=tmp_path, progress=False), module, loader)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["checkpoints/last.ckpt", "checkpoints/previous.ckpt", "metrics.csv"]


def test_without_a_folder_nothing_is_written(
    make_model: Model, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(make_trainer(epochs=1, out=None, progress=False), Classifier(make_model(), classes=3, epochs=1), loader)
    assert list(tmp_path.iterdir()) == []


def test_training_is_quiet(
    make_model: Model, loader: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epochs in (1, 2):
            trainer = make_trainer(epochs=epochs, out=tmp_path, progress=False)
            module = Classifier(make_model(), classes=3, epochs=2, probe=True)
            fit(trainer, module, loader, None, last_checkpoint(tmp_path / "checkpoints"))
    assert not [record for record in caplog.records if record.levelno < logging.WARNING]
    out, err = capfd.readouterr()
    assert out + err == ""


def test_progress_bar_shows_images_a_second(make_model: Model, loader: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit(make_trainer(epochs=1, out=None), Classifier(make_model(), classes=3, epochs=1), loader)
    assert "images/s" in capsys.readouterr().out


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="32-true, bf16-mixed"):
        make_trainer(epochs=1, out=None, precision="16-mixed")  # type: ignore[arg-type]


def test_metrics_merge_an_epochs_values_and_forget_an_abandoned_future(tmp_path: Path) -> None:
    first = MetricsFile(tmp_path)
    for epoch in range(3):
        first.log_metrics({"epoch": epoch, "val": epoch / 2})
        first.log_metrics({"epoch": epoch, "loss": 1.0})
    second = MetricsFile(tmp_path)
    second.log_metrics({"epoch": 1, "val": 9.0, "new": 1.0})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert rows == [
        {"epoch": "0", "val": "0.0", "loss": "1.0", "new": ""},
        {"epoch": "1", "val": "9.0", "loss": "1.0", "new": "1.0"},
    ]


def test_last_checkpoint_passes_over_broken_files(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for age, name in enumerate(["new", "middle", "old"]):
        torch.save({"weight": torch.zeros(1000)}, tmp_path / f"{name}.ckpt")
        os.utime(tmp_path / f"{name}.ckpt", (1000 - age, 1000 - age))
    assert last_checkpoint(tmp_path) == tmp_path / "new.ckpt"
    content = (tmp_path / "new.ckpt").read_bytes()
    for path, broken in ((tmp_path / "new.ckpt", content[: len(content) // 2]), (tmp_path / "middle.ckpt", b"")):
        path.write_bytes(broken)
        os.utime(path, (2000, 2000))
    assert last_checkpoint(tmp_path) == tmp_path / "old.ckpt"


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_ctrl_c_reaches_the_caller_and_the_run_resumes(make_model: Model, make_loader: Any, tmp_path: Path) -> None:
    class Interrupted(make_loader):  # type: ignore[misc]
        def __iter__(self) -> Any:
            if self.epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield from super().__iter__()

    handler = signal.getsignal(signal.SIGINT)
    module = Classifier(make_model(), classes=3, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(make_trainer(epochs=4, out=tmp_path, progress=False), module, Interrupted())
    assert signal.getsignal(signal.SIGINT) is handler
    resumed, whole = (Classifier(make_model(), classes=3, epochs=4) for _ in range(2))
    checkpoint = last_checkpoint(tmp_path / "checkpoints")
    assert checkpoint
    fit(make_trainer(epochs=4, out=tmp_path, progress=False), resumed, make_loader(), None, checkpoint)
    fit(make_trainer(epochs=4, out=None, progress=False), whole, make_loader())
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "metrics.csv").open())] == ["0", "1", "2", "3"]


def test_a_run_killed_while_it_writes_leaves_a_checkpoint_to_resume_from(tmp_path: Path) -> None:
    program = """
import sys, torch
from pathlib import Path
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from fasthebb.training import Classifier, fit, make_trainer
images, labels = torch.randn(8, 1, 4, 4), torch.arange(8) % 2
model = nn.Sequential(nn.Flatten(), nn.Linear(16, 500_000), nn.Linear(500_000, 2))
loader = DataLoader(TensorDataset(images, labels), 8)
fit(make_trainer(epochs=10**6, out=sys.argv[1], progress=False), Classifier(model, classes=2), loader)
"""
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    try:
        while not (tmp_path / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.7)  # most of this time goes into writing the next ones
    finally:
        process.kill()
        process.wait()
    assert last_checkpoint(tmp_path / "checkpoints") == tmp_path / "checkpoints" / "last.ckpt"
