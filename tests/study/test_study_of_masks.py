"""A study of segmentation: the paper's variants, settings that are searched for, cross-validation, a dry run."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fasthebb import SummedSWTA
from fasthebb.data import MaskedSet, load_masked
from fasthebb.runs import FinetuneOptions, RunError, finetune
from fasthebb.runs.segmentation.training import mask_folds
from fasthebb.study import StudyOptions, study
from fasthebb.study import search as search_module
from fasthebb.study.grid import make_grid, pretrain_options, pretrainings
from fasthebb.study.options import SEMI, resolved

SIDE = 20


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matters here is which trainings there are."""
    monkeypatch.setattr(import_module("fasthebb.runs.segmentation.pretrain"), "CROPS_AN_EPOCH", 20)
    monkeypatch.setattr(import_module("fasthebb.runs.segmentation.training"), "STEPS", 3)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Ten grey images of a bright square on noise, in images/ and masks/."""
    draw = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "squares" / kind).mkdir(parents=True)
    for number in range(10):
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        top, left = draw.integers(2, SIDE - 10, 2)
        mask[top : top + 8, left : left + 8] = True
        pixels = draw.integers(0, 80, (SIDE, SIDE)) + 120 * mask
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "squares" / "images" / f"{number}.png")
        Image.fromarray((255 * mask).astype(np.uint8)).save(tmp_path / "squares" / "masks" / f"{number}.png")
    return tmp_path / "squares"


@pytest.fixture
def small(squares: Path) -> StudyOptions:
    """Two methods and one amount of masks; a training takes a second."""
    return StudyOptions(
        data=str(squares),
        task="segmentation",
        methods=["none", "hpca"],
        labels=["4"],
        seeds=1,
        crop=16,
        depth=1,
        width=0.125,
        batch_size=4,
        epochs=1,
        pretrain_epochs=1,
    )


def test_the_papers_variants_are_a_preset_that_options_go_before(squares: Path) -> None:
    given = StudyOptions(data=str(squares), task="segmentation", preset="paper-segmentation", labels=["2"], seeds=1)
    options = resolved(given)
    assert options.readouts == ["finetune", *SEMI]
    assert (options.labels, options.batch_size, options.norm, options.lr) == (["2"], 2, "batch", 1e-3)
    assert resolved(replace(given, model="fcn_resnet50")).norm is None  # others have none to choose
    cells = make_grid(options, load_masked(squares, progress=False))
    asked = {one.method.name: pretrain_options(one, options) for one in pretrainings(cells)}
    assert set(asked) == {"vae", "summed_swta"}
    own = asked["summed_swta"]
    assert own.rule == SummedSWTA(inverse_temperature=50)
    assert (own.whiten, own.lr, own.fold, own.select, own.norms) == (False, 1e-6, True, "last", None)


def test_the_papers_rule_learns_and_is_compared(small: StudyOptions, tmp_path: Path) -> None:
    options = replace(small, preset="paper-segmentation", methods=["summed_swta"], readouts=["finetune"])
    (row,) = study(options, tmp_path / "out", progress=False)
    assert row["method"] == "summed_swta"
    learned = json.loads((tmp_path / "out" / "pretrained" / "summed_swta-s0" / "result.json").read_text())["layers"]
    changes = [value for name, value in learned.items() if name.endswith("relative_change")]
    assert len(changes) == 7
    assert min(changes) > 0


def test_a_study_may_be_scored_by_cross_validation_on_the_masks_alone(small: StudyOptions, tmp_path: Path) -> None:
    rows = study(replace(small, cv=2, labels=["1.0"]), tmp_path / "out", progress=False)
    assert [row["method"] for row in rows] == ["none", "hpca"]
    assert {row["labels"] for row in rows} == {10}  # none are held out
    result = json.loads((tmp_path / "out" / rows[0]["folder"] / "result.json").read_text())
    assert (result["scored_by"], result["test_images"], result["validation"]) == ("2-fold cross-validation", 0, None)
    assert 0 <= result["dice"] <= 100
    assert not (tmp_path / "out" / rows[0]["folder"] / "folds").exists()


def test_no_image_is_scored_by_a_network_that_has_seen_its_mask() -> None:
    images = [torch.zeros(1, 4, 4, dtype=torch.uint8)] * 7
    groups = ["a", "a", "a", "b", "b", "", ""]
    some = MaskedSet(images, [torch.zeros(4, 4, dtype=torch.uint8)] * 7, [str(row) for row in range(7)], groups)
    divided = list(mask_folds(some, 5, seed=0))
    assert len(divided) == 4  # as many as there are groups
    assert sorted(row for _, held_out in divided for row in held_out) == list(range(7))
    for rest, held_out in divided:
        assert not {groups[row] or row for row in rest} & {groups[row] or row for row in held_out}
    assert list(mask_folds(some, 5, seed=0)) == divided
    with pytest.raises(RunError, match="found 3 masks of one group, expected at least two"):
        list(mask_folds(some.subset([0, 1, 2]), 5, seed=0))


def test_a_single_fold_is_refused(squares: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(squares), task="segmentation", cv=1)
    with pytest.raises(RunError, match="found --cv 1, expected at least 2 folds"):
        finetune(options, tmp_path / "run", progress=False)


def test_a_search_looks_for_the_settings_with_masks_of_its_own_and_goes_on(
    small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "FOLDS", 2)
    options = replace(small, search=2, readouts=["finetune", "mean-teacher"])
    rows = study(options, tmp_path / "out", progress=False)
    assert len(rows) == 4
    for method, names in (("none", ["lr", "weight_decay"]), ("hpca", ["pretrain_lr", "lr", "weight_decay"])):
        trials = json.loads((tmp_path / "out" / "search" / method / "trials.json").read_text())
        assert [sorted(trial["params"]) for trial in trials] == [sorted(names)] * 2
        assert trials[0]["params"]["lr"] == 3e-3  # the usual first
        found = json.loads((tmp_path / "out" / "search" / method / "result.json").read_text())
        assert found["dice"] == max(trial["dice"] for trial in trials)
    monkeypatch.setattr(search_module, "_cross_validated", None)
    assert study(options, tmp_path / "out", progress=False) == rows


def test_a_learning_rate_of_sums_is_not_searched_among_those_of_means(
    small: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "FOLDS", 2)
    options = replace(small, preset="paper-segmentation", methods=["summed_swta"], readouts=["finetune"], search=1)
    assert len(study(options, tmp_path / "out", progress=False)) == 1
    trials = json.loads((tmp_path / "out" / "search" / "summed_swta" / "trials.json").read_text())
    assert sorted(trials[0]["params"]) == ["lr", "weight_decay"]


def test_a_dry_run_trains_nothing_and_says_how_long_each_readout_takes(
    small: StudyOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(small, methods=["none", "hpca", "vae"], readouts=["finetune", "cross-pseudo"], dry_run=True)
    assert study(options, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
    printed = capsys.readouterr().out
    for line in ("pre-training hpca", "pre-training vae", "none, 4 masks, cross-pseudo", "minutes"):
        assert line in printed
