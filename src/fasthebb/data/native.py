"""One file to pixels of its own size, and one mask to whole numbers.

Images are as ``fasthebb.data.decoding`` says of depth, transparency, orientation and DICOM, but not resized; TIFF
stacks and NIfTI files are volumes. Of a mask the stored numbers count: of a palette its indices, nothing is stretched.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fasthebb.data.decoding import (
    _DEEP_MODES,
    _TIFF_STARTS,
    Pixels,
    UnreadableError,
    _check_size,
    _deep_png,
    _dicom,
    _is_deep_png,
    _keeps_all,
    _plain,
    _tiff_pixels,
    first_series,
    import_tifffile,
    stretch,
)
from fasthebb.data.errors import import_optional
from fasthebb.data.volumes import check_tiff_whole, is_nifti, read_nifti, read_stack, scaled

_CAMERA_FORMATS = ("JPEG", "MPO", "WEBP")


class MaskError(ValueError):
    """A mask that can be read but does not say what class a pixel has; its message continues "the mask ... "."""


def decode_native(content: bytes | Pixels) -> Pixels:
    """Decode one image at its own size.

    Args:
        content: an encoded file, or 8-bit grey pixels ``(H, W)``.

    Returns:
        ``(H, W, C)``, or ``(D, H, W, C)`` for a volume; uint8 or float32 in [0, 1], with the file's number of channels.

    Raises:
        UnreadableError: if the file is damaged, empty, too large or of an unknown format, with the reason.
        DataError: if a package is missing that reads this format.

    Example:
        >>> decode_native(np.full((4, 6), 7, np.uint8)).shape
        (4, 6, 1)
    """
    if not isinstance(content, bytes):
        return content[:, :, None]
    if not content:
        raise UnreadableError("the file is empty")
    if content[128:132] == b"DICM":
        return _dicom(content)
    if is_nifti(content):
        return scaled(read_nifti(content))
    if content[:4] in _TIFF_STARTS:
        return _tiff(content)
    if _is_deep_png(content):
        return _deep_png(content)
    with Image.open(BytesIO(content)) as image:
        return _picture(image)


def decode_mask(content: bytes | Pixels) -> Pixels:
    """Decode one mask.

    Args:
        content: an encoded file, or its values ``(H, W)``.

    Returns:
        ``(H, W)``, or ``(D, H, W)`` for a volume, of the smallest unsigned integers that hold its values.

    Raises:
        MaskError: if it has colours, or values that are no whole numbers from 0.
        UnreadableError: if it is damaged, too large or of an unknown format, with the reason.
        DataError: if a package is missing that reads this format.

    Example:
        >>> decode_mask(np.array([[0.0, 300.0]])).dtype
        dtype('uint16')
    """
    return _whole_numbers(_one_channel(_mask_values(content)))


def _picture(image: Image.Image) -> Pixels:
    oriented = _oriented(image)
    if oriented.mode in _DEEP_MODES:
        return stretch(np.asarray(oriented)[:, :, None])
    pixels = np.array(_plain(oriented))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _oriented(image: Image.Image) -> Image.Image:
    _check_size(*image.size)
    return ImageOps.exif_transpose(image) if image.format in _CAMERA_FORMATS else image


def _tiff(content: bytes) -> Pixels:
    check_tiff_whole(content)
    try:
        with Image.open(BytesIO(content)) as image:
            if _keeps_all(image):
                return _picture(image)
    except UnidentifiedImageError:
        pass
    stack = read_stack(content)
    return _tiff_pixels(content) if stack is None else scaled(stack)


def _mask_values(content: bytes | Pixels) -> Pixels:
    """Values as they are stored, ``(H, W)`` or ``(D, H, W)``, or with channels last."""
    if not isinstance(content, bytes):
        return content
    if content[128:132] == b"DICM":
        dataset = import_optional("pydicom", "medical").dcmread(BytesIO(content))
        _check_size(int(dataset.Columns), int(dataset.Rows))
        return np.asarray(import_optional("pydicom.pixels", "medical").pixel_array(dataset, index=0))
    if is_nifti(content):
        return read_nifti(content)
    if content[:4] in _TIFF_STARTS:
        return _tiff_mask(content)
    with Image.open(BytesIO(content)) as image:
        if _is_deep_png(content) and image.mode not in _DEEP_MODES:  # Pillow cuts its values to 8 bits
            raise MaskError("has colours of 16 bits, expected one channel of class numbers")
        return np.asarray(_oriented(image))


def _tiff_mask(content: bytes) -> Pixels:
    check_tiff_whole(content)
    try:
        with Image.open(BytesIO(content)) as image:
            if _keeps_all(image):
                _check_size(*image.size)
                return np.asarray(image)
    except UnidentifiedImageError:  # of 64 bits, say
        pass
    stack = read_stack(content)
    if stack is not None:
        return stack
    with import_tifffile().TiffFile(BytesIO(content)) as file:
        series = first_series(file)
        if series.axes not in ("YX", "YXS"):
            raise MaskError(f"has the axes {series.axes}, expected one channel of class numbers")
        _check_size(series.shape[1], series.shape[0])
        return np.asarray(series.asarray())


def _one_channel(values: Pixels) -> Pixels:
    """Without channels that say nothing: copies of the first, and opacity where all is opaque.

    A volume comes with its channels or, of fewer axes, is none.
    """
    if values.ndim == 2:
        return values
    first = values[..., 0]
    rest = values[..., 1:]
    if rest.shape[-1] in (1, 3) and values.dtype == np.uint8 and (rest[..., -1] == 255).all():
        rest = rest[..., :-1]
    if (rest != first[..., None]).any():
        raise MaskError("has colours, expected one channel of class numbers, or a palette")
    return first


def _whole_numbers(values: Pixels) -> Pixels:
    if values.dtype.kind not in "buif":
        raise MaskError(f"has values of the type {values.dtype}, expected class numbers")
    if values.dtype.kind == "f":
        broken = values[~(np.isfinite(values) & (values == np.rint(values)))]
        if broken.size:
            raise MaskError(f"has the value {broken[0]:g}, expected whole numbers")
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if low < 0:
        raise MaskError(f"has the value {low:g}, expected class numbers from 0")
    return values.astype(np.min_scalar_type(int(high)))
