"""Retrieval with the features of a study's methods: short codes, trained with few labels on what was pre-trained.

    python benchmarks/retrieval.py --data PATH_TO_CIFAR10 --study FOLDER

Each method gets a layer of 256 neurons before the classes and is fine-tuned as in the study; test images ask, training
images answer, and codes (is a neuron active?) are compared by the number of differing bits, as in Lagani et al. (Neural
Networks 143, 2021). Writes ``docs/results/retrieval.json``; killed, the same command goes on.
"""

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from record import save

from fasthebb.data import Batches, load_images
from fasthebb.evaluation import layer_features, retrieval_scores
from fasthebb.runs import FinetuneOptions, SavedNetwork, finetune
from fasthebb.training import Precision

CODE = 256
LAYER = "classifier.code"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--study", required=True, type=Path)
    parser.add_argument("--methods", nargs="+", default=["none", "random", "hpca", "swta"])
    parser.add_argument("--labels", default="0.01")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--image-size", type=int, default=32, help="that of the study")
    parser.add_argument("--precision", choices=get_args(Precision), default="32-true", help="that of the study")
    arguments = parser.parse_args()

    data = load_images(arguments.data, image_size=arguments.image_size)
    rows = []
    for seed in range(arguments.seeds):
        for method in arguments.methods:
            rows.append(score(arguments, data, method, seed))
            print(json.dumps(rows[-1]), flush=True)
    save("retrieval", {"code": CODE, "labels": arguments.labels, "database": len(data.train), "rows": rows})


def score(arguments: argparse.Namespace, data: Any, method: str, seed: int) -> dict[str, Any]:
    """Fine-tune with a code layer and retrieve."""
    name = method.replace("/", "-")
    folder = Path("runs/retrieval") / f"{name}-{arguments.labels}-s{seed}"
    known = folder / "scores.json"
    if known.exists():
        return dict(json.loads(known.read_text()))
    encoder = None if method == "none" else str(arguments.study / "pretrained" / f"{name}-s{seed}")
    options = FinetuneOptions(
        data=arguments.data,
        init=encoder,
        labels=arguments.labels,
        draw_seed=1000 * seed,
        seed=seed,
        code=CODE,
        image_size=arguments.image_size,
        precision=arguments.precision,
    )
    tuned = finetune(options, folder, progress=False, data=data)
    network = SavedNetwork.load(folder, "classifier.safetensors")
    model = network.classifier()
    sides = []
    for images in (data.train, data.test):
        ordered = Batches(images, network.preprocessing, batch_size=256, shuffle=False)
        features, labels = layer_features(model, ordered, [LAYER])
        sides += [features[LAYER], labels]
    found = {measure: round(value, 2) for measure, value in retrieval_scores(*sides, binary=True).items()}
    row = {"method": method, "seed": seed, "top1": tuned["top1"], **found}
    known.write_text(json.dumps(row))
    return row


if __name__ == "__main__":
    main()
