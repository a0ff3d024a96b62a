"""A step of cnn6 at batch 64 against the rules by their definition, sample by sample.

    python benchmarks/naive.py

Two naive forms: the one of `fasthebb.naive`, whose tensors of all samples and some neurons take 256 MB, and the same
operations on tiles of some samples and some neurons that stay in the processor's cache. Also a plain backprop step
(contiguous, float32), with which published times of other implementations can be compared. Writes
``docs/results/naive.json``. Takes about ten minutes on two cores, which nothing else should use.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from record import save
from torch import Tensor

from fasthebb import HPCA, SWTA, naive
from fasthebb.benchmark import timing
from fasthebb.benchmark.steps import backprop_step, floor_step, hebbian_step
from fasthebb.benchmark.subjects import Subject, subject
from fasthebb.rules import Rule, Sums
from fasthebb.synapses import Synapse

TILE = 2**18
"""Numbers of a tile, 1 MB: the fastest of 2^16 to 2^20 on the machine of the result file."""

SAMPLES = 32


def tiles(patches: Tensor, neurons: int) -> Iterator[tuple[slice, list[slice]]]:
    """Some samples, and with them all neurons, some at a time: tiles ``(g, n, c, K)``."""
    groups, samples, inputs = patches.shape
    rows = min(SAMPLES, samples)
    columns = max(1, TILE // (groups * rows * inputs))
    parts = [slice(start, start + columns) for start in range(0, neurons, columns)]
    return ((slice(start, start + rows), parts) for start in range(0, samples, rows))


class TiledHPCA(naive.HPCA):
    """`naive.HPCA` in tiles."""

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        patches, weight = synapse.patches(x).contiguous(), synapse.rows()
        y, update = self.response(synapse, x, s).contiguous(), torch.zeros_like(weight)
        for rows, parts in tiles(patches, synapse.neurons):
            seen = patches[:, rows, None]  # (g, n, 1, K)
            explained = torch.zeros_like(patches[:, rows])
            for part in parts:
                own = y[:, rows, part, None]
                explaining = torch.cumsum(own * weight[:, None, part], dim=2).add_(explained[:, :, None])
                explained = explaining[:, :, -1].clone()
                update[:, part] += (seen - explaining).mul_(own).sum(1)
        return Sums(update=synapse.from_rows(update), count=synapse.positions(s))


class TiledSWTA(naive.SWTA):
    """`naive.SWTA` in tiles."""

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        shares = self.response(synapse, x, s).contiguous()
        patches, weight = synapse.patches(x).contiguous(), synapse.rows()
        update = torch.zeros_like(weight)
        for rows, parts in tiles(patches, synapse.neurons):
            for part in parts:
                own = shares[:, rows, part, None]
                update[:, part] += (patches[:, rows, None] - weight[:, None, part]).mul_(own).mul_(own).sum(1)
        return Sums(update=synapse.from_rows(update), share=synapse.mass(shares))


RULES: dict[str, tuple[Rule, Rule, Rule]] = {
    "hpca": (HPCA(), naive.HPCA(), TiledHPCA()),
    "swta": (SWTA(), naive.SWTA(), TiledSWTA()),
}


def plain_backprop(net: Subject) -> Callable[[], object]:
    """Backprop as it runs without any thought of memory formats."""
    contiguous = Subject(
        net.model.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        net.hidden,
        net.images.contiguous(),
        net.labels,
    )
    return backprop_step(contiguous, torch.float32)


def main() -> None:
    device = torch.device("cpu")
    timing.WARM_UP = 1
    results: dict[str, Any] = {"tile": TILE, "samples": SAMPLES}
    for rule, (fast, by_definition, tiled) in RULES.items():
        net = subject("cnn6", 64, None, device)
        steps = {
            "fast": hebbian_step(net, fast, torch.float32),
            "floor": floor_step(net, torch.float32),
            "tiled": hebbian_step(net, tiled, torch.float32),
            "naive": hebbian_step(net, by_definition, torch.float32),
            "plain_backprop": plain_backprop(subject("cnn6", 64, None, device)),
        }
        timings = timing.in_turns(steps, 3, device)
        results[rule] = {
            "milliseconds": {name: round(1e3 * timings.median(name), 1) for name in steps},
            **{f"{name}_to_fast": round(timings.ratio(name, "fast"), 2) for name in steps if name != "fast"},
        }
        print(rule, results[rule], flush=True)
    save("naive", results)


if __name__ == "__main__":
    main()
