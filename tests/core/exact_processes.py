"""What two and three processes do that must give the weights of one: steps with every rule, in unequal parts."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from processes import network
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import fasthebb
from fasthebb import HPCA, SWTA, Hebb, Plasticity, Rule, SoftHebb

BATCHES = [12, 9, 8, 10, 1]
"""Images of each step, of all processes together: the last batch leaves most of them without any."""


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Images and labels of a step."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCHES[step], 2, 5, 5, generator=generator).double()
    return images, torch.randint(2, (BATCHES[step],), generator=generator)


def bounds(step: int, processes: int) -> list[int]:
    """Where the parts of the processes begin and end: unequal, and in the second step the last one has none."""
    count = BATCHES[step]
    if step == 1:
        return [count * rank // (processes - 1) for rank in range(processes)] + [count]
    return [count * rank * (rank + 1) // (processes * (processes + 1)) for rank in range(processes + 1)]


def micro_batches(step: int, part: slice) -> list[slice]:
    """One forward pass, but two images at a time in the third step."""
    if step != 2:
        return [part]
    return [slice(start, min(start + 2, part.stop)) for start in range(part.start, part.stop, 2)]


def steps(rule: Rule, parts: Callable[[int], slice], dtype: torch.dtype = torch.float64, **how: Any) -> dict[str, Any]:
    """Weights and state after a step on each batch, of which this process sees its part.

    A process without images runs no layer in the second step, and all of them with an empty batch in the last one.
    """
    model = network().to(dtype)
    plasticity = fasthebb.attach(model, rule, **how)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.05)
    for step in range(len(BATCHES)):
        images, labels = batch(step)
        part = parts(step)
        with torch.no_grad(), plasticity.teacher(labels[part]):
            for micro in micro_batches(step, part):
                if len(images[micro]) or step != 1:
                    with plasticity.teacher(labels[micro]):
                        model(images[micro].to(dtype))
        if rule.uses_gradient:  # as a loss has left it, the same on every process
            for weight in plasticity.parameters():
                weight.grad = torch.cos(7 * weight.detach())
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.check()
    return {"weights": model.state_dict(), "state": plasticity.state_dict()}


def everything(step: int) -> slice:
    return slice(0, BATCHES[step])


def my_part(rank: int, processes: int, step: int) -> slice:
    limits = bounds(step, processes)
    return slice(limits[rank], limits[rank + 1])


def initial_weights(rank: int) -> Any:
    """Each process has drawn other random numbers before."""
    torch.manual_seed(rank)
    model = nn.Linear(4, 3)
    fasthebb.attach(model, SoftHebb())
    return model.weight.detach()


def rounded(rank: int, processes: int) -> Any:
    """The update of a batch, with sums that travel exactly and in bfloat16, and how many bytes were sent."""
    deltas, sent = [], []
    original = dist.all_reduce

    def spy(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        sent[-1] += tensor.numel() * tensor.element_size()
        return original(tensor, *args, **kwargs)

    dist.all_reduce = spy
    try:
        for dtype in (None, torch.bfloat16):
            model = network().float()
            plasticity = fasthebb.attach(model, SWTA(), reduce_dtype=dtype)
            with torch.no_grad():
                model(batch(0)[0][my_part(rank, processes, 0)].float())
            sent.append(0)
            deltas.append(plasticity.deltas(reduce=True))
    finally:
        dist.all_reduce = original
    return {"deltas": deltas, "sent": sent}


def thousand_steps(rank: int, processes: int) -> Any:
    """A hash of the weights after 1,000 steps, each process with images of its own."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 8))
    plasticity = fasthebb.attach(model, {"0": SWTA(), "3": HPCA(max_lr=0.1)})
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(rank)
    before = fingerprint(model)
    for _ in range(1000):
        with torch.no_grad():
            model(torch.randn(1 + rank, 1, 5, 5, generator=generator))
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.check()
    return before, fingerprint(model)


def fingerprint(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def hybrid_under_ddp(rank: int, processes: int) -> Any:
    """Several steps of DDP's averaged gradients and local updates together."""
    model = network()
    wrapped = DistributedDataParallel(model)
    plasticity = fasthebb.attach(wrapped, Hebb())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        images = batch(0)[0][rank * 12 // processes : (rank + 1) * 12 // processes]
        optimizer.zero_grad()
        wrapped(images).square().mean().backward()
        plasticity.write_grad()
        optimizer.step()
    return model.state_dict()


def sharded(rank: int, processes: int) -> Any:
    """What is said of a model of FSDP2, sharded before it is attached and after."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    said = []
    mesh = init_device_mesh("cpu", (processes,))
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4))
    fully_shard(model, mesh=mesh)
    try:
        fasthebb.attach(model, Hebb())
    except RuntimeError as error:
        said.append(str(error))
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4))
    plasticity: Plasticity = fasthebb.attach(model, Hebb())
    fully_shard(model, mesh=mesh)
    try:
        with torch.no_grad():
            model(torch.ones(2, 4))
        plasticity.write_grad()
    except RuntimeError as error:
        said.append(str(error))
    return said


def work(rank: int, folder: str, processes: int, rules: dict[str, Rule]) -> None:
    """Run every scenario."""
    part = partial(my_part, rank, processes)
    scenarios: dict[str, Callable[[int], Any]] = {
        name: lambda rank, rule=rule: steps(rule, part) for name, rule in rules.items()
    }
    scenarios["float32"] = lambda rank: steps(HPCA(max_lr=0.05), part, torch.float32)
    scenarios["initial weights"] = initial_weights
    scenarios["rounded"] = lambda rank: rounded(rank, processes)
    scenarios["hybrid under ddp"] = lambda rank: hybrid_under_ddp(rank, processes)
    if processes == 2:
        scenarios["thousand steps"] = lambda rank: thousand_steps(rank, processes)
        scenarios["sharded"] = lambda rank: sharded(rank, processes)
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting{processes}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes, timeout=timedelta(seconds=60))
    outcomes: dict[str, Any] = {}
    try:
        for name, scenario in scenarios.items():
            outcomes[name] = scenario(rank)
    except Exception as error:  # told by the test of the first scenario that is missing
        outcomes["error"] = error
    torch.save(outcomes, Path(folder) / f"rank{rank}")
    dist.barrier()  # gloo takes a closed connection for a crash
    dist.destroy_process_group()
