"""New images as a trained segmentation network wants them."""

from __future__ import annotations

from pathlib import Path

from fasthebb.data.decoding import Pixels
from fasthebb.data.errors import missing_path
from fasthebb.data.loading import _nothing_read, _warn_skipped
from fasthebb.data.masked import MaskedSet
from fasthebb.data.masked_loading import _tensors
from fasthebb.data.masked_reading import read_pairs
from fasthebb.data.masked_sources import open_unlabelled


def load_for_segmentation(
    path: str | Path, *, channels: int, strict: bool = False, progress: bool = True
) -> tuple[MaskedSet, list[tuple[str, str]]]:
    """Read images at their own sizes, without masks.

    Args:
        path: an image or volume, or a folder of them nested in any way; of folders images/ and masks/ those in images/.
        channels: 1 to N.
        strict: whether an image that cannot be read is an error.
        progress: whether a long load shows a bar on stderr.

    Returns:
        The images, masks all ``None``, and ``(path, reason)`` of those skipped.

    Raises:
        DataError: if there are no images there, none can be read, or the channels cannot be converted.
    """
    if not Path(path).expanduser().exists():  # and no name on the Hub either
        raise missing_path(Path(path).expanduser(), "image or folder of images")
    source = open_unlabelled(path, group=None, strict=strict)
    pairs = [(item, None) for item in source.items]
    decoded: dict[str, Pixels | str] = {
        item.key: one if isinstance(one, str) else one[0]
        for item, one in zip(
            source.items, read_pairs(pairs, channels=channels, strict=strict, progress=progress), strict=True
        )
    }
    skipped = [
        *source.skipped,
        *((item.name, one) for item in source.items if isinstance(one := decoded[item.key], str)),
    ]
    items = [item for item in source.items if not isinstance(decoded[item.key], str)]
    if not items:
        raise _nothing_read(str(path), skipped)
    _warn_skipped(skipped, str(path))
    images = _tensors(items, decoded, channels)
    return MaskedSet([images[item.key] for item in items], [None] * len(items), [item.name for item in items]), skipped
