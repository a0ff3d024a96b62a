"""Accuracy against minutes on CIFAR-10 with 400 labels: ``python benchmarks/minutes.py`` draws docs/minutes.png.

From figures that other benchmarks have left in docs/results, all of one seed and one core; what is not there yet is
left out, and said.
"""

import json
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from record import ROOT

HEBBIAN, OTHERS = "#d55e00", "#0072b2"
ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("backprop alone", "study_cifar10_minutes", {"method": "none"}),
    ("backprop alone, longer, on images\nchanged at random (another network)", "alternatives", {"method": "backprop"}),
    ("HPCA, then the same", "alternatives", {"method": "hpca"}),
    ("SimCLR, ridge regression", "alternatives", {"method": "simclr", "readout": "ridge"}),
    ("SimCLR, then backprop", "alternatives", {"method": "simclr", "readout": "finetune"}),
    ("SWTA, then backprop", "study_cifar10_swta", {"method": "swta@conv1"}),
    ("HPCA, then backprop", "study_cifar10_minutes", {"method": "hpca"}),
    ("layers at once, ridge regression", "study_best_cifar10_seeds", {"readout": "ridge"}),
    ("and a student", "study_best_cifar10_seeds", {"readout": "student"}),
]
"""What it is called, the file of its figures, and which of them it is."""


def found() -> list[dict[str, Any]]:
    """Name, minutes and accuracy of each way."""
    rows = []
    for name, file, asked in ROWS:
        path = ROOT / "docs" / "results" / f"{file}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        cells = known.get("cells", known.get("rows", []))
        fitting = [cell for cell in cells if {**asked, "seed": 0}.items() <= cell.items()]
        if not fitting:
            print(f"left out: {name!r}, of which {path.name} says nothing")
            continue
        (cell,) = fitting
        minutes = (cell.get("pretrain_seconds", 0.0) + cell["finetune_seconds"]) / 60
        hebbian = asked.get("method") not in ("none", "backprop", "simclr")
        rows.append({"name": name, "minutes": minutes, "top1": cell["top1"], "hebbian": hebbian})
    return rows


def main() -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for row in found():
        print(f"{row['minutes']:6.1f} min  {row['top1']:.1f} %  {' '.join(row['name'].split())}")
        colour = HEBBIAN if row["hebbian"] else OTHERS
        axes.plot(row["minutes"], row["top1"], "o" if row["hebbian"] else "s", color=colour)
        axes.annotate(row["name"], (row["minutes"], row["top1"]), (6, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.set_xlim(0.8, 200)
    axes.set_xlabel("minutes on one core, without labels and with them")
    axes.set_ylabel("top-1 on the test images, %")
    axes.set_title("CIFAR-10, 400 labels, one seed: with (round) and without (square) Hebbian learning", fontsize=10)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "minutes.png", dpi=120)


if __name__ == "__main__":
    main()
