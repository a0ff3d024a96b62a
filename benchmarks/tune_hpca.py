"""What of HPCA's pre-training helps a fine-tuning: how many of its layers, and with which batch norms.

    python benchmarks/tune_hpca.py cifar10 --data PATH_TO_CIFAR10 --labels 400 2000
    python benchmarks/tune_hpca.py fashion_mnist --data PATH_TO_FASHION_MNIST --labels 480 --epochs 2 --augment none

One pre-training of all layers, of which some are then put back to their initial weights; whole network fine-tuned;
validation images, seed 100, which no study uses. Writes ``docs/results/tune_hpca_NAME.json``; killed, the same command
goes on.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from record import save

from fasthebb.data import ImageData, load_images
from fasthebb.models import build_model
from fasthebb.runs import FinetuneOptions, PretrainOptions, SavedNetwork, finetune, pretrain

SEED = 100
FINETUNE_EPOCHS = 20  # too few, as was found later: see tune_schedule.py
LAYERS = ("conv1", "conv2", "conv3", "conv4", "dense5")
VARIANTS: dict[str, tuple[int, str] | None] = {
    "backprop alone": None,
    "all layers, relative variances": (5, "relative"),
    "all layers": (5, "plain"),
    "conv1, conv2": (2, "plain"),
    "conv1": (1, "plain"),
    "no layer": (0, "plain"),
}
"""How many layers keep what they learned, and the batch norms of the fine-tuning."""


def with_layers(encoder: SavedNetwork, count: int) -> SavedNetwork:
    """The encoder whose first layers have learned; the others are as the seed drew them, their batch norms new."""
    torch.manual_seed(SEED)
    initial = build_model(**encoder.model, classes=10).state_dict()
    kept = tuple(name[-1] for name in LAYERS[:count])
    tensors = {
        name: tensor if name.split(".")[1].endswith(kept or "-") else initial[name]
        for name, tensor in encoder.tensors.items()
    }
    return replace(encoder, tensors=tensors)


def score(asked: argparse.Namespace, data: ImageData, labels: str, variant: str) -> dict[str, Any]:
    """Of one fine-tuning."""
    folder = asked.out / f"{variant.replace(', ', '-').replace(' ', '-')}-{labels}"
    known = folder / "scores.json"
    if known.exists():
        return dict(json.loads(known.read_text()))
    chosen = VARIANTS[variant]
    options = FinetuneOptions(
        data=asked.data,
        labels=labels,
        seed=SEED,
        epochs=FINETUNE_EPOCHS,
        augment=asked.augment,
        image_size=32,
        logger="none",
    )
    encoder = None
    if chosen is not None:
        options = replace(options, init=str(asked.out / "encoder"), norms=chosen[1])  # type: ignore[arg-type]
        encoder = with_layers(SavedNetwork.load(asked.out / "encoder", "encoder.safetensors"), chosen[0])
    found = finetune(options, folder, data=data, init=encoder)
    row = {"pre-trained": variant, "labels": found["labels"], "validation_top1": found["validation"]["top1"]}
    known.write_text(json.dumps(row))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--labels", nargs="+", default=["400"])
    parser.add_argument("--epochs", type=int, default=5, help="of the pre-training")
    parser.add_argument("--augment", choices=("none", "shift"))
    parser.add_argument("--leave-out", nargs="*", default=[], choices=list(VARIANTS), help="of the variants")
    asked = parser.parse_args()
    asked.out = asked.out or Path("runs") / f"tune-hpca-{asked.name}"

    data = load_images(asked.data, image_size=32)
    assert isinstance(data, ImageData)
    pretrain(
        PretrainOptions(data=asked.data, seed=SEED, layers=["all"], epochs=asked.epochs, image_size=32),
        asked.out / "encoder",
        data=data,
    )
    chosen = [variant for variant in VARIANTS if variant not in asked.leave_out]
    rows = [score(asked, data, labels, variant) for labels in asked.labels for variant in chosen]
    for row in rows:
        print(json.dumps(row))
    save(f"tune_hpca_{asked.name}", {"seed": SEED, "pretrain_epochs": asked.epochs, "rows": rows})


if __name__ == "__main__":
    main()
