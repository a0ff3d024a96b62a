import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from fasthebb.cli import COMMANDS, main
from fasthebb.rules.names import NAMES

from .runs.conftest import by_class, write_images

__all__ = ["by_class"]

SMALL = ["--width", "0.1", "--hidden", "16", "--image-size", "24", "--batch-size", "8", "--epochs", "1"]


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr of a command that ends with status 2."""
    assert main([str(word) for word in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if not line.startswith("warning:")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("fasthebb: ")
    return lines[0]


def test_the_whole_job_from_the_command_line(
    by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, classifier = tmp_path / "encoder", tmp_path / "classifier"
    assert main(["pretrain", "--data", str(by_class), "--out", str(encoder), *SMALL]) == 0
    options = ["--labels", "2/class", "--batch-size", "8", "--epochs", "2"]
    common = ["--data", str(by_class), "--init", str(encoder), "--out", str(classifier)]
    assert main(["finetune", *common, *options]) == 0
    assert main(["evaluate", "--weights", str(classifier), "--data", str(by_class)]) == 0
    capsys.readouterr()
    assert main(["predict", "--weights", str(classifier), "--images", str(by_class), "--out", str(tmp_path / "p")]) == 0
    shown = capsys.readouterr().out
    assert "ant/0-00.png" in shown
    assert "probability" in shown
    assert "and 10 more" in shown
    assert len((tmp_path / "p" / "predictions.csv").read_text().splitlines()) == 31


def test_what_evaluate_prints_can_be_read(
    by_class: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    (by_class / "cat").rename(by_class / "[red]cat")
    options = ["--class-weights", "balanced", "--out", str(tmp_path / "classifier"), *SMALL]
    assert main(["finetune", "--data", str(by_class), *options]) == 0
    assert "class_weights: balanced" in (tmp_path / "classifier" / "config.yaml").read_text()
    capsys.readouterr()
    assert main(["evaluate", "--weights", str(tmp_path / "classifier"), "--data", str(by_class), "--layers"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"top1 +│ \d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", shown)
    assert re.search(r"recall of \[red\]cat +│ \d+\.\d\d", shown)
    assert re.search(r"norm5 +│ 16 +(│ \d+\.\d\d +){5}", shown)
    assert "confusion" not in shown
    assert "{" not in shown


def test_every_option_may_stand_in_a_file(by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rule", "swta", "--rule.temperature", "0.1", "--lr", "0.05", *SMALL]
    assert main(["pretrain", "--data", str(by_class), "--out", str(tmp_path / "a"), *options]) == 0
    config = tmp_path / "a" / "config.yaml"
    assert main(["pretrain", "--config", str(config), "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b" / "config.yaml").read_text() == config.read_text()
    assert main(["pretrain", "--config", str(config), "--lr", "0.07", "--out", str(tmp_path / "c")]) == 0
    changed = yaml.safe_load((tmp_path / "c" / "config.yaml").read_text())
    assert changed == {**yaml.safe_load(config.read_text()), "lr": 0.07}
    short = {"rule": "swta", "data": str(by_class), "width": 0.1, "hidden": 16, "image_size": 24, "epochs": 1}
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(short))
    assert main(["pretrain", "--config", str(tmp_path / "short.yaml"), "--out", str(tmp_path / "d")]) == 0
    capsys.readouterr()


def test_fields_of_a_rule_are_options(by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["pretrain", "--data", str(by_class), *SMALL, "--out"]
    assert main([*common, str(tmp_path / "a"), "--rule", "hpca", "--rule.max_lr", "0.3", "--rule.activation=tanh"]) == 0
    said = json.loads((tmp_path / "a" / "result.json").read_text())["rule"]["init_args"]
    assert said == {"activation": "tanh", "step_scale": "fan_in", "max_lr": 0.3, "classes": None}
    capsys.readouterr()


@pytest.mark.parametrize(("command", "level"), [("pretrain", "light"), ("finetune", "hard"), ("finetune", "none")])
def test_images_are_augmented_by_a_word(
    command: str, level: str, by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([command, "--data", str(by_class), "--out", str(out), "--augment", level, *SMALL]) == 0
    assert yaml.safe_load((out / "config.yaml").read_text())["augment"] == level
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore::fasthebb.training.ReadoutWarning")
@pytest.mark.parametrize("name", NAMES)
def test_every_rule_pretrains_by_its_short_name(
    name: str, by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(by_class), *SMALL, "--lr", "0.001", "--out", str(tmp_path / name)]
    assert main(["pretrain", *options, "--rule", name]) == 0
    said = json.loads((tmp_path / name / "result.json").read_text())["rule"]["class_path"]
    assert said.rpartition(".")[2].lower() == name.replace("_", "")
    capsys.readouterr()


def test_a_rule_of_your_own(
    by_class: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a_rule_of_mine.py").write_text(
        "from dataclasses import dataclass\n"
        "import fasthebb\n"
        "@dataclass(frozen=True)\n"
        "class Hebb(fasthebb.Rule):\n"
        "    gain: float = 1.0\n"
        "    def sums(self, synapse, x, s):\n"
        "        return fasthebb.Sums(update=synapse.correlate(s, x), count=synapse.positions(s))\n"
        "    def delta(self, sums, synapse):\n"
        "        return self.gain * sums.update / sums.count\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    common = ["pretrain", "--data", str(by_class), *SMALL, "--lr", "0.001", "--out", str(tmp_path / "mine")]
    assert main([*common, "--rule", "a_rule_of_mine.Hebb", "--rule.gain", "0.5"]) == 0
    said = json.loads((tmp_path / "mine" / "result.json").read_text())["rule"]
    assert said == {"class_path": "a_rule_of_mine.Hebb", "init_args": {"gain": 0.5}}
    capsys.readouterr()


def test_unlabelled_may_be_given_several_times(
    by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [str(path.parent) for path in (write_images(tmp_path / f"more{i}", 4, seed=i + 1)[0] for i in range(2))]
    arguments = ["--unlabelled", more[0], "--unlabelled", more[1], *SMALL]
    assert main(["pretrain", "--data", str(by_class), "--out", str(tmp_path / "a"), *arguments]) == 0
    assert json.loads((tmp_path / "a" / "result.json").read_text())["images"] == 18 + 8
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretain"], "unknown command 'pretain': did you mean pretrain?"),
        (["pretrain", "--rule", "hpka"], "unknown rule 'hpka': did you mean hpca?"),
        (["pretrain", "--rule", "torch.nn.Linear"], "rule"),
        (["pretrain", "--rule", "no_such_module.Rule"], "no_such_module"),
        (["pretrain", "--model", "cnn66"], "there is no model 'cnn66': did you mean 'cnn6'?"),
        (["pretrain", "--epoks", "3"], "unknown option --epoks: did you mean --epochs?"),
        (["pretrain", "--rule", "hpca", "--rule.maxlr", "3"], "did you mean --rule.max_lr?"),
        (["pretrain", "--rule", "swta", "--rule.temperature", "-1"], "expected a positive number"),
        (["pretrain", "--rule.max_lr", "0"], "expected a positive number"),
        (["pretrain", "--rule", "wta", "--rule.classes", "3"], "WTA needs labels"),
        (["pretrain", "--rule", "fasthebb.GlobalGuided"], "GlobalGuided needs the gradient of a loss"),
        (["pretrain", "--epochs", "many"], "epochs"),
        (["pretrain", "--epochs", "0"], "at least 1"),
        (["pretrain", "--lr", "-1"], "must not be negative"),
        (["pretrain", "--batch-size", "0"], "at least 1"),
        (["pretrain", "--precision", "8bit"], "precision"),
        (["pretrain", "--augment", "strong"], "'none', 'shift', 'light', 'hard'"),
        (["finetune", "--augment", "strong"], "'none', 'shift', 'light', 'hard'"),
        (["pretrain", "--augment"], "--augment"),
        (["pretrain", "--image-size", "9"], "at least 24 pixels"),
        (["pretrain", "--image-size", "400"], "million weights"),
        (["pretrain", "--image-size", "0"], "at least 24 pixels"),
        (["pretrain", "--channels", "2"], "only 1 and 3 are converted"),
        (["pretrain", "--data", "no/such/folder"], "found no data"),
        (["pretrain", "--data", "digitz"], "digitz"),
        (["pretrain", "--config", "no-such.yaml"], "no-such.yaml"),
        (["finetune", "--labels", "a few"], "expected a total"),
        (["finetune", "--labels", "5000"], "asked for 5000 labels, there are 1079"),
        (["finetune", "--labels", "3"], "at least one a class"),
        (["finetune", "--init", "nowhere"], "found no weights at nowhere"),
        (["finetune", "--label-file", "nowhere.csv"], "found no label file"),
        (["finetune", "--group", "patient"], "found no column 'patient'"),
        (["finetune", "--class-weights", "some"], "expected one of 'none', 'balanced'"),
        (["demo", "--seeds", "0"], "at least 1"),
        (["study", "--methods", "none,hpka"], "unknown rule 'hpka': did you mean hpca?"),
        (["study", "--labels", "some"], "expected a total"),
        (["study", "--labels", "1.0,3"], "at least one a class"),
        (["study", "--preset", "paper"], "paper-cifar10"),
        (["study", "--readouts", "eyes"], "'finetune', 'probe', 'taught'"),
        (["report"], "summary.json"),
        (["pretrain", "--method", "gan"], "'hebbian', 'at-once', 'vae', 'vae-paper'"),
        (["finetune", "--select", "best"], "'last', 'labelled-cv', 'validation'"),
        (["finetune", "--taught", "--probe"], "leave out --probe"),
        (["finetune", "--select", "labelled-cv", "--labels", "1/class"], "use more labels, or --select last"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in fails(capsys, *arguments, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate"], "weights"),
        (["evaluate", "--weights", "nowhere"], "found no weights"),
        (["predict", "--weights", "nowhere", "--images", "."], "found no weights"),
        (["pretrain"], "out"),
    ],
)
def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert said in fails(capsys, *arguments)


def test_a_weights_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    assert "not a readable safetensors file" in fails(
        capsys, "predict", "--weights", tmp_path / "w.safetensors", "--images", tmp_path
    )


def test_a_study_from_the_command_line_and_its_report(
    tmp_path: Path, by_class: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "study")
    options = ["--data", str(by_class), *SMALL, "--out", out, "--seeds", "1", "--labels", "3,1.0"]
    assert main(["study", "--methods", "none,hpca", "--pretrain-epochs", "1", *options]) == 0
    printed = capsys.readouterr().out
    assert "[4/4] hpca, 1.0 labels, seed 0, draw 0, finetune: top-1" in printed
    assert "top-1 on the test images" in printed
    assert len(json.loads((tmp_path / "study" / "summary.json").read_text())) == 4
    before = (tmp_path / "study" / "summary.json").read_text()
    assert main(["study", "--config", str(tmp_path / "study" / "config.yaml"), "--out", out]) == 0
    assert (tmp_path / "study" / "summary.json").read_text() == before
    (tmp_path / "study" / "report.html").unlink()
    assert main(["report", out]) == 0
    assert (tmp_path / "study" / "report.html").is_file()
    capsys.readouterr()


def test_a_classifier_may_be_taught_by_a_rule(
    tmp_path: Path, by_class: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", "--data", str(by_class), "--taught", *SMALL, "--out", str(tmp_path / "c")]) == 0
    assert main(["evaluate", "--weights", str(tmp_path / "c"), "--data", str(by_class)]) == 0
    capsys.readouterr()


def test_predicting_images_that_are_not_there_asks_nobody_else(
    tmp_path: Path, by_class: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = tmp_path / "c"
    assert main(["finetune", "--data", str(by_class), "--out", str(classifier), *SMALL]) == 0
    capsys.readouterr()
    assert "found no" in fails(capsys, "predict", "--weights", classifier, "--images", "nothing")


def test_a_full_disk_is_one_line(
    by_class: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    line = fails(capsys, "pretrain", "--data", by_class, "--out", tmp_path / "out", *SMALL)
    assert "No space left on device" in line


def test_help_names_every_option_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in COMMANDS)
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert "--out" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    text = capsys.readouterr().out
    assert "--image-size" in text
    assert not re.search(r"--\w+_", text)
    assert "whose labels are never read" in text


def test_the_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fasthebb", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.strip() == "0.1.0"


def test_an_option_without_a_value_in_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "options.yaml").write_text("data:\nepochs:\n")  # epochs may be left out, data may not
    assert main(["pretrain", "--config", str(tmp_path / "options.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        "fasthebb: --data: found no value, expected one: give it, or leave the option out\n"
    )
