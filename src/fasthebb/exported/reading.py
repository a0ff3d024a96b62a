"""Exported files, run on images."""

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fasthebb.exported.description import Description, ExportError
from fasthebb.exported.writing import DESCRIPTION_FILE, quiet

TRUST = "FASTHEBB_TRUST_PT2"
"""Set to 1, this variable of the environment says that .pt2 files may be loaded."""


class ExportedClassifier:
    """A classifier from an exported file.

    Attributes:
        description: its classes and the images that it takes.
    """

    def __init__(self, description: Description, run: Callable[[Tensor], Tensor]) -> None:
        self.description = description
        self._run = run

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities ``(N, classes)`` float32 of images ``(N, C, S, S)``, uint8 or float in [0, 1]."""
        scaled = images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images.to(torch.float32)
        return self._run(scaled.contiguous())


def is_exported(path: str | Path) -> bool:
    """Whether a file's name says that it is exported.

    >>> is_exported("model.onnx"), is_exported("classifier.safetensors")
    (True, False)
    """
    return Path(path).suffix in (".onnx", ".pt2")


def load_exported(path: str | Path, *, trust: bool | None = None) -> ExportedClassifier:
    """Read what `export` has written.

    An ONNX file is data, and safe to read from anybody. A .pt2 file is not: torch unpickles parts of it, and evaluates
    expressions in it as code.

    Args:
        path: of the file, ".onnx" or ".pt2".
        trust: whether a .pt2 file may run code; by default only where the environment says ``FASTHEBB_TRUST_PT2=1``.

    Raises:
        ExportError: there is no such file, it is damaged or not of fasthebb, it is a .pt2 file that is not trusted, or
            onnxruntime is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"found no file {path}, expected an exported classifier")
    if path.suffix == ".onnx":
        return _onnx(path)
    if not (os.environ.get(TRUST) == "1" if trust is None else trust):
        raise ExportError(
            f"{path} can run code of whoever wrote it, as every file of torch.export: if that was you, set "
            f"{TRUST}=1, otherwise ask for an ONNX file, which cannot"
        )
    return _pt2(path)


def _onnx(path: Path) -> ExportedClassifier:
    if find_spec("onnxruntime") is None:
        raise ExportError(f"{path} needs the package onnxruntime: pip install 'fasthebb[export]'")
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class but this
        reason = " ".join(str(error).split())[:160]
        raise ExportError(f"{path} is not a readable ONNX file (broken or truncated?): {reason}") from error
    description = Description.read(session.get_modelmeta().custom_metadata_map, path)
    takes, gives = session.get_inputs(), session.get_outputs()
    side = description.image_size
    if (
        [one.name for one in takes] != ["images"]
        or list(takes[0].shape[1:]) != [description.channels, side, side]
        or [one.name for one in gives] != ["probabilities"]
        or list(gives[0].shape[1:]) != [len(description.classes)]
    ):
        raise ExportError(f"{path} does not compute what it says of itself: export it again")

    def run(images: Tensor) -> Tensor:
        (found,) = session.run(["probabilities"], {"images": images.cpu().numpy()})
        return torch.from_numpy(found)

    return ExportedClassifier(description, run)


def _pt2(path: Path) -> ExportedClassifier:
    files: dict[str, Any] = {DESCRIPTION_FILE: ""}
    try:
        with quiet():
            module = torch.export.load(path, extra_files=files).module()
    except Exception as error:  # a dozen kinds, by where it is damaged
        reason = " ".join(str(error).split())[:160]
        raise ExportError(f"{path} is not a readable file of torch.export, or of another version: {reason}") from error
    try:
        texts = json.loads(files[DESCRIPTION_FILE])
    except ValueError:
        texts = {}
    description = Description.read(texts if isinstance(texts, dict) else {}, path)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            probabilities: Tensor = module(images)
        return probabilities.cpu()

    return ExportedClassifier(description, run)
