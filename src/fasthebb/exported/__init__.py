"""Classifiers as files that other programs run: ONNX, and torch.export's .pt2, preprocessing included."""

from fasthebb.exported.description import Description, ExportError
from fasthebb.exported.reading import ExportedClassifier, is_exported, load_exported
from fasthebb.exported.writing import export

__all__ = ["Description", "ExportError", "ExportedClassifier", "export", "is_exported", "load_exported"]
