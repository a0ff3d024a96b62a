"""The logger that options ask for."""

from pathlib import Path

from lightning.pytorch.loggers import Logger

from fasthebb.runs.folder import settings
from fasthebb.runs.options import DataOptions
from fasthebb.training import check_logger, open_logger


def refuse_unknown_logger(options: DataOptions) -> None:
    """Refuse a logger that there is not, before the long reading of images.

    Raises:
        ValueError: in one line.
    """
    check_logger(options.logger, options.logger_options)


def loggers_of(options: DataOptions, run: Path) -> list[Logger]:
    """For `make_trainer`: one that writes into the run's folder, or none."""
    return open_logger(options.logger, options.logger_options, run, settings(options))
