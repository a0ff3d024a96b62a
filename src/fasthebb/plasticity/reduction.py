"""Sums of one layer added up over processes, as one flat buffer."""

from collections.abc import Callable

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


def start_reduction(
    sums: Sums, seen: bool, like: Tensor, group: dist.ProcessGroup, in_background: bool
) -> Callable[[], tuple[Sums, Tensor]]:
    """Begin to add up ``sums`` over the processes of ``group``.

    Args:
        sums: of this process; not changed, as the buffer is a copy.
        seen: whether this process saw anything.
        like: a tensor with the device and, at least float32, the dtype of the buffer.
        group: processes that all call this, layer by layer in the same order.
        in_background: return before the others have answered.

    Returns:
        A function that waits and gives the reduced sums and, on the device, how many processes saw anything.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    named = [*sums.items(), ("processes", float(seen))]
    values = {name: _as_tensor(value, dtype, like.device) for name, value in named}
    buffer = torch.cat([value.reshape(-1) for value in values.values()])
    work = dist.all_reduce(buffer, group=group, async_op=in_background)
    shapes = {name: value.shape for name, value in values.items()}

    def finish() -> tuple[Sums, Tensor]:
        if work is not None:
            work.wait()
        parts = torch.split(buffer, [shape.numel() for shape in shapes.values()])
        reduced = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
        return Sums(**{name: reduced[name] for name, _ in sums.items()}), reduced["processes"]

    return finish


def _as_tensor(value: Tensor | float, dtype: torch.dtype, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(dtype)
    return torch.full((), value, dtype=dtype, device=device)  # filled on the device: nothing is copied from the host
