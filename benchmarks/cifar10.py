"""CIFAR-10 with 1 and 5 % of the labels: HPCA pre-training against backprop alone, through the command line.

    python benchmarks/cifar10.py --data PATH_TO_CIFAR10

Every run is a folder under ``--out``; killed, the same command goes on. Writes ``docs/results/cifar10.json``.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import save

from fasthebb.evaluation import mean_interval

FRACTIONS = ("0.01", "0.05")
FINETUNE = ["--epochs", "20"]
PRETRAIN = ["--epochs", "5", "--lr", "0.1", "--rule", "hpca", "--rule.max_lr", "0.1"]


def run(command: str, out: Path, *options: str) -> dict[str, Any]:
    """One command of fasthebb, in its folder."""
    subprocess.run([sys.executable, "-m", "fasthebb.cli", command, "--out", str(out), *options], check=True)
    return json.loads((out / "result.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()

    cells = []
    for seed in range(arguments.seeds):
        common = ["--data", arguments.data, "--seed", str(seed), "--precision", arguments.precision]
        encoder = arguments.out / f"hpca-{seed}"
        pretrained = run("pretrain", encoder, *common, *PRETRAIN)
        for fraction in FRACTIONS:
            for method, options in {"hpca": ["--init", str(encoder)], "none": []}.items():
                out = arguments.out / f"{method}-{fraction}-{seed}"
                result = run("finetune", out, *common, "--labels", fraction, *FINETUNE, *options)
                kept = ("labels", "top1", "top5", "balanced_accuracy", "macro_f1", "finetune_seconds")
                cells.append({"method": method, "fraction": fraction, "seed": seed} | {k: result[k] for k in kept})
                if method == "hpca":
                    cells[-1]["pretrain_seconds"] = pretrained["pretrain_seconds"]
    table = []
    for fraction in FRACTIONS:
        for method in ("none", "hpca"):
            scores = [c["top1"] for c in cells if c["method"] == method and c["fraction"] == fraction]
            mean, half = mean_interval(scores)
            table.append({"method": method, "fraction": fraction, "top1_mean": mean, "top1_half_width_95": half})
            print(f"{fraction:>5} {method:5} {mean:.2f} ± {half:.2f}  {scores}")
    save("cifar10", {"pretraining": " ".join(PRETRAIN), "table": table, "cells": cells})


if __name__ == "__main__":
    main()
