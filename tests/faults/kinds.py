"""Each kind of file that is read from others: valid ones, how to change them, and the door that reads them."""

import contextlib
import io
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fasthebb.cli import main
from fasthebb.data import load_images, load_masked
from fasthebb.data.items import Item
from fasthebb.data.masked_reading import read_pair
from fasthebb.data.reading import Decoded, read_item
from fasthebb.data.stream_decoding import read_quickly
from fasthebb.exported import load_exported
from fasthebb.hub import HebbianModel
from fasthebb.runs import PretrainOptions
from fasthebb.runs.folder import RunFolder
from fasthebb.runs.saved import SavedNetwork, SavedSegmentation
from fasthebb.training import last_checkpoint

from . import samples
from .mutation import mutated, mutated_header, mutated_json, mutated_text

Change = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        make: valid files, given an empty folder to work in.
        read: writes the content into an empty folder, and reads it as fasthebb does; an error is a refusal.
        change: makes another file of a valid one.
    """

    make: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], Any]
    change: Change = mutated


class NotRefusedError(Exception):
    """A file was taken that gives nonsense."""


# --- images ---


def _image(content: bytes, folder: Path) -> None:
    _check(read_item(Item("image", "image", lambda: content), 16, strict=False))


def _streamed(content: bytes, folder: Path) -> None:
    """As a worker of a stream decodes it, by torchvision where that is faster."""
    _check(read_quickly(Item("image", "image", lambda: content), 16))


def _check(found: Decoded) -> None:
    if isinstance(found, str):
        if not found or "\n" in found:
            raise NotRefusedError(f"the reason {found!r}")
    elif found.shape[:2] != (16, 16) or not np.isfinite(found).all():
        raise NotRefusedError(f"pixels {found.shape}")


def _pair(content: bytes, folder: Path) -> None:
    """As an image of a segmentation, and as a mask."""
    item = Item("image", "image", lambda: content)
    whole = Item("other", "other", lambda: np.zeros((24, 20), np.uint8))
    for image, mask in ((item, None), (whole, item)):
        found = read_pair(image, mask, strict=False)
        if not isinstance(found, str) and not np.isfinite(found[0]).all():
            raise NotRefusedError("pixels that are not finite")


# --- sets of images ---


def _set_of(name: str, beside: Callable[[], dict[str, bytes]] = dict, **options: Any) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        for file, valid in {**beside(), name: content}.items():
            (folder / file).write_bytes(valid)
        load_images(folder, image_size=8, progress=False, **options)

    return read


def _masked_table(content: bytes, folder: Path) -> None:
    (folder / "train.parquet").write_bytes(content)
    load_masked(folder, progress=False, need_masks=False)


NAMES = [f"{row}.png" for row in range(24)]


def _label_file(content: bytes, folder: Path) -> None:
    (folder / "images").mkdir()
    valid = samples.picture("PNG", 8, 8)
    for name in NAMES:
        (folder / "images" / name).write_bytes(valid)
    (folder / "labels.csv").write_bytes(content)
    load_images(folder / "images", label_file=folder / "labels.csv", group="patient", image_size=8, progress=False)


# --- networks, descriptions, runs ---


def _encoder(content: bytes, folder: Path) -> None:
    (folder / "encoder.safetensors").write_bytes(content)
    network = SavedNetwork.load(folder, "encoder.safetensors")
    network.normalised(), network.labels_spent()
    model = network.build(2).eval()
    side = network.model["image_size"]
    model(network.preprocessing(torch.zeros(1, network.model["channels"], side, side)))


def _classifier(content: bytes, folder: Path) -> None:
    """By the command, from the file to the table of predictions."""
    (folder / "new").mkdir()
    (folder / "new" / "0.png").write_bytes(samples.picture("PNG", 24, 24))
    (folder / "classifier.safetensors").write_bytes(content)
    weights = str(folder / "classifier.safetensors")
    _command("predict", "--weights", weights, "--images", str(folder / "new"), "--out", str(folder / "out"))


def _segmenter(content: bytes, folder: Path) -> None:
    (folder / "classifier.safetensors").write_bytes(content)
    network = SavedSegmentation.load(folder, "classifier.safetensors")
    model = network.segmenter()
    sides = [16] * network.model["dims"]
    model(network.preprocessing(torch.zeros(1, network.model["channels"], *sides)))


def _exported(content: bytes, folder: Path) -> None:
    (folder / "model.onnx").write_bytes(content)
    classifier = load_exported(folder / "model.onnx")
    side = classifier.description.image_size
    classifier(torch.zeros(1, classifier.description.channels, side, side))


def _shared(content: bytes, folder: Path) -> None:
    """The ``config.json`` of a model from the Hub, beside valid weights."""
    (folder / "config.json").write_bytes(content)
    valid = folder.parent / "make" / "shared" / "model.safetensors"
    shutil.copy(valid, folder / "model.safetensors")
    HebbianModel.from_pretrained(folder)


def _checkpoint(content: bytes, folder: Path) -> None:
    (folder / "last.ckpt").write_bytes(content)
    found = last_checkpoint(folder)
    if found is not None:
        torch.load(found, weights_only=True, map_location="cpu")


def _configuration(content: bytes, folder: Path) -> None:
    (folder / "config.yaml").write_bytes(content)
    _command("pretrain", "--config", str(folder / "config.yaml"), "--out", str(folder / "out"))


def _run_folder(content: bytes, folder: Path) -> None:
    (folder / "config.yaml").write_bytes(content)
    (folder / "metrics.csv").write_text("epoch\n")
    RunFolder(folder, "pretrain", PretrainOptions())


def _command(*arguments: str) -> None:
    """A command ends well, or with one line of a mistake."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = main(list(arguments))
    if status not in (0, 2):
        raise NotRefusedError(f"the status {status}")
    lines = [line for line in errors.getvalue().splitlines() if not line.startswith("warning: ")]
    if status == 2 and len(lines) != 1:
        raise NotRefusedError(f"{len(lines)} lines of error: {lines[:3]}")


def _make_shared(folder: Path) -> list[bytes]:
    (folder / "source").mkdir()
    samples.classifier(folder / "source" / "classifier.safetensors")
    HebbianModel.from_run(folder / "source").save_pretrained(folder / "shared")
    return [(folder / "shared" / "config.json").read_bytes()]


def _masked_parquet(_: Path) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": samples.picture("PNG", 9, 8), "path": None} for _ in range(12)]
    stream = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array(images, kind), "mask": pa.array(images, kind)}), stream)
    return [stream.getvalue()]


KINDS: dict[str, Kind] = {
    "png": Kind(
        lambda _: [
            samples.picture("PNG", 24, 20),
            samples.picture("PNG", 24, 20, 4),
            samples.picture("PNG", 24, 20, dtype=np.uint16),
        ],
        _image,
    ),
    "jpeg": Kind(
        lambda _: [samples.picture("JPEG", 64, 48, 3), samples.picture("JPEG", 64, 48, progressive=True)], _image
    ),
    "jpeg of a stream": Kind(
        lambda _: [
            samples.picture("JPEG", 40, 48, 3),
            samples.picture("JPEG", 40, 48),
            samples.picture("JPEG", 40, 24, 3, progressive=True),
            samples.picture("JPEG", 96, 80, 3),  # Pillow's, at a reduced scale
        ],
        _streamed,
    ),
    "tiff": Kind(
        lambda _: [
            samples.picture("TIFF", 24, 20, compression="tiff_lzw"),
            samples.picture("TIFF", 24, 20, 3, compression="jpeg"),
            samples.tiff(samples.pixels(24, 20, dtype=np.uint16)),
            samples.tiff(samples.pixels(3, 24, 20), photometric="minisblack", compression="zlib"),
            samples.tiff(samples.pixels(24, 20).astype(np.float32)),
        ],
        _image,
    ),
    "dicom": Kind(
        lambda _: [
            samples.dicom(samples.pixels(24, 20, dtype=np.uint16)),
            samples.dicom(samples.pixels(24, 20, dtype=np.uint16), WindowCenter=500, WindowWidth=100),
        ],
        _image,
    ),
    "gif, webp, bmp": Kind(
        lambda _: [samples.picture(kind, 24, 20, 3) for kind in ("GIF", "WEBP", "BMP", "PPM")], _image
    ),
    "images and masks": Kind(
        lambda _: [
            samples.picture("PNG", 24, 20),
            samples.tiff(samples.pixels(24, 20, dtype=np.uint16)),
            samples.tiff(samples.pixels(4, 24, 20), photometric="minisblack", compression="zlib"),
        ],
        _pair,
    ),
    "nifti": Kind(lambda _: [samples.nifti(6, 7, 5), samples.zipped(samples.nifti(24, 20, 1))], _pair),
    "parquet": Kind(lambda _: [samples.parquet(), samples.parquet("zstd")], _set_of("train.parquet")),
    "parquet with masks": Kind(_masked_parquet, _masked_table),
    "tar": Kind(lambda _: [samples.shard()], _set_of("train.tar")),
    "idx": Kind(
        lambda _: [samples.idx(samples.pixels(12, 8, 8)), samples.zipped(samples.idx(samples.pixels(12, 8, 8)))],
        lambda content, folder: _set_of(
            "train-images-idx3-ubyte" + (".gz" if content[:2] == b"\x1f\x8b" else ""),
            lambda: {"train-labels-idx1-ubyte": samples.idx(np.arange(12, dtype=np.uint8) % 2)},
        )(content, folder),
    ),
    "label file": Kind(lambda _: [samples.table(NAMES)], _label_file, mutated_text),
    "encoder": Kind(lambda folder: [samples.encoder(folder / "e.safetensors")], _encoder, mutated_header),
    "classifier": Kind(
        lambda folder: [
            samples.classifier(folder / "c.safetensors"),
            samples.classifier(folder / "w.safetensors", whiten=True),
        ],
        _classifier,
        mutated_header,
    ),
    "segmenter": Kind(lambda folder: [samples.segmenter(folder / "s.safetensors")], _segmenter, mutated_header),
    "onnx": Kind(lambda folder: [samples.exported(folder / "model.onnx")], _exported),
    "model of the hub": Kind(_make_shared, _shared, mutated_json),
    "checkpoint": Kind(lambda folder: [samples.checkpoint(folder / "run")], _checkpoint),
    "configuration": Kind(lambda _: [samples.configuration()], _configuration, mutated_text),
    "run folder": Kind(lambda _: [samples.configuration()], _run_folder, mutated_text),
}

COSTLY = ("classifier", "configuration")
"""Those that are read by a whole command, which takes a hundred times as long."""
