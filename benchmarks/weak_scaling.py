"""Weak scaling on one machine: twice the processes with twice the images, each process on one core.

    python benchmarks/weak_scaling.py --rounds 12

In each round, in turns: one process alone; all processes at once, each for itself; all processes together, batch norms
synchronised and sums all-reduced by gloo. What the second loses, cores that share memory and caches cost; what the
third loses beyond it, communication does. Writes ``docs/results/weak_scaling.json``.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from record import save

import fasthebb
from fasthebb.models import build_model
from fasthebb.training import synchronise_batch_norms

RULES: dict[str, fasthebb.Rule] = {"hpca": fasthebb.HPCA(max_lr=0.1), "swta": fasthebb.SWTA()}
NETWORKS: dict[str, dict[str, Any]] = {
    "cnn6": {"name": "cnn6", "image_size": 32},
    "cnn6 without its dense layer": {"name": "cnn6", "image_size": 32, "hidden": 0},
    "vgg11": {"name": "vgg11", "image_size": 64, "hidden": 0},
}
BATCH = 32  # images of each process


def step_of(network: dict[str, Any], rule: fasthebb.Rule, together: bool) -> Callable[[], None]:
    """A whole step, of all processes together or of this one by itself."""
    torch.manual_seed(0)
    model = build_model(**network, channels=3, classes=10).features
    model = model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    groups = [dist.new_group([rank]) for rank in range(dist.get_world_size())]
    plasticity = fasthebb.attach(model, rule, process_group=None if together else groups[dist.get_rank()])
    if together:
        synchronise_batch_norms(model)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=1e-3)
    side = network["image_size"]
    images = torch.randn(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.no_grad(), plasticity.last_micro_batch() if together else nullcontext():
            model(images)
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], None], working: bool) -> float:
    """Of a step of the slowest process; the others wait, or take part."""
    dist.barrier()
    began = time.perf_counter()
    if working:
        step()
    taken = torch.tensor(time.perf_counter() - began)
    dist.all_reduce(taken, dist.ReduceOp.MAX)
    return float(taken)


def work(rank: int, processes: int, rounds: int, meeting: str, cores: list[int]) -> None:
    os.sched_setaffinity(0, {cores[rank]})
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    rows = []
    for name, network in NETWORKS.items():
        for chosen, rule in RULES.items():
            by_itself, together = (step_of(network, rule, joined) for joined in (False, True))
            turns = {"alone": (by_itself, rank == 0), "at once": (by_itself, True), "together": (together, True)}
            taken: dict[str, list[float]] = {turn: [] for turn in turns}
            for round_ in range(rounds + 2):
                for turn, (step, working) in turns.items():
                    one = seconds(step, working)
                    if round_ >= 2:
                        taken[turn].append(one)
            ratio = {
                turn: round(statistics.median(a / b for a, b in zip(taken["alone"], taken[turn], strict=True)), 3)
                for turn in ("at once", "together")
            }
            row = {
                "network": name,
                "rule": chosen,
                "milliseconds": {turn: round(1e3 * statistics.median(found), 1) for turn, found in taken.items()},
                "efficiency_without_communication": ratio["at once"],
                "efficiency": ratio["together"],
            }
            rows.append(row)
            if rank == 0:
                print(row, flush=True)
    if rank == 0:
        save("weak_scaling", {"processes": processes, "batch_a_process": BATCH, "rounds": rounds, "rows": rows})
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        mp.spawn(work, (len(cores), rounds, meeting, cores), nprocs=len(cores))


if __name__ == "__main__":
    main()
