"""What a user might take instead of a Hebbian pre-training, in so many minutes of the same cores.

    pip install lightly
    python benchmarks/alternatives.py --data PATH_TO_CIFAR10 --minutes 20 --tries backprop simclr

"backprop" trains the network on the labelled images alone, changed at random, and "hpca" does so after a pre-training
of its first two layers; "simclr", "barlow-twins" and "vicreg" train it first on two views of each unlabelled image with
the losses of the package lightly, and then it is read out by ridge regression, and fine-tuned. The network is that of
the recipe's student. The settings were not searched for beyond ``TRIALS``. Writes ``docs/results/alternatives.json``;
killed, the same command goes on with the next try.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from record import save
from torch import Tensor, nn

from fasthebb.data import ImageData, Preprocessing, load_images
from fasthebb.data.augmentation import recolour
from fasthebb.models import Network, build_model
from fasthebb.runs import FinetuneOptions, PretrainOptions, SavedNetwork, finetune, pretrain
from fasthebb.runs.saved import network_options

NETWORK = "cnn8"
BATCH = 256
LR, MOMENTUM, WEIGHT_DECAY = 0.06, 0.9, 5e-4  # of the usual recipes for CIFAR-10 in batches of 256
BACKPROP: dict[str, Any] = {"augment": "hard", "weight_decay": 5e-4, "dropout": 0.0}
TRIALS = (0.03, 0.1)
"""Learning rates of backprop alone that are tried with the seed 100, on the validation images."""
TRIED = 100


def two_views(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each of ``(N, 3, S, S)`` uint8 twice, cut out, mirrored and recoloured by chance, as SimCLR does on CIFAR-10."""
    return one_view(images, generator), one_view(images, generator)


def one_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """``(N, 3, S, S)`` float32 in [0, 1]."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    area, ratio = uniform(0.2, 1.0), uniform(math.log(3 / 4), math.log(4 / 3)).exp()
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = wide * (torch.rand(count, generator=generator) < 0.5).float().mul(2).sub(1)
    theta[:, 1, 1] = high
    theta[:, 0, 2], theta[:, 1, 2] = uniform(-1, 1) * (1 - wide), uniform(-1, 1) * (1 - high)
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    pixels = nn.functional.grid_sample(images / 255, grid, align_corners=False, padding_mode="reflection")
    jittered = (torch.rand(count, generator=generator) < 0.8).float()
    grey = (torch.rand(count, generator=generator) < 0.2).float()
    return recolour(
        pixels,
        brightness=1 + jittered * uniform(-0.4, 0.4),
        contrast=1 + jittered * uniform(-0.4, 0.4),
        saturation=(1 + jittered * uniform(-0.4, 0.4)) * (1 - grey),
        hue=jittered * uniform(-0.1, 0.1) * 2 * math.pi,
    )


def loss_and_head(name: str, inputs: int) -> tuple[nn.Module, nn.Module]:
    """Of the package lightly."""
    from lightly import loss
    from lightly.models import modules

    if name == "simclr":
        return loss.NTXentLoss(temperature=0.5), modules.SimCLRProjectionHead(inputs, 512, 128)
    if name == "barlow-twins":
        return loss.BarlowTwinsLoss(), modules.BarlowTwinsProjectionHead(inputs, 1024, 1024)
    return loss.VICRegLoss(), modules.VICRegProjectionHead(inputs, 1024, 1024, num_layers=2)


def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of whole batches, epoch after epoch."""
    while True:
        yield from torch.randperm(count, generator=generator).split(BATCH)[: count // BATCH]


def self_supervised(name: str, data: ImageData, seconds: float, seed: int, where: Path) -> dict[str, Any]:
    """Train for so long, the learning rate falling to 0 along a cosine, and leave ``encoder.safetensors``."""
    torch.manual_seed(seed)
    images, generator = data.unlabelled, torch.Generator().manual_seed(seed)
    preprocessing = Preprocessing.fit(images.images, whiten=False)
    size = images.images.shape[2]
    described = network_options(NETWORK, width=None, hidden=None, image_size=size, channels=3) | {"hebbian": False}
    network: Network = build_model(**described, classes=10)
    features = network.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        inputs = features.eval()(preprocessing(images.images[:2])).shape[1]
    loss, head = loss_and_head(name, inputs)
    trained = nn.Sequential(features, head).train()
    optimizer = torch.optim.SGD(trained.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    start, steps, last = time.perf_counter(), 0, 0.0
    for rows in batches(len(images), generator):
        passed = (time.perf_counter() - start) / seconds
        if passed >= 1:
            break
        optimizer.param_groups[0]["lr"] = LR * (1 + math.cos(math.pi * passed)) / 2
        one, other = (preprocessing(view) for view in two_views(images.images[rows], generator))
        found = loss(trained(one), trained(other))
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        steps += 1
        if steps % 50 == 0:
            last = float(found)
            print(f"{name}: {steps} steps, {passed:.0%} of the time, loss {last:.3f}", flush=True)
    tensors = {f"features.{key}": value.contiguous() for key, value in features.state_dict().items()}
    where.mkdir(parents=True, exist_ok=True)
    SavedNetwork(described, preprocessing, tensors, notes={"method": name}).save(where / "encoder.safetensors")
    return {"pretrain_seconds": round(time.perf_counter() - start, 1), "steps": steps, "loss": round(last, 4)}


def tuned(asked: argparse.Namespace, data: ImageData, where: Path, **options: Any) -> dict[str, Any]:
    """A fine-tuning, or what is known of it."""
    found = finetune(FinetuneOptions(data=asked.data, labels=asked.labels, logger="none", **options), where, data=data)
    return {
        "seed": options["seed"],
        "validation_top1": found["validation"]["top1"],
        "top1": found["top1"],
        "finetune_seconds": found["finetune_seconds"],
    }


def backprop(asked: argparse.Namespace, data: ImageData, out: Path, hebbian: bool) -> Iterator[dict[str, Any]]:
    """The learning rate that is best for backprop alone on the validation images, then one training a seed."""
    longer = {"epochs": asked.epochs, **BACKPROP}
    trials = {}
    for lr in TRIALS:
        trial = tuned(
            asked, data, asked.out / f"backprop/tried-{lr}", seed=TRIED, draw_seed=TRIED, lr=lr, model=NETWORK, **longer
        )
        trials[lr] = trial["validation_top1"]
    best = max(TRIALS, key=lambda lr: trials[lr])
    for seed in range(asked.seeds):
        common: dict[str, Any] = {"seed": seed, "draw_seed": 1000 * seed, "lr": best}
        trained = {}
        if hebbian:
            first = PretrainOptions(data=asked.data, model=NETWORK, layers=["conv1", "conv2"], seed=seed, logger="none")
            learned = pretrain(first, out / f"encoder-s{seed}", data=data)
            trained = {"pretrain_seconds": learned["pretrain_seconds"]}
            row = tuned(asked, data, out / f"s{seed}", init=str(out / f"encoder-s{seed}"), **common, **longer)
        else:
            row = tuned(asked, data, out / f"s{seed}", **common, model=NETWORK, **longer)
        yield {"readout": "finetune", "lr": best, "trials": trials, "epochs": asked.epochs, **trained, **row}


def after_self_supervision(
    asked: argparse.Namespace, name: str, data: ImageData, out: Path
) -> Iterator[dict[str, Any]]:
    """One pre-training a seed, and both of its read-outs."""
    for seed in range(asked.seeds):
        encoder = out / f"{asked.minutes:g}-s{seed}"
        known = encoder / "trained.json"
        if not known.exists():
            trained = self_supervised(name, data, 60 * asked.minutes, seed, encoder)
            known.write_text(json.dumps(trained))
        common: dict[str, Any] = {"init": str(encoder), "seed": seed, "draw_seed": 1000 * seed}
        for readout, options in {
            "ridge": {"ridge": True, "augment": "hard"},
            "finetune": {"lr": 0.01, "epochs": 100, **BACKPROP},
        }.items():
            row = tuned(asked, data, encoder / f"{readout}-{asked.labels}", **common, **options)
            yield {"readout": readout, "minutes": asked.minutes, **json.loads(known.read_text()), **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--tries", nargs="+", default=["backprop", "hpca", "simclr", "barlow-twins", "vicreg"])
    parser.add_argument("--minutes", type=float, default=20, help="of self-supervision")
    parser.add_argument("--epochs", type=int, default=200, help="of backprop alone")
    parser.add_argument("--labels", default="0.01")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/alternatives"))
    asked = parser.parse_args()
    data = load_images(asked.data)
    assert isinstance(data, ImageData)
    rows = []
    for name in asked.tries:
        out = asked.out / name
        if name in ("backprop", "hpca"):
            found = backprop(asked, data, out, name == "hpca")
        else:
            found = after_self_supervision(asked, name, data, out)
        for row in found:
            rows.append({"method": name, "labels": asked.labels, **row})
            print(json.dumps(rows[-1]), flush=True)
    save("alternatives", {"network": NETWORK, "batch": BATCH, "rows": rows})


if __name__ == "__main__":
    main()
