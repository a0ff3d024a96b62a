"""What each of three processes does in the distributed tests, and the groups of layers and images they share."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from own_rules import Counting, Guided, Taught
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import fasthebb
from fasthebb import HPCA, SWTA, Plasticity, Rule, naive

PROCESSES = 3
PARTS = [slice(0, 1), slice(1, 3), slice(3, 6)]  # each process has another number of images
LABELS = torch.tensor([0, 1, 2, 0, 0, 1])
RULES: dict[str, Rule] = {
    "HPCA": HPCA(),
    "bounded HPCA": HPCA(max_lr=50.0),
    "SWTA": SWTA(),
    "naive HPCA": naive.HPCA(),
    "naive SWTA": naive.SWTA(),
    "counting": Counting(),
    "taught": Taught(),
}


class Network(nn.Module):
    """Layers of each kind, used in another order than they are defined in."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 3)
        self.whole = nn.Conv2d(4, 6, 5)  # sees one position
        self.first = nn.Conv2d(2, 4, 3, padding="same", padding_mode="circular")
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.whole(self.second(self.first(x).relu()).relu()).relu()
        out: Tensor = self.dense(hidden.flatten(1))
        return out


def network() -> Network:
    torch.manual_seed(0)
    return Network().double()


def images() -> Tensor:
    return torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(1)).double()


def see(plasticity: Plasticity, model: nn.Module, part: slice) -> None:
    with torch.no_grad(), plasticity.teacher(LABELS[part]):
        model(images()[part])


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def a_part_each(rank: int, rule: Rule) -> Any:
    model = network()
    plasticity = fasthebb.attach(model, rule)
    local: dict[str, Tensor] = {}
    for _ in range(3):  # the state of the first update is used by the second
        model.zero_grad()
        see(plasticity, model, PARTS[rank])
        local, reduced = plasticity.deltas(), plasticity.deltas(reduce=True)
        plasticity.write_grad()
    return {"grad": gradients(model), "local": local, "reduced": reduced, "state": plasticity.state_dict()}


def the_last_sees_nothing(rank: int, rule: Rule) -> Any:
    """The second process leaves out a layer, the last one everything, and nobody sees the dense layer."""
    model = network()
    plasticity = fasthebb.attach(model, rule)
    model.dense.eval()
    if rank == 1:
        model.second.eval()
    if rank < 2:
        see(plasticity, model, PARTS[rank])
    reduced = plasticity.deltas(reduce=True)
    plasticity.write_grad()
    plasticity.check()
    return {"grad": gradients(model), "reduced": reduced, "state": plasticity.state_dict()}


def early(rank: int, rule: Rule) -> Any:
    """The first process has an empty batch, the second a whole one, the last one two micro-batches."""
    model = network()
    plasticity = fasthebb.attach(model, rule)
    batches = {0: [slice(0, 0)], 1: [slice(0, 3)], 2: [slice(3, 5), slice(5, 6)]}[rank]
    for batch in batches[:-1]:
        see(plasticity, model, batch)
    with plasticity.last_micro_batch():
        see(plasticity, model, batches[-1])
    early_ones = sum(learner.reducing is not None for learner in plasticity._learners)
    plasticity.write_grad()
    return {"grad": gradients(model), "early": early_ones}


def nothing_at_all(rank: int) -> Any:
    plasticity = fasthebb.attach(network().eval(), HPCA())
    try:
        plasticity.write_grad()
    except RuntimeError as error:
        return str(error)
    return "no error"


def twice_after_sending(rank: int) -> Any:
    layer = nn.Linear(3, 3)
    plasticity = fasthebb.attach(layer, HPCA())
    try:
        with plasticity.last_micro_batch():
            layer(layer(torch.ones(2, 3)))
    except RuntimeError as error:
        return str(error)
    finally:
        plasticity.write_grad()
    return "no error"


def a_group_of_two(rank: int) -> Any:
    group = dist.new_group([0, 1])
    model = network()
    plasticity = fasthebb.attach(model, SWTA(), process_group=group)
    see(plasticity, model, PARTS[rank])
    plasticity.write_grad()
    return gradients(model)


def with_ddp(rank: int, rule: Rule) -> Any:
    """Backprop's gradients are averaged by DDP, the local ones added after that."""
    model = network()
    wrapped = DistributedDataParallel(model)
    plasticity = fasthebb.attach(wrapped, rule)
    wrapped(images()[2 * rank : 2 * rank + 2]).square().mean().backward()
    plasticity.write_grad()
    return {"grad": gradients(model), "names": list(plasticity.layers)}


def when_it_communicates(rank: int) -> Any:
    """Sizes of what is sent in a forward pass, by `deltas`, and by `write_grad`."""
    sent: list[tuple[int, ...]] = []
    original = dist.all_reduce

    def spy(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        sent.append(tuple(tensor.shape))
        return original(tensor, *args, **kwargs)

    model = network()
    plasticity = fasthebb.attach(model, SWTA())
    dist.all_reduce = spy
    try:
        see(plasticity, model, PARTS[rank])
        plasticity.deltas()
        before = len(sent)
        plasticity.write_grad()
    finally:
        dist.all_reduce = original
    return {"before": before, "sent": sent}


def scenarios() -> dict[str, Callable[[int], Any]]:
    found: dict[str, Callable[[int], Any]] = {}
    for name, rule in RULES.items():
        for scenario in (a_part_each, the_last_sees_nothing, early):
            found[f"{scenario.__name__}, {name}"] = lambda rank, scenario=scenario, rule=rule: scenario(rank, rule)
    found["when_it_communicates"] = when_it_communicates
    found["nothing_at_all"] = nothing_at_all
    found["twice_after_sending"] = twice_after_sending
    found["a_group_of_two"] = a_group_of_two
    found["with_ddp, HPCA"] = lambda rank: with_ddp(rank, HPCA())
    found["with_ddp, guided"] = lambda rank: with_ddp(rank, Guided())
    return found


def work(rank: int, folder: str) -> None:
    """Run every scenario."""
    run_each(scenarios(), rank, PROCESSES, folder)


def run_each(scenarios: dict[str, Callable[[int], Any]], rank: int, processes: int, folder: str) -> None:
    """Run each scenario in a process group of its own, so that one that fails leaves the others alone."""
    torch.set_num_threads(1)
    patience = timedelta(seconds=20)
    meeting = dist.FileStore(f"{folder}/meeting", processes)
    outcomes: dict[str, Any] = {}
    for name, scenario in scenarios.items():
        store = dist.PrefixStore(name, meeting)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=processes, timeout=patience)
        try:
            outcomes[name] = scenario(rank)
        except Exception as error:  # told by the test of this scenario
            outcomes[name] = error
        # Nobody leaves while another may still be joining: gloo takes a closed connection for a crash.
        store.set(f"done {rank}", "")
        store.wait([f"done {other}" for other in range(processes)], 3 * patience)
        dist.destroy_process_group()
    torch.save(outcomes, Path(folder) / f"rank{rank}")
