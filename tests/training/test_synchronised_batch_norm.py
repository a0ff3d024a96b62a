"""Batch norm of several processes equals torch's on the joined batch. What they do is in `norm_processes.py`."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from norm_processes import NORMS, batch, passes, work
from torch import nn

from fasthebb.models.relative_variance import RelativeVarianceBatchNorm2d
from fasthebb.training.synchronised_batch_norm import plain_batch_norms, synchronise_batch_norms

Outcome = Callable[[int, str], list[Any]]
counts = pytest.mark.parametrize("processes", [2, 3])


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a scenario gave in each of so many processes."""
    found: dict[int, list[Any]] = {}

    def of(processes: int, name: str) -> list[Any]:
        if processes not in found:
            folder = tmp_path_factory.mktemp("processes")
            multiprocessing.set_forkserver_preload(["norm_processes"])  # imported once for all of them
            mp.start_processes(work, (str(folder), processes), nprocs=processes, start_method="forkserver")
            found[processes] = [torch.load(folder / f"rank{rank}", weights_only=False) for rank in range(processes)]
        return [file[name] for file in found[processes]]

    return of


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@counts
@pytest.mark.parametrize("name", NORMS)
def test_outputs_gradients_and_running_statistics_are_those_of_the_joined_batch(
    outcome: Outcome, name: str, processes: int
) -> None:
    per_process = outcome(processes, name)
    make, shape = NORMS[name]
    expected = passes(make(), shape, [slice(0, 9)] * 3)
    for step in range(3):
        for what in ("outputs", "gradients"):
            assert_close(torch.cat([process[what][step] for process in per_process]), expected[what][step])
    for parameter, gradient in expected["parameters"].items():  # which DDP adds up
        assert_close(sum(process["parameters"][parameter] for process in per_process), gradient)
    for process in per_process:
        assert process["state"].keys() == expected["state"].keys()
        for key, value in process["state"].items():
            assert_close(value, expected["state"][key], 1e-6)  # running statistics are float64 only in part
            assert torch.equal(value, per_process[0]["state"][key])


@counts
def test_a_joined_batch_of_one_image_is_normalised_by_the_running_statistics(outcome: Outcome, processes: int) -> None:
    first, *others = outcome(processes, "one image")
    x = batch(0, (4, 5)).float()[:1].requires_grad_()
    expected = nn.BatchNorm2d(3).eval()(x)
    expected.square().sum().backward()
    assert_close(first["output"], expected.detach(), 1e-6)
    assert_close(first["gradient"], x.grad, 1e-5)
    for process in (first, *others):
        assert torch.equal(process["state"]["running_var"], torch.ones(3))
        assert process["state"]["num_batches_tracked"] == 0


@counts
def test_under_autocast_the_output_is_bfloat16_and_statistics_are_not(outcome: Outcome, processes: int) -> None:
    per_process = outcome(processes, "bfloat16")
    norm = nn.BatchNorm2d(3)
    expected = norm(batch(0, (4, 5)).bfloat16().float())
    joined = torch.cat([process["output"] for process in per_process])
    assert joined.dtype == torch.bfloat16
    assert_close(joined.float(), expected.detach(), 2e-2)
    assert_close(per_process[0]["state"]["running_var"], norm.running_var, 1e-5)


@counts
def test_a_mean_far_from_zero_costs_no_precision(outcome: Outcome, processes: int) -> None:
    x = batch(0, (4, 5)).float() * 0.01 + 100
    variance = 0.9 + 0.1 * x.double().var((0, 2, 3))
    assert_close(outcome(processes, "far from zero")[0]["running_var"].double(), variance, 1e-7)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), RelativeVarianceBatchNorm2d(3))


def test_in_one_process_a_synchronised_network_computes_the_same() -> None:
    torch.manual_seed(0)
    model, images = network(), torch.randn(4, 1, 6, 6)
    expected = model(images)
    for norm in (model[1], model[3]):
        norm.reset_running_stats()
    synchronise_batch_norms(model)
    assert torch.equal(model(images), expected)


def test_synchronising_keeps_modules_keys_and_hooks_and_can_be_undone() -> None:
    model = network()
    modules, keys = list(model.modules()), list(model.state_dict())
    called = []
    model[1].register_forward_hook(lambda *_: called.append(1))
    synchronise_batch_norms(model)
    synchronise_batch_norms(model)  # a second time changes nothing
    assert [type(model[1]).__name__, type(model[3]).__name__] == [
        "SynchronisedBatchNorm2d",
        "SynchronisedRelativeVarianceBatchNorm2d",
    ]
    model(torch.randn(4, 1, 6, 6))
    plain_batch_norms(model)
    assert [type(model[1]), type(model[3])] == [nn.BatchNorm2d, RelativeVarianceBatchNorm2d]
    assert called == [1]
    assert list(model.modules()) == modules
    assert list(model.state_dict()) == keys


def test_on_cuda_torchs_own_take_the_place_and_keep_relative_variances() -> None:
    model = network()
    synchronise_batch_norms(model, "cuda")
    assert type(model[1]) is nn.SyncBatchNorm
    assert isinstance(model[3], nn.SyncBatchNorm)
    model[3].running_var.copy_(torch.tensor([1.0, 4.0, 1.0]))
    model.eval()  # where torch's do not ask for a GPU
    images = torch.randn(2, 1, 6, 6)
    output = model(images)
    plain_batch_norms(model)
    assert torch.equal(model(images), output)


def test_a_norm_whose_forward_is_its_own_is_refused_by_name() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).relu()

    model = nn.Sequential(nn.BatchNorm2d(2), Own(2))
    with pytest.raises(ValueError, match=r"the batch norm '1' is a Own, which cannot be synchronised over processes"):
        synchronise_batch_norms(model)
    assert type(model[0]) is nn.BatchNorm2d
