"""How much memory a step needs at its peak, above what is there before it."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from fasthebb.benchmark.steps import Step, backprop_step, floor_step, hebbian_step, inference
from fasthebb.benchmark.subjects import Subject, subject
from fasthebb.rules.names import rule_class

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Megabytes at the peak above the start, once the block has ended."""

    megabytes: float = 0.0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of the block: of the GPU's memory, or of this process's (Linux).

    Memory that the process has freed before and keeps is not counted again, so a process of its own gives the truth.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        idle = torch.cuda.memory_allocated(device)
        yield peak
        peak.megabytes = (torch.cuda.max_memory_allocated(device) - idle) / 2**20
    else:
        _CLEAR.write_text("5")  # the peak starts anew
        before = _status("VmRSS")
        yield peak
        peak.megabytes = _status("VmHWM") - before


def can_measure(device: torch.device) -> bool:
    """Whether `peak_memory` works here."""
    return device.type == "cuda" or (device.type == "cpu" and _CLEAR.exists())


def peak_megabytes(
    kind: str, network: str, batch_size: int, image_size: int | None, dtype: torch.dtype, device: torch.device
) -> float:
    """Peak of two steps of ``"forward"``, ``"floor"``, ``"backprop"`` or a rule's name, in its own process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak, kind, network, batch_size, image_size, dtype, device).result()


def _peak(
    kind: str, network: str, batch_size: int, image_size: int | None, dtype: torch.dtype, device: torch.device
) -> float:
    net = subject(network, batch_size, image_size, device)
    step = _step(kind, net, dtype)
    with peak_memory(device) as peak:
        step()
        step()
    return peak.megabytes


def _step(kind: str, net: Subject, dtype: torch.dtype) -> Step:
    makers = {"forward": inference, "floor": floor_step, "backprop": backprop_step}
    return makers[kind](net, dtype) if kind in makers else hebbian_step(net, rule_class(kind)(), dtype)


def _status(name: str) -> float:
    return next(int(line.split()[1]) / 1024 for line in _STATUS.read_text().splitlines() if line.startswith(name))
