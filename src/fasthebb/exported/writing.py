"""A network with its preprocessing, written as one graph."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fasthebb.exported.description import Description, ExportError, SegmentationDescription
from fasthebb.exported.resizing import CentreSquare
from fasthebb.training.weights import write_atomically

DESCRIPTION_FILE = "fasthebb.json"
"""Among the extra files of a .pt2."""
_NEEDED = ("onnx", "onnxscript")


class _Probabilities(nn.Module):
    def __init__(self, preprocessing: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.network(self.preprocessing(images)), dim=1)


def export(
    preprocessing: nn.Module,
    network: nn.Module,
    description: Description | SegmentationDescription,
    path: str | Path,
) -> Path:
    """Write a graph from ``images``, float32 in [0, 1] of any number, to ``probabilities``.

    Args:
        preprocessing: of the images, once they have their size.
        network: from preprocessed images to logits.
        description: kept in the file.
        path: ends in ".onnx", or in ".pt2" for the format of `torch.export`; an existing file is replaced.

    Returns:
        The path.

    Raises:
        ExportError: for another ending, a missing package, a network whose graph cannot be taken, or a file that cannot
            be written.
    """
    path = Path(path)
    if path.suffix not in (".onnx", ".pt2"):
        raise ExportError(f"found the name {path.name!r}, expected one that ends in .onnx or .pt2")
    if path.suffix == ".onnx" and (missing := [name for name in _NEEDED if find_spec(name) is None]):
        raise ExportError(f"ONNX files are written by {' and '.join(missing)}: pip install 'fasthebb[export]'")
    if isinstance(description, Description) and description.resizes:
        preprocessing = nn.Sequential(CentreSquare(description.image_size), preprocessing)
    graph = deepcopy(_Probabilities(preprocessing, network)).cpu().eval()
    program = _program(graph, description)
    content = _onnx(program, description) if path.suffix == ".onnx" else _pt2(program, description)
    try:
        write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _program(graph: nn.Module, description: Description | SegmentationDescription) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad(), quiet():
            # Strictly: otherwise the number of images would be fixed wherever Python asks for the length of a tensor.
            return torch.export.export(
                graph, (description.example(),), dynamic_shapes=(description.free(),), strict=True
            )
    except Exception as error:  # whatever a network of elsewhere does that a graph cannot
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"torch.export cannot take the graph of this network: {reason}") from error


def _onnx(program: torch.export.ExportedProgram, description: Description | SegmentationDescription) -> bytes:
    with quiet():
        written = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            dynamic_shapes=(description.names(),),
            input_names=["images"],
            output_names=["probabilities"],
        )
    model: Any = written.model_proto  # type: ignore[union-attr]
    for name, text in description.texts().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    content: bytes = model.SerializeToString()
    return content


def _pt2(program: torch.export.ExportedProgram, description: Description | SegmentationDescription) -> bytes:
    content = io.BytesIO()
    with quiet():
        torch.export.save(program, content, extra_files={DESCRIPTION_FILE: json.dumps(description.texts())})
    return content.getvalue()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' notes on their own progress and future."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
