"""For how long, and how much changed at random, few labelled images are best seen: cnn6 on CIFAR-10.

    python benchmarks/tune_hpca.py cifar10 --data PATH_TO_CIFAR10 --labels 400
    python benchmarks/tune_schedule.py --data PATH_TO_CIFAR10 --encoder runs/tune-hpca-cifar10/encoder

Backprop alone, and the same behind HPCA in conv1 and conv2; validation images, seed 100, which no study uses. The
schedule of learning rates is stretched with the number of epochs. Writes ``docs/results/tune_schedule.json``; killed,
the same command goes on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from record import save
from tune_hpca import SEED, with_layers

from fasthebb.data import ImageData, load_images
from fasthebb.runs import FinetuneOptions, SavedNetwork, finetune

TRIALS: list[dict[str, Any]] = [
    {"labels": "400", "augment": "hard", "epochs": 100},
    {"labels": "2000", "augment": "hard", "epochs": 20},
    {"labels": "400", "augment": "shift", "epochs": 100},
    {"labels": "2000", "augment": "shift", "epochs": 50},
    {"labels": "400", "augment": "shift", "epochs": 200},
]
"""Those of changes by "shift" and 20 epochs are in ``docs/results/tune_hpca_cifar10.json`` and ``..._2000.json``."""


def score(asked: argparse.Namespace, data: ImageData, trial: dict[str, Any], encoder: SavedNetwork | None) -> Any:
    """Validation top-1."""
    name = "-".join(str(value) for value in trial.values())
    folder = asked.out / f"{'none' if encoder is None else 'hpca'}-{name}"
    init = None if encoder is None else str(asked.encoder)
    options = FinetuneOptions(
        data=asked.data,
        init=init,
        seed=SEED,
        lr=0.003,
        stretch=max(1.0, trial["epochs"] / 20),
        logger="none",
        **trial,
    )
    return finetune(options, folder, data=data, init=encoder)["validation"]["top1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder", required=True, type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/tune-schedule"))
    asked = parser.parse_args()
    data = load_images(asked.data)
    assert isinstance(data, ImageData)
    encoder = with_layers(SavedNetwork.load(asked.encoder, "encoder.safetensors"), 2)
    rows = []
    for trial in TRIALS:
        found = {"none": score(asked, data, trial, None), "hpca@conv1/conv2": score(asked, data, trial, encoder)}
        rows.append({**trial, **found})
        print(json.dumps(rows[-1]), flush=True)
        save("tune_schedule", {"seed": SEED, "scored_on": "validation images", "rows": rows})


if __name__ == "__main__":
    main()
