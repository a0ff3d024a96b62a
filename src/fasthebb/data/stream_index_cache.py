"""Where the images of a shard lie, kept from one start to the next: reading all headers of a large shard takes a while.

One file a shard in the user's cache folder (``FASTHEBB_CACHE``, or ``fasthebb`` in ``XDG_CACHE_HOME`` or
``~/.cache``), named by the shard's path, size and time of change. It holds numbers and texts alone; a file that cannot
be read, or a folder that cannot be written to, costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FORMAT = "1"

Arrays = dict[str, NDArray[np.generic]]


def cache_folder() -> Path:
    """The folder of the index files, whether or not it is there."""
    given = os.environ.get("FASTHEBB_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fasthebb"
    return base / "shards"


def index_file(shard: Path) -> Path:
    """The file that keeps the index of this shard as it is now."""
    found = shard.stat()
    marks = [_FORMAT, str(shard.resolve()), str(found.st_size), str(found.st_mtime_ns)]
    return cache_folder() / f"{hashlib.sha256(chr(0).join(marks).encode()).hexdigest()[:32]}.npz"


def load_index(file: Path, keys: Iterable[str]) -> Arrays | None:
    """These arrays of what ``store_index`` wrote, ``None`` where there is nothing of the kind."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in keys}
    except Exception:  # absent, cut short, no archive: numpy and zipfile raise half a dozen types
        return None


def as_bytes(texts: Iterable[str]) -> NDArray[np.uint8]:
    """Texts as one array, for ``store_index``."""
    return np.frombuffer("\0".join(text.replace("\0", " ") for text in texts).encode("utf-8", "replace"), np.uint8)


def as_texts(array: NDArray[np.generic]) -> list[str]:
    """The inverse of ``as_bytes``; of no text it makes an empty one."""
    return array.tobytes().decode("utf-8", "replace").split("\0")


def store_index(file: Path, arrays: Arrays) -> None:
    """Keep an index, whole or not at all; where that is not possible, do nothing."""
    temporary: str | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as stream:
            temporary = stream.name
            np.savez(stream, allow_pickle=False, **arrays)
        Path(temporary).replace(file)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
