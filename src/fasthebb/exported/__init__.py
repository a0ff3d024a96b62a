"""Trained networks as files that other programs run: ONNX, and torch.export's .pt2, preprocessing included."""

from fasthebb.exported.description import Description, ExportError, SegmentationDescription
from fasthebb.exported.reading import (
    ExportedClassifier,
    ExportedSegmenter,
    exported_task,
    is_exported,
    load_exported,
    load_segmenter,
)
from fasthebb.exported.writing import export

__all__ = [
    "Description",
    "ExportError",
    "ExportedClassifier",
    "ExportedSegmenter",
    "SegmentationDescription",
    "export",
    "exported_task",
    "is_exported",
    "load_exported",
    "load_segmenter",
]
