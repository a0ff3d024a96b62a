"""What users have: folders, tables, weights and runs, some as they should be and some not."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from fasthebb.runs import FinetuneOptions, PretrainOptions, finetune, pretrain

SMALL = {"width": 0.1, "hidden": 16, "image_size": 24, "batch_size": 8}


def image(path: Path, size: tuple[int, int] = (24, 24), *, values: int = 200) -> None:
    """Noise that the file's name decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([ord(letter) for letter in path.stem]).integers(0, values, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_belongings(here: Path) -> None:
    """Fill a folder with all that the tables of errors speak of."""
    for number in range(8):
        image(here / "images" / "ant" / f"a{number}.png")
        image(here / "images" / "bee" / f"b{number}.png")
        image(here / "one" / "ant" / f"a{number}.png")
        image(here / "flat" / f"f{number}.png")
    image(here / "few" / "ant" / "a.png")
    image(here / "few" / "bee" / "b.png")
    (here / "empty").mkdir()
    (here / "broken").mkdir()
    (here / "broken" / "cut.png").write_bytes((here / "flat" / "f0.png").read_bytes()[:60])
    (here / "archive.zip").write_bytes(b"PK")
    (here / "table.parquet").write_bytes(b"PAR1 and nothing more")
    _tables(here)
    _masks(here)
    _files(here)
    _runs(here)


def _tables(here: Path) -> None:
    tables = {
        "columns": "picture,kind\nf0.png,ant\n",
        "twice": "file,label\nf0.png,ant\nf0.png,bee\n",
        "empty": "file,label\n",
        "missing": "file,label\nf99.png,ant\n",
        "split": "file,label,split\nf0.png,ant,later\n",
        "cells": "file,label\nf0.png,ant,and more\n",
        "good": "file,label\n" + "".join(f"f{n}.png,{'ant' if n % 2 else 'bee'}\n" for n in range(8)),
    }
    for name, text in tables.items():
        (here / f"{name}.csv").write_text(text)
    (here / "latin.csv").write_bytes("file,label\nf0.png,Käfer\n".encode("latin-1"))


def _masks(here: Path) -> None:
    for number in range(8):
        for folder in ("nuclei", "no-masks", "other-size", "unmatched", "instances"):
            image(here / folder / "images" / f"n{number}.png")
        image(here / "nuclei" / "masks" / f"n{number}.png", values=2)
        image(here / "other-size" / "masks" / f"n{number}.png", (20, 24), values=2)
        image(here / "unmatched" / "masks" / f"{'n' if number else 'm'}{number}.png", values=2)
        image(here / "instances" / "masks" / f"n{number}.png", (24, 24), values=2)
    many = np.arange(24 * 24).reshape(24, 24).astype(np.uint16)
    Image.fromarray(many).save(here / "instances" / "masks" / "n3.png")


def _files(here: Path) -> None:
    (here / "bad.yaml").write_text("epochs: [1\n")
    ten = ["x: &x0 [a]", *(f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 10)}]" for level in range(1, 6))]
    (here / "bomb.yaml").write_text("\n".join(ten))
    (here / "list.yaml").write_text("- epochs\n")
    (here / "unknown.yaml").write_text("epoks: 3\n")
    (here / "a-file").write_text("")
    (here / "taken").mkdir()
    (here / "taken" / "thesis.tex").write_text("")
    (here / "w.safetensors").write_bytes(b"not weights")
    save_file({"weight": torch.zeros(2)}, here / "plain.safetensors")
    (here / "model.onnx").write_bytes(b"not a network")
    (here / "model.pt2").write_bytes(b"not a network")
    _studies(here)


def _studies(here: Path) -> None:
    cell = {"method": "hpca", "amount": "5", "seed": 0, "draw": 0, "readout": "finetune", "labels": 10, "top1": 50.0}
    cell |= {"pretrain_seconds": 1.0, "pretrain_epochs": 1, "finetune_seconds": 1.0, "finetune_epochs": 1}
    cell["folder"] = "runs/hpca"
    summaries = {
        "no-json": "[{",
        "no-list": "{}",
        "no-text": "",
        "no-cells": "[]",
        "no-object": "[3]",
        "no-method": '[{"labels": "1.0"}]',
        "cell-twice": json.dumps([cell, cell]),
        "labels-text": json.dumps([cell | {"labels": "ten"}]),
        "top1-high": json.dumps([cell | {"top1": 101.0}]),
        "readout-other": json.dumps([cell | {"readout": "eyes"}]),
        "seconds-below": json.dumps([cell | {"finetune_seconds": -1}]),
        "method-list": json.dumps([cell | {"method": ["hpca"]}]),
    }
    for name, text in summaries.items():
        (here / name).mkdir()
        (here / name / "summary.json").write_text(text)
    (here / "no-cells" / "failed.json").write_text("[{}]")
    (here / "labels-text" / "failed.json").write_text("[3]")


def _runs(here: Path) -> None:
    pretrain(PretrainOptions(data="images", epochs=1, **SMALL), "run", progress=False)
    finetune(FinetuneOptions(data="images", init="run", epochs=1, batch_size=8), "classifier", progress=False)
