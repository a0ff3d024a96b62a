"""What is known of the masks of a source before any is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from fasthebb.data.errors import DataError, count_of, first_few
from fasthebb.data.items import Item, Source

_EXPECTED = (
    "expected folders images/ and masks/ with files of the same names (if divided, below train/, validation/ and "
    "test/), or a table with the columns image and mask"
)


@dataclass(frozen=True)
class Masks:
    """The masks of a source.

    Attributes:
        of: for the key of an image the item of its mask.
        exempt: keys of images that are said to have none, by a split or folder "unlabelled".
        orphans: names of masks without an image.
    """

    of: dict[str, Item] = field(default_factory=dict)
    exempt: set[str] = field(default_factory=set)
    orphans: list[str] = field(default_factory=list)

    def check_pairs(self, source: Source, where: str) -> None:
        """Whether every image has a mask and every mask an image.

        Raises:
            DataError: naming the first few that have not.
        """
        if not self.of and not self.orphans:
            raise DataError(f"found {count_of(len(source.items), 'image')} and no masks in '{where}': {_EXPECTED}")
        bare = [item.name for item in source.items if item.key not in self.of and item.key not in self.exempt]
        found = [
            f"{count_of(len(names), what)} without {other} ({first_few(names)})"
            for names, what, other in ((bare, "image", "a mask"), (self.orphans, "mask", "an image"))
            if names
        ]
        if found:
            raise DataError(
                f"found {' and '.join(found)} in '{where}', expected a mask of the same name for each image: add or "
                f"remove them, or give images without masks apart, as unlabelled (--unlabelled)"
            )
