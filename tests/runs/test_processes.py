"""Runs of several processes give what one process gives with the joined batch; a process that falls out is named."""

import csv
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from fasthebb import SWTA, Hybrid, Oja
from fasthebb.cli import main
from fasthebb.runs import EvaluateOptions, FinetuneOptions, PretrainOptions, SavedNetwork
from fasthebb.runs.folder import RunError
from fasthebb.runs.launch import launch
from fasthebb.runs.processes import joined, started_elsewhere

from .conftest import write_images
from .together import Options, run, work

COUNTS = (2, 3)
BATCH = {2: 6, 3: 4}  # 12 images together, so that the last joined batch is a single image
NETWORK: dict[str, Any] = {"width": 0.1, "hidden": 16, "image_size": 24}
ALL = {"hebbian": ["all"], "at-once": []}  # layers
PRETRAININGS = {
    "hpca": PretrainOptions(epochs=2),
    "swta": PretrainOptions(rule=SWTA(), epochs=2),
    "taught": PretrainOptions(epochs=1, select="taught"),
    "greedy": PretrainOptions(order="greedy", epochs=1, augment="shift"),
}
FINETUNINGS = {
    "backprop": FinetuneOptions(epochs=3, augment="shift"),
    "labelled-cv": FinetuneOptions(epochs=2, select="labelled-cv", augment="shift"),
    "validation": FinetuneOptions(epochs=2, select="validation", augment="none"),
    "probe": FinetuneOptions(epochs=3, probe=True, augment="none"),
    "taught": FinetuneOptions(epochs=3, taught=True, augment="none"),
    "hybrid": FinetuneOptions(epochs=2, rule=Hybrid(Oja(), local=0.1), augment="none"),
}
ROUNDED = {"rounded": PretrainOptions(epochs=1, send="bfloat16")}
REFUSED = {
    "at once": PretrainOptions(method="at-once"),
    "another": PretrainOptions(epochs=1),  # in the folder of a run with other options
}


class Together:
    """Runs of several processes, and those of one with the joined batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._outcomes: dict[int, list[dict[str, Any]]] = {}
        write_images(folder / "flat", 25)
        for kind in range(3):
            write_images(folder / "classes" / "abc"[kind], 10, kind=kind)

    def options(self, processes: int) -> dict[str, Options]:
        """Of every run."""
        found: dict[str, Options] = {}
        common: dict[str, Any] = {"batch_size": BATCH[processes], "logger": "none"}
        for name, pretraining in {**PRETRAININGS, **ROUNDED, **REFUSED}.items():
            data = self.folder / ("classes" if pretraining.select == "taught" else "flat")
            found[name] = replace(pretraining, data=str(data), layers=ALL[pretraining.method], **NETWORK, **common)
        labelled = {"data": str(self.folder / "classes"), "labels": "13", "lr": 0.01, "dropout": 0.0}
        for name, finetuning in FINETUNINGS.items():
            init = str(self.folder / f"of {processes}" / "hpca")
            found[name] = replace(finetuning, init=init, **labelled, **common)
        return found

    def results(self, processes: int) -> list[dict[str, Any]]:
        """Of every run, a process."""
        if processes not in self._outcomes:
            out = self.folder / f"of {processes}"
            (out / "another").mkdir(parents=True)
            (out / "another" / "notes.txt").write_text("not a run")
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            multiprocessing.set_forkserver_preload(["fasthebb.runs"])  # imported once for all of them
            mp.start_processes(
                work,
                (processes, port, str(out), self.options(processes)),
                nprocs=processes,
                start_method="forkserver",
            )
            self._outcomes[processes] = [
                torch.load(out / f"rank{rank}", weights_only=False) for rank in range(processes)
            ]
        return self._outcomes[processes]

    def tensors(self, processes: int, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights of several processes, and of one with their batches together."""
        self.results(processes)
        options = self.options(processes)[name]
        alone = self.folder / f"alone for {processes}" / name
        run(replace(options, batch_size=options.batch_size * processes), alone)
        file = "encoder.safetensors" if isinstance(options, PretrainOptions) else "classifier.safetensors"
        first, second = (SavedNetwork.load(where, file) for where in (self.folder / f"of {processes}" / name, alone))
        return dict(first.tensors), dict(second.tensors)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    return Together(tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize("processes", COUNTS)
@pytest.mark.parametrize("name", [*PRETRAININGS, *FINETUNINGS])
def test_the_weights_are_those_of_one_process_with_the_joined_batch(
    together: Together, name: str, processes: int
) -> None:
    of_several, of_one = together.tensors(processes, name)
    assert of_several.keys() == of_one.keys()
    for key, value in of_one.items():
        if value.is_floating_point():
            error = (of_several[key] - value).norm() / value.norm().clamp_min(1e-6)
            assert error < 2e-4, key
        else:
            assert torch.equal(of_several[key], value)


def test_sums_in_bfloat16_round_the_weights(together: Together) -> None:
    of_several, of_one = together.tensors(2, "rounded")
    weights = [name for name in of_one if name.endswith("weight") and "norm" not in name]
    for name in weights:
        error = (of_several[name] - of_one[name]).norm() / of_one[name].norm()
        assert 0 < error < 0.02, name
    assert len(weights) == 5


@pytest.mark.parametrize("processes", COUNTS)
def test_every_process_gives_the_same_result_and_the_first_writes_it(together: Together, processes: int) -> None:
    results = together.results(processes)
    assert all(result == results[0] for result in results)
    for name in (*PRETRAININGS, *FINETUNINGS):
        out = together.folder / f"of {processes}" / name
        assert json.loads((out / "result.json").read_text()) == results[0][name]
        config = (out / "config.yaml").read_text()
        assert f"devices: {processes}\n" in config
        with (out / "metrics.csv").open(newline="") as file:
            epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
        assert epochs == list(range(len(epochs)))


@pytest.mark.parametrize("processes", COUNTS)
def test_a_mistake_is_the_same_in_every_process(together: Together, processes: int) -> None:
    for result in together.results(processes):
        assert result["at once"] == (
            "found --method at-once, which one process does alone, expected --devices 1 and no launcher"
        )
        assert "another exists and is not a run of fasthebb: choose another --out" in result["another"]


# --- started by the command itself ------------------------------------------------------------------------------------

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SMALL = ["--width", "0.1", "--hidden", "16", "--image-size", "24", "--batch-size", "4", "--logger", "none"]


def start(prefix: list[str], out: Path, *options: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, *prefix, "-m", "fasthebb.cli", "pretrain", "--out", str(out), *SMALL, *options]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=out.parent
    )


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    while not (found := condition()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    return found


def children(pid: int) -> dict[str, int]:
    """Process ids by rank."""
    found = {}
    for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        environment = Path(f"/proc/{name}/environ").read_bytes().decode().split("\0")
        ranks = [one.partition("=")[2] for one in environment if one.startswith("RANK=")]
        found |= {rank: int(name) for rank in ranks}
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_killed_process_is_named_and_ends_the_others_and_torchrun_goes_on(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    write_images(images, 40)
    how = ["--data", str(images), "--epochs", "12"]
    process = start([], out, *how, "--devices", "2")
    try:
        wait_for((out / "metrics.csv").exists, process)
        ranks = children(process.pid)
        os.kill(ranks["1"], signal.SIGKILL)
        began = time.monotonic()
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert time.monotonic() - began < 40
    assert process.returncode == 1
    said = [line for line in error.splitlines() if line.startswith("fasthebb: ")]
    assert len(said) == 1
    assert "process 1 of 2 was ended by SIGKILL" in said[0]
    assert "the same command goes on from the last checkpoint" in said[0]
    assert "Traceback" not in error
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())

    again = start(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], out, *how)
    shown, error = again.communicate(timeout=250)
    assert again.returncode == 0, error
    assert shown.count("images to pre-train on") == 1  # one of them speaks
    epochs = [row.split(",")[0] for row in (out / "metrics.csv").read_text().splitlines()]
    assert epochs == ["epoch", *map(str, range(12))]
    alone = tmp_path / "alone"
    assert main(["pretrain", "--out", str(alone), *SMALL[:-4], "--batch-size", "8", "--logger", "none", *how]) == 0
    first, second = (SavedNetwork.load(where, "encoder.safetensors").tensors for where in (out, alone))
    for name, value in second.items():
        torch.testing.assert_close(first[name], value, rtol=1e-2, atol=1e-3)


# --- what is refused before any process is started --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["pretrain", "--devices", "0"], "found --devices 0 and --nodes 1, expected at least 1 of each"),
        (["pretrain", "--devices", "2", "--nodes", "2"], "use torchrun --nnodes 2 --nproc-per-node 2, or srun"),
        (["pretrain", "--devices", "2", "--method", "vae"], "found --method vae, which one process does alone"),
        (["finetune", "--devices", "2", "--ridge"], "found --ridge, which one process does alone"),
        (["pretrain", "--devices", "2", "--task", "segmentation"], "found --task segmentation, which one process does"),
    ],
)
def test_what_several_processes_cannot_do_is_said_in_one_line(
    options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--out", str(tmp_path / "out")]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_one_process_is_not_launched_nor_one_of_those_that_torchrun_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch(PretrainOptions(), []) is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch(PretrainOptions(devices=2), []) is None
    with pytest.raises(RunError, match="pretrain and finetune alone run on several processes"):
        launch(EvaluateOptions("runs/classifier"), [])


def test_slurm_counts_as_a_launcher_with_as_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert started_elsewhere(4)
    assert not started_elsewhere(2)
    monkeypatch.delenv("SLURM_NTASKS")
    assert not started_elsewhere(4)


@pytest.mark.parametrize(("devices", "nodes"), [(3, 1), (2, 2)])
def test_other_numbers_than_those_of_torchrun_are_refused(
    devices: int, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match="torchrun has started 2 processes on each of 1 nodes: leave the options out"):
        joined(PretrainOptions(devices=devices, nodes=nodes))
