"""Weights that are spread over processes, which no rule can read."""

import sys
from collections.abc import Iterable

from torch import nn


def refuse_sharded(model: nn.Module, layers: Iterable[tuple[str, nn.Module]]) -> None:
    """Refuse layers whose weights are held in parts, one a process, even while FSDP has joined them for a forward pass.

    Raises:
        RuntimeError: naming a layer of FSDP, ``fully_shard`` or tensor parallelism.
    """
    # Whoever shards has imported these modules; importing them here would slow everybody else down.
    fsdp, tensor = (sys.modules.get(f"torch.distributed.{name}") for name in ("fsdp", "tensor"))
    sharding = () if fsdp is None else (fsdp.FSDPModule, fsdp.FullyShardedDataParallel)
    inside = {id(part) for whole in model.modules() if isinstance(whole, sharding) for part in whole.modules()}
    for name, layer in layers:
        if id(layer) in inside or (tensor is not None and isinstance(layer.weight, tensor.DTensor)):
            raise RuntimeError(
                f"the weight of layer {name!r} is sharded over processes (FSDP or tensor parallelism), expected a "
                "whole one: use DistributedDataParallel, or leave the layer out with exclude"
            )
