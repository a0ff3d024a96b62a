"""The logger that a run writes to besides its `metrics.csv`, by name."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

TRACKING_FOLDER = "tracking"
"""Of a run's folder, what its logger writes."""


class EventFiles(TensorBoardLogger):
    """TensorBoard's event files in one folder, on disk some seconds after they were logged.

    Args:
        folder: where they lie; those of an interrupted run are gone on with.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False, flush_secs=5)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Without the number of the epoch, a curve that nobody needs to see."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def save(self) -> None:
        """Events alone: the options are in the run's ``config.yaml``."""
        self.experiment.flush()


def check_logger(name: str, options: Mapping[str, Any]) -> None:
    """Whether `open_logger` knows this name; nothing is opened.

    Raises:
        ValueError: there is no such logger, or a package is missing.

    >>> check_logger("tensorbord", {})
    Traceback (most recent call last):
    ValueError: --logger: found 'tensorbord', expected tensorboard, none, or the module.Class of a Lightning logger
    """
    if name not in ("tensorboard", "none"):
        _class_of(name)
        return
    if options:
        given = ", ".join(options)
        raise ValueError(
            f"--logger-options: found {given}, which are for a logger's module.Class, and --logger is {name}: leave "
            "them out"
        )
    if name == "tensorboard" and find_spec("tensorboard") is None:
        raise ValueError("--logger tensorboard needs a package: pip install tensorboard, or give --logger none")


def open_logger(name: str, options: Mapping[str, Any], run: str | Path, settings: Mapping[str, Any]) -> list[Logger]:
    """The logger of a run, in a list; an empty one for "none".

    Args:
        name: "tensorboard", "none", or the ``module.Class`` of a Lightning logger.
        options: keywords of that class. Where it takes a ``save_dir`` and none is given, that is a folder of the run.
        run: the run's folder.
        settings: options of the run, which a logger of the user's is told as its hyperparameters.

    Raises:
        ValueError: there is no such logger, it does not take these options, or a package is missing.

    >>> open_logger("none", {}, "runs/one", {})
    []
    """
    check_logger(name, options)
    if name == "none":
        return []
    if name == "tensorboard":
        return [EventFiles(Path(run) / TRACKING_FOLDER)]
    kind, given = _class_of(name), dict(options)
    if "save_dir" in inspect.signature(kind).parameters:
        given.setdefault("save_dir", str(Path(run) / TRACKING_FOLDER))
    try:
        logger = kind(**given)
        logger.log_hyperparams(dict(settings))
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"--logger {name} does not start: {' '.join(str(error).split())}") from error
    return [logger]


def _class_of(name: str) -> type[Logger]:
    module, _, attribute = name.rpartition(".")
    expected = "expected tensorboard, none, or the module.Class of a Lightning logger"
    if not module:
        raise ValueError(f"--logger: found {name!r}, {expected}")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--logger: {name} cannot be imported ({error}): {expected}") from error
    if not (isinstance(kind, type) and issubclass(kind, Logger)):
        raise ValueError(f"--logger: {name} is no logger, {expected}")
    return kind
