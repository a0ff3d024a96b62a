"""Labels and masks, counted and drawn alike."""

from fasthebb.data import AnyData, MaskedData, draw_labels, draw_masks
from fasthebb.data.mask_draws import masks_asked
from fasthebb.data.subsets import labels_asked

Data = AnyData | MaskedData


def available(data: Data) -> int:
    """How many labels or masks there are to train with."""
    return len(data.train) if isinstance(data, MaskedData) else int((data.train.labels >= 0).sum())


def asked(data: Data, amount: str) -> int:
    """How many an amount such as "0.01" is.

    Raises:
        ValueError: there are not so many, or it is no amount.
    """
    if isinstance(data, MaskedData):
        return masks_asked(len(data.train), amount)
    return labels_asked(data.train.labels, amount)


def check_draw(data: Data, amount: str) -> None:
    """Raise what any draw of that amount would."""
    if isinstance(data, MaskedData):
        draw_masks(data, amount, seed=0)
    else:
        draw_labels(data, amount, seed=0)
