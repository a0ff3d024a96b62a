"""Choose batch norms, layers, learning rate and length of SWTA's pre-training on CIFAR-10.

    python benchmarks/tune_swta.py --data PATH_TO_CIFAR10
    python benchmarks/tune_swta.py --data PATH_TO_CIFAR10 --what layers

Each trial pre-trains, fine-tunes on 1 % of the labels for 20 epochs and is scored on the validation images,
with a seed that no reported figure uses. Writes ``docs/results/tune_swta.json`` or ``tune_swta_layers.json``; killed,
the same command goes on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from record import save

from fasthebb import SWTA
from fasthebb.data import load_images
from fasthebb.runs import FinetuneOptions, PretrainOptions, SavedNetwork, finetune, pretrain

SEED = 100
EPOCHS = 20  # with labels; too few, as was found later: see tune_schedule.py
TRIALS: dict[str, list[dict[str, Any]]] = {
    "norms": [
        {"norms": "plain", "lr": 0.03, "epochs": 1, "layers": ["all"]},
        {"norms": "plain", "lr": 0.01, "epochs": 1, "layers": ["all"]},
        {"norms": "relative", "lr": 0.03, "epochs": 1, "layers": ["all"]},
        {"norms": "plain", "lr": 0.0, "epochs": 1, "layers": ["all"]},
    ],
    "layers": [
        {"layers": ["conv1", "conv2"], "lr": 0.01, "epochs": 1},
        {"layers": ["conv1", "conv2"], "lr": 0.03, "epochs": 1},
        {"layers": ["conv1", "conv2"], "lr": 0.0, "epochs": 1},
        {"layers": ["conv1"], "lr": 0.03, "epochs": 1},
        {"layers": ["conv1"], "lr": 0.01, "epochs": 1},
        {"layers": ["conv1"], "lr": 0.1, "epochs": 1},
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--what", choices=list(TRIALS), default="norms", help="which trials")
    arguments = parser.parse_args()

    data = load_images(arguments.data)
    rows = []
    for trial in TRIALS[arguments.what]:
        name = "-".join("+".join(value) if isinstance(value, list) else str(value) for value in trial.values())
        folder = Path("runs/tune/swta") / name
        options = PretrainOptions(data=arguments.data, rule=SWTA(), seed=SEED, **trial)
        learned = pretrain(options, folder / "encoder", progress=False, data=data)
        init = SavedNetwork.load(folder / "encoder", "encoder.safetensors")
        init_from = str(folder / "encoder")
        tuning = FinetuneOptions(data=arguments.data, init=init_from, labels="0.01", seed=SEED, epochs=EPOCHS)
        tuned = finetune(tuning, folder / "classifier", progress=False, data=data, init=init)
        dead = {key.split("/")[1]: round(v, 3) for key, v in learned["layers"].items() if key.endswith("dead_neurons")}
        rows.append({**trial, "validation_top1": tuned["validation"]["top1"], "dead_neurons": dead})
        print(json.dumps(rows[-1]), flush=True)
    save("tune_swta" if arguments.what == "norms" else "tune_swta_layers", {"seed": SEED, "trials": rows})


if __name__ == "__main__":
    main()
