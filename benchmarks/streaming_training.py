"""What the networks of the papers do on real ImageNet images that are read as a stream: every command, end to end.

    python benchmarks/streaming_training.py --data PATH_TO_IMAGENET_SHARDS --images 96 [--devices 2]

Each network is pre-trained for one epoch by each rule and then fine-tuned for one epoch, by the commands themselves, on
some images of the shards, whose 1,000 classes are joined into two, animals and things. So few images show that all of
it works, and what it costs; they show nothing about accuracy. Writes ``docs/results/streaming_training.json``, or
``streaming_training_2.json`` for two processes.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import torch
from record import save

from fasthebb.data.stream_sources import open_stream

NETWORKS = {"cnn10": 210, "vgg11": 224, "vgg16": 224}
RULES = ("hpca", "swta")
ANIMALS = 398  # classes of ImageNet before this one


def two_classes(source: Path, where: Path, images: int) -> None:
    """Shards of some images: two thirds to train on, and a sixth each for validation and test."""
    stream = open_stream(source)
    codes, names = stream.labels()
    position = {name: value for value, name in enumerate(stream.classes or names)}
    ends = {"train": images * 2 // 3, "validation": images * 5 // 6, "test": images}
    # The shards are sorted by class: every so many images one, in turns.
    rows = [int(row) for row in torch.linspace(0, len(stream) - 1, images)]
    rows = [row for turn in range(6) for row in rows[turn::6]]
    start = 0
    for split, end in ends.items():
        with tarfile.open(where / f"{split}-000000.tar", "w") as tar:
            for row in rows[start:end]:
                label = b"animal" if position[names[codes[row]]] < ANIMALS else b"thing"
                for suffix, content in (("jpg", stream.item(row).read()), ("cls", label)):
                    member = tarfile.TarInfo(f"{row:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(bytes(content)))
        start = end


def run(*arguments: str) -> dict[str, object]:
    """A command; its result with the seconds it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fasthebb.cli", *arguments], check=True)
    out = Path(arguments[arguments.index("--out") + 1])
    return {**json.loads((out / "result.json").read_text()), "seconds_of_the_command": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--devices", type=int, default=1, help="processes, which share a batch of 16")
    parser.add_argument("--precision", default="bf16-mixed")
    arguments = parser.parse_args()

    cells = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        two_classes(Path(arguments.data), data, arguments.images)
        for network, size in NETWORKS.items():
            for rule in RULES:
                encoder, classifier = (str(Path(folder) / f"{network}-{rule}-{name}") for name in ("enc", "cls"))
                common = ("--data", str(data), "--stream", "--workers", "1", "--precision", arguments.precision)
                common = (*common, "--batch-size", str(16 // arguments.devices), "--devices", str(arguments.devices))
                pretrained = run(
                    "pretrain", *common, "--rule", rule, "--model", network, "--epochs", "1", "--out", encoder
                )
                tuned = run("finetune", *common, "--init", encoder, "--epochs", "1", "--out", classifier)
                cell = {
                    "network": network,
                    "image_size": size,
                    "rule": rule,
                    "images": pretrained["images"],
                    "unreadable": pretrained["skipped"],
                    "pretrain_images_a_second": round(
                        float(str(pretrained["images"])) / float(str(pretrained["pretrain_seconds"])), 2
                    ),
                    "finetune_images_a_second": round(
                        float(str(tuned["labels"])) / float(str(tuned["finetune_seconds"])), 2
                    ),
                    "relative_change": {
                        name.split("/")[1]: round(value, 5)
                        for name, value in dict(pretrained["layers"]).items()  # type: ignore[call-overload]
                        if name.endswith("relative_change")
                    },
                    "top1_after_one_epoch": tuned["top1"],
                    "test_images": tuned["test_images"],
                    "seconds": [round(float(str(one["seconds_of_the_command"])), 1) for one in (pretrained, tuned)],
                }
                print(cell, flush=True)
                cells.append(cell)
    name = "streaming_training" if arguments.devices == 1 else f"streaming_training_{arguments.devices}"
    save(name, {"devices": arguments.devices, "cells": cells})


if __name__ == "__main__":
    main()
