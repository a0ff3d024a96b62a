"""One file to pixels: 8-bit images stay 8-bit, deeper ones become float32 in [0, 1].

Every image is resized so that its shorter side is ``image_size`` and cropped to the centre square; shrinking is
antialiased. Transparency is composited on white, palettes become RGB, the orientation that a camera notes is applied,
and of files with several frames, moments or slices the first is taken. Grey pages of a TIFF are its channels, unless it
calls them moments or slices.

Deeper images (16-bit PNG, 16-bit and float TIFF, DICOM) are scaled by a DICOM window if the file has one, otherwise so
that the 0.5 and 99.5 percentiles of that image's values, all channels together, become 0 and 1.
"""

from __future__ import annotations

import logging
import struct
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fasthebb.data import png
from fasthebb.data.errors import DataError, import_optional, reason_of

MAX_PIXELS = 2 * 89_478_485  # Pillow's own limit: a small file that unfolds into more is taken for a bomb
PERCENTILES = (0.5, 99.5)

_MAX_BYTES = 4 * MAX_PIXELS  # and a larger TIFF is honest only if the file is about as large
_MAX_CHANNELS = 64  # more planes than this are a stack of slices, not channels
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


class UnreadableError(ValueError):
    """An image that cannot be used; its message is the reason."""


Pixels = NDArray[Any]


def why_unreadable(error: Exception) -> str:
    """Why a file could not be decoded: what a decoder says of it, and nothing of the decoder's own inside.

    >>> why_unreadable(IndexError("list index out of range")), why_unreadable(UnreadableError("the file is empty"))
    ('it is damaged, or of a kind that is not read', 'the file is empty')
    """
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than the {MAX_PIXELS} that are read"
    if isinstance(error, LookupError | TypeError | AttributeError | struct.error):
        return "it is damaged, or of a kind that is not read"
    reason = reason_of(error)
    # Pillow names a memory address here.
    return "not an image, or damaged at its beginning" if "cannot identify image file" in reason else reason


def decode(content: bytes | Pixels, image_size: int) -> Pixels:
    """Decode one image.

    Args:
        content: an encoded file, or 8-bit grey pixels ``(H, W)``.
        image_size: side of the result, in pixels.

    Returns:
        ``(image_size, image_size, C)``, uint8 or float32 in [0, 1], with the file's own number of channels.

    Raises:
        UnreadableError: if the file is damaged, empty, too large or of an unknown format, with the reason.
        DataError: if a package is missing that reads this format.

    Example:
        >>> decode(np.full((4, 6), 7, np.uint8), 2).tolist()
        [[[7], [7]], [[7], [7]]]
    """
    if not isinstance(content, bytes):
        return _fit(Image.fromarray(content), image_size)
    if not content:
        raise UnreadableError("the file is empty")
    if content[128:132] == b"DICM":
        return _resize(_dicom(content), image_size)
    if content[:4] in _TIFF_STARTS:
        return _tiff(content, image_size)
    if _is_deep_png(content):
        return _resize(_deep_png(content), image_size)
    with Image.open(BytesIO(content)) as image:
        return _picture(image, image_size)


def _picture(image: Image.Image, image_size: int) -> Pixels:
    _check_size(*image.size)
    if image.format == "JPEG":
        # A JPEG is decoded at half, a quarter or an eighth of its size for less than the price of all of it; twice the
        # size asked for is left for the antialiased resize.
        image.draft(None, (2 * image_size, 2 * image_size))
    oriented = ImageOps.exif_transpose(image) if image.format in ("JPEG", "MPO", "WEBP") else image
    if oriented.mode in _DEEP_MODES:
        return _resize(stretch(np.asarray(oriented)[:, :, None]), image_size)
    return _fit(_plain(oriented), image_size)


def _plain(image: Image.Image) -> Image.Image:
    """An 8-bit image of any mode as grey or RGB."""
    if image.has_transparency_data:
        mode = "L" if image.mode in ("LA", "La", "L", "1") else "RGB"
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert(mode)
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _fit(image: Image.Image, image_size: int) -> Pixels:
    """Resize the shorter side and crop to the centre square, in one pass: ``(image_size, image_size, C)``."""
    width, height = image.size
    if (width, height) != (image_size, image_size):
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _resize(pixels: Pixels, image_size: int) -> Pixels:
    """``_fit`` for arrays ``(H, W, C)`` of uint8 or float32, channel by channel."""
    planes = [Image.fromarray(np.ascontiguousarray(pixels[:, :, c])) for c in range(pixels.shape[2])]
    fitted = np.concatenate([_fit(plane, image_size) for plane in planes], axis=2)
    return fitted if fitted.dtype == np.uint8 else np.clip(fitted, 0.0, 1.0)


def stretch(values: Pixels) -> NDArray[np.float32]:
    """Scale values so that their 0.5 and 99.5 percentiles become 0 and 1, and cut what lies beyond.

    Args:
        values: any shape, integer or float; values that are not finite take no part and become 0.

    Raises:
        UnreadableError: if no value is finite.

    Example:
        >>> stretch(np.array([0.0, 500.0, 1000.0])).round(2).tolist()
        [0.0, 0.5, 1.0]
        >>> stretch(np.array([9, 9])).tolist()
        [0.0, 0.0]
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise UnreadableError("no pixel has a finite value")
    low, high = np.percentile(values[finite], PERCENTILES)
    if high <= low:  # nearly all pixels alike: what differs still shows
        low, high = values[finite].min(), values[finite].max()
    span = high - low if high > low else 1.0
    scaled: NDArray[np.float32] = np.clip((np.where(finite, values, low) - low) / span, 0.0, 1.0).astype(np.float32)
    return scaled


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UnreadableError("the image has no pixels")
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"{width} x {height} pixels are more than the {MAX_PIXELS} that are read")


# --- 16-bit PNG: Pillow reads colour ones as 8-bit ---


def _is_deep_png(content: bytes) -> bool:
    return content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 25 and content[24] == 16


def _deep_png(content: bytes) -> Pixels:
    torch = import_optional("torch", "train")
    io = import_optional("torchvision.io", "train")
    _check_size(*struct.unpack(">II", content[16:24]))
    try:
        encoded = torch.frombuffer(bytearray(png.remade(content)), dtype=torch.uint8)
        values = io.decode_image(encoded, mode=io.ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()  # (H, W, C)
    except (RuntimeError, ValueError) as error:  # the message may be a line of C++
        raise UnreadableError("the 16-bit PNG is damaged or cut short") from error
    return stretch(values) if values.shape[2] in (1, 3) else _on_white(values)


def _on_white(values: Pixels) -> Pixels:
    """16-bit values ``(H, W, C + 1)``, the last channel their opacity, stretched and composited on white."""
    alpha = values[:, :, -1:].astype(np.float32) / 65535
    return np.asarray(stretch(values[:, :, :-1]) * alpha + (1 - alpha))


# --- TIFF: Pillow where it keeps everything, tifffile elsewhere ---

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL = 258, 262, 277
_STRIP_OFFSETS, _ROWS_PER_STRIP = 273, 278
_WHITE_IS_ZERO = 0
_UNASSOCIATED_ALPHA = 2
_UNSAID = logging.NullHandler()


def _tiff(content: bytes, image_size: int) -> Pixels:
    try:
        with Image.open(BytesIO(content)) as image:
            if _keeps_all(image):
                return _picture(image, image_size)
    except UnidentifiedImageError:
        pass
    try:
        return _resize(_tiff_pixels(content), image_size)
    except (UnreadableError, DataError):
        raise
    except Exception as error:  # tifffile fails in many ways on damaged files
        raise UnreadableError(f"the TIFF cannot be read: {why_unreadable(error)}") from error


def _keeps_all(image: Image.Image) -> bool:
    """Whether Pillow gives all of a TIFF: one page, and either 8 bits of at most RGB and alpha, or one deep channel.

    Raises:
        UnreadableError: if rows are missing, which Pillow takes for black.
    """
    tags: Any = getattr(image, "tag_v2", {})
    rows = tags.get(_ROWS_PER_STRIP, image.height)
    if _STRIP_OFFSETS in tags and (rows < 1 or len(tags[_STRIP_OFFSETS]) * rows < image.height):
        raise UnreadableError(f"the TIFF is cut short or damaged: some of its {image.height} rows are missing")
    if getattr(image, "n_frames", 1) > 1:
        return False
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    samples = tags.get(_SAMPLES_PER_PIXEL, 1)
    if max(bits) > 8:
        return bool(samples == 1 and tags.get(_PHOTOMETRIC) != _WHITE_IS_ZERO)
    return bool(samples <= 4 and image.mode != "RGBX")


def import_tifffile() -> Any:
    """The package, which tells of damage as an error, and not beside it on stderr too."""
    tifffile = import_optional("tifffile", "medical")
    logging.getLogger("tifffile").addHandler(_UNSAID)
    return tifffile


def first_series(file: Any) -> Any:
    """The first image or stack of a ``tifffile.TiffFile``, also of one whose pages lead back to each other."""
    len(file.pages)  # looks for all pages and stops at such a circle, which ``series`` by itself follows for ever
    return file.series[0]


def _tiff_pixels(content: bytes) -> Pixels:
    """The first image of a TIFF as ``(H, W, C)``, uint8 or stretched: planes are channels, of time and depth the first.

    Colour comes with a dimension of its own; then further planes are pages, of which the first is taken.
    """
    tifffile = import_tifffile()
    with tifffile.TiffFile(BytesIO(content)) as file:
        series = first_series(file)
        sizes = dict(zip(series.axes, series.shape, strict=True))
        if "Y" not in sizes or "X" not in sizes:
            raise UnreadableError(f"a TIFF of axes {series.axes} is no image")
        planes = "CS" if sizes.get("S", 1) > 1 else "CQI"
        channels = [axis for axis in series.axes if axis in planes and sizes[axis] > 1]
        count = int(np.prod([sizes[axis] for axis in channels]))
        if count > _MAX_CHANNELS:
            raise UnreadableError(f"{count} planes are a stack, not channels; save its slices as images")
        _check_size(sizes["X"], sizes["Y"])
        if series.nbytes > max(_MAX_BYTES, 2 * len(content)):
            raise UnreadableError(f"a TIFF of shape {series.shape} unfolds into {series.nbytes / 2**30:.1f} GiB")
        values = np.asarray(series.asarray())
        white_is_zero = series.keyframe.photometric == _WHITE_IS_ZERO
        has_alpha = _UNASSOCIATED_ALPHA in series.keyframe.extrasamples
    first = tuple(slice(None) if axis in ("Y", "X", *channels) else 0 for axis in sizes)
    kept = [axis for axis in sizes if axis in ("Y", "X", *channels)]
    order = [kept.index("Y"), kept.index("X"), *(kept.index(axis) for axis in channels)]
    plane: Pixels = values[first].transpose(order)
    plane = plane.reshape(*plane.shape[:2], -1)
    if plane.dtype.kind not in "buif":
        raise UnreadableError(f"values of the type {plane.dtype} are no image")
    if plane.dtype == np.bool_:
        plane = plane.astype(np.uint8) * 255
    if plane.dtype == np.uint8:
        return 255 - plane if white_is_zero else plane
    if has_alpha and plane.dtype == np.uint16:
        return _on_white(plane)
    return 1 - stretch(plane) if white_is_zero else stretch(plane)


# --- DICOM ---


def _dicom(content: bytes) -> Pixels:
    """A DICOM image as ``(H, W, C)``: rescaled, windowed, MONOCHROME1 inverted so that 1 is white."""
    pydicom = import_optional("pydicom", "medical")
    pixels = import_optional("pydicom.pixels", "medical")
    dataset = pydicom.dcmread(BytesIO(content))
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UnreadableError("this DICOM file holds no image")
    _check_size(int(dataset.Columns), int(dataset.Rows))
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        raise UnreadableError("DICOM images with a colour palette are not read; export them as PNG")
    values = np.asarray(pixels.pixel_array(dataset, index=0))
    if values.ndim == 3:  # colour, as RGB
        return values if values.dtype == np.uint8 else stretch(values)
    slope, intercept = (
        float(dataset.get(key) or plain) for key, plain in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    window = dicom_window(dataset)
    rescaled = values.astype(np.float64) * slope + intercept
    scaled = stretch(rescaled) if window is None else apply_window(rescaled, *window)
    return (1 - scaled if photometric == "MONOCHROME1" else scaled)[:, :, None]


def dicom_window(dataset: Any) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window of a DICOM data set, ``None`` if it has no usable one."""
    first = []
    for key in ("WindowCenter", "WindowWidth"):
        value = dataset.get(key)
        if value is None or value == "":
            return None
        first.append(float(value if isinstance(value, int | float) else next(iter(value))))
    centre, width = first
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    smallest = 1.0 if function == "LINEAR" else 0.0
    return (centre, width, function) if width > smallest else None


def apply_window(values: Pixels, centre: float, width: float, function: str) -> NDArray[np.float32]:
    """DICOM's window functions LINEAR, LINEAR_EXACT and SIGMOID (PS3.3 C.11.2.1), onto [0, 1].

    Example:
        >>> apply_window(np.array([-100.0, 50.0, 200.0]), 50.0, 200.0, "LINEAR_EXACT").tolist()
        [0.0, 0.5, 1.0]
    """
    if function == "SIGMOID":
        scaled = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
    elif function == "LINEAR_EXACT":
        scaled = (values - centre) / width + 0.5
    else:
        scaled = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)
