"""Reading many images and masks at once: threads, progress, damaged files, memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm  # type: ignore[import-untyped]

from fasthebb.data.decoding import Pixels, why_unreadable
from fasthebb.data.errors import DataError, unreadable
from fasthebb.data.items import Item
from fasthebb.data.native import MaskError, decode_mask, decode_native
from fasthebb.data.reading import available_memory
from fasthebb.data.volumes import is_nifti, nifti_axes

_CHUNK = 8  # pairs a task
_QUIET_SECONDS = 2.0  # a load that is over by then shows no bar

Pair = tuple[Pixels, Pixels | None]
T = TypeVar("T")


def read_pairs(
    pairs: Sequence[tuple[Item, Item | None]], *, channels: int | None, strict: bool, progress: bool
) -> list[Pair | str]:
    """Read and decode images and their masks in a pool of threads.

    Args:
        pairs: images, each with its mask if that is to be read.
        channels: what images will be converted to, for the estimate of memory.
        strict: whether one that cannot be read is an error.
        progress: whether a long load shows a bar on stderr.

    Returns:
        For each image its pixels ``(H, W, C)`` or ``(D, H, W, C)`` and its mask of the same axes without channels,
        whole numbers as they are stored, or the reason why one of them cannot be read.

    Raises:
        DataError: under ``strict``, at the first that cannot be read; if a mask does not fit its image or holds no
            classes; if all would not fit into memory; if a package is missing.
    """

    def task(start: int) -> list[Pair | str]:
        return [read_pair(image, mask, strict) for image, mask in pairs[start : start + _CHUNK]]

    read: list[Pair | str] = []
    held = 0.0
    bar = tqdm(total=len(pairs), desc="reading images", unit="image", delay=_QUIET_SECONDS, disable=not progress)
    # Decoders warn of damage without saying which file it is in; what cannot be read is reported with its path.
    with warnings.catch_warnings(), bar, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")
        try:
            for chunk in pool.map(task, range(0, len(pairs), _CHUNK)):
                read += chunk
                held += sum(_bytes(one, channels) for one in chunk)
                _check_memory(held, len(read), len(pairs))
                bar.update(len(chunk))
        except BaseException:  # Ctrl-C too: do not first decode all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return read


def read_pair(image: Item, mask: Item | None, strict: bool) -> Pair | str:
    """One image and its mask, or the reason why one of them cannot be read.

    Raises:
        DataError: as ``read_pairs``.
    """
    content = _attempt(image, image.read, strict)
    pixels = content if isinstance(content, str) else _attempt(image, lambda: decode_native(content), strict)
    if mask is None or isinstance(pixels, str):
        return pixels if isinstance(pixels, str) else (pixels, None)
    stored = _attempt(mask, mask.read, strict)
    if isinstance(stored, str):
        return f"its mask: {stored}"
    if not len(stored):
        raise DataError(f"found an empty file where the mask '{mask.name}' should be: draw it, or remove the image too")
    values = _attempt(mask, lambda: decode_mask(stored), strict)
    if isinstance(values, str):
        return f"its mask: {values}"
    _check_fit(image.name, pixels.shape[:-1], mask.name, values.shape)
    if isinstance(content, bytes) and isinstance(stored, bytes) and is_nifti(content) and is_nifti(stored):
        axes, own = nifti_axes(content), nifti_axes(stored)
        if axes and own and axes != own:
            raise DataError(
                f"found the axes {axes} in '{image.name}' and {own} in its mask '{mask.name}': store both in one "
                f"orientation"
            )
    return pixels, values


def _attempt(item: Item, act: Callable[[], T], strict: bool) -> T | str:
    try:
        return act()
    except DataError:
        raise
    except MaskError as error:
        raise DataError(f"the mask '{item.name}' {error}: draw or export it again") from error
    except Exception as error:  # decoders fail in any way at all on damaged files
        if strict:
            raise unreadable(item.name, why_unreadable(error)) from error
        return why_unreadable(error)


def _check_fit(image: str, size: tuple[int, ...], mask: str, own: tuple[int, ...]) -> None:
    if size == own:
        return
    hint = "draw or export it again"
    if len(size) != len(own):
        hint = "a TIFF of several pages is a volume, unless it names them channels (axes CYX)"
    raise DataError(
        f"found '{image}' of {_sides(size)} and its mask '{mask}' of {_sides(own)}, expected the same size: {hint}"
    )


def _sides(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size)) + (" voxels" if len(size) == 3 else " pixels")


def _bytes(pair: Pair | str, channels: int | None) -> float:
    """What an image and its mask take in memory, once converted."""
    if isinstance(pair, str):
        return 0.0
    pixels, mask = pair
    converted = pixels.nbytes if channels is None else pixels.nbytes / pixels.shape[-1] * channels
    return float(max(converted, pixels.nbytes)) + (0 if mask is None else mask.size)


def _check_memory(held: float, read: int, total: int) -> None:
    """Refuse a set whose rest will not fit into memory, by what has been read of it.

    Raises:
        DataError: with the estimate.
    """
    available = available_memory()
    if available is None or not read:
        return
    rest = held / read * (total - read)
    if rest > available:
        raise DataError(
            f"{total} images at their own sizes need {held / read * total / 2**30:.1f} GiB of memory, "
            f"{(held + available) / 2**30:.1f} GiB are free: use fewer images, or cut or shrink them (masks alike)"
        )
