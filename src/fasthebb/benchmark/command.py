"""``fasthebb benchmark``."""

import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import fasthebb
from fasthebb import Rule, naive
from fasthebb.benchmark.layers import forms_of, layer_subjects, time_layers
from fasthebb.benchmark.memory import can_measure, peak_megabytes
from fasthebb.benchmark.steps import Step, backprop_step, floor_step, hebbian_step, inference
from fasthebb.benchmark.subjects import Subject, subject
from fasthebb.benchmark.timing import Timings, in_turns
from fasthebb.rules.names import rule_class
from fasthebb.training.weights import write_atomically

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NAIVE: dict[str, Rule] = {"hpca": naive.HPCA(), "swta": naive.SWTA()}


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of ``fasthebb benchmark``.

    Args:
        model: a network of fasthebb, torchvision or timm.
        rules: short names, or the ``module.Class`` of a rule of your own.
        batch_size: images a step.
        image_size: height and width in pixels; the network's own if left out, 224 for those from elsewhere.
        dtype: of the products; weights stay float32. "float16" needs a GPU.
        device: "cpu", "cuda", ...; chosen if left out.
        repeats: rounds; in each, every step runs once.
        naive: time the naive rules as well, which takes long.
        memory: measure each step's peak memory above what is there before it, in a process of its own.
        compile: time steps that went through ``torch.compile`` as well.
        layers: time each layer by itself as well.
        explain: time every form that a layer's products could take, and show which the cost model chooses.
        noise: the largest distance between quartiles, as a part of the median, that is accepted.
    """

    model: str = "cnn6"
    rules: list[str] = field(default_factory=lambda: ["hpca", "swta"])
    batch_size: int = 64
    image_size: int | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = None
    repeats: int = 20
    naive: bool = False
    memory: bool = False
    compile: bool = False
    layers: bool = False
    explain: bool = False
    noise: float = 0.25


def benchmark(options: BenchmarkOptions, out: str | Path | None = None) -> dict[str, Any]:
    """Time one step of each rule against the floor and backprop, all in turns in one run.

    Args:
        options: what to time.
        out: folder for ``benchmark.json`` and ``benchmark.png``.

    Returns:
        What was measured.

    Raises:
        ValueError: an option is out of range, or the machine is too noisy to say anything.
    """
    if options.repeats < 5 or options.batch_size < 2:
        raise ValueError(
            f"found --repeats {options.repeats} and --batch-size {options.batch_size}, expected at least 5 and 2"
        )
    device = _device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = DTYPES[options.dtype]
    if dtype == torch.float16 and device.type == "cpu":
        raise ValueError("found --dtype float16 on the CPU, expected a GPU: choose --dtype bfloat16 or float32")
    rules = {name: rule_class(name)() for name in options.rules}
    if options.naive and not rules.keys() & NAIVE.keys():
        raise ValueError(
            f"found --naive and --rules {','.join(rules)}, of which none has a naive form: add {' or '.join(NAIVE)}"
        )
    if options.memory and not can_measure(device):
        raise ValueError(f"found --memory on {device}, expected Linux or CUDA, where it can be measured: leave it out")
    net = subject(options.model, options.batch_size, options.image_size, device)
    steps: dict[str, Step] = {
        "forward": inference(net, dtype),
        "floor": floor_step(net, dtype),
        "backprop": backprop_step(net, dtype),
        **{name: hebbian_step(net, rule, dtype) for name, rule in rules.items()},
    }
    if options.compile:
        steps["backprop, compiled"] = backprop_step(net, dtype, compiled=True)
        steps |= {f"{name}, compiled": hebbian_step(net, rule, dtype, compiled=True) for name, rule in rules.items()}
    timings = in_turns(steps, options.repeats, device)
    timings.require_quiet(options.noise)
    console = Console()
    result: dict[str, Any] = {
        "network": options.model,
        "images": list(net.images.shape),
        "dtype": options.dtype,
        "device": device_in_words(device),
        "torch": version("torch"),
        "steps": _rows(timings, options.batch_size),
    }
    console.print(_table(result["steps"], f"{options.model}, {options.dtype}, batch {options.batch_size}"))
    if options.memory:
        kinds = ["forward", "floor", "backprop", *rules]
        result["memory"] = _memory(kinds, options, dtype, device)
        console.print(_table(result["memory"], "peak memory of a step above what is there before it"))
    if options.naive:
        result["naive"] = [_against_naive(net, name, dtype) for name in rules if name in NAIVE]
        console.print(_table(result["naive"], "against the naive rules, batch 8"))
    if options.layers:
        result["layers"] = {name: time_layers(net, rule, dtype, options.repeats) for name, rule in rules.items()}
        for name, rows in result["layers"].items():
            console.print(_table(rows, f"each layer by itself, {name}"))
    if options.explain:
        result["forms"] = _explained(net, dtype, options.repeats)
        console.print(_table(result["forms"], "forms of each product; loss is the chosen one's time over the best's"))
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1) + "\n"
        write_atomically(folder / "benchmark.json", lambda file: file.write(text.encode()))
        _draw(result["steps"], folder / "benchmark.png", f"{options.model}, {options.dtype}")
    return result


def device_in_words(device: torch.device) -> str:
    """The processor, and how much of it is used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def _rows(timings: Timings, batch_size: int) -> list[dict[str, Any]]:
    return [
        {
            "step": name,
            "milliseconds": round(1e3 * timings.median(name), 2),
            "spread_percent": round(100 * timings.spread(name), 1),
            "images_a_second": round(batch_size / timings.median(name)),
            "to_floor": round(timings.ratio(name, "floor"), 3),
            "to_backprop": round(timings.ratio(name, "backprop"), 3),
        }
        for name in timings.seconds
    ]


def _memory(
    kinds: list[str], options: BenchmarkOptions, dtype: torch.dtype, device: torch.device
) -> list[dict[str, Any]]:
    sizes = (options.batch_size, options.image_size)
    peaks = {kind: peak_megabytes(kind, options.model, *sizes, dtype, device) for kind in kinds}
    return [
        {
            "step": kind,
            "megabytes": round(peak),
            "to_forward": round(peak / peaks["forward"], 2),
            "to_backprop": round(peak / peaks["backprop"], 2),
        }
        for kind, peak in peaks.items()
    ]


def _against_naive(net: Subject, rule: str, dtype: torch.dtype) -> dict[str, Any]:
    """At batch 8, as the naive rule takes minutes at more."""
    few = Subject(net.model, net.hidden, net.images[:8], net.labels[:8])
    steps = {"naive": hebbian_step(few, NAIVE[rule], dtype), "fast": hebbian_step(few, rule_class(rule)(), dtype)}
    timings = in_turns(steps, 5, net.images.device)
    return {
        "rule": rule,
        "naive_milliseconds": round(1e3 * timings.median("naive"), 1),
        "fast_milliseconds": round(1e3 * timings.median("fast"), 2),
        "naive_to_fast": round(timings.ratio("naive", "fast"), 1),
    }


def _explained(net: Subject, dtype: torch.dtype, repeats: int) -> list[dict[str, Any]]:
    rows = []
    for name, alone in layer_subjects(net, fasthebb.HPCA()).items():
        forms = forms_of(alone, dtype, repeats)
        for product in dict.fromkeys(form.product for form in forms):
            ways = [form for form in forms if form.product == product]
            best = min(form.seconds for form in ways)
            chosen = next(form for form in ways if form.chosen)
            rows.append(
                {
                    "layer": name,
                    "product": product,
                    "chosen": chosen.name,
                    "milliseconds": ", ".join(f"{form.name} {1e3 * form.seconds:.2f}" for form in ways),
                    "loss": round(chosen.seconds / best, 2),
                }
            )
    return rows


def _table(rows: Iterable[dict[str, Any]], title: str) -> Table:
    rows = list(rows)
    table = Table(*(name.replace("_", " ") for name in rows[0]), title=title, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table


def _draw(rows: list[dict[str, Any]], file: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([row["step"] for row in rows], [row["milliseconds"] for row in rows])
    axes.bar_label(bars, [f"{row['to_floor']:.2f} x floor" for row in rows], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel("milliseconds a step")
    axes.set_title(title)
    figure.savefig(file, dpi=110)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"found --device {name}, expected cpu, cuda, cuda:1 or the like") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"found --device {name}, and there is no GPU that PyTorch can use: give another, or leave it out"
        )
    return device
