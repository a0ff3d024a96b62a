"""Training a classifier on the labels that were drawn, once or fold by fold."""

import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from fasthebb import SWTA, Plasticity, attach
from fasthebb.data import (
    AnyData,
    AnySet,
    Augmentation,
    Batches,
    FeatureBatches,
    ImageSet,
    StreamBatches,
    make_batches,
)
from fasthebb.evaluation import classification_scores, layer_features, predict_logits
from fasthebb.models import Network
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import FinetuneOptions
from fasthebb.runs.saved import SavedNetwork, network_options
from fasthebb.runs.streamed import channels_of, prepared
from fasthebb.runs.tracked import loggers_of
from fasthebb.runs.trainers import trainer_of
from fasthebb.training import (
    USUAL_EPOCHS,
    Classifier,
    TaughtClassifier,
    ViewWhitening,
    balanced_class_weights,
    best_weights,
    fit,
    folds,
    last_checkpoint,
    logged,
    make_trainer,
    ridge,
    trained_seconds,
    usual_epochs,
)
from fasthebb.training.metrics_file import MetricsFile
from fasthebb.training.processes import WHOLE, first_alone, share
from fasthebb.training.schedule import usual_stretch

FOLDS = 5
LR, TAUGHT_LR, WEIGHT_DECAY = 3e-3, 0.1, 5e-2
MOST_FEATURES = 2**29
"""Numbers that are kept, of features that are at rest: 2 GiB."""


@dataclass(frozen=True)
class CrossValidation:
    """What training on all folds but one, for each, has shown.

    Attributes:
        epochs: the number that was best on the folds left out, on average; the earliest of equals.
        top1: at that number, in per cent.
        scores: after the last epoch, of the images of all folds together, each predicted by the network that had not
            seen it; in per cent.
        seconds: of all the trainings.
    """

    epochs: int
    top1: float
    scores: dict[str, float]
    seconds: float


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
    data: AnyData
    network: SavedNetwork
    draw_seed: int
    progress: bool

    @property
    def epochs(self) -> int:
        """Passes over the labelled images: as many as were asked for, or as are usual for so many images."""
        if self.options.epochs is not None:
            return self.options.epochs
        whole = not (self.options.probe or self.options.taught or self.options.student)
        return usual_epochs(len(self.data.train)) if whole else USUAL_EPOCHS

    def run(self, images: AnySet, epochs: int, folder: RunFolder) -> Network:
        """Train on ``images``, going on where the folder's checkpoint stands; a plain network."""
        best = self.options.select == "validation"
        loggers = loggers_of(self.options, folder.path)
        scored = self.data.validation if best else None
        return self._train(images, epochs, folder.path, scored, keep_best=best, loggers=loggers)

    def cross_validate(self, where: Path, count: int = FOLDS) -> "CrossValidation":
        """Train on all folds but one and score that one, for each of ``count`` folds.

        Args:
            where: folder of the trainings, which go on where they stand; nobody needs it once the result is kept.
            count: number of folds.
        """
        train, epochs = self.data.train, self.epochs
        curves: list[list[float]] = []
        outcomes: list[tuple[Tensor, Tensor]] = []
        seconds = 0.0
        for number, (rest, held_out) in enumerate(folds(train.labels, train.groups, count, seed=self.draw_seed)):
            out = where / f"fold{number}"
            scored = None if self.options.taught else train.subset(held_out)
            model = self._train(train.subset(rest), epochs, out, scored)
            curve = first_alone(lambda out=out: logged(out, "val_top1"))  # type: ignore[misc]
            curves.append([value * len(held_out) for value in curve])
            outcomes.append(predict_logits(model, self.ordered(train.subset(held_out))))
            seconds += trained_seconds(out)
        logits, labels = (torch.cat(part) for part in zip(*outcomes, strict=True))
        totals = [sum(values) / len(train) for values in zip(*curves, strict=False)]
        return CrossValidation(
            epochs=totals.index(max(totals)) + 1 if totals else epochs,
            top1=max(totals, default=math.nan),
            scores=self._scores(logits, labels),
            seconds=seconds,
        )

    def _train(
        self,
        images: AnySet,
        epochs: int,
        out: Path,
        scored: AnySet | None,
        *,
        keep_best: bool = False,
        loggers: Sequence[Logger] = (),
    ) -> Network:
        """Train in the folder ``out``; ``scored`` images are looked at after every epoch."""
        if self.options.ridge and isinstance(images, ImageSet):
            return self.fit_ridge(images, out)[0]
        model, module, hooked = self._start(epochs)
        trainer = trainer_of(
            self.options, out, epochs=epochs, progress=self.progress, keep_best=keep_best, loggers=loggers
        )
        checkpoint = first_alone(lambda: last_checkpoint(out / "checkpoints"))
        fit(trainer, module, *self._loaders(trainer, model, images, scored), ckpt=checkpoint)
        model.to(trainer.strategy.root_device)  # where Lightning takes it away from
        if keep_best:
            module.load_state_dict(best_weights(trainer))
        for plasticity in hooked:
            plasticity.detach()
        return model

    def fit_ridge(self, images: ImageSet, out: Path) -> tuple[Network, ViewWhitening | None]:
        """Fit the classifier in closed form, to the images and, where images may be changed, their mirror images."""
        start = time.perf_counter()
        model, hooked = self._build()
        model.to(make_trainer(epochs=1, out=None, progress=False).strategy.root_device)
        views = [images]
        if self.augment() != "none":
            views.append(replace(images, images=images.images.flip(-1)))
        with self.precision(model):
            features = [self.taken(model, view)[0] for view in views]
            whitening = self._view_whitening(model)
        if whitening is not None:
            features = [whitening(one) for one in features]
        classes = len(self.data.classes)
        fitted = ridge(features, images.labels, classes=classes, groups=images.groups, seed=self.draw_seed)
        weight, bias = fitted.weight, fitted.bias
        if whitening is not None:
            weight, bias = whitening.folded(weight, bias)
        with torch.no_grad():
            output_layer(model).weight.copy_(weight)
            output_layer(model).bias.copy_(bias)
        for plasticity in hooked:
            plasticity.detach()
        seconds = time.perf_counter() - start
        MetricsFile(out).log_metrics({"epoch": 0, "seconds": seconds, "penalty": fitted.penalty, "scale": fitted.scale})
        return model, whitening

    def _view_whitening(self, model: Network) -> ViewWhitening | None:
        """Learned from two views of each of some unlabelled images, if that was asked for."""
        count, images = min(self.options.views, len(self.data.unlabelled)), self.data.unlabelled
        if not count:
            return None
        if self.views() == "none":
            raise RunError("--views needs images that may be changed at random: give --augment, or leave it out")
        generator = torch.Generator().manual_seed(self.options.seed)
        some = images.subset(torch.randperm(len(images), generator=generator)[:count].tolist())
        one, other = (self.taken(model, some, self.views(), seed)[0] for seed in (0, 1))
        return ViewWhitening.fit(one, other)

    @property
    def final(self) -> SavedNetwork:
        """What is kept in the end: the network, or its student."""
        if self.options.student is None:
            return self._read_out
        known = self.network.model
        described = network_options(
            self.options.student, width=None, hidden=None, image_size=known["image_size"], channels=known["channels"]
        )
        return SavedNetwork({**described, **self._mirrored, "hebbian": False}, self.network.preprocessing, {})

    @property
    def _read_out(self) -> SavedNetwork:
        return replace(self.network, model={**self.network.model, **self._mirrored})

    @property
    def _mirrored(self) -> dict[str, bool]:
        """Whoever is taught mirror images in closed form, or by who was, is asked about both."""
        return {"mirrored": True} if self.options.ridge and self.augment() != "none" else {}

    def score(self, model: Network, images: AnySet) -> dict[str, float]:
        """Scores on one set of images, in per cent."""
        return first_alone(lambda: self._scores(*predict_logits(model, self.ordered(images))))

    def _scores(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        scores = classification_scores(logits, labels, len(self.data.classes))
        return {name: round(value, 3) for name, value in scores.items()}

    def _build(self) -> tuple[Network, list[Plasticity]]:
        """A new network and what is hooked onto it; layers that divide by |w| go on doing so."""
        torch.manual_seed(self.options.seed)
        model = self._read_out.build(len(self.data.classes), self.options.dropout)
        hooked = []
        if normalised := self.network.normalised():
            hooked = [attach(model.features, {name: SWTA() for name in normalised})]
            hooked[0].is_paused = True
        return model, hooked

    def _start(self, epochs: int) -> tuple[Network, Classifier | TaughtClassifier, list[Plasticity]]:
        """A new network, its training and what is hooked onto it."""
        options, classes = self.options, len(self.data.classes)
        model, hooked = self._build()
        trained = Network(nn.Sequential(), model.classifier) if self._features_rest(model) else model
        if options.taught:
            lr = TAUGHT_LR if options.lr is None else options.lr
            taught = TaughtClassifier(trained, classes=classes, epochs=epochs, lr=lr, seed=options.seed)
            return model, taught, [*hooked, taught.plasticity]
        module = Classifier(
            trained,
            classes=classes,
            epochs=epochs,
            lr=LR if options.lr is None else options.lr,
            stretch=usual_stretch(self.epochs) if options.stretch is None else options.stretch,
            momentum=options.momentum,
            weight_decay=WEIGHT_DECAY if options.weight_decay is None else options.weight_decay,
            probe=options.probe,
            seed=options.seed,
            class_weights=balanced_class_weights(self.data.train.labels, classes)
            if options.class_weights == "balanced"
            else None,
            rule=options.rule,
        )
        return model, module, [*hooked, *([] if module.plasticity is None else [module.plasticity])]

    def augment(self) -> Augmentation:
        """How labelled images are changed."""
        if self.options.augment is not None:
            return self.options.augment
        return "shift" if channels_of(self.data.train) >= 3 else "none"

    def views(self) -> Augmentation:
        """How unlabelled images are changed: as much as there is, where nothing was asked for and images may be."""
        return "hard" if self.options.augment is None and self.augment() != "none" else self.augment()

    def _loaders(
        self, trainer: lightning.Trainer, model: Network, images: AnySet, scored: AnySet | None
    ) -> tuple[Iterable[tuple[Tensor, Tensor]], Iterable[tuple[Tensor, Tensor]] | None]:
        """What a training reads: images or, where neither they nor the features change, features taken once."""
        size, seed = self.options.batch_size, self.options.seed
        if self._features_rest(model):
            model.to(trainer.strategy.root_device)
            features, labels = self.taken(model, images)
            train = FeatureBatches(features, labels, batch_size=size, shuffle=True, seed=seed, **share())
            if scored is None:
                return train, None
            return train, FeatureBatches(*self.taken(model, scored), batch_size=256, shuffle=False)
        shuffled = make_batches(
            images,
            self.network.preprocessing,
            batch_size=size,
            shuffle=True,
            seed=seed,
            augment=self.augment(),
            **share(),
        )
        return shuffled, None if scored is None else self.ordered(scored)

    def _features_rest(self, model: Network) -> bool:
        """Whether every epoch would compute the same features, few enough to keep."""
        if not (self.options.probe or self.options.taught) or self.augment() != "none":
            return False
        size = next(layer.in_features for layer in model.classifier.modules() if isinstance(layer, nn.Linear))
        return size * (len(self.data.train) + len(self.data.validation)) <= MOST_FEATURES

    def taken(
        self, model: Network, images: AnySet, augment: Augmentation = "none", seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Features and labels of images, changed at random if that is asked for, in their order."""
        preprocessing = self.network.preprocessing
        batches = make_batches(
            images, preprocessing, batch_size=256, shuffle=False, augment=augment, seed=seed, **WHOLE
        )
        alone = nn.Sequential(OrderedDict(features=model.features))  # a mirrored network would run them twice
        features, labels = layer_features(alone, batches)
        return features["features"], labels

    def precision(self, model: Network) -> torch.autocast:
        """A context with the precision that was asked for, where no trainer sees to it."""
        device = next(model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.options.precision == "bf16-mixed")

    def ordered(self, images: AnySet) -> Batches | StreamBatches:
        """Batches of images as they are."""
        return make_batches(images, self.network.preprocessing, batch_size=256, shuffle=False, **WHOLE)


def output_layer(model: Network) -> nn.Linear:
    """The classifier's last layer."""
    return [layer for layer in model.classifier.modules() if isinstance(layer, nn.Linear)][-1]


def untrained(described: Mapping[str, Any], data: AnyData, whiten: bool, out: Path | None = None) -> SavedNetwork:
    """The network for backprop alone: biases and plain batch norm; ``out`` is the folder of a run that may go on."""
    images = data.unlabelled
    preprocessing = first_alone(lambda: prepared(images, whiten, out))
    return SavedNetwork({**described, "channels": channels_of(images), "hebbian": False}, preprocessing, {})
