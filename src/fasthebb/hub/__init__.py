"""Trained networks that are shared: saved in a folder or on the Hugging Face Hub, used on any images, exported."""

from fasthebb.hub.model import HebbianModel, SharingError

__all__ = ["HebbianModel", "SharingError"]
