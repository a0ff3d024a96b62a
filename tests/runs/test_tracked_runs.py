import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fasthebb.cli import main
from fasthebb.data import load_images
from fasthebb.runs import FinetuneOptions, PretrainOptions, finetune, pretrain
from fasthebb.study import StudyOptions
from fasthebb.study.grid import finetune_options, make_grid, pretrain_options, pretrainings
from fasthebb.study.options import resolved
from tests.runs.conftest import SMALL

PAGE = Path(__file__).parents[2] / "docs" / "tracking.md"


def tags(run: Path) -> set[str]:
    """What TensorBoard shows of a run, with LAYER in the place of a layer's name."""
    events = EventAccumulator(str(run / "tracking"))
    events.Reload()
    found = {tag for kind in ("scalars", "images", "histograms") for tag in events.Tags()[kind]}
    return {re.sub(r"^(layer|weights|outputs|winners|filters)/[^/]+", r"\1/LAYER", tag) for tag in found}


def table() -> Iterator[tuple[set[str], set[str]]]:
    """The names in the first column of the page's table, and the commands in the last."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            columns = line.strip("| ").split("|")
            yield set(re.findall(r"`([^`]+)`", columns[0])), set(re.findall(r"`([^`]+)`", columns[-1]))


def documented(run: str) -> set[str]:
    return {name for names, runs in table() for name in names if run in runs}


def test_the_page_names_what_runs_log(encoder: Path, finetune_options: FinetuneOptions, tmp_path: Path) -> None:
    finetune(replace(finetune_options, epochs=1, select="validation"), tmp_path / "out", progress=False)
    assert tags(encoder) == documented("pretrain")
    assert tags(tmp_path / "out") | {"progress/loss"} == documented("finetune")  # which epochs of 50 steps have


def test_without_a_logger_only_the_table_is_left(pretrain_options: PretrainOptions, tmp_path: Path) -> None:
    pretrain(replace(pretrain_options, logger="none"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "tracking").exists()
    assert (tmp_path / "run" / "metrics.csv").is_file()


def test_the_command_line_takes_a_logger_with_its_options(by_class: Path, tmp_path: Path) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    logger = ["--logger", "lightning.pytorch.loggers.CSVLogger", "--logger-options.name", "ants"]
    assert main(["pretrain", "--data", str(by_class), "--out", str(tmp_path / "run"), *options, *logger]) == 0
    assert "weights/conv1/change" in next((tmp_path / "run" / "tracking" / "ants").rglob("metrics.csv")).read_text()
    known = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (known["logger"], known["logger_options"]) == (logger[1], {"name": "ants"})


def test_a_wrong_logger_is_said_before_images_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("pretrain", "finetune"):
        assert main([command, "--data", "no/such/folder", "--out", str(tmp_path / "run"), "--logger", "wandb"]) == 2
        assert capsys.readouterr().err == (
            "fasthebb: --logger: found 'wandb', expected tensorboard, none, or the module.Class of a Lightning logger\n"
        )
    assert not (tmp_path / "run").exists()


def test_a_run_may_be_gone_on_with_under_another_logger(
    pretrain_options: PretrainOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(import_module("fasthebb.runs.pretrain"), "reestimate_batch_norm", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(pretrain_options, tmp_path / "run", progress=False)
    result = pretrain(replace(pretrain_options, logger="none"), tmp_path / "run", progress=False)
    assert result["epochs"] == 2


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_study_tracks_none_of_its_cells() -> None:
    options = resolved(StudyOptions(methods=["hpca"], labels=["20"], seeds=1))
    cells = make_grid(options, load_images("digits"))
    assert {finetune_options(cell, options).logger for cell in cells} == {"none"}
    assert {pretrain_options(one, options).logger for one in pretrainings(cells)} == {"none"}
