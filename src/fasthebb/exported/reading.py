"""Exported files, run on images."""

import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb.exported.description import Description, ExportError, SegmentationDescription, read_description
from fasthebb.exported.writing import DESCRIPTION_FILE, quiet

TRUST = "FASTHEBB_TRUST_PT2"
"""Set to 1, this variable of the environment says that .pt2 files may be loaded."""
_Opened = tuple[Description | SegmentationDescription, Callable[[Tensor], Tensor]]


class ExportedClassifier:
    """A classifier from an exported file.

    Attributes:
        description: its classes and the images that it takes.
    """

    def __init__(self, description: Description, run: Callable[[Tensor], Tensor]) -> None:
        self.description = description
        self._run = run

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities ``(N, classes)`` float32 of images ``(N, C, S, S)``, uint8 or float in [0, 1].

        Of images ``(N, C, H, W)`` of any size, if the description says that it resizes.
        """
        return self._run(_scaled(images).contiguous())


class ExportedSegmenter(nn.Module):
    """A network that says the class of each pixel, from an exported file.

    Attributes:
        description: its classes and the images that it takes.
    """

    def __init__(self, description: SegmentationDescription, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.description = description
        self._run = run

    def probabilities(self, images: Tensor) -> Tensor:
        """``(N, classes, *size)`` float32 of images ``(N, C, *size)`` of any size, uint8 or float in [0, 1].

        Sides that the graph does not take are continued by their last pixels, and the result cut back.
        """
        multiple, size = self.description.multiple, images.shape[2:]
        more = [max(2, -(-side // multiple)) * multiple - side for side in size]
        pads = [pad for side in reversed(more) for pad in (0, side)]
        found = self._run(F.pad(_scaled(images), pads, mode="replicate").contiguous())
        asked = (slice(None), slice(None), *(slice(side) for side in size))
        return found[asked]

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the `probabilities`, which stand for logits: their softmax is the probabilities again."""
        return self.probabilities(images).clamp(min=torch.finfo(torch.float32).tiny).log()


def is_exported(path: str | Path) -> bool:
    """Whether a file's name says that it is exported.

    >>> is_exported("model.onnx"), is_exported("classifier.safetensors")
    (True, False)
    """
    return Path(path).suffix in (".onnx", ".pt2")


def load_exported(path: str | Path, *, trust: bool | None = None) -> ExportedClassifier:
    """Read a classifier that `export` has written.

    An ONNX file is data, and safe to read from anybody. A .pt2 file is not: torch unpickles parts of it, and evaluates
    expressions in it as code.

    Args:
        path: of the file, ".onnx" or ".pt2".
        trust: whether a .pt2 file may run code; by default only where the environment says ``FASTHEBB_TRUST_PT2=1``.

    Raises:
        ExportError: there is no such file, it is damaged, not of fasthebb or of another task, it is a .pt2 file that is
            not trusted, or onnxruntime is missing.
    """
    description, run = _opened(Path(path), trust)
    if not isinstance(description, Description):
        raise ExportError(f"{path} says the class of each pixel, expected a classifier: read it by load_segmenter")
    return ExportedClassifier(description, run)


def load_segmenter(path: str | Path, *, trust: bool | None = None) -> ExportedSegmenter:
    """Read a segmentation network that `export` has written; as `load_exported`."""
    description, run = _opened(Path(path), trust)
    if not isinstance(description, SegmentationDescription):
        raise ExportError(f"{path} says the class of whole images, expected that of pixels: read it by load_exported")
    return ExportedSegmenter(description, run)


def exported_task(path: str | Path) -> str:
    """ "classification" or "segmentation", without running anything of the file; of what is no such file the first."""
    path = Path(path)
    texts: Any = {}
    with suppress(Exception):  # whatever is wrong with it, who loads it says so
        if path.suffix == ".onnx":
            texts = _session(path).get_modelmeta().custom_metadata_map
        else:
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith(f"/{DESCRIPTION_FILE}"))
                texts = json.loads(archive.read(name))
        return read_description(texts, path).task
    return Description.task


def _scaled(images: Tensor) -> Tensor:
    return images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images.to(torch.float32)


def _opened(path: Path, trust: bool | None) -> _Opened:
    if not path.is_file():
        raise ExportError(f"found no file {path}, expected an exported network")
    if path.suffix == ".onnx":
        return _onnx(path)
    if not (os.environ.get(TRUST) == "1" if trust is None else trust):
        raise ExportError(
            f"{path} can run code of whoever wrote it, as every file of torch.export: if that was you, set "
            f"{TRUST}=1, otherwise ask for an ONNX file, which cannot"
        )
    return _pt2(path)


def _session(path: Path) -> Any:
    if find_spec("onnxruntime") is None:
        raise ExportError(f"{path} needs the package onnxruntime: pip install 'fasthebb[export]'")
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class but this
        reason = " ".join(str(error).split())[:160]
        raise ExportError(f"{path} is not a readable ONNX file (broken or truncated?): {reason}") from error


def _onnx(path: Path) -> _Opened:
    session = _session(path)
    description = read_description(session.get_modelmeta().custom_metadata_map, path)
    takes, gives = session.get_inputs(), session.get_outputs()
    if (
        [one.name for one in takes] != ["images"]
        or [one.name for one in gives] != ["probabilities"]
        or not description.fits(list(takes[0].shape), list(gives[0].shape))
    ):
        raise ExportError(f"{path} does not compute what it says of itself: export it again")

    def run(images: Tensor) -> Tensor:
        try:
            (found,) = session.run(["probabilities"], {"images": images.cpu().numpy()})
        except Exception as error:  # its errors share no class but this
            reason = " ".join(str(error).split())[:160]
            raise ExportError(f"{path} cannot be run on images of {list(images.shape)} (damaged?): {reason}") from error
        return torch.from_numpy(found)

    return description, run


def _pt2(path: Path) -> _Opened:
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
    description = read_description(texts if isinstance(texts, dict) else {}, path)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            probabilities: Tensor = module(images)
        return probabilities.cpu()

    return description, run
