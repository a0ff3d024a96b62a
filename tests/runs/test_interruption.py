"""Ctrl-C, SIGTERM and kill -9 in the middle of each phase: the same command goes on and ends as an undisturbed one."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fasthebb.cli import main

from .conftest import write_images

SMALL = ["--width", "0.1", "--hidden", "16", "--image-size", "24", "--batch-size", "4"]
EPOCHS = ["--epochs", "12"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for kind, name in enumerate(["ant", "bee"]):
        write_images(folder / name, 40, kind=kind)
    return folder


@pytest.fixture(scope="module", params=["pretrain", "finetune"])
def undisturbed(
    request: pytest.FixtureRequest, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A command, and the folder of a run of it that nothing befell."""
    out = tmp_path_factory.mktemp(request.param) / "whole"
    run(request.param, out, "--data", str(images), *EPOCHS, *SMALL)
    return request.param, out


# A server that has imported everything gives birth to the processes: an import takes longer than a run.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["fasthebb.cli"])


def obey(arguments: list[str], folder: Path, said: Path) -> None:
    """What a process of the command line does, in a child of the server."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    sys.exit(main(arguments))


class Started:
    def __init__(self, command: str, out: Path, *options: str) -> None:
        self.said = out.with_suffix(".said")
        arguments = [command, "--out", str(out), *options]
        self.process = SERVER.Process(target=obey, args=(arguments, out.parent, self.said))
        self.process.start()

    def ended(self) -> tuple[int, str]:
        """The exit status, and what the process complained of."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode, self.said.read_text()


def run(command: str, out: Path, *options: str) -> None:
    status, said = Started(command, out, *options).ended()
    assert status == 0, said


def interrupt(command: str, out: Path, *options: str, when: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    started = Started(command, out, *options)
    pid = started.process.pid
    assert pid is not None
    while not when():
        assert started.process.is_alive(), started.ended()
        time.sleep(0.01)
    os.kill(pid, how)
    return started.ended()


def epochs_done(out: Path) -> int:
    metrics = out / "metrics.csv"
    return len(metrics.read_text().splitlines()) - 1 if metrics.exists() else 0


def measured(out: Path) -> list[dict[str, str]]:
    """The rows of the epochs, but for the seconds that they took."""
    with (out / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_interrupted_between_and_within_epochs_ends_as_an_undisturbed_one(
    tmp_path: Path, images: Path, undisturbed: tuple[str, Path], how: signal.Signals
) -> None:
    command, whole = undisturbed
    options = ["--data", str(images), *EPOCHS, *SMALL]
    out = tmp_path / "parts"
    status, error = interrupt(command, out, *options, when=lambda: epochs_done(out) >= 2, how=how)
    assert status == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    assert "Traceback" not in error
    assert ("ended by SIGTERM: " in error and "goes on from" in error) == (how == signal.SIGTERM)
    assert not (out / "result.json").exists()
    run(command, out, *options)
    assert measured(out) == measured(whole)
    ours, theirs = (load_file(next(folder.glob("*.safetensors"))) for folder in (out, whole))
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
    status, error = Started("pretrain", tmp_path / "run", *options).ended()
    assert status == 2
    (line,) = [line for line in error.splitlines() if line.startswith("fasthebb: ")]
    assert "--on-divergence rollback" in line
    assert "noticed at step" in line
    run("pretrain", tmp_path / "run", *options, "--on-divergence", "rollback", "--checkpoint-minutes", "0")
    went_back = json.loads((tmp_path / "run" / "result.json").read_text())["rollbacks"]
    assert went_back[-1]["lr"] == 1 / 2 ** len(went_back)
    assert all(value.isfinite().all() for value in load_file(tmp_path / "run" / "encoder.safetensors").values())
