"""How long a study will take, from some measured steps of each of its runs."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import lightning
import torch
from rich.table import Table

from fasthebb.data import Batches, ImageData, ImageSet, Preprocessing
from fasthebb.evaluation import predict_logits
from fasthebb.models import Network, build_model
from fasthebb.runs.options import PretrainOptions
from fasthebb.runs.pretrain import learning
from fasthebb.runs.self_training import LABELLED_SHARE
from fasthebb.runs.supervised import FOLDS
from fasthebb.study.forecast import Forecast
from fasthebb.study.grid import Cell, epochs_of
from fasthebb.study.network import network_of
from fasthebb.study.options import StudyOptions
from fasthebb.training import Classifier, ReadoutWarning, fit, learn_at_once, make_trainer

STEPS = 8


def estimate(cells: Sequence[Cell], options: StudyOptions, data: ImageData) -> Table:
    """The grid, a row a method and amount of labels, with the seconds that it will take here.

    Args:
        cells: of the whole study.
        options: with nothing left out.
        data: images with every label.
    """
    forecast = Forecast(cells)
    forecast.add_pretrainings(options, lambda one: _pretrain_seconds(one, data))
    step, scoring = _finetune_seconds(options, data)
    others = [cell for cell in cells if cell.readout != "student"]
    for method, amount in dict.fromkeys((cell.method.name, cell.amount) for cell in others):
        own = [cell for cell in others if (cell.method.name, cell.amount) == (method, amount)]
        batches = -(-own[0].labels // (options.batch_size or 1))
        epochs = sum(epochs_of(cell, options) for cell in own) / len(own)
        trainings = 1 + options.cv + (FOLDS if options.select == "labelled-cv" else 0)
        each = trainings * epochs * batches * step + scoring
        forecast.add(f"{method}, {amount} labels", len(own), each)
    if students := [cell for cell in cells if cell.readout == "student"]:
        epochs = epochs_of(students[0], options)
        step, _ = _finetune_seconds(replace(options, model=options.student, width=1.0, hidden=None), data)
        batches = -(-len(data.unlabelled) // (options.batch_size or 1))
        asking = scoring * len(data.unlabelled) / max(1, len(data.test) + len(data.validation))  # the teacher
        rounds = options.rounds or 1
        each = rounds * epochs * batches * step / (1 - LABELLED_SHARE) + asking + scoring
        forecast.add("students", len(students), each)
    return forecast.table(f"from {STEPS} measured steps of each; probes and the like are cheaper than fine-tuning")


def _pretrain_seconds(options: PretrainOptions, data: ImageData) -> float:
    images = data.unlabelled
    preprocessing = Preprocessing.fit(images.images[:4096], whiten=bool(options.whiten))
    if options.method == "at-once":  # from a sample whose size does not depend on how many images there are
        return _seconds(lambda: _learn_at_once(options, data, preprocessing))
    module = learning(options, _network(options, data, hebbian=options.method == "hebbian"))
    step = _seconds_a_step(module, images, preprocessing, options.batch_size)
    steps = -(-len(images) // options.batch_size)
    return step * steps * (module.total_epochs + 1)  # batch norm is estimated in one more


def _learn_at_once(options: PretrainOptions, data: ImageData, preprocessing: Preprocessing) -> None:
    features = _network(options, data, hebbian=True).features
    batches = Batches(data.unlabelled, preprocessing, batch_size=options.batch_size, shuffle=True)
    rule = None if options.lr == 0 else options.rule
    for _ in learn_at_once(features, rule, lambda: batches, len(data.unlabelled)):
        pass


def _finetune_seconds(options: StudyOptions, data: ImageData) -> tuple[float, float]:
    """Of a step, and of scoring the images held out."""
    network = _network(options, data, hebbian=False)
    preprocessing = Preprocessing.fit(data.train.images[:4096], whiten=False)
    module = Classifier(network, classes=len(data.classes), epochs=1)
    step = _seconds_a_step(module, data.train, preprocessing, options.batch_size or 64)
    some = data.unlabelled.subset(list(range(min(len(data.unlabelled), 512))))
    ordered = Batches(some, preprocessing, batch_size=256, shuffle=False)
    scoring = _seconds(lambda: predict_logits(network, ordered)) / len(some)
    return step, scoring * (len(data.test) + len(data.validation))


def _network(options: PretrainOptions | StudyOptions, data: ImageData, *, hebbian: bool) -> Network:
    return build_model(**network_of(options, data), classes=len(data.classes), hebbian=hebbian)


def _seconds_a_step(
    module: lightning.LightningModule, images: ImageSet, preprocessing: Preprocessing, batch_size: int
) -> float:
    """Of a training step in Lightning's loop, the start-up taken off."""

    def run(steps: int) -> Callable[[], object]:
        some = images.subset(torch.arange(steps * batch_size) % len(images))
        batches = Batches(some, preprocessing, batch_size=batch_size, shuffle=True)
        return lambda: fit(make_trainer(epochs=1, out=None, progress=False), module, batches)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadoutWarning)  # so few steps need not have learned anything
        _seconds(run(1))  # warm
        few, many = _seconds(run(1)), _seconds(run(1 + STEPS))
    return max(many - few, 0.0) / STEPS


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
