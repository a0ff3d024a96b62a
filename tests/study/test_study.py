"""A study as its user sees it: cells that are finished once, whatever happens."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock

import fasthebb
from fasthebb.data import DataError, ImageData, ImageSet
from fasthebb.runs import RunError, SavedNetwork
from fasthebb.study import StudyOptions, study
from fasthebb.study import search as search_module
from fasthebb.study import work as work_module
from fasthebb.study.folder import StudyFolder
from fasthebb.study.grid import finetune_options, make_grid, pretrain_options, pretrainings
from fasthebb.study.methods import method_named
from fasthebb.study.options import resolved
from fasthebb.study.work import Worker


def labelled(count: int, classes: int) -> ImageData:
    """Images of which only the labels matter."""
    images = torch.zeros(count, 1, 1, 1, dtype=torch.uint8)
    every = ImageSet(images, torch.arange(count) % classes, [str(row) for row in range(count)])
    return ImageData(every, every, every, every, [str(one) for one in range(classes)], [], "nothing")


MANY = labelled(1000, 10)
Run = Callable[..., Any]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the runs that are really done."""
    done: list[str] = []

    def counting(run: Run) -> Run:
        def wrapped(options: Any, out: Path, **more: Any) -> Any:
            done.append("/".join(out.parts[-4:] if "cells" in out.parts else out.parts[-2:]))
            return run(options, out, **more)

        return wrapped

    monkeypatch.setattr(work_module, "pretrain", counting(work_module.pretrain))
    monkeypatch.setattr(work_module, "finetune", counting(work_module.finetune))
    return done


def test_every_cell_is_in_the_summary_and_each_pretraining_is_done_once(
    small: StudyOptions, tmp_path: Path, counted: list[str]
) -> None:
    finished = study(small, tmp_path / "out", progress=False)
    assert finished == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert json.loads((tmp_path / "out" / "failed.json").read_text()) == []
    assert {(row["method"], row["amount"], row["seed"]) for row in finished} == {
        (method, amount, seed) for method in ("none", "hpca") for amount in ("3", "0.5") for seed in (0, 1)
    }
    for row in finished:
        assert row["labels"] == row["labels_spent"] == {"3": 3, "0.5": 9}[row["amount"]]
        assert 0 <= row["top1"] <= 100
        assert row["finetune_epochs"] == 2
        assert (row["pretrain_seconds"] > 0) == (row["method"] == "hpca")
        assert not (tmp_path / "out" / row["folder"] / "classifier.safetensors").exists()
    assert not list((tmp_path / "out").rglob("*.ckpt"))
    assert sorted(name for name in counted if name.startswith("pretrained")) == [
        "pretrained/hpca-s0",
        "pretrained/hpca-s1",
    ]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Images that excite neurons of dense5 most" in page


def test_a_finished_study_is_not_done_again_and_a_grown_one_does_what_is_new(
    small: StudyOptions, tmp_path: Path, counted: list[str]
) -> None:
    before = study(small, tmp_path / "out", progress=False)
    counted.clear()
    assert study(small, tmp_path / "out", progress=False) == before
    assert counted == []
    after = study(replace(small, methods=["none", "random"], seeds=1), tmp_path / "out", progress=False)
    assert [name for name in counted if "none" in name] == []
    assert counted[0] == "pretrained/random-s0"
    assert {row["method"] for row in after} == {"none", "random"}


@pytest.mark.parametrize("where", ["pretrain", "finetune"])
def test_an_interrupted_study_goes_on_where_it_was(
    small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str], where: str
) -> None:
    real, calls = getattr(work_module, where), []

    def interrupted(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(work_module, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(small, tmp_path / "out", progress=False)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")}
    assert finished
    monkeypatch.setattr(work_module, where, real)
    assert len(study(small, tmp_path / "out", progress=False)) == 8
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items())


def test_a_failed_cell_is_recorded_and_tried_again_by_the_next_call(
    small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work_module.pretrain

    def failing(options: Any, out: Path, **more: Any) -> Any:
        if options.seed == 1:
            raise fasthebb.NonFiniteError("the update of layer 'conv1'\nis no longer finite")
        return real(options, out, **more)

    monkeypatch.setattr(work_module, "pretrain", failing)
    finished = study(small, tmp_path / "out", progress=False)
    failed = json.loads((tmp_path / "out" / "failed.json").read_text())
    assert len(finished) == 6
    assert [(row["method"], row["seed"]) for row in failed] == [("hpca", 1), ("hpca", 1)]
    assert failed[0]["error"].startswith("its pre-training failed: NonFiniteError: the update of layer 'conv1' is no")
    monkeypatch.setattr(work_module, "pretrain", real)
    assert len(study(small, tmp_path / "out", progress=False)) == 8
    assert json.loads((tmp_path / "out" / "failed.json").read_text()) == []


def test_whatever_a_rule_of_the_users_own_raises_fails_its_cells_alone(
    small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: Any, synapse: Any, x: Any, s: Any) -> Any:
        return {}["nothing"]

    monkeypatch.setattr(fasthebb.Oja, "sums", wrong)
    finished = study(replace(small, methods=["oja", "none"], seeds=1), tmp_path / "out", progress=False)
    assert {row["method"] for row in finished} == {"none"}
    failed = json.loads((tmp_path / "out" / "failed.json").read_text())
    assert [row["error"] for row in failed] == ["its pre-training failed: KeyError: 'nothing'"] * 2
    kept = json.loads((tmp_path / "out" / "pretrained" / "oja-s0" / "error.json").read_text())
    assert 'return {}["nothing"]' in kept["trace"]


def test_a_change_of_what_a_cell_is_is_refused_by_name(small: StudyOptions, tmp_path: Path) -> None:
    study(replace(small, seeds=1, methods=["none"]), tmp_path / "out", progress=False)
    before = (tmp_path / "out" / "config.yaml").read_text()
    with pytest.raises(RunError, match=r"--lr is 0\.003, asked for 0\.1"):
        study(replace(small, lr=0.1), tmp_path / "out", progress=False)
    with pytest.raises(RunError, match="--preset was left out, asked for paper-cifar10"):
        study(replace(small, preset="paper-cifar10"), tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "config.yaml").read_text() == before


def test_a_study_of_an_earlier_version_goes_on_without_the_options_that_it_did_not_know(
    small: StudyOptions, tmp_path: Path, counted: list[str]
) -> None:
    few = replace(small, seeds=1, methods=["none"], labels=["3"])
    study(few, tmp_path / "out", progress=False)
    for config in (tmp_path / "out").rglob("config.yaml"):
        kept = yaml.safe_load(config.read_text())
        config.write_text(yaml.safe_dump({name: value for name, value in kept.items() if name != "cv"}))
    next((tmp_path / "out" / "cells").rglob("result.json")).unlink()
    counted.clear()
    assert len(study(few, tmp_path / "out", progress=False)) == 1
    assert len(counted) == 1
    with pytest.raises(RunError, match="--cv is 0, asked for 3"):
        study(replace(few, cv=3), tmp_path / "out", progress=False)


def test_a_folder_of_something_else_is_refused(small: StudyOptions, tmp_path: Path) -> None:
    study(replace(small, seeds=1, methods=["none"], labels=["3"]), tmp_path / "out", progress=False)
    (tmp_path / "out" / "study.json").write_text('{"format": 99, "fasthebb": "7.0"}')
    with pytest.raises(RunError, match=r"made by fasthebb 7\.0 in the format 99, this is fasthebb"):
        study(small, tmp_path / "out", progress=False)
    config = tmp_path / "out" / "config.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "command": "pretrain"}))
    with pytest.raises(RunError, match="is not of a study of fasthebb"):
        study(small, tmp_path / "out", progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.txt").write_text("mine")
    with pytest.raises(RunError, match="exists and is not a study"):
        study(small, tmp_path / "other", progress=False)


def test_a_result_that_was_cut_short_is_made_again(small: StudyOptions, tmp_path: Path, counted: list[str]) -> None:
    few = replace(small, methods=["none"], seeds=1)
    before = study(few, tmp_path / "out", progress=False)
    cut = tmp_path / "out" / before[0]["folder"] / "result.json"
    cut.write_text(cut.read_text()[:40])
    counted.clear()
    with pytest.warns(UserWarning, match=r"result\.json is damaged: its last step is done again"):
        after = study(few, tmp_path / "out", progress=False)
    assert len(counted) == 1
    assert [row["top1"] for row in after] == [row["top1"] for row in before]


def test_more_labels_than_there_are_are_refused_before_anything_is_done(small: StudyOptions, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asked for 400 labels, there are 18"):
        study(replace(small, labels=["3", "400"]), tmp_path / "out", progress=False)
    with pytest.raises(DataError, match="expected at least one a class"):
        study(replace(small, labels=["0.01"]), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["none", "hcpa"]}, "unknown rule 'hcpa': did you mean hpca"),
        ({"methods": ["none", "none"]}, "each once"),
        ({"methods": ["none@conv1"]}, "expected them behind a rule only"),
        ({"methods": ["a b"]}, "found the method 'a b', expected one of none, none-tuned, random"),
        ({"methods": ["weights"]}, "starts from a file: give --weights FILE"),
        ({"methods": ["none+hybrid"]}, "expected them behind a rule only"),
        ({"methods": ["hybrid"]}, r"hpca\+hybrid"),
        ({"methods": ["none+at-once"]}, "expected them behind a rule only"),
        ({"methods": ["wta@conv1+at-once"]}, "at once all of them learn"),
        ({"methods": ["global_guided+at-once"]}, "uses the gradient"),
        ({"methods": ["global_guided@conv1"]}, "uses the gradient"),
        ({"methods": ["global_guided"], "readouts": ["probe"]}, "give --readouts finetune"),
        ({"readouts": ["ridge"], "search": 3}, "a learning rate to look for"),
        ({"seeds": 0}, "found --seeds 0, expected at least 1"),
    ],
)
def test_mistakes_are_told_at_once(small: StudyOptions, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(replace(small, **options), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_two_workers_never_do_the_same_cell(small: StudyOptions, tmp_path: Path, counted: list[str]) -> None:
    options = resolved(replace(small, methods=["none"], labels=["3"]))
    cells = make_grid(options, labelled(18, 3))
    folder = StudyFolder(tmp_path / "out", options)
    worker = Worker(folder, options, _data(options), cells, progress=False)
    taken = folder.lock(cells[0])
    Path(taken.lock_file).parent.mkdir()
    with taken:
        assert worker._attempt(cells[0]) == "busy"
        assert worker._attempt(cells[1]) == "done"
    assert worker._attempt(cells[0]) == "done"
    assert len(counted) == 2


def _hold(lock_file: str, held: Any) -> None:
    with FileLock(lock_file):
        held.set()
        time.sleep(60)


def test_the_cell_of_a_killed_worker_is_taken_over(small: StudyOptions, tmp_path: Path) -> None:
    options = resolved(replace(small, methods=["none"], labels=["3"], seeds=1))
    cell = make_grid(options, labelled(18, 3))[0]
    folder = StudyFolder(tmp_path / "out", options)
    lock = folder.lock(cell)
    Path(lock.lock_file).parent.mkdir()
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=_hold, args=(lock.lock_file, held))
    other.start()
    assert held.wait(60)
    worker = Worker(folder, options, _data(options), [cell], progress=False)
    assert worker._attempt(cell) == "busy"
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert worker._attempt(cell) == "done"


def test_workers_side_by_side_finish_the_study(small: StudyOptions, tmp_path: Path) -> None:
    alone = study(small, tmp_path / "alone", progress=False)
    together = study(replace(small, jobs=2), tmp_path / "together", progress=False)
    assert [(row["folder"], row["top1"]) for row in together] == [(row["folder"], row["top1"]) for row in alone]


def test_a_dry_run_trains_nothing_and_says_how_long_it_takes(
    small: StudyOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(replace(small, methods=["none", "hpca", "vae"], dry_run=True), tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
    printed = capsys.readouterr().out
    for line in ("pre-training hpca", "pre-training vae", "none, 3 labels", "minutes"):
        assert line in printed


def test_few_labelled_images_are_seen_more_often() -> None:
    wanted = StudyOptions(methods=["none"], labels=["0.1", "0.5"], seeds=1, readouts=["finetune", "probe"])
    cells = make_grid(resolved(wanted), MANY)
    assert {cell.labels for cell in cells} == {len(MANY.train) // 10, len(MANY.train) // 2}
    for cell in cells:
        usual = finetune_options(cell, resolved(wanted)).epochs
        assert usual == (200 if cell.readout == "finetune" else 20)  # few, both of them
        assert finetune_options(cell, resolved(replace(wanted, epochs=7))).epochs == 7
        assert finetune_options(cell, resolved(replace(wanted, epochs=7)), stretch=2.0).epochs == 14
        assert finetune_options(cell, resolved(replace(wanted, preset="paper-cifar10"))).epochs == 20


def test_the_grid_has_whole_seeds_and_draws_of_few_labels_only() -> None:
    options = resolved(StudyOptions(methods=["none", "swta"], labels=["0.05", "0.5"], seeds=2, draws=3))
    cells = make_grid(options, MANY)
    assert len(cells) == 2 * 2 * (3 + 1)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    draws = {name: {cell.draw_seed for cell in cells if cell.method.name == name} for name in ("none", "swta")}
    assert draws["none"] == draws["swta"] == {0, 1, 2, 1000, 1001, 1002}
    assert len(pretrainings(cells)) == 2


def test_a_method_says_how_it_pretrains() -> None:
    methods = ["random", "hpca@conv1/conv3", "hpca@all", "vae", "oja", "swta", "hpca+whiten"]
    options = resolved(StudyOptions(methods=methods))
    found = {one.method.name: pretrain_options(one, options) for one in pretrainings(make_grid(options, MANY))}
    assert (found["random"].lr, found["random"].epochs) == (0.0, 1)
    assert [found[name].layers for name in methods[:4]] == [["conv1", "conv2"], ["conv1", "conv3"], ["all"], []]
    assert found["swta"].layers == ["conv1"]
    paper = resolved(StudyOptions(preset="paper-cifar10"))
    assert {tuple(pretrain_options(one, paper).layers) for one in pretrainings(make_grid(paper, MANY))} == {("all",)}
    assert (found["vae"].method, found["vae"].lr) == ("vae", None)
    assert found["oja"].rule == fasthebb.Oja()
    assert [found[name].whiten for name in ("swta", "oja", "hpca+whiten")] == [True, False, True]
    assert method_named("none+whiten").kind == "none"


def test_a_rule_may_learn_at_once() -> None:
    options = resolved(StudyOptions(methods=["wta+at-once", "sanger+hybrid+at-once+whiten"], pretrain_lr=0.1))
    one, other = [pretrain_options(one, options) for one in pretrainings(make_grid(options, MANY))][:2]
    assert (one.method, one.rule, one.whiten, one.lr, one.epochs) == ("at-once", fasthebb.WTA(), False, None, None)
    assert (other.method, other.whiten) == ("at-once", True)
    assert isinstance(method_named("sanger+hybrid+at-once").beside, fasthebb.Hybrid)


def test_what_learns_at_once_is_a_method_like_the_others(
    small: StudyOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(
        small,
        methods=["none", "random+at-once", "wta+at-once"],
        labels=["0.5"],
        seeds=1,
        model="triangle2",
        hidden=None,
    )
    options = replace(options, readouts=["ridge"], width=0.02)
    dry = replace(options, readouts=["ridge", "student"], dry_run=True)
    assert study(dry, tmp_path / "out") == []
    assert "students" in capsys.readouterr().out
    rows = study(options, tmp_path / "out", progress=False)
    assert [row["method"] for row in rows] == ["none", "random+at-once", "wta+at-once"]
    assert rows[2]["pretrain_epochs"] == 0 < rows[2]["pretrain_seconds"]


def test_every_readout_has_its_place_in_the_report(small: StudyOptions, tmp_path: Path) -> None:
    options = replace(small, readouts=["finetune", "probe", "taught", "ridge", "student"], labels=["0.5"], seeds=1)
    rows = study(options, tmp_path / "out", progress=False)
    assert len(rows) == 10
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(name in page for name in ("probe on frozen", "taught by a rule", "ridge regression", "student of"))


def test_a_rule_and_its_control_have_the_same_network(small: StudyOptions, tmp_path: Path) -> None:
    options = replace(small, methods=["random", "hpca", "random+whiten", "swta"], labels=["0.5"], seeds=1)
    study(options, tmp_path / "out", progress=False)

    def network(method: str) -> SavedNetwork:
        return SavedNetwork.load(tmp_path / "out" / "pretrained" / f"{method}-s0", "encoder.safetensors")

    for control, method in (("random", "hpca"), ("random+whiten", "swta")):
        assert network(control).model == network(method).model
        assert (network(control).preprocessing.whitening is None) == (network(method).preprocessing.whitening is None)
    assert network("hpca").model != network("swta").model


def test_rules_may_go_on_beside_backprop(small: StudyOptions, tmp_path: Path) -> None:
    options = replace(small, methods=["hpca", "hpca+hybrid", "global_guided"], labels=["0.5"], seeds=1)
    rows = study(options, tmp_path / "out", progress=False)
    assert [row["method"] for row in rows] == ["hpca", "hpca+hybrid", "global_guided"]
    assert [row["pretrain_seconds"] > 0 for row in rows] == [True, True, False]
    rules = [yaml.safe_load((tmp_path / "out" / row["folder"] / "config.yaml").read_text())["rule"] for row in rows]
    assert rules[0] is None
    assert rules[1]["class_path"].endswith("Hybrid")
    assert rules[1]["init_args"]["rule"]["init_args"]["max_lr"] == 0.1
    assert rules[2]["class_path"].endswith("GlobalGuided")


def test_the_papers_protocol_divides_by_norms_in_fine_tuning_and_ends_in_a_plain_network(
    small: StudyOptions, tmp_path: Path
) -> None:
    options = replace(
        small,
        preset="paper-cifar10",
        methods=["swta"],
        labels=["1.0"],
        seeds=1,
        select="last",
        pretrain_epochs=1,
        keep=True,
    )
    assert resolved(options).lr == 1e-3
    row = study(options, tmp_path / "out", progress=False)[0]
    encoder = SavedNetwork.load(tmp_path / "out" / "pretrained" / "swta-s0", "encoder.safetensors")
    assert encoder.normalised() == ["conv1", "conv2", "conv3", "conv4", "dense5"]
    raw = encoder.tensors["features.conv1.weight"].flatten(1).norm(dim=1)
    assert not torch.allclose(raw, torch.ones(len(raw)), atol=1e-3)
    classifier = SavedNetwork.load(tmp_path / "out" / row["folder"], "classifier.safetensors")
    folded = classifier.tensors["features.conv1.weight"].flatten(1).norm(dim=1)
    torch.testing.assert_close(folded, torch.ones(len(folded)))
    assert classifier.model["plain_norms"] is False
    assert (row["labels"], row["labels_spent"]) == (18, 24)  # the validation images chose the pre-training's epoch


def test_tuned_backprop_trains_as_long_as_the_costliest_method(
    small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(run: Run, name: str, seconds: float) -> Run:
        def wrapped(options: Any, out: Path, **more: Any) -> Any:
            result = run(options, out, **more)
            (out / "result.json").write_text(json.dumps({**result, name: seconds}))

        return wrapped

    monkeypatch.setattr(work_module, "pretrain", timed(work_module.pretrain, "pretrain_seconds", 50.0))
    monkeypatch.setattr(work_module, "finetune", timed(work_module.finetune, "finetune_seconds", 20.0))
    options = replace(small, methods=["none-tuned", "none", "hpca"], labels=["3"], seeds=1)
    rows = {row["method"]: row for row in study(options, tmp_path / "out", progress=False)}
    assert rows["none"]["finetune_epochs"] == 2
    assert rows["none-tuned"]["finetune_epochs"] == round(2 * (50 + 20) / 20)
    with pytest.raises(ValueError, match="add 'none' and one that pre-trains"):
        study(replace(options, methods=["none-tuned", "hpca"]), tmp_path / "other", progress=False)


def test_a_search_settles_each_method_before_its_cells(small: StudyOptions, tmp_path: Path) -> None:
    options = replace(small, search=3, labels=["0.9", "0.5"], seeds=1)
    study(options, tmp_path / "out", progress=False)
    for method, searched in (("none", {"lr", "weight_decay"}), ("hpca", {"lr", "weight_decay", "pretrain_lr"})):
        trials = json.loads((tmp_path / "out" / "search" / method / "trials.json").read_text())
        best = json.loads((tmp_path / "out" / "search" / method / "result.json").read_text())
        assert len(trials) == best["trials"] == 3
        assert all(set(trial["params"]) == searched for trial in trials)
        assert trials[0]["params"]["lr"] == 3e-3
        assert len({trial["params"]["lr"] for trial in trials}) == 3
        assert best["top1"] == max(trial["top1"] for trial in trials)
        cell = yaml.safe_load((tmp_path / "out/cells" / method / "0.5/finetune-s0-d0/config.yaml").read_text())
        assert cell["lr"] == best["params"]["lr"]
        assert cell["weight_decay"] == best["params"]["weight_decay"]
    before = yaml.safe_load((tmp_path / "out/pretrained/hpca-s0/config.yaml").read_text())
    assert before["lr"] == best["params"]["pretrain_lr"]


def test_a_search_for_a_probe_starts_from_the_probes_own_settings(small: StudyOptions, tmp_path: Path) -> None:
    options = replace(small, methods=["none"], readouts=["probe"], search=1, labels=["0.9"], seeds=1)
    study(options, tmp_path / "out", progress=False)
    trials = json.loads((tmp_path / "out" / "search" / "none" / "trials.json").read_text())
    assert trials[0]["params"] == {"lr": 3e-3, "weight_decay": 5e-4}


def test_a_search_goes_on_where_it_was(small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([50.0, 70.0, KeyboardInterrupt(), 60.0, 40.0])

    def scored(*_: Any) -> float:
        value = next(values)
        if isinstance(value, BaseException):
            raise value
        return value

    monkeypatch.setattr(search_module, "_cross_validated", scored)
    options = replace(small, methods=["none"], search=4, seeds=1, labels=["3"])
    with pytest.raises(KeyboardInterrupt):
        study(options, tmp_path / "out", progress=False)
    study(options, tmp_path / "out", progress=False)
    trials = json.loads((tmp_path / "out" / "search" / "none" / "trials.json").read_text())
    assert [trial["top1"] for trial in trials] == [50.0, 70.0, 60.0, 40.0]
    assert len({trial["params"]["lr"] for trial in trials}) == 4


def _data(options: StudyOptions) -> Any:
    from fasthebb.data import load_images

    return load_images(options.data, image_size=24, progress=False)
