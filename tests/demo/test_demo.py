import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fasthebb import HPCA
from fasthebb.data import ImageData, Preprocessing, load_images
from fasthebb.demo import DemoOptions, demo, experiment
from fasthebb.demo.experiment import Cell, pretrained_features, run_cell
from fasthebb.demo.recipes import IMAGE_SIZE, RECIPES, Recipe
from fasthebb.demo.report import Report

LABELS = (1, 2)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch a phase and two columns instead of three."""
    monkeypatch.setattr(experiment, "RECIPES", [replace(r, epochs=1, pretrain_epochs=1) for r in RECIPES])
    monkeypatch.setattr(experiment, "LABELS_A_CLASS", LABELS)


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_images("digits", image_size=IMAGE_SIZE, progress=False)


def named(name: str) -> Recipe:
    return next(recipe for recipe in experiment.RECIPES if recipe.name == name)


def test_prints_the_table_and_writes_a_page_that_needs_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = demo(DemoOptions(seeds=2), tmp_path / "demo")
    printed = " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "demo" / "report.html").read_text()
    assert printed.startswith("Look at")
    for row in result["rows"]:
        first = f"{row['top1'][1][0]:.1f} ± {row['top1'][1][1]:.1f}"
        assert first in printed
        assert first in page
        scores = [cell["top1"][1] for cell in result["cells"] if cell["recipe"] == row["recipe"]]
        assert len(scores) == 2
        assert row["top1"][1][0] == pytest.approx(sum(scores) / 2)
    for sentence in result["sentences"]:
        assert sentence in page
        assert sentence in printed
    assert page.count("data:image/png;base64,") == 4  # accuracy; filters before learning, of HPCA and of SWTA
    assert not re.search(r"""(src|href)=(?!["']?data:)""", page)
    assert (tmp_path / "demo" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping_after(limit: int) -> Callable[..., Iterator[Cell]]:
        def run(wanted: Sequence[tuple[Recipe, int]], data: ImageData, labels: Sequence[int]) -> Iterator[Cell]:
            for done, (recipe, seed) in enumerate(wanted):
                if done == limit:
                    raise KeyboardInterrupt
                yield run_cell(recipe, seed, data, labels)

        return run

    monkeypatch.setattr(experiment, "run_cells", stopping_after(len(RECIPES)))
    whole = demo(DemoOptions(seeds=1), tmp_path / "whole", progress=False)
    monkeypatch.setattr(experiment, "run_cells", stopping_after(2))
    with pytest.raises(KeyboardInterrupt):
        demo(DemoOptions(seeds=1), tmp_path / "parts", progress=False)
    monkeypatch.setattr(experiment, "run_cells", stopping_after(len(RECIPES) - 2))
    parts = demo(DemoOptions(seeds=1), tmp_path / "parts", progress=False)
    assert [cell["top1"] for cell in parts["cells"]] == [cell["top1"] for cell in whole["cells"]]
    monkeypatch.setattr(experiment, "run_cells", stopping_after(0))
    again = demo(DemoOptions(seeds=1), tmp_path / "parts", progress=False)
    assert json.dumps(again["cells"]) == json.dumps(parts["cells"])


def test_the_control_only_adapts_its_batch_norms(digits: ImageData) -> None:
    plain = Preprocessing.fit(digits.unlabelled.images, whiten=False)
    control = pretrained_features(named("HPCA control"), 3, digits, plain)
    learned = pretrained_features(named("HPCA + backprop"), 3, digits, plain)
    torch.manual_seed(3)
    initial = experiment._network(named("HPCA + backprop"), digits).features.state_dict()
    assert torch.equal(control["conv1.weight"], initial["conv1.weight"])
    assert not torch.equal(learned["conv1.weight"], initial["conv1.weight"])
    means = [name for name in initial if name.endswith("running_mean")]
    assert means
    for name in means:
        assert not torch.equal(control[name], initial[name])


def test_only_the_named_layers_learn(digits: ImageData) -> None:
    plain = Preprocessing.fit(digits.unlabelled.images, whiten=False)
    recipe = replace(named("HPCA + backprop"), layers=("conv2",))
    learned = pretrained_features(recipe, 0, digits, plain)
    torch.manual_seed(0)
    initial = experiment._network(recipe, digits).features.state_dict()
    moved = {name for name in initial if name.endswith("weight") and not torch.equal(initial[name], learned[name])}
    assert {name for name in moved if not name.startswith("bn")} == {"conv2.weight"}


def report(backprop: list[float], control: list[float], learned: list[float]) -> Report:
    rule = Recipe("rule", rule=HPCA())
    recipes = [Recipe("plain"), rule.control(), rule]
    cells = [
        Cell(recipe.name, seed, {1: score}, 0.0, 1.0)
        for recipe, scores in zip(recipes, (backprop, control, learned), strict=True)
        for seed, score in enumerate(scores)
    ]
    return Report(recipes, cells, (1,), {}, "")


def test_the_sentence_says_by_how_much_it_helps() -> None:
    assert report([50, 52, 54], [40, 42, 44], [60, 62, 64]).sentences() == [
        "rule, 1 a class: +10.0 ± 0.0 points against plain, +20.0 ± 0.0 points against rule control."
    ]


def test_the_sentence_says_when_it_does_not_help() -> None:
    [sentence] = report([50, 52, 54], [60, 62, 64], [45, 47, 49]).sentences()
    assert "-5.0 ± 0.0 points against plain, -15.0 ± 0.0 points against rule control" in sentence


def test_the_sentence_says_when_it_may_be_chance() -> None:
    [sentence] = report([50, 50, 50], [40, 50, 60], [40, 51, 62]).sentences()
    assert "against plain (may be chance), +1.0" in sentence
    assert "against rule control (may be chance)" in sentence
