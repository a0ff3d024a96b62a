"""Sums of several processes give the update of the whole batch. What the processes do is in `processes.py`."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from own_rules import Guided
from processes import LABELS, PARTS, PROCESSES, RULES, images, network, work
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, SWTA

Outcome = Callable[[str], list[Any]]
ALL = [slice(0, 6)]

every_rule = pytest.mark.parametrize("name", RULES)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a scenario gave in each process."""
    folder = tmp_path_factory.mktemp("processes")
    mp.start_processes(work, (str(folder),), nprocs=PROCESSES, start_method="spawn")
    files = [torch.load(folder / f"rank{rank}", weights_only=False) for rank in range(PROCESSES)]

    def of(name: str) -> list[Any]:
        for file in files:
            if isinstance(file[name], Exception):
                raise file[name]
        return [file[name] for file in files]

    return of


def alone(rule: fasthebb.Rule, parts: dict[str, list[slice]], updates: int = 1) -> tuple[dict[str, Tensor], Any]:
    """Gradients and state after ``updates`` of one process in which each layer saw its ``parts``."""
    model = network()
    plasticity = fasthebb.attach(model, rule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(updates):
            model.zero_grad()
            for start in range(6):
                for name, layer in model.named_children():
                    layer.train(any(part.start <= start < part.stop for part in parts[name]))
                with torch.no_grad(), plasticity.teacher(LABELS[start : start + 1]):
                    model(images()[start : start + 1])
            plasticity.write_grad()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, plasticity.state_dict()


def everything(slices: list[slice]) -> dict[str, list[slice]]:
    return {name: slices for name, _ in network().named_children()}


def assert_same_everywhere(per_process: list[dict[str, Tensor]]) -> None:
    for other in per_process[1:]:
        assert other.keys() == per_process[0].keys()
        assert all(torch.equal(other[name], value) for name, value in per_process[0].items())


def assert_equal_dicts(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=1e-12)


@every_rule
def test_parts_give_the_update_and_the_state_of_the_whole_batch(outcome: Outcome, name: str) -> None:
    per_process = outcome(f"a_part_each, {name}")
    gradients, state = alone(RULES[name], everything(ALL), updates=3)
    assert_same_everywhere([process["grad"] for process in per_process])
    assert_same_everywhere([process["state"] for process in per_process])
    assert_equal_dicts(per_process[0]["grad"], gradients)
    assert_equal_dicts(per_process[0]["state"], state)


@every_rule
def test_deltas_are_of_all_processes_only_where_asked(outcome: Outcome, name: str) -> None:
    per_process = outcome(f"a_part_each, {name}")
    assert_same_everywhere([process["reduced"] for process in per_process])
    for part, process in zip(PARTS, per_process, strict=True):
        for layer, delta in process["reduced"].items():
            torch.testing.assert_close(process["grad"][f"{layer}.weight"], -delta)
        if name != "bounded HPCA":  # whose state is that of all
            gradients, _ = alone(RULES[name], everything([part]))
            assert_equal_dicts({f"{n}.weight": -delta for n, delta in process["local"].items()}, gradients)


@every_rule
def test_a_process_that_saw_nothing_of_a_layer_adds_nothing(outcome: Outcome, name: str) -> None:
    per_process = outcome(f"the_last_sees_nothing, {name}")
    both, first = PARTS[:2], PARTS[:1]
    gradients, state = alone(RULES[name], {"dense": [], "whole": both, "first": both, "second": first})
    assert_same_everywhere([process["grad"] for process in per_process])
    assert_same_everywhere([process["state"] for process in per_process])
    unseen = per_process[0]["grad"].pop("dense.weight")  # an update of nothing, as no process can know without waiting
    assert unseen.abs().max() == 0
    assert_equal_dicts(per_process[0]["grad"], gradients)
    assert_equal_dicts(per_process[0]["state"], state)
    reduced = {f"{layer}.weight": -delta for layer, delta in per_process[2]["reduced"].items()}
    assert_equal_dicts(reduced, {**gradients, "dense.weight": unseen})


@every_rule
def test_sending_early_gives_the_same_update(outcome: Outcome, name: str) -> None:
    per_process = outcome(f"early, {name}")
    assert_same_everywhere([process["grad"] for process in per_process])
    assert_equal_dicts(per_process[0]["grad"], alone(RULES[name], everything(ALL))[0])
    assert [process["early"] for process in per_process] == [4, 4, 4]


def test_all_communication_is_in_write_grad_as_one_flat_buffer_a_layer(outcome: Outcome) -> None:
    weights = [layer.weight.numel() for _, layer in network().named_children()]
    neurons = [len(layer.weight) for _, layer in network().named_children()]
    for process in outcome("when_it_communicates"):
        assert process["before"] == 0
        # the correlation, the mass and the share of each neuron, and whether this process saw anything
        assert process["sent"] == [(w + 2 * o + 1,) for w, o in zip(weights, neurons, strict=True)]


def test_sending_early_needs_weights_that_are_used_once(outcome: Outcome) -> None:
    for message in outcome("twice_after_sending"):
        assert "layer '' ran again after its sums were sent: last_micro_batch() needs weights used once" in message


def test_if_no_process_saw_anything_all_of_them_raise(outcome: Outcome) -> None:
    for message in outcome("nothing_at_all"):
        assert "no plastic layer has seen anything since the last call" in message


def test_a_process_group_joins_its_members_alone(outcome: Outcome) -> None:
    first, second, outsider = outcome("a_group_of_two")
    assert_same_everywhere([first, second])
    assert_equal_dicts(first, alone(SWTA(), everything(PARTS[:2]))[0])
    assert_equal_dicts(outsider, alone(SWTA(), everything(PARTS[2:]))[0])


def backprop(model: nn.Module) -> dict[str, Tensor]:
    model(images()).square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_local_updates_are_added_to_the_gradients_that_ddp_averages(outcome: Outcome) -> None:
    per_process = outcome("with_ddp, HPCA")
    assert_same_everywhere([process["grad"] for process in per_process])
    assert per_process[0]["names"] == ["dense", "whole", "first", "second"]
    local = alone(HPCA(), everything(ALL))[0]
    expected = {name: gradient + local.get(name, 0) for name, gradient in backprop(network()).items()}
    assert_equal_dicts(per_process[0]["grad"], expected)


def test_a_rule_that_uses_the_gradient_gets_the_reduced_one(outcome: Outcome) -> None:
    per_process = outcome("with_ddp, guided")
    assert_same_everywhere([process["grad"] for process in per_process])
    model = network()
    plasticity = fasthebb.attach(model, Guided())
    expected = backprop(model)
    expected.update({f"{name}.weight": -delta for name, delta in plasticity.deltas().items()})
    assert_equal_dicts(per_process[0]["grad"], expected)
