"""Peak memory of a step."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import torch

from fasthebb.benchmark import BenchmarkOptions, benchmark
from fasthebb.benchmark.memory import can_measure, peak_memory

CPU = torch.device("cpu")


def _peak_of_three_parts() -> float:
    before = torch.ones(2**26)  # 256 MB, above and beyond the peak
    del before
    with peak_memory(CPU) as peak:
        for _ in range(3):
            part = torch.ones(2**24)  # 64 MB, three times one after the other
            del part
    return peak.megabytes


@pytest.mark.skipif(not can_measure(CPU), reason="peak memory of a process is measured on Linux only")
def test_the_peak_is_what_was_there_at_once_and_not_what_was_there_before() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert 60 < pool.submit(_peak_of_three_parts).result() < 130


def test_where_it_cannot_be_measured_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fasthebb.benchmark.command.can_measure", lambda device: False)
    with pytest.raises(ValueError, match="found --memory on cpu, expected Linux or CUDA"):
        benchmark(BenchmarkOptions(repeats=5, batch_size=2, memory=True))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of a process is measured on Linux only")
def test_each_step_is_measured_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def pretend(kind: str, *arguments: Any) -> float:
        asked.append((kind, *arguments))
        return {"forward": 10.0, "floor": 12.0, "backprop": 40.0}.get(kind, 15.0)

    monkeypatch.setattr("fasthebb.benchmark.command.peak_megabytes", pretend)
    monkeypatch.setattr("fasthebb.benchmark.timing.Timings.require_quiet", lambda *_: None)
    options = BenchmarkOptions(
        "squeezenet1_1", rules=["fasthebb.rules.oja.Oja"], batch_size=2, image_size=32, repeats=5, memory=True
    )
    result = benchmark(options)
    assert [kind for kind, *_ in asked] == ["forward", "floor", "backprop", "fasthebb.rules.oja.Oja"]
    assert result["memory"][-1] == {
        "step": "fasthebb.rules.oja.Oja",
        "megabytes": 15,
        "to_forward": 1.5,
        "to_backprop": 0.38,
    }
    assert [row["step"] for row in result["steps"]][-1] == "fasthebb.rules.oja.Oja"
    capsys.readouterr()


def test_a_naive_form_or_a_gpu_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="found --naive and --rules oja, of which none has a naive form"):
        benchmark(BenchmarkOptions(rules=["oja"], naive=True))
    with pytest.raises(ValueError, match="found --dtype float16 on the CPU"):
        benchmark(BenchmarkOptions(dtype="float16", device="cpu"))
