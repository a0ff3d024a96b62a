"""The figures of speed and memory: ratios, each measured side by side in one run.

    python benchmarks/speed.py

Writes ``docs/results/speed.json``. Takes about ten minutes on two cores, which nothing else should use.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
import torchvision
from record import save

from fasthebb import HPCA, SWTA, attach
from fasthebb.benchmark import BenchmarkOptions, benchmark
from fasthebb.benchmark.memory import peak_memory
from fasthebb.benchmark.timing import in_turns
from fasthebb.data import Batches, ImageSet, Preprocessing
from fasthebb.models import cnn6
from fasthebb.training import HebbianPretraining, fit, make_trainer


def lightning_over_a_bare_loop(steps: int = 30, rounds: int = 3) -> float:
    """Seconds of an epoch in Lightning over those of a bare loop over the same batches, median of rounds."""
    images = torch.randint(0, 256, (64 * steps, 3, 32, 32), dtype=torch.uint8)
    data = ImageSet(images, torch.full((len(images),), -1), [""] * len(images))
    batches = Batches(data, Preprocessing.fit(images, whiten=False), batch_size=64, shuffle=True, seed=0)
    module = HebbianPretraining(cnn6(), HPCA(), lr=1e-3, epochs=10**6)
    bare = cnn6().features.to(memory_format=torch.channels_last)
    plasticity = attach(bare, HPCA())
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=1e-3)

    def loop() -> None:
        for batch in batches:
            with torch.no_grad():
                bare(batch[0])
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()

    def lightning() -> None:
        fit(make_trainer(epochs=1, out=None, progress=False), module, batches)

    return in_turns({"bare": loop, "lightning": lightning}, rounds, torch.device("cpu")).ratio("lightning", "bare")


def import_over_torch(rounds: int = 5) -> float:
    """Seconds of ``import fasthebb`` over those of ``import torch``, each in a new process."""

    def importing(name: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    work = {"torch": importing("torch"), "fasthebb": importing("fasthebb")}
    return in_turns(work, rounds, torch.device("cpu")).ratio("fasthebb", "torch")


def peak_megabytes(kind: str, batch_size: int) -> float:
    """Peak memory of two steps of vgg11_bn at 224 x 224 above the idle process, in a process of its own (Linux)."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak, kind, batch_size).result()


def _peak(kind: str, batch_size: int) -> float:
    torch.manual_seed(0)
    model = torchvision.models.vgg11_bn().to(memory_format=torch.channels_last)
    images = torch.randn(batch_size, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch_size)
    model.classifier.requires_grad_(False)
    if kind == "backprop":
        optimizer = torch.optim.SGD(model.features.parameters(), lr=1e-4)
    elif kind != "inference":
        plasticity = attach(model, {"features.*": {"hpca": HPCA(), "swta": SWTA()}[kind]})
        optimizer = torch.optim.SGD(plasticity.parameters(), lr=1e-4)
    with peak_memory(torch.device("cpu")) as peak:
        for _ in range(2):
            if kind == "backprop":
                torch.nn.functional.cross_entropy(model(images), labels).backward()
            else:
                with torch.no_grad():
                    model(images)
            if kind in ("hpca", "swta"):
                plasticity.write_grad()
            if kind != "inference":
                optimizer.step()
                optimizer.zero_grad()
    return peak.megabytes


def memory() -> list[dict[str, Any]]:
    rows = []
    for batch_size in (16, 32):
        peaks = {kind: peak_megabytes(kind, batch_size) for kind in ("inference", "backprop", "hpca", "swta")}
        for rule in ("hpca", "swta"):
            rows.append(
                {
                    "batch_size": batch_size,
                    "rule": rule,
                    "megabytes": {kind: round(peak) for kind, peak in peaks.items() if kind not in ("hpca", "swta")}
                    | {rule: round(peaks[rule])},
                    "to_inference": round(peaks[rule] / peaks["inference"], 2),
                    "to_backprop": round(peaks[rule] / peaks["backprop"], 2),
                }
            )
    return rows


def main() -> None:
    torch.manual_seed(0)
    results: dict[str, Any] = {}
    results["cnn6"] = benchmark(BenchmarkOptions(repeats=20, naive=True, layers=True, explain=True, noise=0.5))
    results["lightning_over_a_bare_loop"] = round(lightning_over_a_bare_loop(), 3)
    results["import_fasthebb_over_torch"] = round(import_over_torch(), 3)
    results["memory"] = memory()
    print({name: results[name] for name in ("lightning_over_a_bare_loop", "import_fasthebb_over_torch", "memory")})
    save("speed", results)


if __name__ == "__main__":
    main()
