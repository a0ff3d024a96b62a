"""Ctrl-C, SIGTERM and kill -9 in the middle of each phase: the same command goes on and ends as an undisturbed one."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .conftest import write_images

SMALL = ["--width", "0.1", "--hidden", "16", "--image-size", "24", "--batch-size", "4"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for kind, name in enumerate(["ant", "bee"]):
        write_images(tmp_path / "images" / name, 40, kind=kind)
    return tmp_path / "images"


def start(command: str, out: Path, *options: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "fasthebb.cli", command, "--out", str(out), *options]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=out.parent
    )


def run(command: str, out: Path, *options: str) -> None:
    process = start(command, out, *options)
    _, error = process.communicate()
    assert process.returncode == 0, error


def interrupt(command: str, out: Path, *options: str, when: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    process = start(command, out, *options)
    try:
        while not when():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(how)
        _, error = process.communicate()
    finally:
        process.kill()
    return process.returncode, error


def epochs_done(out: Path) -> int:
    metrics = out / "metrics.csv"
    return len(metrics.read_text().splitlines()) - 1 if metrics.exists() else 0


def measured(out: Path) -> list[dict[str, str]]:
    """The rows of the epochs, but for the seconds that they took."""
    with (out / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_run_interrupted_between_and_within_epochs_ends_as_an_undisturbed_one(
    tmp_path: Path, images: Path, command: str, how: signal.Signals
) -> None:
    options = ["--data", str(images), "--epochs", "30", *SMALL]
    run(command, tmp_path / "whole", *options)
    out = tmp_path / "parts"
    status, error = interrupt(command, out, *options, when=lambda: epochs_done(out) >= 2, how=how)
    assert status == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    assert "Traceback" not in error
    assert ("ended by SIGTERM: " in error and "goes on from" in error) == (how == signal.SIGTERM)
    assert not (out / "result.json").exists()
    run(command, out, *options)
    assert measured(out) == measured(tmp_path / "whole")
    ours, theirs = (load_file(next(folder.glob("*.safetensors"))) for folder in (out, tmp_path / "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_killed_after_its_last_epoch_is_finished_by_the_same_command(tmp_path: Path, images: Path) -> None:
    options = ["--data", str(images), "--epochs", "2", *SMALL]
    out = tmp_path / "parts"
    interrupt("pretrain", out, *options, when=lambda: epochs_done(out) == 2, how=signal.SIGKILL)
    run("pretrain", out, *options)
    assert epochs_done(out) == 2
    assert (out / "encoder.safetensors").exists()


def test_a_run_killed_while_it_reads_images_starts_anew(tmp_path: Path, images: Path) -> None:
    options = ["--data", str(images), "--epochs", "1", *SMALL]
    out = tmp_path / "parts"
    interrupt("pretrain", out, *options, when=(out / "config.yaml").exists, how=signal.SIGKILL)
    run("pretrain", out, *options)
    assert (out / "result.json").exists()


def test_a_run_goes_on_with_other_care_for_itself_and_says_how_often_it_went_back(tmp_path: Path, images: Path) -> None:
    """A rate that is far too high is met by going back, which may be asked for once the run has stopped."""
    options = ["--data", str(images), "--epochs", "2", "--lr", "1", "--rule.max_lr", "null", *SMALL]
    process = start("pretrain", tmp_path / "run", *options)
    _, error = process.communicate()
    assert process.returncode == 2
    (line,) = [line for line in error.splitlines() if line.startswith("fasthebb: ")]
    assert "--on-divergence rollback" in line
    assert "noticed at step" in line
    run("pretrain", tmp_path / "run", *options, "--on-divergence", "rollback", "--checkpoint-minutes", "0")
    went_back = json.loads((tmp_path / "run" / "result.json").read_text())["rollbacks"]
    assert went_back[-1]["lr"] == 1 / 2 ** len(went_back)
    assert all(value.isfinite().all() for value in load_file(tmp_path / "run" / "encoder.safetensors").values())
