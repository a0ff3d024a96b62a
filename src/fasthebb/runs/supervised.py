"""Training a classifier on the labels that were drawn, once or fold by fold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fasthebb import SWTA, Plasticity, attach
from fasthebb.data import Batches, ImageData, ImageSet, Preprocessing
from fasthebb.evaluation import classification_scores, predict_logits
from fasthebb.models import Network
from fasthebb.runs.folder import RunFolder
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.saved import SavedNetwork
from fasthebb.training import (
    Classifier,
    TaughtClassifier,
    ValidationHistory,
    balanced_class_weights,
    best_weights,
    fit,
    folds,
    make_trainer,
)

FOLDS = 5


@dataclass(frozen=True)
class Supervised:
    """Trainings with the same options, data and initial network: the final one, and those of a cross-validation.

    Attributes:
        options: what to do.
        data: images with the labels that were drawn.
        network: what to start from.
        draw_seed: seed of the draw, which divides the labelled images into folds as well.
        progress: show a bar.
    """

    options: FinetuneOptions
    data: ImageData
    network: SavedNetwork
    draw_seed: int
    progress: bool

    def run(self, images: ImageSet, epochs: int, folder: RunFolder) -> Network:
        """Train on ``images``, going on where the folder's checkpoint stands; a plain network."""
        model, module, hooked = self._start(epochs)
        keep_best = self.options.select == "validation"
        trainer = make_trainer(
            epochs=epochs,
            out=folder.path,
            precision=self.options.precision,
            progress=self.progress,
            deterministic=self.options.deterministic,
            keep_best="val_top1" if keep_best else None,
        )
        validation = self._ordered(self.data.validation) if keep_best else None
        fit(trainer, module, self._shuffled(images), validation, ckpt=folder.checkpoint)
        if keep_best:
            module.load_state_dict(best_weights(trainer))
        for plasticity in hooked:
            plasticity.detach()
        return model

    def cross_validate(self) -> tuple[int, float]:
        """The number of epochs that is best on the fold left out, on average over folds, and its top-1 in per cent."""
        train = self.data.train
        curves: list[list[float]] = []
        for rest, held_out in folds(train.labels, train.groups, FOLDS, seed=self.draw_seed):
            _, module, _ = self._start(self.options.epochs)
            history = ValidationHistory("val_top1")
            trainer = make_trainer(
                epochs=self.options.epochs,
                out=None,
                precision=self.options.precision,
                progress=False,
                deterministic=self.options.deterministic,
                callbacks=[history],
            )
            fit(trainer, module, self._shuffled(train.subset(rest)), self._ordered(train.subset(held_out)))
            curves.append([value * len(held_out) for value in history.values])
        totals = [sum(values) for values in zip(*curves, strict=True)]
        best = max(totals)
        return totals.index(best) + 1, best / len(train)

    def score(self, model: Network, images: ImageSet) -> dict[str, float]:
        """Scores on one set of images, in per cent."""
        scores = classification_scores(*predict_logits(model, self._ordered(images)), len(self.data.classes))
        return {name: round(value, 3) for name, value in scores.items()}

    def _start(self, epochs: int) -> tuple[Network, Classifier | TaughtClassifier, list[Plasticity]]:
        """A new network, its training and what is hooked onto it; layers that divide by |w| go on doing so."""
        options = self.options
        torch.manual_seed(options.seed)
        model = self.network.build(len(self.data.classes), options.dropout)
        classes = len(self.data.classes)
        hooked = []
        if normalised := self.network.normalised():
            hooked = [attach(model.features, {name: SWTA() for name in normalised})]
            hooked[0].is_paused = True
        if options.taught:
            taught = TaughtClassifier(model, classes=classes, epochs=epochs, seed=options.seed)
            return model, taught, [*hooked, taught.plasticity]
        module = Classifier(
            model,
            classes=classes,
            epochs=epochs,
            lr=options.lr,
            stretch=options.stretch,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            probe=options.probe,
            seed=options.seed,
            class_weights=balanced_class_weights(self.data.train.labels, classes)
            if options.class_weights == "balanced"
            else None,
        )
        return model, module, hooked

    def _shuffled(self, images: ImageSet) -> Batches:
        augment = self.options.augment
        if augment is None:
            augment = "shift" if images.images.shape[1] >= 3 else "none"
        return Batches(
            images,
            self.network.preprocessing,
            batch_size=self.options.batch_size,
            shuffle=True,
            seed=self.options.seed,
            augment=augment,
        )

    def _ordered(self, images: ImageSet) -> Batches:
        return Batches(images, self.network.preprocessing, batch_size=256, shuffle=False)


def untrained(described: Mapping[str, Any], data: ImageData, whiten: bool) -> SavedNetwork:
    """The network for backprop alone: biases and plain batch norm."""
    images = data.unlabelled.images
    return SavedNetwork(
        {**described, "channels": images.shape[1], "hebbian": False}, Preprocessing.fit(images, whiten=whiten), {}
    )
