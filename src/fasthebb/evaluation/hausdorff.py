"""How far apart the outlines of two masks lie."""

import numpy as np
from scipy import ndimage

PERCENTILE = 95


def hausdorff95(first: np.ndarray, second: np.ndarray) -> float | None:
    """95 % Hausdorff distance between the outlines of two masks, in pixels.

    The outline is every pixel of a mask that has one outside beside it (the outside of the image counts). From each
    pixel of one outline to the nearest of the other, the 95th percentile of the distances; of the two directions the
    larger. The maximum itself, torchmetrics' Hausdorff distance, would hang on a single stray pixel.

    Args:
        first: `(*size)` bool.
        second: `(*size)` bool.

    Returns:
        The distance, or None where a mask is empty: then there is none.

    >>> mask = np.zeros((9, 9), dtype=bool)
    >>> mask[2:5, 2:5] = True
    >>> hausdorff95(mask, np.roll(mask, 3, axis=1)), hausdorff95(mask, np.zeros_like(mask))
    (3.0, None)
    """
    if not first.any() or not second.any():
        return None
    (inside,) = ndimage.find_objects((first | second).astype(np.uint8))  # distances need nothing around it
    outlines = [_outline(mask[inside]) for mask in (first, second)]
    away = [ndimage.distance_transform_edt(~outline) for outline in outlines]
    directed = (np.percentile(away[1][outlines[0]], PERCENTILE), np.percentile(away[0][outlines[1]], PERCENTILE))
    return float(max(directed))


def _outline(mask: np.ndarray) -> np.ndarray:
    outline: np.ndarray = mask & ~ndimage.binary_erosion(mask)
    return outline
