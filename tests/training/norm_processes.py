"""What several processes do in the tests of synchronised batch norm: a share each of the same images."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fasthebb.models.relative_variance import RelativeVarianceBatchNorm1d, RelativeVarianceBatchNorm2d
from fasthebb.training.synchronised_batch_norm import synchronise_batch_norms

NORMS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (lambda: nn.BatchNorm1d(3), ()),
    "sequences": (lambda: nn.BatchNorm1d(3), (5,)),
    "images": (lambda: nn.BatchNorm2d(3), (4, 5)),
    "volumes": (lambda: nn.BatchNorm3d(3), (2, 3, 2)),
    "relative, dense": (lambda: RelativeVarianceBatchNorm1d(3), ()),
    "relative, images": (lambda: RelativeVarianceBatchNorm2d(3), (4, 5)),
    "plain mean of batches": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 5)),
    "no weights": (lambda: nn.BatchNorm2d(3, affine=False), (4, 5)),
    "no running statistics": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (4, 5)),
}
SHARES = {
    2: [(0, 3, 9), (0, 0, 9), (0, 8, 9)],
    3: [(0, 1, 4, 9), (0, 9, 9, 9), (0, 0, 1, 9)],
}
"""Where each process's images begin in each of three batches of nine."""


def batch(step: int, shape: tuple[int, ...]) -> Tensor:
    """Channels that differ in mean and size."""
    images = torch.randn(9, 3, *shape, generator=torch.Generator().manual_seed(step)).double()
    scale = torch.tensor([1.0, 3.0, 0.2]).view(1, 3, *[1] * len(shape))
    images = images * scale + 2 * scale
    return images.contiguous(memory_format=torch.channels_last) if len(shape) == 2 else images


def passes(norm: nn.Module, shape: tuple[int, ...], shares: list[slice]) -> dict[str, Any]:
    """Outputs, gradients and state after a forward and backward pass on a share of each batch."""
    norm.double()
    for parameter in norm.parameters():
        with torch.no_grad():
            parameter.copy_(torch.tensor([0.5, 1.0, 2.0]))
    outputs, gradients = [], []
    for step, share in enumerate(shares):
        x = batch(step, shape)[share].requires_grad_()
        output = norm(x)
        (output * torch.cos(batch(step + 10, shape)[share])).sum().backward()
        outputs.append(output.detach())
        gradients.append(x.grad)
    of_parameters = {name: p.grad for name, p in norm.named_parameters()}
    return {"outputs": outputs, "gradients": gradients, "parameters": of_parameters, "state": norm.state_dict()}


def one_image(rank: int) -> Any:
    """A joined batch of a single image, which only the first process has."""
    norm = nn.BatchNorm2d(3)
    synchronise_batch_norms(norm)
    x = batch(0, (4, 5)).float()[: int(rank == 0)].requires_grad_()
    output = norm(x)
    output.square().sum().backward()
    return {"output": output.detach(), "gradient": x.grad, "state": norm.state_dict()}


def in_bfloat16(rank: int, share: slice) -> Any:
    norm = nn.BatchNorm2d(3)
    synchronise_batch_norms(norm)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return {"output": norm(batch(0, (4, 5))[share].bfloat16()), "state": norm.state_dict()}


def far_from_zero(share: slice) -> Any:
    """Float32 values whose mean is ten thousand times their spread."""
    norm = nn.BatchNorm2d(3)
    synchronise_batch_norms(norm)
    norm(batch(0, (4, 5))[share].float() * 0.01 + 100)
    return norm.state_dict()


def work(rank: int, folder: str, processes: int) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting{processes}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes, timeout=timedelta(seconds=60))
    shares = [slice(*limits[rank : rank + 2]) for limits in SHARES[processes]]
    outcomes: dict[str, Any] = {}
    for name, (make, shape) in NORMS.items():
        norm = make()
        synchronise_batch_norms(norm)
        outcomes[name] = passes(norm, shape, shares)
    outcomes["one image"] = one_image(rank)
    outcomes["bfloat16"] = in_bfloat16(rank, shares[0])
    outcomes["far from zero"] = far_from_zero(shares[0])
    torch.save(outcomes, Path(folder) / f"rank{rank}")
    dist.barrier()
    dist.destroy_process_group()
