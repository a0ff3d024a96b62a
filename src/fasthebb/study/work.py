"""Doing a study's cells: alone, side by side, or on several machines that share the folder."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from traceback import format_exc
from typing import Any, Literal

import torch
from filelock import Timeout

from fasthebb.runs import SavedNetwork, SavedSegmentation, finetune, pretrain
from fasthebb.study.amounts import Data
from fasthebb.study.folder import StudyFolder
from fasthebb.study.grid import Cell, Pretraining, Run, Search, compared, finetune_options, pretrain_options
from fasthebb.study.options import StudyOptions
from fasthebb.study.search import applied, search

State = Literal["done", "failed", "busy"]
Report = Callable[[Cell, dict[str, Any] | None, str | None], None]
"""Called with each cell once it is finished: its result or its error."""

_PATIENCE = 1.0  # seconds between looks at what other workers are doing


class Worker:
    """Does whatever nobody else is doing, until nothing is left.

    Args:
        folder: the study's.
        options: with nothing left out.
        data: images with every label or mask.
        grid: every cell of the study.
        progress: show a bar for each training.
    """

    def __init__(
        self,
        folder: StudyFolder,
        options: StudyOptions,
        data: Data,
        grid: Sequence[Cell],
        *,
        progress: bool,
    ) -> None:
        self.folder = folder
        self.grid = grid
        self.options = options
        self.data = data
        self.progress = progress
        self._encoders: dict[Path, SavedNetwork | SavedSegmentation] = {}

    def work(self, cells: Sequence[Cell], report: Report) -> None:
        """Do every cell; one that fails does not keep the others."""
        waiting = list(cells)
        while waiting:
            left = []
            for cell in waiting:
                if self._attempt(cell) == "busy":
                    left.append(cell)
                else:
                    report(cell, self.folder.result(cell), self.folder.failure(cell))
            if len(left) == len(waiting):
                time.sleep(_PATIENCE)
            waiting = left

    def _attempt(self, cell: Cell) -> State:
        if (state := self._state(cell)) is not None:
            return state
        steps: list[tuple[Run, str, Callable[[], object]]] = []
        if self.options.search:
            looking = Search(cell.method)
            steps.append((looking, "search", lambda: self._search(looking)))
        before = cell.pretraining
        if before is not None:
            steps.append((before, "pre-training", lambda: self._pretrain(before, cell)))
        for run, what, do in steps:
            state = self._exclusively(run, do)
            if state == "failed":
                self.folder.fail(cell, f"its {what} failed: {self.folder.failure(run)}")
            if state != "done":
                return state
        if cell.method.kind == "none-tuned":
            alone, others = compared(cell, self.grid)
            if any(self._state(one) is None for one in (alone, *others)):
                return "busy"
        return self._exclusively(cell, lambda: self._finetune(cell))

    def _state(self, run: Run) -> State | None:
        if self.folder.failure(run) is not None:
            return "failed"
        return None if self.folder.result(run) is None else "done"

    def _exclusively(self, run: Run, do: Callable[[], object]) -> State:
        """Do a run that is not done yet, unless somebody else is doing it."""
        if (state := self._state(run)) is not None:
            return state
        lock = self.folder.lock(run)
        Path(lock.lock_file).parent.mkdir(exist_ok=True)
        try:
            with lock.acquire(timeout=0):
                if (state := self._state(run)) is not None:
                    return state
                try:
                    do()
                except Exception as error:  # whatever a rule or network of the user's own may raise
                    self.folder.fail(run, f"{type(error).__name__}: {' '.join(str(error).split())}", format_exc())
                    return "failed"
        except Timeout:
            return "busy"
        return "done"

    def _search(self, what: Search) -> None:
        readout = self.options.first_readout
        own = [cell for cell in self.grid if cell.method == what.method and cell.readout == readout]
        fewest = min(own, key=lambda cell: cell.labels)
        found = search(fewest, self.options, self.data, self.folder.path / what.folder, self._say)
        self.folder.finish(what, found)

    def _options_of(self, cell: Cell) -> StudyOptions:
        """What the search of its method has found, if there was one."""
        found = self.folder.result(Search(cell.method)) if self.options.search else None
        return self.options if found is None else applied(self.options, found, cell)

    def _pretrain(self, one: Pretraining, cell: Cell) -> None:
        self._say(f"pre-training {one.method.name}, seed {one.seed}")
        options = pretrain_options(one, self._options_of(cell))
        where = self.folder.path / one.folder
        pretrain(options, where, progress=self.progress, data=self.data)
        rmtree(where / "checkpoints", ignore_errors=True)

    def _finetune(self, cell: Cell) -> None:
        self._say(str(cell))
        options = finetune_options(cell, self._options_of(cell), self._stretch(cell))
        init = None
        if options.init is not None:
            where = Path(options.init) if cell.pretraining is None else self.folder.path / options.init
            init = self._encoder(where)
        out = self.folder.path / cell.folder
        finetune(options, out, progress=self.progress, data=self.data, init=init)
        rmtree(out / "checkpoints", ignore_errors=True)  # three times as large as the weights
        if not self.options.keep:
            (out / "classifier.safetensors").unlink(missing_ok=True)

    def _stretch(self, cell: Cell) -> float:
        """How much longer than usual a cell trains: what the costliest other method takes, over backprop alone."""
        if cell.method.kind != "none-tuned":
            return 1.0
        alone, others = compared(cell, self.grid)
        known = self.folder.result(alone)
        seconds = [one for one in map(self._seconds, others) if one is not None]
        if known is None or not seconds:
            raise ValueError("what this cell takes its time from has failed")
        return max(1.0, max(seconds) / max(float(known["finetune_seconds"]), 0.1))

    def _seconds(self, cell: Cell) -> float | None:
        """What a cell took, with its pre-training; None if it failed."""
        result = self.folder.result(cell)
        before = None if cell.pretraining is None else self.folder.result(cell.pretraining)
        return None if result is None or before is None else result["finetune_seconds"] + before["pretrain_seconds"]

    def _encoder(self, where: Path) -> SavedNetwork | SavedSegmentation:
        if where not in self._encoders:
            kind = SavedSegmentation if self.options.task == "segmentation" else SavedNetwork
            self._encoders = {where: kind.load(where, "encoder.safetensors")}  # one at a time is kept
        return self._encoders[where]

    def _say(self, what: str) -> None:
        if self.progress:
            print(what, flush=True)


def share_processor(jobs: int) -> None:
    """Let this process use its part of the cores."""
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
