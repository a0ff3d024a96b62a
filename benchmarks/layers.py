"""Where in a pre-trained network the features are made: ridge regression on each layer with all labels.

    python benchmarks/layers.py --data PATH_TO_CIFAR10 --encoders FOLDER ...
    python benchmarks/layers.py --data PATH_TO_CIFAR10 --encoders FOLDER ... --side 4 --layers norm1 norm2

Each layer's maps are averaged to 2x2, or as many positions as ``--side`` says, and read out as they are, and with every
number scaled to unit variance: a penalty weighs numbers of small variance more, which batch norms that preserve
relative variances hand on. Where ``--layers`` names some, they are read out one by one and all together. Top-1 on the
validation images. Writes ``docs/results/layers.json``, ``layers_4x4.json`` of four a side.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from record import save
from torch import Tensor

from fasthebb.data import Batches, ImageData, load_images
from fasthebb.evaluation import layer_features, stages
from fasthebb.runs import SavedNetwork
from fasthebb.training import ridge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoders", required=True, nargs="+", type=Path, help="run folders of fasthebb pretrain")
    parser.add_argument("--side", type=int, default=2)
    parser.add_argument("--layers", nargs="*", default=[])
    arguments = parser.parse_args()

    data = load_images(arguments.data, image_size=32)
    rows = []
    for folder in arguments.encoders:
        for row in scores(folder, data, arguments.layers, arguments.side):
            rows.append(row)
            print(json.dumps(row), flush=True)
    name = "layers" if arguments.side == 2 else f"layers_{arguments.side}x{arguments.side}"
    save(name, {"labels": len(data.train), "validation": len(data.validation), "side": arguments.side, "rows": rows})


def scores(folder: Path, data: ImageData, chosen: list[str], side: int) -> list[dict[str, Any]]:
    """A row for each layer of one encoder, and one for those that were chosen together."""
    saved = SavedNetwork.load(folder, "encoder.safetensors")
    model = saved.build(len(data.classes))
    names = [f"features.{name}" for name in chosen] or stages(model)
    sides = []
    for images in (data.train, data.validation):
        batches = Batches(images, saved.preprocessing, batch_size=256, shuffle=False)
        sides.append(layer_features(model, batches, names, side=side))
    (known, labels), (asked, truth) = sides
    if chosen:
        together = " + ".join(names)
        known[together], asked[together] = (torch.cat(list(some.values()), 1) for some in (known, asked))
    rows = []
    for name in list(known):
        train, validation = known.pop(name), asked.pop(name)
        scale = train.std(0).clamp_min(1e-6)
        rows.append(
            {
                "encoder": folder.name,
                "layer": name.replace("features.", ""),
                "size": train.shape[1],
                "top1": top1(train, labels, validation, truth),
                "top1_unit_variance": top1(train / scale, labels, validation / scale, truth),
            }
        )
    return rows


def top1(train: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """Per cent of the asked images whose class the regression recognises."""
    fitted = ridge([train], labels, classes=int(labels.max()) + 1)
    logits = asked @ fitted.weight.T + fitted.bias
    return round(100 * float((logits.argmax(1) == truth).float().mean()), 2)


if __name__ == "__main__":
    main()
