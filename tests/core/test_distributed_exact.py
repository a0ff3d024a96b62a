"""Several processes take the steps of one. What the processes do is in `exact_processes.py`."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from exact_processes import batch, everything, steps, work
from processes import network
from test_conformance import RULES
from torch import Tensor

import fasthebb
from fasthebb import HPCA, Hebb

COUNTS = (2, 3)
BY_NAME: dict[str, fasthebb.Rule] = {str(rule): rule for rule in RULES}
Outcome = Callable[[int, str], list[Any]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a scenario gave in each of so many processes."""
    found: dict[int, list[Any]] = {}

    def of(processes: int, name: str) -> list[Any]:
        if processes not in found:
            folder = tmp_path_factory.mktemp("processes")
            multiprocessing.set_forkserver_preload(["exact_processes"])  # imported once for all of them
            mp.start_processes(work, (str(folder), processes, BY_NAME), nprocs=processes, start_method="forkserver")
            found[processes] = [torch.load(folder / f"rank{rank}", weights_only=False) for rank in range(processes)]
        for file in found[processes]:
            if name not in file:
                raise file["error"]
        return [file[name] for file in found[processes]]

    return of


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=tolerance, atol=tolerance * float(value.abs().max()))


def assert_same_everywhere(per_process: list[dict[str, Tensor]]) -> None:
    for other in per_process[1:]:
        assert all(torch.equal(other[name], value) for name, value in per_process[0].items())


@pytest.fixture(scope="module")
def alone() -> Callable[[str], dict[str, Any]]:
    """Weights and state after the steps of one process."""
    found: dict[str, dict[str, Any]] = {}

    def of(name: str) -> dict[str, Any]:
        if name not in found:
            found[name] = steps(BY_NAME[name], everything)
        return found[name]

    return of


@pytest.mark.parametrize("processes", COUNTS)
@pytest.mark.parametrize("name", BY_NAME)
def test_steps_in_unequal_parts_give_the_weights_of_one_process(
    outcome: Outcome, alone: Callable[[str], dict[str, Any]], name: str, processes: int
) -> None:
    per_process, expected = outcome(processes, name), alone(name)
    for kind in ("weights", "state"):
        assert_same_everywhere([process[kind] for process in per_process])
        assert_close(per_process[0][kind], expected[kind], 1e-9)
    start = network().state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in expected["weights"].items())


@pytest.mark.parametrize("processes", COUNTS)
def test_in_float32_they_do_so_to_round_off(outcome: Outcome, processes: int) -> None:
    per_process = outcome(processes, "float32")
    assert_same_everywhere([process["weights"] for process in per_process])
    expected = steps(HPCA(max_lr=0.05), everything, torch.float32)
    assert_close(per_process[0]["weights"], expected["weights"], 1e-5)


@pytest.mark.parametrize("processes", COUNTS)
def test_initial_weights_that_a_rule_draws_are_those_of_the_first_process(outcome: Outcome, processes: int) -> None:
    weights = outcome(processes, "initial weights")
    assert all(torch.equal(weight, weights[0]) for weight in weights)


@pytest.mark.parametrize("processes", COUNTS)
def test_sums_in_bfloat16_halve_the_bytes_and_round_the_update(outcome: Outcome, processes: int) -> None:
    per_process = outcome(processes, "rounded")
    for process in per_process:
        exact, rounded = process["deltas"]
        sent_exact, sent_rounded = process["sent"]
        assert sent_rounded < 0.6 * sent_exact  # these weights are small beside their masses
        for name, delta in exact.items():
            error = (rounded[name] - delta).norm() / delta.norm()
            assert 0 < error < 0.02
    assert_same_everywhere([process["deltas"][1] for process in per_process])


def test_a_dtype_that_sums_cannot_travel_in_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reduce_dtype: found torch.int32, expected None .* or torch.bfloat16"):
        fasthebb.attach(network(), HPCA(), reduce_dtype=torch.int32)


@pytest.mark.parametrize("processes", COUNTS)
def test_local_updates_beside_ddp_give_the_weights_of_one_process(outcome: Outcome, processes: int) -> None:
    per_process = outcome(processes, "hybrid under ddp")
    assert_same_everywhere(per_process)
    model = network()
    plasticity = fasthebb.attach(model, Hebb())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(batch(0)[0]).square().mean().backward()
        plasticity.write_grad()
        optimizer.step()
    assert_close(per_process[0], model.state_dict(), 1e-9)


def test_weights_are_identical_after_a_thousand_steps(outcome: Outcome) -> None:
    (before, after), (_, other) = outcome(2, "thousand steps")
    assert after == other
    assert after != before


def test_weights_that_are_sharded_are_refused_before_and_after_attach(outcome: Outcome) -> None:
    for said in outcome(2, "sharded"):
        assert len(said) == 2
        assert all("is sharded over processes (FSDP or tensor parallelism)" in message for message in said)
