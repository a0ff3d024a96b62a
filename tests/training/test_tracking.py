from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from fasthebb import HPCA
from fasthebb.models import Network
from fasthebb.training import Classifier, HebbianPretraining, Segmenter, fit, last_checkpoint, make_trainer
from fasthebb.training import tracking as module
from fasthebb.training.filter_pictures import first_filters
from fasthebb.training.tracking_loggers import TRACKING_FOLDER, check_logger, open_logger

Model = Callable[..., Network]
KINDS = ("scalars", "images", "histograms")


class InterruptedHereError(Exception):
    pass


class StopAfter(Callback):
    """Ends a run within an epoch, without a word to anybody."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.steps:
            raise InterruptedHereError


class Remembering(Logger):
    """A logger of somebody else's."""

    name, version = "remembering", 0

    def __init__(self, project: str = "none") -> None:
        super().__init__()
        self.project = project
        self.told: dict[str, Any] = {}
        self.logged: list[dict[str, float]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.logged.append(dict(metrics))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.told = dict(params)


class FailingToStart(Remembering):
    def __init__(self) -> None:
        raise ModuleNotFoundError("No module named 'somewhere'")


def logged(run: Path) -> dict[str, list[int]]:
    """The steps of everything that TensorBoard would show of a run."""
    events = EventAccumulator(str(run / TRACKING_FOLDER), size_guidance=dict.fromkeys(KINDS, 0))
    events.Reload()
    readers = dict(zip(KINDS, (events.Scalars, events.Images, events.Histograms), strict=True))
    return {tag: [one.step for one in readers[kind](tag)] for kind in KINDS for tag in events.Tags()[kind]}


def train(module: Any, loader: Any, out: Path, epochs: int = 2, name: str = "tensorboard", stop: int = 0) -> None:
    trainer = make_trainer(
        epochs=epochs,
        out=out,
        progress=False,
        loggers=open_logger(name, {}, out, {}),
        callbacks=[StopAfter(stop)] if stop else [],
    )
    fit(trainer, module, loader, ckpt=last_checkpoint(out / "checkpoints"))


def test_a_hebbian_run_shows_filters_outputs_winners_and_how_far_weights_move(
    make_model: Model, loader: Any, tmp_path: Path
) -> None:
    model = make_model(hebbian=True)
    train(HebbianPretraining(model, HPCA(max_lr=0.1), epochs=2), loader, tmp_path)
    found = logged(tmp_path)
    layers = ("conv1", "conv2", "conv3", "conv4", "dense5")
    assert found["filters/conv1"] == [0, 2, 5]  # as they were drawn, and after each epoch of three steps
    for name in layers:
        for tag in (f"outputs/{name}", f"winners/{name}", f"weights/{name}/norm", f"weights/{name}/change"):
            assert found[tag] == [2, 5], tag
        assert found[f"layer/{name}/winner_entropy"] == [2, 5]
    assert found["progress/images_per_second"] == found["progress/minutes_left"] == found["seconds"] == [2, 5]


def test_a_classifiers_run_shows_the_same_without_winners(make_model: Model, loader: Any, tmp_path: Path) -> None:
    train(Classifier(make_model(), classes=3, epochs=2), loader, tmp_path)
    found = logged(tmp_path)
    assert {"train_loss", "outputs/conv1", "weights/classifier.1/change", "filters/conv1"} <= set(found)
    assert not [tag for tag in found if tag.startswith("winners")]


def test_a_segmenters_run_is_shown_too(
    make_unet: Callable[..., Any], make_discs: Callable[..., Any], tmp_path: Path
) -> None:
    train(Segmenter(make_unet(), seed=0), make_discs(), tmp_path)
    found = logged(tmp_path)
    assert {"outputs/up1.transposed", "weights/down1.conv1/norm", "filters/down1.conv1"} <= set(found)


def test_histograms_say_what_the_network_does(make_model: Model, loader: Any) -> None:
    learning = HebbianPretraining(make_model(hebbian=True), HPCA(), epochs=1)
    images = loader.images
    found = module._histograms(learning, images)
    expected = learning.model.features.eval().conv1(images)
    assert torch.equal(found["outputs/conv1"].sort().values, expected.flatten().sort().values)
    strongest, winner = expected.max(1)
    wins = torch.bincount(winner[strongest > 0], minlength=expected.shape[1]).float()  # a still place has no winner
    assert torch.allclose(found["winners/conv1"], wins * len(wins) / wins.sum())
    assert found["winners/conv1"].mean() == pytest.approx(1.0)  # 1 is a neuron's fair share
    assert learning.training


def test_what_is_learned_does_not_depend_on_who_looks(
    make_model: Model, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 1)
    monkeypatch.setattr(module, "PICTURE_SECONDS", 0.0)
    states = []
    for name in ("none", "tensorboard"):
        learning = HebbianPretraining(make_model(hebbian=True, dropout=0.5), HPCA(max_lr=0.1), epochs=2)
        train(learning, loader, tmp_path / name, name=name)
        states.append({**learning.model.state_dict(), "random": torch.random.get_rng_state()})
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert logged(tmp_path / "tensorboard")["filters/conv1"] == [0, 0, 1, 2, 2, 3, 4, 5, 5]
    rows = [(tmp_path / name / "metrics.csv").read_text().splitlines()[0] for name in ("none", "tensorboard")]
    assert rows[0] == rows[1]
    assert not (tmp_path / "none" / TRACKING_FOLDER).exists()


def test_steps_within_an_epoch_show_loss_and_speed(
    make_model: Model, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 2)
    train(Classifier(make_model(), classes=3, epochs=2), loader, tmp_path)
    found = logged(tmp_path)
    assert found["progress/loss"] == [1, 4]  # the second step of each epoch
    assert found["progress/images_per_second"] == [1, 2, 4, 5]


def test_a_resumed_run_goes_on_in_the_same_log_without_doubled_steps(
    make_model: Model, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 1)
    # Files of one second and process are read in the order of a number's digits: keep it from going from 9 to 10.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(10))

    def learning() -> HebbianPretraining:
        return HebbianPretraining(make_model(hebbian=True), HPCA(max_lr=0.1), epochs=3)

    train(learning(), loader, tmp_path / "whole", epochs=3)
    for stop in (2, 5, 8):  # before the first checkpoint, and in the middle of the two other epochs
        with pytest.raises(InterruptedHereError):
            train(learning(), loader, tmp_path / "resumed", epochs=3, stop=stop)
        monkeypatch.setattr(module, "EVERY", 2)  # so that the steps that were abandoned are not merely written over
    train(learning(), loader, tmp_path / "resumed", epochs=3)
    whole, resumed = logged(tmp_path / "whole"), logged(tmp_path / "resumed")
    assert set(whole) == set(resumed)
    assert resumed["weights/conv1/norm"] == whole["weights/conv1/norm"] == [2, 5, 8]
    assert resumed["seconds"] == whole["seconds"] == [2, 5, 8]
    assert resumed["progress/images_per_second"] == [1, 2, 4, 5, 7, 8]
    assert resumed["filters/conv1"] == [0, 2, 5, 8]
    assert len(list((tmp_path / "resumed" / TRACKING_FOLDER).iterdir())) == 4


def test_any_lightning_logger_gets_the_numbers(make_model: Model, loader: Any, tmp_path: Path) -> None:
    name = f"{__name__}.Remembering"
    (logger,) = open_logger(name, {"project": "ants"}, tmp_path, {"lr": 0.1})
    assert isinstance(logger, Remembering)
    trainer = make_trainer(epochs=1, out=tmp_path, progress=False, loggers=[logger])
    fit(trainer, Classifier(make_model(), classes=3, epochs=1), loader)
    assert (logger.project, logger.told) == ("ants", {"lr": 0.1})
    names = {name for row in logger.logged for name in row}
    assert {"train_loss", "progress/images_per_second", "weights/conv1/change"} <= names
    assert not [name for name in names if name.startswith(("filters", "outputs"))]


def test_a_logger_that_writes_files_writes_them_into_the_run(tmp_path: Path) -> None:
    for options, where in (({}, tmp_path / TRACKING_FOLDER), ({"save_dir": str(tmp_path / "own")}, tmp_path / "own")):
        (logger,) = open_logger("lightning.pytorch.loggers.CSVLogger", options, tmp_path, {})
        assert isinstance(logger, CSVLogger)
        assert logger.save_dir == str(where)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tensorbord", {}, "--logger: found 'tensorbord', expected tensorboard, none, or the module.Class"),
        ("no.such.Logger", {}, r"--logger: no.such.Logger cannot be imported \(No module named 'no'\)"),
        ("math.pi", {}, "--logger: math.pi is no logger"),
        ("none", {"a": 1}, "--logger-options: found a, which are for a logger's module.Class, and --logger is none"),
        (f"{__name__}.Remembering", {"team": 1}, "does not start: .*unexpected keyword argument 'team'"),
        (f"{__name__}.FailingToStart", {}, "does not start: No module named 'somewhere'"),
    ],
)
def test_a_logger_that_cannot_be_had_is_said_in_a_line(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        open_logger(name, options, tmp_path, {})
    assert "\n" not in str(error.value)


def test_without_tensorboard_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fasthebb.training.tracking_loggers.find_spec", lambda name: None)
    check_logger("none", {})
    with pytest.raises(ValueError, match="needs a package: pip install tensorboard, or give --logger none"):
        check_logger("tensorboard", {})


def test_filters_are_drawn_around_grey() -> None:
    weight = torch.zeros(3, 1, 24, 24)
    weight[1, 0, 0, 0], weight[2, 0, 0, 0] = 5.0, -0.01
    found = first_filters([("conv1", weight)])
    assert found is not None
    shown = found[1][0, 1:25, :]
    assert [int(shown[0, 1 + 25 * index]) for index in range(3)] == [128, 255, 0]
    assert int(shown[5, 5]) == 128
    for other in (torch.zeros(4, 9), torch.zeros(4, 2, 3, 3), torch.zeros(4, 1, 3, 3, 3), torch.zeros(4, 1, 65, 65)):
        assert first_filters([("layer", other)]) is None
    assert first_filters([]) is None
