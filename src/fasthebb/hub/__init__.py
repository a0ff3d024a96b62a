"""Trained networks that are shared: saved in a folder or on the Hugging Face Hub, used on any images, exported."""

from fasthebb.hub.checks import SharingError
from fasthebb.hub.model import HebbianModel
from fasthebb.hub.segmenter import HebbianSegmenter

__all__ = ["HebbianModel", "HebbianSegmenter", "SharingError"]
