"""What a run shows of itself while it learns: pictures, histograms, speed, how far the weights move."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor, nn

from fasthebb.evaluation import evaluating
from fasthebb.training.filter_pictures import first_filters
from fasthebb.training.layout import channels_last

EVERY = 50
"""Steps between two looks within an epoch: the training loops ask the device then, too, whether all is finite."""
PICTURE_SECONDS = 20.0
"""Time between two pictures of the filters within an epoch, at least."""
PROBED = 64
"""Images that are shown to the network for the histograms."""
SAMPLED = 100_000
"""Values of a layer's outputs that a histogram is made of, at most."""

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


class Tracking(Callback):
    """Write to a trainer's loggers what a run's `metrics.csv` does not hold; what the run learns stays the same.

    Every 50 steps the speed, the time left and the loss, and a picture of the filters if the last is 20 seconds old;
    at the end of an epoch all of it, and what needs a look at the network. docs/tracking.md has the table. Every logger
    gets the numbers, those of TensorBoard the pictures and histograms too.

    Resumed runs go on in the same log: what an abandoned run had logged after the checkpoint is forgotten.

    Args:
        loggers: of the trainer, to write to.
    """

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = loggers
        self._writers = [one for one in loggers if isinstance(one, TensorBoardLogger)]
        self._before: dict[str, Tensor] = {}
        self._probe: Tensor | None = None
        self._began = self._looked = self._pictured = 0.0
        self._batches = self._images = 0  # since the run began, and since the last look

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Drop what was logged after the checkpoint that this run goes on from, and draw the filters as they are."""
        self._began = self._looked = self._pictured = time.perf_counter()
        self._batches = self._images = 0
        self._probe = None
        if not trainer.is_global_zero:
            return
        for writer in self._writers:
            _forget_from(writer, trainer.global_step)
        self._remember(pl_module)  # here too: a run that goes on within an epoch does not start it again
        if trainer.global_step == 0:
            self._draw(pl_module, 0)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Remember the weights."""
        if not trainer.is_global_zero:
            return
        self._remember(pl_module)
        for writer in self._writers:  # the scores of the last epoch, which come after its checkpoint
            writer.experiment.flush()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count; now and then log."""
        images = first_tensor(batch)
        self._batches += 1
        self._images += len(images)
        if self._probe is None and len(images):
            self._probe = images[:PROBED].detach().clone()
        if (batch_idx + 1) % EVERY == 0 and trainer.is_global_zero:
            self._log_progress(trainer, outputs)
            if time.perf_counter() - self._pictured >= PICTURE_SECONDS:
                self._draw(pl_module, _step(trainer))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log what needs a look at the network."""
        if not trainer.is_global_zero:
            return
        step = _step(trainer)
        self._log_progress(trainer, None)
        numbers = {}
        for name, weight in _weights(pl_module):
            now, before = weight.detach().float(), self._before[name].float()
            numbers[f"weights/{name}/norm"] = float(now.norm())
            numbers[f"weights/{name}/change"] = float((now - before).norm() / before.norm().clamp(min=1e-30))
        self._log(numbers, step)
        self._draw(pl_module, step)
        if self._writers and self._probe is not None:
            for tag, values in _histograms(pl_module, channels_last(self._probe)).items():
                for writer in self._writers:
                    writer.experiment.add_histogram(tag, values, step)
        for writer in self._writers:  # before the checkpoint of this epoch is written
            writer.experiment.flush()

    def _remember(self, module: lightning.LightningModule) -> None:
        self._before = {name: weight.detach().clone() for name, weight in _weights(module)}

    def _log_progress(self, trainer: lightning.Trainer, outputs: Any) -> None:
        """The images a second since the last look, the minutes left at the pace of the whole run, and the loss."""
        now = time.perf_counter()
        numbers = {}
        if self._images:
            numbers["progress/images_per_second"] = self._images / max(now - self._looked, 1e-9)
        batches = trainer.num_training_batches * (trainer.max_epochs or 0)
        if self._batches and 0 < batches < float("inf"):
            done = trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.epoch_loop.batch_idx + 1
            pace = (now - self._began) / self._batches
            numbers["progress/minutes_left"] = pace * max(batches - done, 0) / 60
        if isinstance(outputs, Mapping) and isinstance(loss := outputs.get("loss"), Tensor):
            numbers["progress/loss"] = float(loss)
        self._log(numbers, _step(trainer))
        self._looked, self._images = now, 0

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        for logger in self.loggers:
            logger.log_metrics(dict(numbers), step)

    def _draw(self, module: lightning.LightningModule, step: int) -> None:
        """The filters of the first layer, where it sees grey or coloured images."""
        self._pictured = time.perf_counter()
        found = first_filters(_weights(module)) if self._writers else None
        if found is not None:
            name, picture = found
            for writer in self._writers:
                writer.experiment.add_image(f"filters/{name}", picture, step)


def _forget_from(writer: TensorBoardLogger, step: int) -> None:
    """Let TensorBoard leave out what earlier files say of this step and later ones."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    files = writer.experiment._get_file_writer()  # type: ignore[no-untyped-call]
    files.add_event(Event(session_log=SessionLog(status=SessionLog.START)), step)


def first_tensor(batch: Any) -> Tensor:
    """The images of a batch; of pairs of batches those of the first."""
    while not isinstance(batch, Tensor):
        batch = batch[0]
    return batch


def _step(trainer: lightning.Trainer) -> int:
    """The number of the last step, from 0 on: where Lightning logs an epoch's metrics."""
    return max(trainer.global_step - 1, 0)


def _weights(module: lightning.LightningModule) -> Iterator[tuple[str, Tensor]]:
    """Name and weight of each layer of the network, in their order; names as in the other metrics."""
    for name, layer in module.get_submodule("model").named_modules():
        if isinstance(layer, _LAYERS):
            yield name.removeprefix("features."), layer.get_parameter("weight")


def _histograms(module: lightning.LightningModule, images: Tensor) -> dict[str, Tensor]:
    """What each layer of the features gives for the images, and how often each neuron of those that learn wins."""
    features = module.get_submodule("model.features")
    plasticity = getattr(module, "plasticity", None)
    wins: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def observe(name: str, response: Tensor) -> None:
        strongest, winner = response.max(dim=1)
        count = torch.bincount(winner[strongest > 0], minlength=response.shape[1])
        wins[name] = wins[name] + count if name in wins else count

    with torch.no_grad(), evaluating(features), _recorded(features, outputs):
        if plasticity is None:
            features(images)
        else:
            with plasticity.paused(), plasticity.observed(observe):
                features(images)
    found = {f"outputs/{name}": values for name, values in outputs.items()}
    for name, count in wins.items():
        found[f"winners/{name}"] = count.float() * len(count) / count.sum().clamp(min=1)
    return {tag: values.cpu() for tag, values in found.items() if values.isfinite().all()}


@contextmanager
def _recorded(features: nn.Module, outputs: dict[str, Tensor]) -> Iterator[None]:
    """Keep a sample of what each layer gives, in ``outputs`` by its name."""

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            values = output.detach().flatten().float()
            outputs[name] = values[:: -(-len(values) // SAMPLED)]

        return hook

    handles = [
        layer.register_forward_hook(keep(name))
        for name, layer in features.named_modules()
        if isinstance(layer, _LAYERS)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
