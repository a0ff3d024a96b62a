import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fasthebb import HPCA, SWTA
from fasthebb.benchmark import BenchmarkOptions, benchmark
from fasthebb.benchmark.layers import forms_of, layer_subjects
from fasthebb.benchmark.steps import backprop_step, floor_step, hebbian_step
from fasthebb.benchmark.subjects import Subject, subject
from fasthebb.benchmark.timing import NoisyMachineError, Timings, in_turns
from fasthebb.models import cnn6

CPU = torch.device("cpu")


@pytest.fixture
def small() -> Subject:
    torch.manual_seed(0)
    model = cnn6(10, width=0.1, hidden=32).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    return Subject(model, model.features, images, torch.arange(4))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, small: Subject) -> None:
    """A small network, and no complaint about noise."""
    monkeypatch.setattr("fasthebb.benchmark.command.subject", lambda *_: small)
    monkeypatch.setattr(Timings, "require_quiet", lambda *_: None)


def test_work_is_done_in_turns() -> None:
    done: list[str] = []
    timings = in_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, 4, CPU)
    assert done == ["a", "b"] * 7
    assert [len(seconds) for seconds in timings.seconds.values()] == [4, 4]


def test_ratios_are_taken_within_a_round() -> None:
    timings = Timings({"slow": [2.0, 20.0, 4.0], "fast": [1.0, 10.0, 2.0]})
    assert timings.ratio("slow", "fast") == 2
    assert timings.median("slow") == 4


def test_a_noisy_machine_is_named() -> None:
    timings = Timings({"steady": [1.0, 1.01, 1.0, 1.0], "jumpy": [1.0, 3.0, 1.0, 4.0]})
    timings.require_quiet(limit=9)
    with pytest.raises(NoisyMachineError, match=r"too noisy: half of the times of 'jumpy' scatter over \d+ %"):
        timings.require_quiet(limit=0.2)


@pytest.mark.parametrize("rule", [HPCA(), SWTA()])
def test_a_step_learns_and_leaves_the_subject_alone(small: Subject, rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[bool] = []
    original = torch.optim.SGD.step

    def spy(self: torch.optim.SGD, *args: Any) -> Any:
        weights = [p for group in self.param_groups for p in group["params"] if p.dim() > 1]
        before = [p.detach().clone() for p in weights]
        result = original(self, *args)
        moved.append(all(not torch.equal(p, q) for p, q in zip(weights, before, strict=True)))
        return result

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    before = copy.deepcopy(small.model.state_dict())
    for step in (
        hebbian_step(small, rule, torch.float32),
        floor_step(small, torch.float32),
        backprop_step(small, torch.float32),
    ):
        step()
    assert moved == [True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in small.model.state_dict().items())


def test_networks_from_elsewhere_are_known() -> None:
    net = subject("squeezenet1_1", 2, 32, CPU)
    assert net.hidden is net.model
    assert net.images.shape == (2, 3, 32, 32)
    assert type(subject("mobilenetv3_small_050", 2, 32, CPU).model).__name__ == "MobileNetV3"
    with pytest.raises(ValueError, match="there is no network 'resnot' in fasthebb"):
        subject("resnot", 2, None, CPU)


def test_every_layer_gets_the_input_that_it_has_in_the_whole(small: Subject) -> None:
    alone = layer_subjects(small, HPCA())
    assert list(alone) == ["conv1", "conv2", "conv3", "conv4", "dense5"]
    assert torch.equal(alone["conv1"].images, small.images)
    assert isinstance(alone["dense5"].hidden, nn.Linear)


def test_one_form_of_each_product_is_chosen(small: Subject) -> None:
    for name, alone in layer_subjects(small, HPCA()).items():
        forms = forms_of(alone, torch.float32, 5)
        products = {form.product for form in forms}
        assert products == ({"residual"} if name == "dense5" else {"correlation"})
        for product in products:
            assert sum(form.chosen for form in forms if form.product == product) == 1


@pytest.mark.usefixtures("quick")
def test_the_command_prints_tables_and_keeps_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = BenchmarkOptions(repeats=5, batch_size=4, naive=True, layers=True, explain=True)
    result = benchmark(options, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert kept == result
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert [row["step"] for row in kept["steps"]] == ["forward", "floor", "backprop", "hpca", "swta"]
    assert next(row for row in kept["steps"] if row["step"] == "floor")["to_floor"] == 1
    assert [row["rule"] for row in kept["naive"]] == ["hpca", "swta"]
    assert {len(rows) for rows in kept["layers"].values()} == {5}
    assert all(row["loss"] >= 1 for row in kept["forms"])
    printed = capsys.readouterr().out
    for title in ("cnn6, float32", "against the naive rules", "each layer by itself", "forms of each product"):
        assert title in printed


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 5 and 2"):
        benchmark(BenchmarkOptions(repeats=2))
