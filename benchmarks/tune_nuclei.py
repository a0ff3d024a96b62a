"""What few masks are best learned with: a U-Net on microscopy images of nuclei.

    python benchmarks/tune_nuclei.py --data PATH_TO_NUCLEI

Mean Dice on the 66 validation images, by draw of the masks (100 to 102, which no study uses); the test images are taken
away first. Writes ``docs/results/tune_nuclei.json`` after every training; killed, the same command goes on.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import save

from fasthebb.data import MaskedData, load_masked
from fasthebb.runs import FinetuneOptions, PretrainOptions, finetune, pretrain
from fasthebb.runs.options import Task

DRAWS = (100, 101, 102)
TASK: Task = "segmentation"
SMALL: dict[str, Any] = {"crop": 64, "width": 0.25}
MIDDLE: dict[str, Any] = {"crop": 128, "width": 0.5, "epochs": 10}
BATCH: dict[str, Any] = {"norm": "batch", "lr": 0.001}
INSTANCE: dict[str, Any] = {"norm": "instance", "lr": 0.003}
TRIALS: list[tuple[str, dict[str, Any], str]] = [
    ("23", {**SMALL, **BATCH}, ""),
    ("23", {**SMALL, **INSTANCE}, ""),
    ("46", {**SMALL, **BATCH}, ""),
    ("46", {**SMALL, **INSTANCE}, ""),
    ("1.0", {**SMALL, **BATCH}, ""),
    ("1.0", {**SMALL, **INSTANCE}, ""),
    ("23", {**SMALL, **INSTANCE}, "down1.*"),
    ("5", {**MIDDLE, **BATCH}, ""),
    ("5", {**MIDDLE, **INSTANCE}, ""),
    ("5", {**SMALL, **INSTANCE}, ""),
    ("5", {**SMALL, **INSTANCE, "semi": "mean-teacher"}, ""),
    ("5", {**SMALL, **INSTANCE, "semi": "rectified-pyramid"}, ""),
    ("5", {**SMALL, **INSTANCE, "semi": "cross-pseudo"}, ""),
    ("5", {**SMALL, **INSTANCE}, "down1.*"),
]
"""Masks, options, and the layers that HPCA pre-trains, if any. Small ones take 1,000 steps, middle ones 500."""
COMMON: dict[str, Any] = {"task": TASK, "batch_size": 8, "precision": "bf16-mixed", "logger": "none"}


def encoder(asked: argparse.Namespace, data: MaskedData, options: dict[str, Any], layers: str) -> str:
    """Folder of a pre-training by HPCA, one pass, for the seed of the first draw."""
    folder = asked.out / f"encoder-{options['norm']}-{options['crop']}-{options['width']}-{layers.strip('.*')}"
    shape = {name: options[name] for name in ("crop", "width", "norm")}
    first = PretrainOptions(data=asked.data, seed=DRAWS[0], epochs=1, layers=[layers], **COMMON, **shape)
    pretrain(first, folder, data=data)
    return str(folder)


def score(asked: argparse.Namespace, data: MaskedData, trial: tuple[str, dict[str, Any], str], draw: int) -> float:
    """Validation Dice, per cent."""
    labels, options, layers = trial
    start: dict[str, Any] = {}
    if layers:
        start["init"] = encoder(asked, data, options, layers)
        options = {name: value for name, value in options.items() if name not in ("width", "norm")}
    name = "-".join([labels, *(str(value) for value in trial[1].values()), layers.strip(".*"), str(draw)])
    asked_for = FinetuneOptions(
        data=asked.data, seed=DRAWS[0], labels=labels, draw_seed=draw, **COMMON, **start, **options
    )
    found: float = finetune(asked_for, asked.out / name, data=data)["validation"]["dice"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/tune-nuclei"))
    asked = parser.parse_args()
    data = load_masked(asked.data)
    data = replace(data, test=data.test.subset([]))
    rows: list[dict[str, Any]] = []
    for trial in TRIALS:
        labels, options, layers = trial
        draws = DRAWS if labels != "1.0" else DRAWS[:1]
        rows.append({"masks": labels, **options, "hpca": layers, "dice_by_draw": {}})
        for draw in draws:
            rows[-1]["dice_by_draw"][str(draw)] = score(asked, data, trial, draw)
            save("tune_nuclei", {"scored_on": "66 validation images", "rows": rows})
        print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    main()
