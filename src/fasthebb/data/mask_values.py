"""From the numbers in mask files to classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fasthebb.data.decoding import Pixels
from fasthebb.data.errors import DataError, first_few
from fasthebb.data.masked import IGNORE, MAX_CLASSES

BACKGROUND, FOREGROUND = "background", "foreground"

_COUNTED = 2**16  # values below this are counted, which is ten times as fast as sorting


@dataclass(frozen=True)
class MaskValues:
    """Which number in a mask file is which class.

    Attributes:
        values: ``(K,)`` ascending, the first is 0; a value's position is its class.
        ignore: the number of pixels that count for nothing, ``None`` if there is none.

    Example:
        >>> MaskValues.of({"a.png": np.array([0, 255]), "b.png": np.array([0])}).names()
        ['background', 'foreground']
    """

    values: NDArray[np.int64]
    ignore: int | None = None

    @classmethod
    def of(cls, found: Mapping[str, NDArray[np.int64]], ignore: int | None = None) -> MaskValues:
        """The classes of training masks, from all values of each of them.

        0 is the background, whether it occurs or not. Of two values the other is the foreground, whatever its number;
        of more, each is a class.

        Args:
            found: for the name of each mask its values.
            ignore: the number of pixels that count for nothing.

        Raises:
            DataError: if these look like something other than classes.
        """
        own = [values if ignore is None else values[values != ignore] for values in found.values()]
        values = np.unique(np.concatenate([np.zeros(1, np.int64), *own]))
        too_many = len(values) > MAX_CLASSES
        if ignore is None and IGNORE in values and len(values) > 2 and not (too_many and values[-1] > IGNORE):
            others = first_few(str(value) for value in values if value not in (0, IGNORE))
            where = next(name for name, one in found.items() if IGNORE in one)
            raise DataError(
                f"found the value 255 in the mask of '{where}', and {others} in the training masks: if 255 marks "
                f"pixels that count for nothing, say so by ignore_value=255 (--ignore-value 255); if masks were "
                f"smoothed, or saved as JPEG, save them again as they were drawn"
            )
        if too_many:
            most = max(found, key=lambda name: len(found[name]))
            raise DataError(
                f"found {len(values)} values in the training masks ({len(found[most])} in that of '{most}'), at most "
                f"{MAX_CLASSES} classes are learned: if they number objects (instance masks), give all objects of a "
                f"class one value"
            )
        return cls(values, ignore)

    @classmethod
    def named(
        cls, names: Sequence[str], found: Mapping[str, NDArray[np.int64]], ignore: int | None = None
    ) -> MaskValues:
        """The classes of a trained network, as ``names`` of earlier masks called them.

        Args:
            names: class names; but for the background and a lone foreground they are values.
            found: for the name of each mask its values; they say which value a lone foreground has here.
            ignore: the number of pixels that count for nothing.

        Raises:
            DataError: if the masks are of more classes, or the names are of none.
        """
        if list(names) == [BACKGROUND, FOREGROUND]:
            own = cls.of(found, ignore)
            if len(own.values) > 2:
                raise DataError(
                    f"found masks of {len(own.values)} values ({first_few(map(str, own.values), 10)}), the network "
                    f"knows background and foreground: give masks of two values"
                )
            return own
        try:
            return cls(np.array([0, *(int(name) for name in names[1:])], np.int64), ignore)
        except ValueError as error:
            raise DataError(
                f"found a network of the classes {first_few(names, 10)}, expected the values that they have in masks: "
                f"give one that was trained on such masks"
            ) from error

    def names(self) -> list[str]:
        """Class names: the values, but for the background and a lone foreground."""
        if len(self.values) == 2:
            return [BACKGROUND, FOREGROUND]
        return [BACKGROUND, *(str(value) for value in self.values[1:])]

    def check(self, name: str, found: NDArray[np.int64]) -> None:
        """Whether all values of a mask are classes.

        Raises:
            DataError: naming the mask and the first value that is not.
        """
        known = self.values if self.ignore is None else np.append(self.values, self.ignore)
        unknown = found[~np.isin(found, known)]
        if unknown.size:
            raise DataError(
                f"found the value {unknown[0]} in the mask of '{name}', which is no class: there are "
                f"{first_few(map(str, self.values), 10)}, the values of the training masks; mend the mask, give it to "
                f"training, or name the value of pixels that count for nothing by ignore_value (--ignore-value)"
            )

    def classes_of(self, mask: Pixels) -> NDArray[np.uint8]:
        """A mask of checked values, of any shape, as classes and ``IGNORE``."""
        highest = int(max(self.values[-1], self.ignore or 0))
        if highest >= _COUNTED:
            classes = np.searchsorted(self.values, mask.astype(np.int64)).astype(np.uint8)
            return classes if self.ignore is None else np.where(mask == self.ignore, np.uint8(IGNORE), classes)
        table = np.zeros(highest + 1, np.uint8)
        table[self.values] = np.arange(len(self.values))
        if self.ignore is not None:
            table[self.ignore] = IGNORE
        return np.asarray(table[mask])


def values_in(mask: Pixels) -> NDArray[np.int64]:
    """The different values of a mask of unsigned integers, ascending.

    Example:
        >>> values_in(np.array([[7, 0], [0, 7]], np.uint8)).tolist()
        [0, 7]
    """
    if mask.dtype.itemsize <= 2:
        return np.flatnonzero(np.bincount(mask.reshape(-1)))
    return np.unique(mask).astype(np.int64)
