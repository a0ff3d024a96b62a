"""Training a student on what a ridge regression takes the unlabelled images for, and then on what it does itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree

import torch
from lightning.pytorch.loggers import Logger
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
    last_checkpoint,
    load_weights,
    logged,
    save_weights,
    spread_labels,
    trained_seconds,
)
from fasthebb.training.metrics_file import MetricsFile
from fasthebb.training.processes import first_alone

TEACHER = "teacher"
"""Folder of what a student learns from."""
LABELLED_SHARE = 0.1
"""Part of a student's epoch that labelled images have at least."""
_STUDENT = "student."


@dataclass(frozen=True)
class _Lesson:
    """What a round of a student begins with.

    Attributes:
        likely: ``(N, classes)`` what the unlabelled images are taken for.
        weights: of the student as it is then; none before its first round.
    """

    likely: Tensor
    weights: Mapping[str, Tensor]


def self_train(training: Supervised, folder: RunFolder) -> Network:
    """Let the student learn from a ridge regression on the network's features; goes on at its checkpoint.

    In the rounds after the first its teacher is what it says itself by then, spread among the images that are alike
    in its own features.
    """
    lesson = _kept(_lesson_folder(folder.path, 0), partial(_of_regression, training))
    for number in range(1, training.options.rounds):
        if training.progress:
            print(f"  round {number} of {training.options.rounds}")
        lesson = _kept(_lesson_folder(folder.path, number), partial(_of_student, training, lesson))
    return _student(training, lesson, folder.path, loggers_of(training.options, folder.path))


def teaching_seconds(out: Path, rounds: int) -> float:
    """Seconds of everything before the student's last round."""
    return sum(trained_seconds(_lesson_folder(out, number)) for number in range(rounds))


def _lesson_folder(out: Path, number: int) -> Path:
    return out / TEACHER if number == 0 else out / TEACHER / f"round{number}"


def _student(training: Supervised, lesson: _Lesson, out: Path, loggers: Sequence[Logger] = ()) -> Network:
    """One round, which goes on at its checkpoint."""
    options, data = training.options, training.data
    assert isinstance(data, ImageData)  # fine-tuning refuses a stream
    torch.manual_seed(options.seed)
    model = training.final.build(len(data.classes), dropout=0.0)
    if lesson.weights:
        model.load_state_dict(dict(lesson.weights))
    lr = USUAL_LR * options.batch_size / USUAL_BATCH if options.lr is None else options.lr
    module = SelfTraining(model, teacher=lesson.likely, labels=data.train.labels, lr=lr, seed=options.seed)
    batches = Batches(
        _numbered(data.unlabelled, data.train),
        training.network.preprocessing,
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        augment=training.views(),
    )
    trainer = trainer_of(options, out, epochs=training.epochs, progress=training.progress, loggers=loggers)
    fit(trainer, module, batches, None, ckpt=first_alone(lambda: last_checkpoint(out / "checkpoints")))
    model.to(trainer.strategy.root_device)  # where Lightning takes it away from
    return model


def _of_regression(training: Supervised, where: Path) -> _Lesson:
    assert isinstance(training.data, ImageData)
    model, whitening = training.fit_ridge(training.data.train, where)
    return _Lesson(_answers(training, model, whitening), {})


def _of_student(training: Supervised, lesson: _Lesson, where: Path) -> _Lesson:
    model = _student(training, lesson, where)
    return _Lesson(_answers(training, model, None), model.state_dict())


def _kept(where: Path, make: Callable[[Path], _Lesson]) -> _Lesson:
    """A lesson that is made once and kept."""
    kept = where / "lesson.safetensors"
    if not kept.is_file():
        start, trained = time.perf_counter(), trained_seconds(where)
        lesson = make(where)
        save_weights(kept, {"likely": lesson.likely, **{_STUDENT + name: w for name, w in lesson.weights.items()}}, {})
        seconds = time.perf_counter() - start - (trained_seconds(where) - trained)
        MetricsFile(where).log_metrics({"epoch": len(logged(where, "seconds")), "seconds": seconds})
        rmtree(where / "checkpoints", ignore_errors=True)
    tensors = load_weights(kept)[0]
    likely = tensors.pop("likely")
    return _Lesson(likely, {name.removeprefix(_STUDENT): weights for name, weights in tensors.items()})


def _answers(training: Supervised, model: Network, whitening: ViewWhitening | None) -> Tensor:
    """What a network takes the unlabelled images for, spread among those that are alike unless too many."""
    assert isinstance(training.data, ImageData)
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
