"""Volumes: NIfTI files, and TIFF stacks.

A volume is ``(D, H, W, C)``. Of a NIfTI file the axes i, j, k are W, H, D, as they are stored, and a fourth one is
channels. Of a TIFF the axis that it calls depth is D; pages that it does not name are depth too, unlike in
``fasthebb.data.decoding``, where they are channels. Axes that it calls channels or samples are channels, of time the
first moment is taken.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.decoding import MAX_PIXELS, UnreadableError, first_series, import_tifffile, stretch
from fasthebb.data.errors import import_optional

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_MAX_BYTES = 4 * MAX_PIXELS  # a larger volume is honest only if the file is about as large
_MAX_CHANNELS = 64
_HEADER_BYTES = 560  # of NIfTI-2, the longer one, with what may follow
_GZIP_START = b"\x1f\x8b"
_DEPTH_AXES = "ZQI"  # Q and I: pages that no metadata name
_CHANNEL_AXES = "CS"
_WHITE_IS_ZERO = 0

Values = NDArray[Any]


def scaled(values: Values) -> Values:
    """Values of any type as those of an image: uint8 as they are, others as float32 in [0, 1], see ``stretch``.

    Raises:
        UnreadableError: if they are no numbers, or none is finite.
    """
    if values.dtype.kind not in "buif":
        raise UnreadableError(f"values of the type {values.dtype} are no image")
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    return values if values.dtype == np.uint8 else stretch(values)


# --- NIfTI ---


def is_nifti(content: bytes) -> bool:
    """Whether a file is NIfTI-1 or NIfTI-2 with header and data in one, gzipped or not."""
    head = _head(content)
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def nifti_axes(content: bytes) -> str:
    """Where the stored axes i, j, k of a NIfTI file lead, such as "RAS"; empty where its header does not say.

    Raises:
        UnreadableError: if the header is damaged.
    """
    nibabel = import_optional("nibabel", "medical")
    header = _header(content)
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        return ""
    return "".join(axis or "?" for axis in nibabel.aff2axcodes(header.get_best_affine()))


def read_nifti(content: bytes) -> Values:
    """The values of a NIfTI file, rescaled as its header says: ``(D, H, W, C)``, or ``(H, W, C)`` if D is 1.

    Raises:
        UnreadableError: if it is damaged, cut short, too large, or has more axes.
        DataError: if nibabel is missing.
    """
    nibabel = import_optional("nibabel", "medical")
    header = _header(content)
    shape = tuple(int(side) for side in header.get_data_shape())
    if len(shape) < 2 or min(shape) < 1:
        raise UnreadableError(f"a NIfTI file of shape {shape} is no image")
    needed = int(header["vox_offset"]) + int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    if needed > max(_MAX_BYTES, 2 * len(content)):
        raise UnreadableError(f"a NIfTI file of shape {shape} unfolds into {needed / 2**30:.1f} GiB")
    whole = content
    if content[:2] == _GZIP_START:
        try:
            with gzip.open(BytesIO(content)) as stream:
                whole = stream.read(needed)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError("the NIfTI file is damaged or cut short") from error
    if len(whole) < needed:
        raise UnreadableError(f"the NIfTI file is cut short: {len(whole)} of {needed} bytes")
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    values = np.asarray(kind.from_bytes(whole).dataobj)
    if values.dtype.names:  # colour, as a record of R, G, B
        values = np.stack([values[name] for name in values.dtype.names], -1)
    while values.ndim > 4 and 1 in values.shape[3:]:  # a moment in time before the channels
        values = values.squeeze(3 + values.shape[3:].index(1))
    values = values.reshape(*values.shape, *[1] * (4 - values.ndim))
    if values.ndim > 4 or values.shape[3] > _MAX_CHANNELS:
        raise UnreadableError(f"a NIfTI file of shape {shape} is no volume of at most {_MAX_CHANNELS} channels")
    volume = np.ascontiguousarray(values.transpose(2, 1, 0, 3))
    return volume[0] if len(volume) == 1 else volume


def _head(content: bytes) -> bytes:
    if content[:2] != _GZIP_START:
        return content[:_HEADER_BYTES]
    try:
        return zlib.decompressobj(31).decompress(content, _HEADER_BYTES)
    except zlib.error:
        return b""


def _header(content: bytes) -> Any:
    nibabel = import_optional("nibabel", "medical")
    head = _head(content)
    kind = nibabel.Nifti2Header if head[4:8] == b"n+2\0" else nibabel.Nifti1Header
    try:
        # Without its checks, which mend what they find and log it.
        return kind.from_fileobj(BytesIO(head), check=False)
    except Exception as error:  # nibabel fails in many ways on damaged files
        raise UnreadableError("the NIfTI header is damaged") from error


# --- TIFF ---


def check_tiff_whole(content: bytes) -> None:
    """Follow a TIFF from page to page: readers take the pages before the damage for all there are, in silence.

    Raises:
        UnreadableError: if a page lies beyond the end of the file.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    place, seen = (8 if big else 4), set[int]()
    try:
        (page,) = struct.unpack_from(order + offset, content, place)
        while page and page not in seen:
            seen.add(page)
            (entries,) = struct.unpack_from(order + count, content, page)
            (page,) = struct.unpack_from(order + offset, content, page + struct.calcsize(count) + entries * entry)
    except struct.error as error:
        raise UnreadableError("the TIFF is cut short or damaged") from error


def read_stack(content: bytes) -> Values | None:
    """The values of a TIFF with an axis of depth, ``(D, H, W, C)``; ``None`` if it has none.

    Raises:
        UnreadableError: if it is damaged, too large, or its axes do not say which is which.
        DataError: if tifffile is missing.
    """
    tifffile = import_tifffile()
    with tifffile.TiffFile(BytesIO(content)) as file:
        series = first_series(file)
        axes, shape = str(series.axes), tuple(series.shape)
        depth = [axis for axis in axes if axis in _DEPTH_AXES]
        if not depth:
            return None
        if len(set(axes)) < len(axes) or len(depth) > 1 or "Y" not in axes or "X" not in axes:
            raise UnreadableError(f"a TIFF of axes {axes} does not say which is depth: save it with axes such as ZCYX")
        channels = [axis for axis in axes if axis in _CHANNEL_AXES]
        count = int(np.prod([shape[axes.index(axis)] for axis in channels]))
        if count > _MAX_CHANNELS:
            raise UnreadableError(f"a TIFF of axes {axes} has {count} channels, at most {_MAX_CHANNELS} are read")
        if series.nbytes > max(_MAX_BYTES, 2 * len(content)):
            raise UnreadableError(f"a TIFF of shape {shape} unfolds into {series.nbytes / 2**30:.1f} GiB")
        values = np.asarray(series.asarray())
        white_is_zero = series.keyframe.photometric == _WHITE_IS_ZERO
    order = [*depth, "Y", "X", *channels]
    values = values[tuple(slice(None) if axis in order else 0 for axis in axes)]
    kept = [axis for axis in axes if axis in order]
    values = values.transpose([kept.index(axis) for axis in order])
    values = np.ascontiguousarray(values.reshape(*values.shape[:3], -1))
    if not white_is_zero:
        return values
    return ~values if values.dtype.kind in "bu" else -values
