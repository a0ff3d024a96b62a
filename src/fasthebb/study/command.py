"""``fasthebb study``: methods x labels x seeds, as cells that are finished one by one."""

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fasthebb.data import ImageData, MaskedData, load_images, load_masked, load_stream
from fasthebb.evaluation import mean_interval
from fasthebb.models import usual
from fasthebb.runs.saved import network_options, reading_options
from fasthebb.study.amounts import Data, check_draw
from fasthebb.study.estimate import estimate
from fasthebb.study.estimate_masks import estimate_masks
from fasthebb.study.folder import StudyFolder
from fasthebb.study.grid import Cell, Search, make_grid, pretrainings
from fasthebb.study.options import StudyOptions, resolved
from fasthebb.study.report import write_report
from fasthebb.study.work import Worker, share_processor


def study(options: StudyOptions, out: str | Path, *, progress: bool = True) -> list[dict[str, Any]]:
    """Run a study into ``out``; called again, go on, with more methods, labels or seeds if these have grown.

    Args:
        options: what to compare.
        out: folder for ``config.yaml``, ``pretrained/``, ``cells/``, ``summary.json``, ``failed.json`` and the report.
        progress: print what is being done, and a table at the end.

    Returns:
        The content of ``summary.json``: an object a finished cell.

    Raises:
        ValueError: for a user's mistake, in one line, before anything is trained.
        KeyboardInterrupt: after Ctrl-C; the same call goes on and repeats at most an epoch.
    """
    options = resolved(options)
    if options.read:  # refuses layers that there are not, before the long reading of images
        shape = {name: getattr(options, name) for name in ("width", "hidden", "image_size", "channels")}
        reading_options(network_options(options.model, **shape), options.read, options.side)
    data = _read(options, progress)
    cells = make_grid(options, data)
    for amount in options.labels or []:
        check_draw(data, amount)
    console = Console(quiet=not progress)
    if options.dry_run:
        assert isinstance(data, ImageData | MaskedData)  # a stream was refused
        table = estimate(cells, options, data) if isinstance(data, ImageData) else estimate_masks(cells, options, data)
        console.print(table)
        return []
    folder = StudyFolder(out, options)
    searches = dict.fromkeys(Search(cell.method) for cell in cells)
    folder.forget_failures([*searches, *pretrainings(cells), *cells])
    missing = [cell for cell in cells if folder.result(cell) is None]
    if progress:
        print(data.summary())
        print(f"{len(cells)} cells, {len(cells) - len(missing)} of them finished before")
    if missing and options.jobs > 1:
        _side_by_side(options, folder, cells, missing, progress)
    elif missing:
        counter = _Counter(len(missing), progress)
        Worker(folder, options, data, cells, progress=progress).work(missing, counter.report)
    finished = folder.summarise(cells)
    if finished:
        write_report(folder.path)
        console.print(_table(finished))
    left = [cell for cell in cells if folder.result(cell) is None and folder.failure(cell) is None]
    if left:  # a worker was killed
        console.print(f"{len(left)} cells are not finished: the same command goes on with them")
    failed = [cell for cell in cells if folder.failure(cell) is not None]
    if failed:
        console.print(f"{len(failed)} cells failed, the first: {failed[0]}: {folder.failure(failed[0])}", markup=False)
    return finished


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``fasthebb report``: it has none beside ``--out``, the study's folder."""


def report(options: ReportOptions, out: str | Path) -> list[dict[str, Any]]:
    """Write the report of a study anew, as after an update of fasthebb.

    Raises:
        ValueError: if ``out`` holds no study.
    """
    print(write_report(Path(out)))
    return []


def _read(options: StudyOptions, progress: bool) -> Data:
    if options.task == "segmentation":
        return load_masked(
            options.data,
            unlabelled=options.unlabelled,
            group=options.group,
            channels=options.channels,
            ignore_value=options.ignore_value,
            strict=options.strict,
            progress=progress,
            testing=options.cv == 0,
        )
    if options.stream:
        if options.label_file or options.group:
            raise ValueError(
                "--stream reads labels and splits from folders, tables and shards alone: leave out --label-file and "
                "--group, or --stream"
            )
        return load_stream(
            options.data,
            unlabelled=options.unlabelled,
            image_size=options.image_size,
            default_size=usual(options.model or "cnn6", "image_size"),
            channels=options.channels,
            strict=options.strict,
            progress=progress,
            workers=options.workers,
        )
    return load_images(
        options.data,
        unlabelled=options.unlabelled,
        label_file=options.label_file,
        group=options.group,
        image_size=options.image_size,
        default_size=usual(options.model or "cnn6", "image_size"),
        channels=options.channels,
        strict=options.strict,
        progress=progress,
        testing=options.cv == 0,
    )


class _Counter:
    """Says how far the study is."""

    def __init__(self, total: int, progress: bool) -> None:
        self.total, self.progress, self.done, self.start = total, progress, 0, time.perf_counter()

    def report(self, cell: Cell, result: dict[str, Any] | None, error: str | None) -> None:
        """Print a finished cell and the time that is left."""
        self.done += 1
        if not self.progress:
            return
        left = (time.perf_counter() - self.start) / self.done * (self.total - self.done)
        outcome = f"failed: {error}" if result is None else "{} {:.1f} %".format(*_main_score(result))
        print(f"[{self.done}/{self.total}] {cell}: {outcome}; about {left / 60:.0f} min left", flush=True)


def _side_by_side(
    options: StudyOptions, folder: StudyFolder, grid: Sequence[Cell], missing: Sequence[Cell], progress: bool
) -> None:
    """Several processes, each of which does whatever no other is doing."""
    context = get_context("spawn")
    workers = [
        context.Process(target=_worker, args=(options, folder.path, grid, missing, progress and first), daemon=True)
        for first in [True, *[False] * (options.jobs - 1)]
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        for worker in workers:
            worker.terminate()
        raise


def _worker(options: StudyOptions, out: Path, grid: Sequence[Cell], missing: Sequence[Cell], progress: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this
    share_processor(options.jobs)
    folder = StudyFolder(out, options)
    worker = Worker(folder, options, _read(options, progress=False), grid, progress=False)
    worker.work(missing, _Counter(len(missing), progress).report)


def _main_score(result: Mapping[str, Any]) -> tuple[str, float]:
    """What a result is told by."""
    return ("Dice", result["dice"]) if "dice" in result else ("top-1", result["top1"])


def _table(finished: Sequence[dict[str, Any]]) -> Table:
    """Mean top-1, or Dice, over seeds, with its 95 % interval."""
    amounts = list(dict.fromkeys(row["amount"] for row in finished))
    rows = list(dict.fromkeys((row["method"], row["readout"]) for row in finished))
    name, _ = _main_score(finished[0])
    table = Table("method", "", *(f"{one} labels" for one in amounts), title=f"{name} on the test images, per cent")
    for method, readout in rows:
        texts = []
        for amount in amounts:
            own = [
                row for row in finished if (row["method"], row["readout"], row["amount"]) == (method, readout, amount)
            ]
            seeds = dict.fromkeys(row["seed"] for row in own)
            means = [
                sum(values) / len(values)
                for seed in seeds
                if (values := [_main_score(row)[1] for row in own if row["seed"] == seed])
            ]
            if not means:
                texts.append("")
                continue
            mean, half = mean_interval(means)
            texts.append(f"{mean:.1f}" if len(means) < 2 else f"{mean:.1f} ± {half:.1f}")
        table.add_row(method, readout, *texts)
    return table
