"""A study's folder: its configuration, which may grow, and what its cells have left."""

import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import BaseFileLock, FileLock

from fasthebb.runs import RunError
from fasthebb.runs.folder import differences, left_out
from fasthebb.study.grid import Cell, Run
from fasthebb.study.options import StudyOptions, cell_settings, follows_paper
from fasthebb.training.weights import write_atomically

FORMAT = 1
_SCORES = (
    "top1",
    "top5",
    "balanced_accuracy",
    "macro_f1",
    "auroc",
    "calibration_error",
    "dice",
    "jaccard",
    "dice_pooled",
    "jaccard_pooled",
    "hausdorff95",
)


class StudyFolder:
    """The folder given by ``--out``.

    Args:
        path: made if it does not exist.
        options: with nothing left out.

    Raises:
        RunError: if the folder holds other files, or a study whose cells are something else; nothing is changed then.
    """

    def __init__(self, path: str | Path, options: StudyOptions) -> None:
        self.path = Path(path)
        config = self.path / "config.yaml"
        held = list(self.path.iterdir()) if self.path.is_dir() else []
        if config.is_file():
            self._refuse_other(config, options)
        elif held or (self.path.exists() and not self.path.is_dir()):
            raise RunError(f"{self.path} exists and is not a study of fasthebb: choose another --out")
        made_by = {"format": FORMAT, "fasthebb": version("fasthebb")}
        self._write("study.json", json.dumps(made_by) + "\n")
        self._write("config.yaml", yaml.safe_dump({"command": "study", **asdict(options)}, sort_keys=False))

    def _refuse_other(self, config: Path, options: StudyOptions) -> None:
        try:
            found = yaml.safe_load(config.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{config} cannot be read: choose another --out") from error
        if not isinstance(found, dict) or found.get("command") != "study":
            raise RunError(f"{config} is not of a study of fasthebb: choose another --out")
        made_by = self._made_by()
        if made_by.get("format") != FORMAT:
            raise RunError(
                f"{self.path} was made by fasthebb {made_by.get('fasthebb', 'of another version')} in the format "
                f"{made_by.get('format', 'of that')}, this is fasthebb {version('fasthebb')} with the format {FORMAT}: "
                "finish it with that version, or choose another --out"
            )
        found = {**left_out(options), **found}  # an option that a later version has brought
        asked = cell_settings(options)
        if str(found.get("preset") or "").startswith("paper") != follows_paper(options):
            asked = {"preset": options.preset, **asked}
        differing = differences(found, asked)
        if differing:
            raise RunError(
                f"{self.path} holds a study whose cells are something else ({'; '.join(differing[:3])}): choose "
                "another --out, or leave these as they are; methods, labels, seeds, draws and readouts may change"
            )

    def _made_by(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / "study.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):  # killed before the first cell, or damaged
            return {"format": FORMAT}

    def lock(self, what: Run) -> BaseFileLock:
        """The lock of a run; the system frees it when its process ends, however that happens."""
        return FileLock(self.path / "locks" / f"{'_'.join(what.folder.parts)}.lock")

    def result(self, what: Run) -> dict[str, Any] | None:
        """What a finished run has left; None for one that is not, or whose result is damaged."""
        file = self.path / what.folder / "result.json"
        try:
            return dict(json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            warnings.warn(f"{file} is damaged: its last step is done again", UserWarning, stacklevel=2)
            return None

    def finish(self, what: Run, result: dict[str, Any]) -> None:
        """Leave the result of a run that has no command of its own."""
        self._write(str(what.folder / "result.json"), json.dumps(result, indent=1) + "\n")

    def failure(self, what: Run) -> str | None:
        """The error of a run that failed."""
        file = self.path / what.folder / "error.json"
        try:
            return str(json.loads(file.read_text())["error"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            return "unknown: error.json is damaged"

    def fail(self, what: Run, error: str, trace: str = "") -> None:
        """Record a run's error."""
        self._write(str(what.folder / "error.json"), json.dumps({"error": error, "trace": trace}) + "\n")

    def forget_failures(self, runs: Iterable[Run]) -> None:
        """Let failed runs be tried again."""
        for run in runs:
            (self.path / run.folder / "error.json").unlink(missing_ok=True)

    def summarise(self, cells: Iterable[Cell]) -> list[dict[str, Any]]:
        """Write ``summary.json``, an object a finished cell, and ``failed.json``; give the former."""
        finished, failed = [], []
        for cell in cells:
            known = {"method": cell.method.name, "amount": cell.amount, "seed": cell.seed, "draw": cell.draw}
            known["readout"] = cell.readout
            result, error = self.result(cell), self.failure(cell)
            if result is not None:
                finished.append(self._row(cell, known, result))
            elif error is not None:
                failed.append({**known, "error": error})
        self._write("summary.json", json.dumps(finished, indent=1) + "\n")
        self._write("failed.json", json.dumps(failed, indent=1) + "\n")
        return finished

    def _row(self, cell: Cell, known: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        before = None if cell.pretraining is None else self.result(cell.pretraining)
        return {
            **known,
            "labels": result["labels"],
            "labels_spent": result["labels_spent"],
            "select": result["select"],
            **{name: result[name] for name in _SCORES if name in result},
            "pretrain_seconds": 0.0 if before is None else before["pretrain_seconds"],
            "pretrain_epochs": 0 if before is None else before["epochs"],
            "finetune_seconds": result["finetune_seconds"],
            "finetune_epochs": result["epochs"],
            "folder": str(cell.folder),
        }

    def _write(self, name: str, text: str) -> None:
        try:
            write_atomically(self.path / name, lambda file: file.write(text.encode()))
        except OSError as error:
            raise RunError(f"cannot write {self.path / name}: {error.strerror or error}") from error
