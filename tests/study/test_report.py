import base64
import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy import stats

from fasthebb.study.report import write_report

NONE = [35.0, 36.5, 34.0, 35.5, 36.0]
BETTER = [40.0, 41.0, 39.5, 41.5, 40.5]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def cells(method: str, scores: Sequence[float], amount: str = "0.01", labels: int = 400, **more: Any) -> list[dict]:
    """A cell for each score, with the seeds 0, 1, ..."""
    pretrained = method not in ("none", "weights")
    return [
        {
            "method": method,
            "labels": labels,
            "amount": amount,
            "seed": seed,
            "draw": 0,
            "readout": "finetune",
            "select": "last",
            "top1": score,
            "balanced_accuracy": score - 1,
            "macro_f1": score - 2,
            "pretrain_seconds": 750.0 if pretrained else 0,
            "finetune_seconds": 40.0,
            "pretrain_epochs": 5 if pretrained else 0,
            "finetune_epochs": 20,
            "folder": f"cells/{method}/{amount}/finetune-s{seed}-d0",
            **more,
        }
        for seed, score in enumerate(scores)
    ]


def study(folder: Path, summary: list[dict], failed: list[dict] | None = None) -> Path:
    """A folder as a study leaves it, without runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text("command: study\ndata: digits\nseeds: 5\n")
    if failed is not None:
        (folder / "failed.json").write_text(json.dumps(failed))
    return folder


class Page(HTMLParser):
    """The elements of a page, its texts, and what it embeds."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.data: dict[str, Any] = {}
        self.source = file.read_text()
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self._open.append(self.elements[-1])
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag, attributes in self._open:
            self.texts[tag][-1] += data
            if attributes.get("id") == "data":
                self.data = json.loads(data)

    @property
    def lead(self) -> str:
        """The headline of what is shown first."""
        found = re.search(r'<p class="lead">(.*?)</p>', self.source)
        assert found
        return found[1]


def reported(folder: Path, summary: list[dict], failed: list[dict] | None = None) -> Page:
    return Page(write_report(study(folder, summary, failed)))


def rows(folder: Path) -> dict[tuple[str, str, str, str], dict[str, str]]:
    """table.csv by read-out, measure, method and amount."""
    with (folder / "table.csv").open() as file:
        found = list(csv.DictReader(file))
    return {(row["readout"], row["measure"], row["method"], row["amount"]): row for row in found}


def test_the_headline_of_a_gain_has_its_interval_and_its_p(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", NONE) + cells("random", [30, 31, 29, 30, 31]) + cells("hpca", BETTER))
    low, high = stats.t.interval(0.95, 4, np.mean(BETTER), stats.sem(BETTER))
    p = stats.ttest_rel(BETTER, NONE).pvalue
    assert page.lead == (
        f"With 400 labels HPCA reaches 40.5 % (95 % interval {low:.1f} to {high:.1f}, 5 runs), "
        f"5.1 points above backprop alone, the best control; paired t-test p {'&lt; 0.001' if p < 0.001 else p}."
    )


def test_the_headline_corrects_for_the_choice_among_methods(tmp_path: Path) -> None:
    noisy = [38.0, 37.5, 37.0, 36.0, 39.0]
    page = reported(tmp_path, cells("none", NONE) + cells("hpca", noisy) + cells("swta", [20, 21, 22, 23, 24]))
    p = stats.ttest_rel(noisy, NONE).pvalue
    assert 0.01 < p < 0.025
    assert f"paired t-test p = {2 * p:.2g}, corrected for the choice among 2 methods." in page.lead


def test_the_headline_says_when_a_gain_may_be_chance(tmp_path: Path) -> None:
    noisy = [36.0, 35.5, 36.0, 35.0, 37.0]
    page = reported(tmp_path, cells("none", NONE) + cells("hpca", noisy))
    assert page.lead.startswith("With 400 labels no gain is certain: HPCA reaches 35.9 %")
    assert "0.5 points above backprop alone, the best control, which may be chance" in page.lead
    assert f"p = {stats.ttest_rel(noisy, NONE).pvalue:.2g}" in page.lead


def test_the_headline_says_when_a_control_is_better(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", NONE) + cells("random", BETTER) + cells("swta", NONE))
    assert page.lead.startswith(
        "With 400 labels pre-training does not help: random features, the best control, reaches 40.5 %"
    )
    assert "SWTA reaches 35.4 %" in page.lead
    assert "5.1 points below random features" in page.lead


def test_with_few_seeds_the_headline_claims_nothing(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", [35, 36, 35, 36]) + cells("hpca", [60, 61, 60, 62]))
    assert "25.2 points above backprop alone, the best control: too few seeds to tell" in page.lead
    assert "(4, at least 5 needed)" in page.lead
    assert "p =" not in page.lead
    assert "**" not in (tmp_path / "table.md").read_text()
    assert "mathbf" not in (tmp_path / "table.tex").read_text()
    assert "^{*}" not in (tmp_path / "table.tex").read_text()


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", [35.0]) + cells("hpca", [40.0]))
    assert "HPCA reaches 40.0 % (1 run, so there is no interval), 5.0 points above backprop alone" in page.lead
    assert "too few seeds to tell" in page.lead
    assert "nan" not in (tmp_path / "table.md").read_text() + (tmp_path / "table.csv").read_text()
    assert page.data["scores"][0][0][0][0]["half"] is None


def test_an_interval_ends_where_scores_end(tmp_path: Path) -> None:
    assert "(95 % interval 0.0 to 100.0, 2 runs)" in reported(tmp_path, cells("none", [30.0, 50.0])).lead


def test_a_single_method_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    page = reported(tmp_path / "rule", cells("hpca", BETTER))
    assert "HPCA reaches 40.5 %" in page.lead
    assert page.lead.endswith("there is no other method to compare it with.")
    page = reported(tmp_path / "control", cells("none", NONE))
    assert "backprop alone reaches 35.4 %" in page.lead
    assert page.lead.endswith("there is no other method to compare it with.")


def test_without_controls_or_without_candidates_the_headline_says_so(tmp_path: Path) -> None:
    page = reported(tmp_path / "rules", cells("hpca", BETTER) + cells("swta", NONE))
    assert "the highest of 2 methods; without a control" in page.lead
    page = reported(tmp_path / "controls", cells("none", NONE) + cells("random", BETTER))
    assert "random features reaches 40.5 %" in page.lead
    assert "there is no pre-training to compare them with" in page.lead


def test_methods_without_a_run_in_common_are_not_compared(tmp_path: Path) -> None:
    apart = [{**cell, "seed": cell["seed"] + 10} for cell in cells("hpca", BETTER)]
    page = reported(tmp_path, cells("none", NONE) + apart)
    assert "no run in common" in page.lead
    assert rows(tmp_path)["finetune", "top1", "hpca", "0.01"]["gain"] == ""


def test_equal_methods_are_level(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", [40 + 0.1 + 0.2] * 5) + cells("hpca", [40.3 + 1e-14] * 5))
    assert "level with backprop alone" in page.lead
    assert "may be chance" in page.lead


def test_there_is_a_finding_for_each_amount_and_measure(tmp_path: Path) -> None:
    more = cells("none", BETTER, "0.1", 4000) + cells("hpca", BETTER, "0.1", 4000)
    page = reported(tmp_path, more + cells("none", NONE) + cells("hpca", BETTER))
    assert page.lead.startswith("With 400 labels")
    assert any(text.startswith("With 4,000 labels no gain is certain") for text in page.texts["li"])
    assert "reaches 39.5 % balanced accuracy" in page.source
    assert "top-5" not in "".join(page.texts["option"])


def test_draws_are_averaged_within_a_seed_first(tmp_path: Path) -> None:
    draws = [[40.0, 44.0], [41.0, 43.0], [39.0, 39.0], [45.0, 41.0], [40.0, 42.0]]
    control = [[35.0, 36.0], [36.0, 36.0], [33.0, 39.0], [34.0, 33.0], [35.0, 40.0]]
    summary = []
    for draw in (0, 1):
        summary += cells("hpca", [pair[draw] for pair in draws], draw=draw)
        summary += cells("none", [pair[draw] for pair in control], draw=draw)
    page = reported(tmp_path, summary)
    ours, theirs = np.mean(draws, axis=1), np.mean(control, axis=1)
    row = rows(tmp_path)["finetune", "top1", "hpca", "0.01"]
    assert float(row["mean"]) == pytest.approx(np.mean(draws), abs=1e-3)
    low, high = stats.t.interval(0.95, 4, ours.mean(), stats.sem(ours))
    assert float(row["half_width_95"]) == pytest.approx((high - low) / 2, rel=1e-4)
    assert (row["seeds"], row["runs"], row["gain_seeds"]) == ("5", "10", "5")
    low, high = stats.t.interval(0.95, 4, (ours - theirs).mean(), stats.sem(ours - theirs))
    assert float(row["gain_half_width_95"]) == pytest.approx((high - low) / 2, rel=1e-4)
    assert float(row["gain_p"]) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-4)
    assert "5 seeds, 10 runs" in page.lead
    assert "averaged within a seed" in page.source


def test_a_gain_counts_only_the_runs_that_both_have(tmp_path: Path) -> None:
    control = [{**cell, "seed": cell["seed"] + 1} for cell in cells("none", [30, 31, 32, 33, 34, 35])]
    reported(tmp_path, control + cells("hpca", [90, 40, 41, 42, 43, 44]))
    row = rows(tmp_path)["finetune", "top1", "hpca", "0.01"]
    assert (float(row["gain"]), row["gain_seeds"]) == (10.0, "5")
    assert float(row["mean"]) == 50.0


def test_gains_are_over_the_best_control_of_each_column(tmp_path: Path) -> None:
    summary = cells("none", NONE) + cells("random", BETTER) + cells("hpca", [50.0] * 5)
    summary += cells("none", BETTER, "0.1", 4000) + cells("random", NONE, "0.1", 4000)
    summary += cells("hpca", [50.0] * 5, "0.1", 4000)
    reported(tmp_path, summary)
    found = rows(tmp_path)
    few, many = (found["finetune", "top1", "hpca", amount] for amount in ("0.01", "0.1"))
    assert (few["best_control"], many["best_control"]) == ("random", "none")
    assert float(few["gain"]) == float(many["gain"]) == 9.5
    assert found["finetune", "top1", "none", "0.01"]["gain"] == ""
    text = (tmp_path / "table.md").read_text()
    assert "| method | 400 (0.01), over random features | 4,000 (0.1), over backprop alone |" in text
    half = stats.t.ppf(0.975, 4) * stats.sem(BETTER)
    assert f"| HPCA | +9.5 ± {half:.1f} (p < 0.001)" in text


def test_the_best_is_bold_only_if_it_beats_the_second(tmp_path: Path) -> None:
    summary = cells("none", NONE) + cells("hpca", BETTER) + cells("swta", [41.0, 40.0, 40.0, 40.0, 41.0])
    summary += cells("none", NONE, "0.1", 4000) + cells("hpca", BETTER, "0.1", 4000)
    summary += cells("swta", NONE, "0.1", 4000)
    page = reported(tmp_path, summary)
    lines = (tmp_path / "table.md").read_text().splitlines()
    hpca = next(line for line in lines if line.startswith("| HPCA"))
    swta = next(line for line in lines if line.startswith("| SWTA"))
    assert re.fullmatch(r"\| HPCA \| 40\.5 ± 1\.0 \| \*\*40\.5 ± 1\.0\*\* \| 5 runs \|", hpca)
    assert "**" not in swta
    assert r"$40.5 \pm 1.0$ & $\mathbf{40.5 \pm 1.0}$" in (tmp_path / "table.tex").read_text()
    first = page.source.index("<tbody>")
    assert page.source[first : page.source.index("</tbody>")].count("<strong>") == 1
    found = rows(tmp_path)
    assert [found["finetune", "top1", "hpca", amount]["best"] for amount in ("0.01", "0.1")] == ["no", "yes"]


def test_readouts_and_measures_are_kept_apart(tmp_path: Path) -> None:
    probes = cells("none", [10.0] * 5, readout="probe", top5=50.0) + cells("hpca", [20.0] * 5, readout="probe")
    page = reported(tmp_path, cells("none", NONE) + cells("hpca", BETTER) + probes)
    found = rows(tmp_path)
    assert float(found["probe", "top1", "hpca", "0.01"]["gain"]) == 10.0
    assert float(found["finetune", "top1", "hpca", "0.01"]["gain"]) == pytest.approx(5.1)
    assert ("finetune", "top5", "none", "0.01") not in found
    assert found["probe", "top5", "none", "0.01"]["mean"] == "50"
    assert page.texts["option"][:4] == ["top-1 accuracy", "top-5 accuracy", "balanced accuracy", "macro F1"]
    assert "There is no top-5 accuracy for the read-out: fine-tuned." in page.source
    views = [a for _, a in page.elements if "data-measure" in a]
    assert len(views) == 2 * 2 * 4
    assert [(a["data-setting"], a["data-measure"]) for a in views if "hidden" not in a] == [("0", "0")] * 2


def test_epochs_chosen_in_several_ways_are_not_mixed(tmp_path: Path) -> None:
    other = cells("hpca", [10.0] * 5, select="validation", labels_spent=10400)
    page = reported(tmp_path, cells("hpca", BETTER) + other)
    assert "fine-tuned, last epoch" in page.texts["option"]
    assert "fine-tuned, validation epoch" in page.texts["option"]
    assert "HPCA reaches 40.5 %" in page.lead
    assert "a run on 400 labels spent 10,400" in page.source


def test_times_of_both_phases(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", NONE, finetune_seconds=3.21) + cells("hpca", BETTER))
    bodies = re.findall(r"<tbody>(.*?)</tbody>", page.source)
    texts = [re.sub(r"<[^>]+>", " ", body).split("  ") for body in bodies]
    speeds = next(" ".join(text) for text in texts if any("790 s" in part for part in text))
    assert re.sub(r"\s+", " ", speeds).strip() == (
        "backprop alone (control) – – 3.2 s 3.2 s HPCA 150 s 750 s 40 s 790 s"
    )
    assert page.data["scores"][0][0][1][0]["seconds"] == 790.0


def test_curves_are_averaged_over_runs(tmp_path: Path) -> None:
    summary = cells("none", [30.0, 31.0]) + cells("hpca", [40.0, 41.0])
    for cell, losses in zip(summary[2:], ([2.0, 1.0], [3.0, 2.0, 1.0]), strict=True):
        run = tmp_path / cell["folder"]
        run.mkdir(parents=True)
        lines = [f"{epoch},{loss},0.1,50" for epoch, loss in enumerate(losses)]
        (run / "metrics.csv").write_text("\n".join(["epoch,train_loss,lr,val_top1", *lines]))
    for seed, change in enumerate([0.5, 0.7]):
        run = tmp_path / f"pretrained/hpca-s{seed}"
        run.mkdir(parents=True)
        (run / "metrics.csv").write_text(
            f"epoch,layer/conv1/relative_change,layer/conv1/dead_neurons\n0,{change},0\n1,nan,0\n"
        )
    page = reported(tmp_path, summary)
    for amount in (0, 1):  # the only amount, and every amount
        nothing, loss = page.data["losses"][0][amount]
        assert nothing == {"x": [], "y": []}
        assert loss == {"x": [1, 2, 3], "y": [2.5, 1.5, 1.0]}
    [pretraining] = page.data["pretrainings"]
    assert pretraining["label"] == "HPCA"
    assert pretraining["lines"] == [{"name": "conv1", "x": [1], "y": [pytest.approx(0.6)]}]


def test_filters_of_the_first_layer_are_drawn(tmp_path: Path) -> None:
    weights = torch.zeros(20, 3, 5, 5)
    weights[0, 0] = 0.001  # red, however weak
    weights[1] = -7.0  # black
    run = tmp_path / "pretrained/hpca@conv1-conv2-s0"
    run.mkdir(parents=True)
    tensors = {
        "features.conv10.weight": torch.ones(4, 1, 3, 3),
        "features.conv2.weight": weights.bfloat16(),
        "features.conv1.weight": torch.ones(2, 2, 3, 3),
        "features.bn1.weight": torch.ones(3),
    }
    save_file(tensors, run / "encoder.safetensors")
    (tmp_path / "pretrained/swta-s0").mkdir()
    (tmp_path / "pretrained/swta-s0/encoder.safetensors").write_bytes(b"not weights")
    methods = ("none", "hpca@conv1/conv2", "random", "swta")
    page = reported(tmp_path, [cell for method in methods for cell in cells(method, [50.0])])
    [picture] = [attributes for tag, attributes in page.elements if tag == "img"]
    assert picture["alt"] == (
        "First layer after pre-training by HPCA on conv1/conv2: 20 filters of 5 x 5 colour pixels, seed 0"
    )
    png = base64.b64decode(str(picture["src"]).removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == (2 * 32 - 2, 16 * 32 - 2, 4)
    assert pixels[10, 10].tolist() == [255, 128, 128, 255]
    assert pixels[10, 42].tolist() == [0, 0, 0, 255]
    assert pixels[10, 74].tolist() == [128, 128, 128, 255]
    assert pixels[40, 300].tolist() == [0, 0, 0, 0]
    assert "random features (control): there is no encoder.safetensors." in page.source
    assert "SWTA: encoder.safetensors of seed 0 cannot be read." in page.source
    assert "backprop alone (control): there is no encoder" not in page.source


def test_cells_can_be_repeated(tmp_path: Path) -> None:
    summary = cells("none", [35.0, 36.0, 37.0])
    for cell, torch_version in zip(summary[:2], ("2.14.0", "2.14.1"), strict=True):
        run = tmp_path / cell["folder"]
        run.mkdir(parents=True)
        (run / "result.json").write_text(json.dumps({"versions": {"fasthebb": "0.1.0", "torch": torch_version}}))
    page = reported(tmp_path, summary)
    assert "fasthebb study --config config.yaml" in page.source
    assert "data: digits\nseeds: 5" in page.source
    for version in ("2.14.0", "2.14.1"):
        assert f"<li>fasthebb 0.1.0, torch {version}: 1 cell</li>" in page.source
        assert f"<td>fasthebb 0.1.0, torch {version}</td>" in page.source
    assert "<li>not recorded: 1 cell</li>" in page.source
    assert all(cell["folder"] in page.source for cell in summary)
    (tmp_path / "config.yaml").unlink()
    assert "has no config.yaml" in Page(write_report(tmp_path)).source


def test_failed_cells_are_listed_with_their_errors(tmp_path: Path) -> None:
    failed = {"method": "swta", "amount": "0.01", "seed": 3, "draw": 0, "readout": "finetune", "error": "it diverged"}
    page = reported(tmp_path, cells("none", NONE), [failed])
    assert "<td>SWTA</td><td>0.01</td><td>3</td><td>0</td><td>fine-tuned</td><td>it diverged</td>" in page.source
    for content in ("", "[]"):
        (tmp_path / "failed.json").write_text(content)
        assert "<h2>Failed cells</h2><p>None.</p>" in Page(write_report(tmp_path)).source


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    page = reported(tmp_path, cells("none", NONE) + cells("hpca", BETTER))
    loading = {"src", "href", "srcset", "action", "data", "poster", "background"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in loading & attributes.keys():
            assert str(attributes[name]).startswith("data:")
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")
    assert "http" not in str(policy)
    assert page.source.count("plotly.js v") == 1
    style = "".join(page.texts["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert "sourceMappingURL" not in page.source
    own = page.texts["script"][-1]
    assert "Plotly.react" in own
    assert 'plotlyServerURL: ""' in own  # no button may send a chart away
    assert "http" not in own.replace("http://www.w3.org/2000/svg", "")


def test_texts_from_files_stay_texts(tmp_path: Path) -> None:
    evil = '</script><script>alert(1)</script><img src=x onerror="alert(2)">|$x_1$ & `*b*`'
    summary = cells(evil, BETTER, folder="../../<b>outside</b>") + cells("none", NONE)
    summary += cells(evil, BETTER, amount="<i>7</i>", select="<u>last</u>")
    failed = [{"method": evil, "amount": "<i>", "seed": evil, "draw": 0, "readout": evil, "error": evil, "more": 1}]
    folder = study(tmp_path / "study", summary, failed)
    (folder / "config.yaml").write_text(f"data: '{evil}'\n")
    page = Page(write_report(folder))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 3
    assert not {"img", "i", "u", "b"} & set(tags)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.data["methods"][1]["label"] == evil
    assert evil in "".join(page.texts["td"])
    assert evil in "".join(page.texts["pre"])
    markdown = (folder / "table.md").read_text()
    assert r"\<img src=x onerror" in markdown
    assert not re.search(r"(?<!\\)<[a-z/]", markdown)
    rule = next(line for line in markdown.splitlines() if line.startswith(r"| \</script"))
    assert len(re.findall(r"(?<!\\)\|", rule)) == 4
    assert r"\textbar{}\$x\_1\$ \& `*b*`" in (folder / "table.tex").read_text()


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    reported(tmp_path, cells("=HYPERLINK(1)", BETTER))
    assert "'=HYPERLINK(1)" in {key[2] for key in rows(tmp_path)}


def test_folders_outside_the_study_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "metrics.csv").write_text("epoch,train_loss\n0,1.5\n")
    (outside / "result.json").write_text(json.dumps({"versions": {"known_outside_only": "1"}}))
    summary = cells("none", [50.0], folder="../outside") + cells("random", [50.0], folder=str(outside))
    summary += cells("weights", [50.0], folder="a\0b")
    page = reported(tmp_path / "study", summary)
    assert all(not curve["x"] for curve in page.data["losses"][0][0])
    assert "known_outside_only" not in page.source


def test_damaged_runs_only_miss_their_curves(tmp_path: Path) -> None:
    summary = cells("none", [50.0, 51.0])
    for cell, content in zip(summary, (b"epoch,train_loss\nx,1\n", b"\xff\xfe\0"), strict=True):
        run = tmp_path / cell["folder"]
        run.mkdir(parents=True)
        (run / "metrics.csv").write_bytes(content)
        (run / "result.json").write_bytes(b'{"versions": ')
    page = reported(tmp_path, summary)
    assert page.data["losses"][0][0] == [{"x": [], "y": []}]
    assert "<li>not recorded: 2 cells</li>" in page.source


def changed(**values: Any) -> str:
    return json.dumps([{**cells("none", [35.0])[0], **values}])


def without(name: str) -> str:
    [cell] = cells("none", [35.0])
    del cell[name]
    return json.dumps([cell])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"found no \S*summary.json, expected the folder of a study.*run fasthebb study first"),
        ("", "is empty, expected a list"),
        ("[]", "found no finished cell in .*none has ended yet.*run the study again"),
        ('[{"method": "no', "truncated or no JSON at line 1, expected a list"),
        ("\ud800".encode("utf-8", "surrogatepass"), "truncated or no JSON, expected a list"),
        ('{"cells": []}', "found an object, expected a list"),
        ("[3]", "entry 1: found a number, expected an object"),
        (without("top1"), "entry 1: found no 'top1', expected one in each cell"),
        (without("method"), "entry 1: found no 'method'"),
        (changed(method=""), "found method = '', expected text"),
        (changed(method=["none"]), "found method = .*expected text"),
        (changed(labels=0), "found labels = 0, expected a whole number of at least 1"),
        (changed(labels=True), "found labels = True"),
        (changed(seed=-1), "found seed = -1, expected a whole number of at least 0"),
        (changed(seed=0.5), "found seed = 0.5"),
        (changed(readout="other"), "found readout = 'other', expected finetune or probe"),
        (changed(top1="43"), "found top1 = '43', expected a score from 0 to 100"),
        (changed(top1=float("nan")), "found top1 = nan"),
        (changed(top1=143), "found top1 = 143"),
        (changed(macro_f1=-1), "found macro_f1 = -1"),
        (changed(pretrain_seconds=-2), "found pretrain_seconds = -2, expected a number of seconds"),
        (changed(folder="x" * 10, method="y" * 500, top1=None), "found top1 = None"),
        (json.dumps(cells("none", [35.0]) * 2), "entry 2: found 'none' .* twice, expected each cell once"),
    ],
)
def test_a_broken_summary_is_one_clear_line(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_a_study_of_failures_alone_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no finished cell .*2 failed, see failed\.json"):
        write_report(study(tmp_path, [], [{"error": "a"}, {"error": "b"}]))


@pytest.mark.parametrize("content", ["[", "{}", "[1]"])
def test_a_broken_list_of_failures_is_one_clear_line(tmp_path: Path, content: str) -> None:
    study(tmp_path, cells("none", NONE))
    (tmp_path / "failed.json").write_text(content)
    with pytest.raises(ValueError, match=r"failed\.json.*expected") as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_scores_that_could_not_be_measured_and_unknown_keys_are_left_out(tmp_path: Path) -> None:
    summary = cells("none", NONE, auroc=None, top5=float("nan"), calibration_error=12.0, something={"new": 1})
    page = reported(tmp_path, summary)
    assert page.data["measures"] == ["top-1 accuracy", "balanced accuracy", "macro F1"]


def test_four_files_are_written_and_written_again(tmp_path: Path) -> None:
    page = write_report(study(tmp_path, cells("none", NONE) + cells("hpca", BETTER)))
    assert page == tmp_path / "report.html"
    names = {"report.html", "table.md", "table.csv", "table.tex"}
    first = {name: (tmp_path / name).read_bytes() for name in names}
    assert all(first.values())
    write_report(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == first
    assert {file.name for file in tmp_path.iterdir()} == names | {"summary.json", "config.yaml"}


PROBE = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const count = (name) => document.querySelectorAll(`#chart-${name} .scatterlayer .trace`).length;
  const before = { lines: count("labels"), lead: document.querySelector(".lead").textContent };
  const change = (selector, act) => {
    const box = document.querySelector(selector);
    act(box);
    box.dispatchEvent(new Event("change"));
  };
  change("select[name=measure]", (box) => { box.value = "1"; });
  change("select[name=setting]", (box) => { box.value = "1"; });
  change("select[name=amount]", (box) => { box.value = "2"; });
  for (const checked of [false, true]) {
    document.querySelectorAll("input[name=method]").forEach((box) => {
      box.checked = checked;
      box.dispatchEvent(new Event("change"));
    });
  }
  change("input[name=method]", (box) => { box.checked = false; });
  const seen = [...document.querySelectorAll("[data-measure]")].filter((part) => !part.hidden);
  const result = document.createElement("output");
  result.id = "result";
  result.textContent = JSON.stringify({
    errors, before, after: count("labels"), time: count("time"), loss: count("loss"), pre: count("pretraining"),
    seen: seen.map((part) => part.dataset.setting + part.dataset.measure),
    rows: [...document.querySelectorAll("tr[data-method='0']")].filter((row) => !row.hidden).length,
    wide: document.body.scrollWidth,
    charts: [...document.querySelectorAll(".chart > div")].map((place) => {
      const [whole, drawn] = [place, place.querySelector(".main-svg")].map((e) => e.getBoundingClientRect());
      return Math.max(Math.abs(whole.width - drawn.width), Math.abs(whole.height - drawn.height));
    }),
    buttons: [...document.querySelectorAll(".modebar-btn")].map((button) => button.dataset.title),
    small: [...document.querySelectorAll("main *")].filter((e) => e.textContent && !e.closest(".modebar")
      && parseFloat(getComputedStyle(e).fontSize) < 14).map((e) => e.tagName),
  });
  document.body.append(result);
}, 500));
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium to run the page's script")
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_works_in_a_browser(tmp_path: Path, width: int) -> None:
    summary = []
    for readout in ("finetune", "probe"):
        for amount, labels in (("0.01", 400), ("0.1", 4000)):
            for method, scores in (("none", NONE), ("hpca", BETTER), ("a.module.with.a.long.name.of.a.Rule", NONE)):
                summary += cells(method, scores, amount, labels, readout=readout)
    for cell in summary:
        run = tmp_path / cell["folder"]
        run.mkdir(parents=True, exist_ok=True)
        (run / "metrics.csv").write_text("epoch,train_loss\n0,2\n1,1\n")
    run = tmp_path / "pretrained/hpca-s0"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("epoch,layer/conv1/relative_change\n0,0.5\n1,0.6\n")
    save_file({"features.conv1.weight": torch.randn(96, 3, 5, 5)}, run / "encoder.safetensors")
    page = write_report(study(tmp_path, summary))
    watched = page.read_text().replace(
        "<head>",
        "<head><script>const errors = []; onerror = (text) => errors.push(text);</script>"
        f"<style>body {{ max-width: {width}px; }}</style>",  # a window has a least width
        1,
    )
    page.write_text(PROBE.join(watched.rsplit("</body>", 1)))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    command += [f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<output id="result">(.*?)</output>', dumped)
    assert found, dumped[-2000:]
    result = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert result["errors"] == []
    assert result["before"]["lines"] == 3
    assert result["after"] == 2
    assert (result["time"], result["loss"], result["pre"]) == (2, 2, 1)
    assert set(result["seen"]) == {"11"}
    assert result["rows"] == 0
    assert result["wide"] <= width
    assert max(result["charts"]) < 1
    assert len(result["charts"]) == 4
    assert not [title for title in result["buttons"] if "Share" in title]
    assert result["small"] == []
