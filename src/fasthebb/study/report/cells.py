"""What a study leaves in its folder: finished cells and failed ones, checked before anything is computed from them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "area under the ROC curve",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "dice_pooled": "Dice of all pixels together",
    "jaccard_pooled": "Jaccard of all pixels together",
}
"""What a report can show, in per cent, by its key in ``summary.json``: the more the better."""

READOUTS = {
    "finetune": "fine-tuned",
    "probe": "probe on frozen features",
    "taught": "classifier taught by a rule on frozen features",
    "ridge": "ridge regression on frozen features",
    "student": "student of a ridge regression",
    "mean-teacher": "mean teacher",
    "cross-pseudo": "cross pseudo supervision",
    "cross-consistency": "cross-consistency",
    "rectified-pyramid": "uncertainty-rectified pyramid",
}
"""How labels are used, by its key in ``summary.json``."""


@dataclass(frozen=True)
class Cell:
    """One finished run of a study.

    Attributes:
        method: "none", "hpca", or any other name.
        labels: number of labels used.
        labels_spent: the same and those that chose the epoch.
        amount: the number of labels as it was asked for, such as "0.01".
        seed: of the weights.
        draw: of the labels.
        readout: key of `READOUTS`.
        select: which epoch's weights were scored.
        scores: per cent of the test images by key of `MEASURES`; what was not measured is absent.
        pretrain_seconds: 0 for methods without pre-training.
        finetune_seconds: of the training with labels.
        pretrain_epochs: 0 for methods without pre-training.
        finetune_epochs: of the training with labels.
        folder: the run's folder, relative to the study's.
    """

    method: str
    labels: int
    labels_spent: int
    amount: str
    seed: int
    draw: int
    readout: str
    select: str
    scores: Mapping[str, float]
    pretrain_seconds: float
    finetune_seconds: float
    pretrain_epochs: int
    finetune_epochs: int
    folder: str


@dataclass(frozen=True)
class Failure:
    """One run that ended in an error; every attribute is text as the study wrote it."""

    method: str
    amount: str
    seed: str
    draw: str
    readout: str
    error: str


def read_cells(folder: Path) -> list[Cell]:
    """The finished cells in ``summary.json``.

    Raises:
        ValueError: the file is absent, empty, truncated or of another form; one line.
    """
    file = folder / "summary.json"
    listed = _read_list(file, "the folder of a study, as its --out")
    if not listed:
        failed = len(read_failures(folder))
        reason = f"{failed} failed, see failed.json" if failed else "none has ended yet"
        raise ValueError(f"found no finished cell in {file} ({reason}), expected at least one: run the study again")
    cells = [_cell(entry, f"{file}, entry {number}") for number, entry in enumerate(listed, start=1)]
    known: set[tuple[object, ...]] = set()
    for number, cell in enumerate(cells, start=1):
        key = (cell.method, cell.amount, cell.seed, cell.draw, cell.readout, cell.select)
        if key in known:
            raise ValueError(
                f"{file}, entry {number}: found {cell.method!r} with amount {cell.amount!r}, seed {cell.seed}, draw "
                f"{cell.draw}, {cell.readout} twice, expected each cell once: remove one of the two"
            )
        known.add(key)
    return cells


def read_failures(folder: Path) -> list[Failure]:
    """The failed cells in ``failed.json``, none if there is no such file or nothing in it.

    Raises:
        ValueError: the file is truncated or of another form; one line.
    """
    file = folder / "failed.json"
    if not file.is_file() or not file.read_bytes().strip():
        return []
    failures = []
    for number, entry in enumerate(_read_list(file, "a study's list of failed cells"), start=1):
        if not isinstance(entry, dict):
            raise ValueError(
                f"{file}, entry {number}: found {_kind(entry)}, expected an object: run the study again or delete it"
            )
        texts = {name: str(entry.get(name, "")) for name in Failure.__dataclass_fields__}
        failures.append(Failure(**texts))
    return failures


def _read_list(file: Path, expected: str) -> list[Any]:
    if not file.is_file():
        raise ValueError(f"found no {file}, expected {expected}: give such a folder, or run fasthebb study first")
    try:
        content = file.read_text(encoding="utf-8")
        found = json.loads(content) if content.strip() else None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(
            f"{file} is truncated or no JSON{where}, expected a list of objects: run the study's command again"
        ) from error
    if found is None:
        raise ValueError(f"{file} is empty, expected a list of objects: run the study's command again")
    if not isinstance(found, list):
        raise ValueError(f"{file}: found {_kind(found)}, expected a list of objects: run the study's command again")
    return found


def _cell(entry: Any, where: str) -> Cell:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: found {_kind(entry)}, expected an object: run the study's command again")
    fields = _Fields(entry, where)
    main = "dice" if "dice" in entry else "top1"
    optional = {name: fields.optional_score(name) for name in MEASURES if name != main}
    optional["calibration_error"] = fields.optional_score("calibration_error")
    scores = {main: fields.score(main), **{name: value for name, value in optional.items() if value is not None}}
    labels = fields.count("labels", at_least=1)
    return Cell(
        method=fields.text("method"),
        labels=labels,
        labels_spent=fields.count("labels_spent") if "labels_spent" in entry else labels,
        amount=fields.text("amount"),
        seed=fields.count("seed"),
        draw=fields.count("draw"),
        readout=fields.one_of("readout", READOUTS),
        select=fields.text("select") if "select" in entry else "last",
        scores=scores,
        pretrain_seconds=fields.seconds("pretrain_seconds"),
        finetune_seconds=fields.seconds("finetune_seconds"),
        pretrain_epochs=fields.count("pretrain_epochs"),
        finetune_epochs=fields.count("finetune_epochs"),
        folder=fields.text("folder"),
    )


class _Fields:
    """The values of one entry, each checked as it is taken."""

    def __init__(self, entry: Mapping[str, Any], where: str) -> None:
        self._entry = entry
        self._where = where

    def text(self, name: str) -> str:
        value = self._present(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(name, "text")
        return value

    def one_of(self, name: str, known: Mapping[str, str]) -> str:
        value = self.text(name)
        if value not in known:
            raise self._wrong(name, " or ".join(known))
        return value

    def count(self, name: str, at_least: int = 0) -> int:
        value = self._present(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise self._wrong(name, f"a whole number of at least {at_least}")
        return value

    def seconds(self, name: str) -> float:
        value = self._number(name)
        if value is None or value < 0:
            raise self._wrong(name, "a number of seconds")
        return value

    def score(self, name: str) -> float:
        value = self._number(name)
        if value is None or not 0 <= value <= 100:
            raise self._wrong(name, "a score from 0 to 100 per cent")
        return value

    def optional_score(self, name: str) -> float | None:
        """None where it is absent, or null or nan: it could not be measured."""
        value = self._entry.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return self.score(name)

    def _number(self, name: str) -> float | None:
        value = self._present(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            return None
        return float(value)

    def _present(self, name: str) -> Any:
        if name not in self._entry:
            raise ValueError(
                f"{self._where}: found no {name!r}, expected one in each cell: run the study's command again"
            )
        return self._entry[name]

    def _wrong(self, name: str, expected: str) -> ValueError:
        found = repr(self._entry[name])
        shown = found if len(found) <= 60 else found[:57] + "..."
        return ValueError(f"{self._where}: found {name} = {shown}, expected {expected}: run the study's command again")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")
