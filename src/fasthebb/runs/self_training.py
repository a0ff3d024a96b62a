"""Training a student on what a ridge regression takes the unlabelled images for."""

import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fasthebb.data import Batches, ImageData, ImageSet
from fasthebb.evaluation import predict_logits
from fasthebb.models import Network
from fasthebb.runs.folder import RunFolder
from fasthebb.runs.supervised import MOST_FEATURES, Supervised, output_layer
from fasthebb.runs.tracked import loggers_of
from fasthebb.runs.trainers import trainer_of
from fasthebb.training import (
    USUAL_BATCH,
    USUAL_LR,
    SelfTraining,
    ViewWhitening,
    fit,
    load_weights,
    save_weights,
    spread_labels,
)
from fasthebb.training.metrics_file import MetricsFile

TEACHER = "teacher"
"""Folder of what a student learns from."""
LABELLED_SHARE = 0.1
"""Part of a student's epoch that labelled images have at least."""


def self_train(training: Supervised, folder: RunFolder) -> Network:
    """Let the student learn from a ridge regression on the network's features; goes on at its checkpoint."""
    options, data = training.options, training.data
    assert isinstance(data, ImageData)  # fine-tuning refuses a stream
    teacher = _teacher(training, folder.path / TEACHER)
    torch.manual_seed(options.seed)
    model = training.final.build(len(data.classes), dropout=0.0)
    lr = USUAL_LR * options.batch_size / USUAL_BATCH if options.lr is None else options.lr
    module = SelfTraining(model, teacher=teacher, labels=data.train.labels, lr=lr, seed=options.seed)
    batches = Batches(
        _numbered(data.unlabelled, data.train),
        training.network.preprocessing,
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        augment=training.views(),
    )
    loggers = loggers_of(options, folder.path)
    trainer = trainer_of(options, folder.path, epochs=training.epochs, progress=training.progress, loggers=loggers)
    fit(trainer, module, batches, None, ckpt=folder.checkpoint)
    model.to(trainer.strategy.root_device)  # where Lightning takes it away from
    return model


def _teacher(training: Supervised, where: Path) -> Tensor:
    """What the ridge regression takes the unlabelled images for, ``(N, classes)``; asked once and kept."""
    kept = where / "answers.safetensors"
    if not kept.is_file():
        assert isinstance(training.data, ImageData)
        model, whitening = training.fit_ridge(training.data.train, where)
        fitted = time.perf_counter()
        save_weights(kept, {"likely": _answers(training, model, whitening)}, {})
        MetricsFile(where).log_metrics({"epoch": 0, "seconds": time.perf_counter() - fitted})
    return load_weights(kept)[0]["likely"]


def _answers(training: Supervised, model: Network, whitening: ViewWhitening | None) -> Tensor:
    """What the regression takes the unlabelled images for, spread among those that are alike unless too many."""
    unlabelled, labelled = training.data.unlabelled, training.data.train
    size = output_layer(model).in_features
    if size * (len(unlabelled) + len(labelled)) > MOST_FEATURES:
        with training.precision(model):
            return torch.softmax(predict_logits(model, training.ordered(unlabelled))[0], dim=1)
    with training.precision(model):
        features = torch.cat([looked_at(training, model, images) for images in (unlabelled, labelled)])
    with torch.no_grad():
        output = output_layer(model).to(features.device)
        likely = torch.softmax(output(features[: len(unlabelled)]), dim=1)
    if whitening is not None:
        features = whitening(features)
    return spread_labels(likely, labelled.labels, features, seed=training.options.seed)


def looked_at(training: Supervised, model: Network, images: ImageSet) -> Tensor:
    """Features of images, the mean with those of their mirror images where the network looks at both."""
    features, _ = training.taken(model, images)
    if model.mirrored:
        features.add_(training.taken(model, replace(images, images=images.images.flip(-1)))[0]).div_(2)
    return features


def _numbered(unlabelled: ImageSet, labelled: ImageSet) -> ImageSet:
    """All images, each with its row among a student's targets for a label.

    Unlabelled image i is row i, labelled image j row N + j, as often as it takes to be a tenth of all.
    """
    often = max(1, round(LABELLED_SHARE / (1 - LABELLED_SHARE) * len(unlabelled) / len(labelled)))
    rows = torch.arange(len(unlabelled) + len(labelled))
    return ImageSet(
        images=torch.cat([unlabelled.images, *[labelled.images] * often]),
        labels=torch.cat([rows[: len(unlabelled)], *[rows[len(unlabelled) :]] * often]),
        names=[*unlabelled.names, *labelled.names * often],
    )
