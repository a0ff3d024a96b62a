"""What a step costs on many GPUs, on paper: bytes from the code, times from a model.

    python benchmarks/scaling.py

Writes ``docs/results/scaling.json`` and prints the tables of docs/scaling.md. Nothing is measured here but the size of
the buffers and the number of multiplications; the rest is arithmetic on published figures, on the ratio of a Hebbian
step to its floor in ``docs/results/speed.json``, and on the assumptions below.
"""

import argparse
import json
from math import log2
from typing import Any

import torch
from record import RESULTS, save
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fasthebb
from fasthebb import HPCA, SWTA
from fasthebb.models import build_model

NETWORKS: dict[str, dict[str, Any]] = {
    "cnn10": {"name": "cnn10", "image_size": 210},
    "vgg16": {"name": "vgg16", "image_size": 224},
    "vgg16 with the papers' dense layer": {"name": "vgg16", "image_size": 224, "hidden": 4096},
}
RULES: dict[str, fasthebb.Rule] = {"hpca": HPCA(max_lr=0.1), "swta": SWTA()}
BATCHES = (32, 256)
"""Images a GPU and step: as in the protocol for ImageNet, and what a large GPU holds."""
GPUS = (8, 64, 512)

PEAK = 989e12
"""bfloat16 operations a second of an H100 SXM without sparsity (NVIDIA, H100 data sheet)."""
NVLINK, INFINIBAND = 450e9, 50e9
"""Bytes a second and direction and GPU: NVLink 4, 900 GB/s in both (the same), and one ConnectX-7 of 400 Gb/s a GPU
(NVIDIA, DGX H100 user guide). A node has eight GPUs."""
UTILISATION = 0.3
"""Assumed part of the peak that products of this size reach."""
REACHED = 0.8
"""Assumed part of the bandwidth that an all-reduce reaches."""
LATENCY = 10e-6
"""Assumed time of one message, of which a tree of P processes takes 2 log2 P."""


def buffers(network: dict[str, Any], rule: fasthebb.Rule) -> dict[str, int]:
    """Numbers that each layer sends in a step."""
    with torch.device("meta"):
        model = build_model(**network, channels=3, classes=1000)
        plasticity = fasthebb.attach(model.features, rule)
    sizes = {}
    for learner in plasticity._learners:
        values = [value for _, value in learner.nothing().items()]
        sizes[learner.name] = 1 + sum(v.numel() if isinstance(v, torch.Tensor) else 1 for v in values)
    return sizes


def forward_operations(network: dict[str, Any]) -> dict[str, int]:
    """Of each layer, for one image; a multiplication and an addition are two."""
    with torch.device("meta"):
        features: nn.Module = build_model(**network, channels=3, classes=1000).features
        side = network["image_size"]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            features.eval()(torch.empty(1, 3, side, side))
    counts = {name.partition(".")[2]: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    return {name: count for name, count in counts.items() if name}


def all_reduce_seconds(size: float, gpus: int) -> float:
    """Of one message of ``size`` bytes: within nodes by NVLink, then between them.

    A ring sends each byte 2 (P - 1) / P times (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009). Between
    nodes each GPU has an eighth of the bytes.
    """
    inside = min(gpus, 8)
    seconds = 2 * (inside - 1) / inside * size / (REACHED * NVLINK)
    nodes = gpus // 8
    if nodes > 1:
        seconds += 2 * (nodes - 1) / nodes * (size / inside) / (REACHED * INFINIBAND)
    return seconds + 2 * log2(gpus) * LATENCY


def step_seconds(computed: dict[str, float], sent: dict[str, float], norm: float) -> float:
    """Of a step whose layers are sent one after the other, each as soon as it has been computed.

    The batch norm behind each layer waits for a message of its own, which is so small that it takes ``norm`` seconds.
    """
    now = sending = 0.0
    for layer, seconds in computed.items():
        now += seconds
        sending = max(now, sending) + sent[layer]
        now += norm
    return max(now, sending)


def row(name: str, rule: str, over_floor: float, batch: int, utilisation: float) -> dict[str, Any]:
    """Of the table: one network and rule."""
    sizes = buffers(NETWORKS[name], RULES[rule])
    operations = forward_operations(NETWORKS[name])
    # The floor is the forward pass, and weight gradients of as many operations.
    computed = {layer: over_floor * 2 * batch * operations[layer] / (PEAK * utilisation) for layer in sizes}
    compute = sum(computed.values())
    largest = max(sizes, key=lambda layer: sizes[layer])
    found: dict[str, Any] = {
        "network": name,
        "rule": rule,
        "batch_a_gpu": batch,
        "megabytes": round(4e-6 * sum(sizes.values()), 1),
        "largest_layer": largest,
        "largest_share_percent": round(100 * sizes[largest] / sum(sizes.values()), 1),
        "forward_gigaoperations_an_image": round(1e-9 * sum(operations.values()), 2),
        "compute_ms": round(1e3 * compute, 2),
    }
    for gpus in GPUS:
        found[f"gpus_{gpus}"] = {}
        for dtype, size in (("float32", 4), ("bfloat16", 2)):
            sent = {layer: all_reduce_seconds(size * numbers, gpus) for layer, numbers in sizes.items()}
            total, norm = sum(sent.values()), all_reduce_seconds(0, gpus)
            found[f"gpus_{gpus}"][dtype] = {
                "communication_ms": round(1e3 * total, 2),
                "batch_norms_ms": round(1e3 * norm * len(sent), 2),
                "efficiency_percent": round(100 * compute / (compute + total + norm * len(sent)), 1),
                "efficiency_percent_sent_early": round(100 * compute / step_seconds(computed, sent, norm), 1),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utilisation", type=float, default=UTILISATION, help="part of a GPU's peak that is reached")
    asked = parser.parse_args()
    steps = json.loads((RESULTS / "speed.json").read_text())["cnn6"]["steps"]
    over_floor = {one["step"]: one["to_floor"] for one in steps}
    rows = [
        row(name, rule, over_floor[rule], batch, asked.utilisation)
        for name in NETWORKS
        for rule in RULES
        for batch in BATCHES
    ]
    for one in rows:
        print(*list(one.values())[:8], sep=" | ")
        for gpus in GPUS:
            print("  ", gpus, one[f"gpus_{gpus}"])
    assumed = {"utilisation": asked.utilisation, "bandwidth_reached": REACHED, "latency_us": 1e6 * LATENCY}
    published = {"peak_tflops": PEAK / 1e12, "nvlink_gb_s": NVLINK / 1e9, "infiniband_gb_s": INFINIBAND / 1e9}
    save("scaling", {"assumed": assumed, "published": published, "rows": rows})


if __name__ == "__main__":
    main()
