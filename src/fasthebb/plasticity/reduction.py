"""Sums of one layer added up over processes, as one flat buffer."""

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from fasthebb.rules import Sums


def active_group(process_group: dist.ProcessGroup | None) -> dist.ProcessGroup | None:
    """The group to communicate in; ``None`` where this process is alone."""
    if not dist.is_available() or not dist.is_initialized():
        return None
    group = process_group if process_group is not None else dist.group.WORLD
    return group if dist.get_world_size(group) > 1 else None


def check_reduce_dtype(dtype: torch.dtype | None) -> None:
    """Refuse a dtype in which sums cannot travel."""
    if dtype not in (None, torch.bfloat16):
        raise ValueError(f"reduce_dtype: found {dtype}, expected None (as the sums are) or torch.bfloat16")


def from_first(tensors: Iterable[Tensor], group: dist.ProcessGroup) -> None:
    """Give ``tensors`` on every process of ``group`` the values that they have on its first one, in place."""
    first = dist.get_global_rank(group, 0)
    for tensor in tensors:
        value = tensor.detach().contiguous()
        if dist.get_backend(group) == "nccl":  # which knows no tensors on the host
            value = value.cuda()
        dist.broadcast(value, src=first, group=group)
        tensor.copy_(value)


def start_reduction(
    sums: Sums,
    seen: bool,
    like: Tensor,
    group: dist.ProcessGroup,
    in_background: bool,
    reduce_dtype: torch.dtype | None = None,
) -> Callable[[], tuple[Sums, Tensor]]:
    """Begin to add up ``sums`` over the processes of ``group``.

    Args:
        sums: of this process; not changed, as the buffer is a copy.
        seen: whether this process saw anything.
        like: the weight, or a tensor of its size and device and, at least float32, the dtype of the buffer.
        group: processes that all call this, layer by layer in the same order.
        in_background: return before the others have answered.
        reduce_dtype: send what is as large as the weight in this dtype, rounded; in a buffer of its own, as counts and
            masses still travel exactly.

    Returns:
        A function that waits and gives the reduced sums and, on the device, how many processes saw anything.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    named = [*sums.items(), ("processes", float(seen))]
    values = {name: _as_tensor(value, dtype, like.device) for name, value in named}
    if reduce_dtype is None:
        buffers = [_Buffer(values, dtype)]
    else:
        small = {name: value for name, value in values.items() if value.numel() < like.numel() or name == "processes"}
        large = {name: value for name, value in values.items() if name not in small}
        buffers = [_Buffer(part, kind) for part, kind in ((large, reduce_dtype), (small, dtype)) if part]
    for buffer in buffers:
        buffer.send(group, in_background)

    def finish() -> tuple[Sums, Tensor]:
        reduced = {name: value.to(dtype) for buffer in buffers for name, value in buffer.receive().items()}
        return Sums(**{name: reduced[name] for name, _ in sums.items()}), reduced["processes"]

    return finish


class _Buffer:
    """Named tensors that travel together."""

    def __init__(self, values: dict[str, Tensor], dtype: torch.dtype) -> None:
        self._shapes = {name: value.shape for name, value in values.items()}
        self._flat = torch.cat([value.reshape(-1).to(dtype) for value in values.values()])
        self._work: dist.Work | None = None

    def send(self, group: dist.ProcessGroup, in_background: bool) -> None:
        """Begin to add up over the processes."""
        self._work = dist.all_reduce(self._flat, group=group, async_op=in_background)

    def receive(self) -> dict[str, Tensor]:
        """The sums over the processes, once they are there."""
        if self._work is not None:
            self._work.wait()
        parts = torch.split(self._flat, [shape.numel() for shape in self._shapes.values()])
        return {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}


def _as_tensor(value: Tensor | float, dtype: torch.dtype, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(dtype)
    return torch.full((), value, dtype=dtype, device=device)  # filled on the device: nothing is copied from the host
