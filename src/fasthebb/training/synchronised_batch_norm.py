"""Batch norm over the joined batch of several processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from fasthebb.models.relative_variance import RelativeVarianceBatchNorm1d, RelativeVarianceBatchNorm2d, rescaled

_PLAIN = "_plain_class"
"""Where a synchronised norm keeps the class that it had before."""


class _JoinedBatch(torch.autograd.Function):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with the statistics of all processes' batches together."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps = eps
        return functional.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, mean, var, count = ctx.saved_tensors
        channels = (1, -1, *[1] * (x.dim() - 2))
        inverse = torch.rsqrt(var + ctx.eps)
        grad32 = grad.to(mean.dtype)
        normalised = (x.to(mean.dtype) - mean.view(channels)) * inverse.view(channels)
        dims = [dim for dim in range(x.dim()) if dim != 1]
        of_bias, of_weight = grad32.sum(dims), (grad32 * normalised).sum(dims)
        joined = torch.stack([of_bias, of_weight])
        dist.all_reduce(joined)
        mean_grad, mean_product = (joined / count.clamp_min(1)).to(mean.dtype)
        scale = inverse if weight is None else inverse * weight.to(mean.dtype)
        of_x = (grad32 - mean_grad.view(channels) - normalised * mean_product.view(channels)) * scale.view(channels)
        own = (None, None) if weight is None else (of_weight.to(weight.dtype), of_bias.to(weight.dtype))
        return of_x.to(x.dtype), *own, None, None, None, None


class _Synchronised(_BatchNorm):
    """Batch norm in training mode over the images of all processes.

    One all-reduce a forward pass: sum, sum of squares and counts, in float64, of whatever number of images each process
    has, none included. A joined batch of fewer than two images, which has no variance, is normalised by the running
    statistics and leaves them alone.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, C, ...)``, N being this process's own share; same shape and dtype."""
        of_batch = self.training or self.running_mean is None
        if not of_batch or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        mean, var, count, images = _joined_statistics(input.detach())
        if self.running_mean is not None and self.running_var is not None:
            enough = images >= 2
            with torch.no_grad():
                self._follow(mean, var * count / (count - 1).clamp_min(1), enough)
            mean, var = torch.where(enough, mean, self.running_mean), torch.where(enough, var, self.running_var)
            count = torch.where(enough, count, torch.inf)  # running statistics take no part in the gradient
        dtype = torch.promote_types(input.dtype, torch.float32)
        normalised: Tensor = _JoinedBatch.apply(
            input, self.weight, self.bias, mean.to(dtype), var.to(dtype), count, self.eps
        )
        return normalised

    def _follow(self, mean: Tensor, var: Tensor, enough: Tensor) -> None:
        """Let the running statistics follow those of a batch, if that has enough images."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += enough
        momentum = 1 / self.num_batches_tracked.clamp_min(1) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running.copy_(torch.where(enough, running + momentum * (new - running), running))


def _joined_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and variance of each channel ``(C,)``, number of values a channel and of images, over all processes."""
    values = x.numel() // x.shape[1] if len(x) else 0
    shape, exact = (x.shape[1],), torch.float64
    if values:
        var, mean = torch.var_mean(
            x.to(torch.promote_types(x.dtype, torch.float32)), [dim for dim in range(x.dim()) if dim != 1], correction=0
        )
        mean, var = mean.to(exact), var.to(exact)
    else:
        mean, var = x.new_zeros(shape, dtype=exact), x.new_zeros(shape, dtype=exact)
    counts = x.new_zeros(2, dtype=exact)
    counts[0] += values
    counts[1] += len(x)
    buffer = torch.cat([values * mean, values * (var + mean.square()), counts])
    dist.all_reduce(buffer)
    total, squares, (count, images) = buffer[:-2][: len(mean)], buffer[:-2][len(mean) :], buffer[-2:]
    mean = total / count.clamp_min(1)
    return mean, (squares / count.clamp_min(1) - mean.square()).clamp_min(0), count, images


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the joined batch of several processes."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the joined batch of several processes."""


class SynchronisedBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """`nn.BatchNorm3d` over the joined batch of several processes."""


class SynchronisedRelativeVarianceBatchNorm1d(RelativeVarianceBatchNorm1d, SynchronisedBatchNorm1d):
    """`RelativeVarianceBatchNorm1d` over the joined batch of several processes."""


class SynchronisedRelativeVarianceBatchNorm2d(RelativeVarianceBatchNorm2d, SynchronisedBatchNorm2d):
    """`RelativeVarianceBatchNorm2d` over the joined batch of several processes."""


class CudaRelativeVarianceBatchNorm(nn.SyncBatchNorm):
    """`RelativeVarianceBatchNorm2d` and its like around torch's synchronised batch norm, which needs CUDA."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, C, ...)`` and give the channels their relative variance back: same shape and dtype."""
        return rescaled(super().forward(input), self.running_var, self.eps)


_ON_HOST: dict[type[_BatchNorm], type[_BatchNorm]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
    nn.BatchNorm3d: SynchronisedBatchNorm3d,
    RelativeVarianceBatchNorm1d: SynchronisedRelativeVarianceBatchNorm1d,
    RelativeVarianceBatchNorm2d: SynchronisedRelativeVarianceBatchNorm2d,
}
_ON_CUDA: dict[type[_BatchNorm], type[_BatchNorm]] = {
    plain: CudaRelativeVarianceBatchNorm if "Relative" in plain.__name__ else nn.SyncBatchNorm for plain in _ON_HOST
}


def synchronise_batch_norms(model: nn.Module, device: torch.device | str = "cpu") -> None:
    """Let every batch norm of ``model`` take its statistics from the joined batch of all processes, in place.

    The modules stay the same objects, with their hooks, parameters and ``state_dict`` keys; only their class changes,
    until `plain_batch_norms`. With one process they compute what they computed. On CUDA torch's own `nn.SyncBatchNorm`
    serves.

    Args:
        model: changed in place; norms that are synchronised already stay so.
        device: where the model runs, or will run.

    Raises:
        ValueError: for a batch norm of another kind, which may compute something else in its forward pass.

    >>> norm = nn.BatchNorm2d(3)
    >>> synchronise_batch_norms(norm)
    >>> type(norm).__name__, isinstance(norm, nn.BatchNorm2d), list(norm.state_dict())[:2]
    ('SynchronisedBatchNorm2d', True, ['weight', 'bias'])
    >>> plain_batch_norms(norm)
    >>> type(norm).__name__
    'BatchNorm2d'
    """
    kinds = _ON_CUDA if torch.device(device).type == "cuda" else _ON_HOST
    found = [(name, norm) for name, norm in model.named_modules() if isinstance(norm, _BatchNorm)]
    new = [(name, norm) for name, norm in found if not isinstance(norm, _Synchronised | nn.SyncBatchNorm)]
    for name, norm in new:
        if type(norm) not in kinds:
            listed = ", ".join(kind.__name__ for kind in kinds)
            raise ValueError(
                f"the batch norm {name!r} is a {type(norm).__name__}, which cannot be synchronised over processes, "
                f"expected one of {listed}: use one process"
            )
    for _, norm in new:
        setattr(norm, _PLAIN, type(norm))
        if kinds is _ON_CUDA:
            norm.process_group = None  # type: ignore[assignment]  # what nn.SyncBatchNorm takes for all of them
        norm.__class__ = kinds[type(norm)]


def plain_batch_norms(model: nn.Module) -> None:
    """Undo `synchronise_batch_norms`."""
    for norm in model.modules():
        if _PLAIN in norm.__dict__:
            norm.__class__ = norm.__dict__[_PLAIN]
            delattr(norm, _PLAIN)


@contextmanager
def synchronised_batch_norms(model: nn.Module, device: torch.device | str) -> Iterator[None]:
    """Within the block norms are synchronised, if there are several processes; those that were before stay so."""
    plain = [norm for norm in model.modules() if isinstance(norm, _BatchNorm) and _PLAIN not in norm.__dict__]
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        synchronise_batch_norms(model, device)
    try:
        yield
    finally:
        for norm in plain:
            plain_batch_norms(norm)
