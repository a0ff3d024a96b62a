"""How far sums that travel in bfloat16 change an update, and the weights that a training ends with.

    python benchmarks/scaling_rounding.py

Writes ``docs/results/scaling_rounding.json``. With two and four processes the sums are sent; for more, the additions of
a ring are done one after the other in this process. Takes two minutes on two cores.
"""

import tempfile
from functools import reduce
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from record import save
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA
from fasthebb.data import Batches, Preprocessing, load_images

RULES: dict[str, fasthebb.Rule] = {"hpca": HPCA(max_lr=0.1), "swta": SWTA()}
SENT, ADDED = (2, 4), (8, 64, 512)
STEPS, BATCH, LR = 60, 64, 0.05


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 36, 64))


def batches(rank: int, processes: int, size: int) -> Batches:
    images = load_images("digits", image_size=16, progress=False).unlabelled
    prepared = Preprocessing.fit(images)
    return Batches(images, prepared, batch_size=size, shuffle=True, rank=rank, world_size=processes)


def relative(value: Tensor, exact: Tensor) -> float:
    return float((value - exact).norm() / exact.norm())


def trained(rank: int, processes: int, rule: fasthebb.Rule, dtype: torch.dtype | None) -> Any:
    """The first update, and the weights after the last."""
    model = network()
    plasticity = fasthebb.attach(model, rule, reduce_dtype=dtype)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=LR)
    loader = batches(rank, processes, BATCH // processes)
    first: dict[str, Tensor] = {}
    for step in range(STEPS):
        if step % len(loader) == 0:
            loader.set_epoch(step // len(loader))
            iterator = iter(loader)
        with torch.no_grad():
            model(next(iterator)[0])
        plasticity.write_grad()
        first = first or {name: layer.weight.grad.clone() for name, layer in plasticity.layers.items()}
        optimizer.step()
        optimizer.zero_grad()
    return first, {name: layer.weight.detach().clone() for name, layer in plasticity.layers.items()}


def work(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    start = {name: p.detach().clone() for name, p in network().named_parameters()}
    found = {}
    for name, rule in RULES.items():
        exact, rounded = (trained(rank, processes, rule, dtype) for dtype in (None, torch.bfloat16))
        found[name] = {
            "update_error": round(max(relative(rounded[0][layer], exact[0][layer]) for layer in exact[0]), 5),
            "weights_error": round(
                max(
                    float((rounded[1][layer] - exact[1][layer]).norm())
                    / float((exact[1][layer] - start[f"{layer}.weight"]).norm())
                    for layer in exact[1]
                ),
                5,
            ),
        }
    if rank == 0:
        torch.save(found, Path(folder) / "found")
    dist.barrier()
    dist.destroy_process_group()


def added(processes: int, rule: fasthebb.Rule) -> float:
    """Error of an update whose sums were added one after the other, rounded each time, as a ring adds them."""
    model = network()
    plasticity = fasthebb.attach(model, rule)
    parts = []
    loader = batches(0, 1, 2)
    for step in range(processes):
        if step % len(loader) == 0:
            loader.set_epoch(step // len(loader))
            iterator = iter(loader)
        with torch.no_grad():
            model(next(iterator)[0])
        parts.append([learner.sums for learner in plasticity._learners])
        plasticity.clear()
    errors = []
    for at, learner in enumerate(plasticity._learners):
        sums = [dict(one[at].items()) for one in parts if one[at] is not None]
        exact = {name: reduce(lambda a, b: a + b, [one[name] for one in sums]) for name in sums[0]}
        rounded = dict(exact)
        for name, value in exact.items():
            if isinstance(value, Tensor) and value.numel() >= learner.weight.numel():
                rounded[name] = reduce(lambda a, b: a + b, [one[name].bfloat16() for one in sums]).float()
        deltas = [learner.delta(fasthebb.Sums(**one)) for one in (rounded, exact)]
        errors.append(relative(*deltas))
    return round(max(errors), 5)


def main() -> None:
    rows: list[dict[str, Any]] = []
    for processes in SENT:
        with tempfile.TemporaryDirectory() as folder:
            mp.start_processes(work, (processes, folder), nprocs=processes, start_method="spawn")
            found = torch.load(Path(folder) / "found", weights_only=True)
        rows += [{"processes": processes, "how": "sent", "rule": rule, **one} for rule, one in found.items()]
        print(*rows[-2:], sep="\n", flush=True)
    for processes in ADDED:
        for name, rule in RULES.items():
            rows.append({"processes": processes, "how": "added", "rule": name, "update_error": added(processes, rule)})
            print(rows[-1], flush=True)
    save("scaling_rounding", {"steps": STEPS, "batch": BATCH, "lr": LR, "rows": rows})


if __name__ == "__main__":
    main()
