"""Training a network on the masks that were drawn, once or fold by fold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from fasthebb.data import Augmentation, Crops, MaskedData, MaskedSet
from fasthebb.evaluation import compare_masks
from fasthebb.models import SegmentationNetwork
from fasthebb.runs.folder import RunError
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.described import crops
from fasthebb.runs.segmentation.scoring import masks_of, rounded
from fasthebb.runs.trainers import trainer_of
from fasthebb.training import (
    USUAL_EPOCHS,
    CrossConsistency,
    CrossPseudo,
    LabelledAndUnlabelled,
    MeanTeacher,
    RectifiedPyramid,
    Segmenter,
    fit,
    last_checkpoint,
)

STEPS = 50
"""An epoch is so many steps: there may be five masks."""
LR, WEIGHT_DECAY = 3e-3, 1e-4
AUGMENT: Augmentation = "hard"
_SEMI: dict[str, type[Segmenter]] = {
    "mean-teacher": MeanTeacher,
    "cross-pseudo": CrossPseudo,
    "cross-consistency": CrossConsistency,
    "rectified-pyramid": RectifiedPyramid,
}


@dataclass(frozen=True)
class MaskTraining:
    """Trainings with the same options, data and initial network: the final one, and those of a cross-validation.

    Attributes:
        options: what to do.
        data: images with the masks that were drawn.
        network: what to start from.
        progress: show a bar.
    """

    options: FinetuneOptions
    data: MaskedData
    network: SavedSegmentation
    progress: bool

    @property
    def epochs(self) -> int:
        """How many are trained, of `STEPS` steps each, however few masks there are."""
        return USUAL_EPOCHS if self.options.epochs is None else self.options.epochs

    def run(self, images: MaskedSet, out: Path, loggers: Sequence[Logger] = ()) -> SegmentationNetwork:
        """Train on ``images`` in the folder ``out``, going on where its checkpoint stands; a plain network."""
        module = self.module()
        options = self.options
        trainer = trainer_of(options, out, epochs=self.epochs, progress=self.progress, loggers=loggers)
        fit(trainer, module, self.batches(images), None, ckpt=last_checkpoint(out / "checkpoints"))
        return module.network().to(trainer.strategy.root_device)

    def module(self) -> Segmenter:
        """The training of a new network; two networks that teach each other start as differently as they can."""
        options, classes = self.options, len(self.data.classes)
        torch.manual_seed(options.seed)
        model = self.network.build(classes, options.dropout)
        more: dict[str, Any] = {}
        if options.semi == "cross-pseudo":
            torch.manual_seed(options.seed + 1)
            more["second"] = self.network.build(classes, options.dropout)
        return _SEMI.get(options.semi, Segmenter)(
            model,
            lr=LR if options.lr is None else options.lr,
            weight_decay=WEIGHT_DECAY if options.weight_decay is None else options.weight_decay,
            features_lr=options.features_lr,
            frozen=options.frozen,
            seed=options.seed,
            **more,
        )

    def batches(self, images: MaskedSet, steps: int | None = None) -> Iterable[Any]:
        """Crops of ``images``, beside crops without masks where these take part: `STEPS` an epoch, or so many."""
        options = self.options
        augment = AUGMENT if options.augment is None else options.augment

        def of(some: MaskedSet, seed: int) -> Crops:
            return crops(options, some, self.network.preprocessing, batches=steps or STEPS, augment=augment, seed=seed)

        labelled = of(images, options.seed)
        if options.semi == "none":
            return labelled
        return LabelledAndUnlabelled(labelled, of(self.data.unlabelled, options.seed + 1))

    def predict(self, model: SegmentationNetwork, images: MaskedSet) -> list[Tensor]:
        """The mask of each image as the network sees it."""
        how = {"batch_size": 4, "precision": self.options.precision}
        return list(masks_of(model, self.network.preprocessing, images, len(self.data.classes), **how))

    def cross_validate(self, where: Path, count: int, seed: int) -> dict[str, float | None]:
        """Train on all folds but one and predict that one, for each of ``count`` folds.

        The images of the fold that is left out are still among those without masks, as they are in a pre-training.

        Args:
            where: folder of the trainings, which go on where they stand; nobody needs it once the result is kept.
            count: number of folds; fewer where there are fewer groups.
            seed: divides the images into folds.

        Returns:
            Scores of the images of all folds together, each predicted by the network that had not seen its mask.

        Raises:
            RunError: the masks are of a single group.
        """
        images = self.data.train
        predicted: list[Tensor] = []
        true: list[Tensor] = []
        for number, (rest, held_out) in enumerate(mask_folds(images, count, seed)):
            model = self.run(images.subset(rest), where / f"fold{number}")
            left_out = images.subset(held_out)
            predicted += self.predict(model, left_out)
            true += true_masks(left_out)
        return rounded(compare_masks(predicted, true, len(self.data.classes)).scores())


def mask_folds(images: MaskedSet, count: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Positions to train on and to hold out, by whole groups; an image without a group is one of its own.

    Raises:
        RunError: all are of one group.
    """
    from sklearn.model_selection import GroupKFold

    groups = np.array([group or f"\0{row}" for row, group in enumerate(images.groups or [""] * len(images))])
    of_groups = len(np.unique(groups))
    if of_groups < 2:
        raise RunError(
            f"found {len(images)} masks of one group, expected at least two groups to hold one out: use more masks"
        )
    divided = GroupKFold(min(count, of_groups), shuffle=True, random_state=seed).split(groups, groups=groups)
    for rest, held_out in divided:
        yield rest.tolist(), held_out.tolist()


def true_masks(images: MaskedSet) -> list[Tensor]:
    """The masks of images that have them."""
    return [mask for mask in images.masks if mask is not None]
