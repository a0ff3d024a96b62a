"""What only a GPU can show: speed and memory in each dtype, no waiting of the host, deltas as exact as on the CPU.

    python benchmarks/gpu.py

Writes ``docs/results/gpu.json``. Takes about ten minutes on one GPU, which nothing else should use.
"""

import copy
from typing import Any

import torch
from record import save

from fasthebb import HPCA, SWTA, attach
from fasthebb.benchmark import BenchmarkOptions, benchmark
from fasthebb.benchmark.command import DTYPES
from fasthebb.benchmark.steps import hebbian_step
from fasthebb.benchmark.subjects import subject

NETWORKS = (("cnn6", 64), ("cnn6", 1024), ("cnn10", 64), ("vgg16", 32), ("resnet18", 64), ("vit_b_16", 32))
RULES = {"hpca": HPCA(), "swta": SWTA()}


def waits_for_the_device(device: torch.device) -> dict[str, bool]:
    """Whether a step makes the host wait, by torch's own watch."""
    found = {}
    for name, rule in RULES.items():
        step = hebbian_step(subject("cnn6", 64, None, device), rule, torch.float32)
        step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
            found[name] = False
        except RuntimeError:
            found[name] = True
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return found


def errors(device: torch.device) -> list[dict[str, Any]]:
    """Frobenius distance of each delta of cnn6 from that in float64 on the CPU, over the latter's norm."""
    exact = subject("cnn6", 32, None, torch.device("cpu"))
    rows = []
    for name, rule in RULES.items():
        expected = _deltas(exact.hidden.double(), exact.images.double(), rule, None)
        for dtype in ("float32", "bfloat16", "float16"):
            found = _deltas(exact.hidden.float().to(device), exact.images.to(device), rule, DTYPES[dtype])
            for layer, delta in found.items():
                error = (delta.cpu().double() - expected[layer]).norm() / expected[layer].norm()
                rows.append({"rule": name, "dtype": dtype, "layer": layer, "error": float(error)})
    return rows


def _deltas(model: torch.nn.Module, images: torch.Tensor, rule: Any, dtype: torch.dtype | None) -> Any:
    model = copy.deepcopy(model)
    plasticity = attach(model, rule)
    with torch.no_grad(), torch.autocast(images.device.type, dtype, enabled=dtype in (torch.bfloat16, torch.float16)):
        model(images)
    return plasticity.deltas()


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("found no GPU that torch can use: run this on a machine with one")
    device = torch.device("cuda")
    results: dict[str, Any] = {"waits": waits_for_the_device(device), "errors": errors(device), "speed": []}
    for network, batch_size in NETWORKS:
        for dtype in ("float32", "bfloat16", "float16"):
            options = BenchmarkOptions(
                network,
                batch_size=batch_size,
                dtype=dtype,  # type: ignore[arg-type]
                device="cuda",
                repeats=30,
                memory=True,
                compile=network == "cnn6",
                explain=network != "vit_b_16" and dtype == "float32",
                noise=0.5,
            )
            results["speed"].append(benchmark(options))
    save("gpu", results)


if __name__ == "__main__":
    main()
