"""For how long, and how much changed at random, few labelled images are best seen: cnn6.

    python benchmarks/tune_hpca.py cifar10 --data PATH_TO_CIFAR10 --labels 400
    python benchmarks/tune_schedule.py cifar10 --data PATH_TO_CIFAR10 --encoder runs/tune-hpca-cifar10/encoder

Backprop alone, and the same behind HPCA in conv1 and conv2; validation images, seed 100, which no study uses. The
schedule of learning rates is stretched with the number of epochs. Of ``fashion_mnist`` likewise. Writes
``docs/results/tune_schedule_NAME.json``; killed, the same command goes on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from record import save
from tune_hpca import SEED, with_layers

from fasthebb.data import ImageData, load_images
from fasthebb.runs import FinetuneOptions, SavedNetwork, finetune

TRIALS: dict[str, list[dict[str, Any]]] = {
    "cifar10": [
        {"labels": "400", "augment": "hard", "epochs": 100},
        {"labels": "2000", "augment": "hard", "epochs": 20},
        {"labels": "400", "augment": "shift", "epochs": 100},
        {"labels": "2000", "augment": "shift", "epochs": 50},
        {"labels": "400", "augment": "shift", "epochs": 200},
    ],
    "fashion_mnist": [
        {"labels": "480", "augment": "none", "epochs": 100},
    ],
}
"""Those of the same changes and 20 epochs are in ``docs/results/tune_hpca_NAME.json`` and ``..._2000.json``."""


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
    parser.add_argument("name", choices=list(TRIALS))
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="runs/tune-schedule-NAME if left out")
    asked = parser.parse_args()
    asked.out = asked.out or Path("runs") / f"tune-schedule-{asked.name}"
    data = load_images(asked.data, image_size=32)
    assert isinstance(data, ImageData)
    encoder = with_layers(SavedNetwork.load(asked.encoder, "encoder.safetensors"), 2)
    rows = []
    for trial in TRIALS[asked.name]:
        found = {"none": score(asked, data, trial, None), "hpca@conv1/conv2": score(asked, data, trial, encoder)}
        rows.append({**trial, **found})
        print(json.dumps(rows[-1]), flush=True)
        save(f"tune_schedule_{asked.name}", {"seed": SEED, "scored_on": "validation images", "rows": rows})


if __name__ == "__main__":
    main()
