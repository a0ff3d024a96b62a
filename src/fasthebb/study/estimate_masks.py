"""How long a study of segmentation will take, from some measured steps of each of its runs."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import lightning
from rich.table import Table

from fasthebb.data import Crops, MaskedData, MaskedSet, Preprocessing
from fasthebb.runs.options import PretrainOptions
from fasthebb.runs.saved import SavedSegmentation
from fasthebb.runs.segmentation.described import crops, described
from fasthebb.runs.segmentation.finetune import untrained
from fasthebb.runs.segmentation.pretrain import learning, steps_an_epoch
from fasthebb.runs.segmentation.training import STEPS, MaskTraining
from fasthebb.study.forecast import Forecast
from fasthebb.study.grid import Cell, epochs_of, finetune_options
from fasthebb.study.options import Readout, StudyOptions
from fasthebb.training import Precision, fit, make_trainer

Batches = Iterable[Any]
MEASURED = 4
"""Steps that are measured, and images whose masks are predicted."""


def estimate_masks(cells: Sequence[Cell], options: StudyOptions, data: MaskedData) -> Table:
    """The grid, a row a method, amount of masks and read-out, with the seconds that it will take here.

    Args:
        cells: of the whole study.
        options: with nothing left out.
        data: images with every mask.
    """
    forecast = Forecast(cells)
    forecast.add_pretrainings(options, lambda one: _pretrain_seconds(one, data.unlabelled))
    steps = {readout: _step_seconds(cells, options, data, readout) for readout in options.readouts or []}
    each_pixel = _seconds_a_pixel(cells[0], options, data)
    held_out = each_pixel * (_pixels(data.validation) + (0 if options.cv else _pixels(data.test)))
    for method, amount, readout in dict.fromkeys((c.method.name, c.amount, c.readout) for c in cells):
        own = [c for c in cells if (c.method.name, c.amount, c.readout) == (method, amount, readout)]
        trainings = 1 + min(options.cv, own[0].labels)
        in_folds = each_pixel * _pixels(data.train) * own[0].labels / len(data.train) if options.cv else 0.0
        each = trainings * epochs_of(own[0], options) * STEPS * steps[readout] + held_out + in_folds
        forecast.add(f"{method}, {amount} masks, {readout}", len(own), each)
    return forecast.table(f"from {MEASURED} measured steps of each")


def _pretrain_seconds(options: PretrainOptions, images: MaskedSet) -> float:
    preprocessing = Preprocessing.fit(images, whiten=bool(options.whiten))
    network = described(options, images, hebbian=options.method == "hebbian")
    module = learning(options, SavedSegmentation(network, preprocessing, {}).build(2))

    def shown(steps: int) -> Crops:
        return crops(options, images, preprocessing, batches=steps, augment=options.augment, seed=0)

    step = _seconds_a_step(module, shown(1), shown(MEASURED), options.precision)
    return step * steps_an_epoch(options, len(images)) * (module.total_epochs + 1)  # batch norm is estimated in one


def _training(cell: Cell, options: StudyOptions, data: MaskedData) -> MaskTraining:
    """The training of a cell, from random weights: others take as long."""
    alone = replace(options, weights=None)
    cell = replace(cell, method=replace(cell.method, kind="none", rule=None))
    asked = finetune_options(cell, alone)
    return MaskTraining(asked, data, untrained(asked, data), progress=False)


def _step_seconds(cells: Sequence[Cell], options: StudyOptions, data: MaskedData, readout: Readout) -> float:
    training = _training(next(cell for cell in cells if cell.readout == readout), options, data)
    few, many = (training.batches(data.train, steps) for steps in (1, MEASURED))
    return _seconds_a_step(training.module(), few, many, training.options.precision)


def _seconds_a_pixel(cell: Cell, options: StudyOptions, data: MaskedData) -> float:
    """Of predicting the masks of whole images."""
    training = _training(cell, options, data)
    some = data.unlabelled.subset(list(range(min(MEASURED, len(data.unlabelled)))))
    network = training.module().network()
    start = time.perf_counter()
    training.predict(network, some)
    return (time.perf_counter() - start) / _pixels(some)


def _pixels(images: MaskedSet) -> int:
    return sum(image[0].numel() for image in images.images)


def _seconds_a_step(module: lightning.LightningModule, few: Batches, many: Batches, precision: Precision) -> float:
    """Of a training step in Lightning's loop: what `MEASURED` steps take longer than one, as the start-up is alike."""
    seconds = []
    for batches in (few, few, many):  # the first time is slower, and not measured
        start = time.perf_counter()
        fit(make_trainer(epochs=1, out=None, precision=precision, progress=False), module, batches)
        seconds.append(time.perf_counter() - start)
    return max(seconds[2] - seconds[1], 0.0) / (MEASURED - 1)
