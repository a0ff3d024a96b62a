"""Reading many images at once: threads, progress, damaged files, memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from fasthebb.data.decoding import decode, why_unreadable
from fasthebb.data.errors import DataError, unreadable
from fasthebb.data.items import Item

_CHUNK = 32  # images a task: handing one over costs as much as decoding a small one
_QUIET_SECONDS = 2.0  # a load that is over by then shows no bar

Decoded = NDArray[Any] | str


class TooLargeError(DataError):
    """Images that would not fit into memory."""


def read_items(items: Sequence[Item], image_size: int, *, strict: bool, progress: bool) -> list[Decoded]:
    """Read and decode every item in a pool of threads.

    Args:
        items: what to read.
        image_size: side of the results, in pixels.
        strict: whether one that cannot be read is an error.
        progress: whether a long load shows a bar on stderr.

    Returns:
        For each item its pixels ``(image_size, image_size, C)``, or the reason why it has none.

    Raises:
        DataError: under ``strict``, at the first image that cannot be read; or if a package is missing.
    """

    def task(start: int) -> list[Decoded]:
        return [read_item(item, image_size, strict) for item in items[start : start + _CHUNK]]

    decoded: list[Decoded] = []
    bar = tqdm(total=len(items), desc="reading images", unit="image", delay=_QUIET_SECONDS, disable=not progress)
    # Decoders warn of damage without saying which file it is in; what cannot be read is reported with its path.
    with warnings.catch_warnings(), bar, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")
        try:
            for chunk in pool.map(task, range(0, len(items), _CHUNK)):
                decoded += chunk
                bar.update(len(chunk))
        except BaseException:  # Ctrl-C too: do not first decode all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return decoded


def read_item(item: Item, image_size: int, strict: bool) -> Decoded:
    """The pixels of one item, or the reason why it has none."""
    try:
        return decode(item.read(), image_size)
    except DataError:
        raise
    except Exception as error:  # decoders fail in any way at all on damaged files
        if strict:
            raise unreadable(item.name, why_unreadable(error)) from error
        return why_unreadable(error)


def check_memory(items: Sequence[Item], image_size: int, channels: int | None) -> None:
    """Refuse a set that would not fit into memory, before reading it.

    Raises:
        TooLargeError: with the estimate and a size that fits.
    """
    available = available_memory()
    if available is None or len(items) * image_size**2 * 64 * 4 < available:
        return  # fits however deep the images are; so small sets need no trial
    trial = next((one for item in items[:8] if not isinstance(one := read_item(item, 8, False), str)), None)
    depth = 1 if trial is None else trial.dtype.itemsize
    count = channels if channels is not None else 3 if trial is None else trial.shape[2]
    needed = 2 * (len(items) + 1) * image_size**2 * count * depth  # decoded, and gathered; one in the making
    if needed > available:
        fits = int(image_size * (available / needed) ** 0.5)
        raise TooLargeError(
            f"{len(items)} images of {count} x {image_size} x {image_size} need {needed / 2**30:.1f} GiB of memory, "
            f"{available / 2**30:.1f} GiB are free: choose an image size of at most {fits}, or fewer images"
        )


def available_memory() -> int | None:
    """Bytes of memory that are free, within a container's limit too; ``None`` where the system does not say.

    Where a launcher has started several processes on this machine, each has its share of them.
    """
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text("ascii"))
        if limit.isdecimal():
            found.append(max(int(limit) - used, 0))
    except (OSError, ValueError):
        pass
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return min(found) // (int(processes) if processes.isdecimal() and int(processes) else 1) if found else None
