"""Choose the defaults of ``fasthebb finetune`` on CIFAR-10: backprop alone first, then the pre-trained network.

    fasthebb pretrain --data PATH_TO_CIFAR10 --seed 100 --layers all --out runs/tune/encoder
    python benchmarks/tune_finetuning.py --data PATH_TO_CIFAR10 --init runs/tune/encoder

Both get the same trials, scored on the validation images with a seed that no reported figure uses. Writes
``docs/results/tune_finetuning.json``; killed, the same command goes on.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import torch
from record import save

from fasthebb.data import Batches, ImageSet, Preprocessing, labelled_subset, load_images
from fasthebb.evaluation import classification_scores, predict_logits
from fasthebb.models import cnn6
from fasthebb.runs import SavedNetwork
from fasthebb.training import Classifier, fit, make_trainer

SEED = 100
GRID = {"augment": ("none", "shift"), "lr": (1e-3, 3e-3, 1e-2), "epochs": (20, 60)}


def score(
    init: SavedNetwork | None, train: ImageSet, validation: ImageSet, preprocessing: Preprocessing, **trial: Any
) -> float:
    """Top-1 on the validation images."""
    torch.manual_seed(SEED)
    model = cnn6(hebbian=False) if init is None else init.build(10, dropout=0.5)
    module = Classifier(model, classes=10, epochs=trial["epochs"], lr=trial["lr"], seed=SEED)
    batches = Batches(train, preprocessing, batch_size=64, shuffle=True, seed=SEED, augment=trial["augment"])
    fit(make_trainer(epochs=trial["epochs"], out=None, progress=False), module, batches)
    ordered = Batches(validation, preprocessing, batch_size=256, shuffle=False)
    return classification_scores(*predict_logits(model, ordered), 10)["top1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--labels", nargs="+", default=["0.01", "0.05"])
    arguments = parser.parse_args()

    data = load_images(arguments.data)
    encoder = SavedNetwork.load(arguments.init, "encoder.safetensors")
    kept = Path("runs/tune/trials.json")
    trials = json.loads(kept.read_text()) if kept.exists() else []
    for labels in arguments.labels:
        train = data.train.subset(labelled_subset(data.train.labels, labels, seed=SEED))
        for method, init in (("none", None), ("hpca", encoder)):
            for values in itertools.product(*GRID.values()):
                trial = dict(zip(GRID, values, strict=True))
                key = {"method": method, "labels": labels, **trial}
                if any(known.items() >= key.items() for known in trials):
                    continue
                top1 = score(init, train, data.validation, encoder.preprocessing, **trial)
                trials.append({**key, "validation_top1": round(top1, 2)})
                print(trials[-1], flush=True)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(trials))
    save("tune_finetuning", {"seed": SEED, "trials": trials})


if __name__ == "__main__":
    main()
