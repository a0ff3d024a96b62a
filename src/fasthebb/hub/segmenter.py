"""A trained segmentation network that is shared and used: with its preprocessing and the names of its classes."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from fasthebb.exported import SegmentationDescription, export
from fasthebb.hub.checks import SharingError, checked_images
from fasthebb.hub.model import HebbianModel
from fasthebb.hub.resizing import with_channels
from fasthebb.models import SegmentationNetwork
from fasthebb.runs.saved import Saved, SavedSegmentation
from fasthebb.runs.segmentation.scoring import probabilities


class HebbianSegmenter(HebbianModel, library_name="fasthebb", pipeline_tag="image-segmentation"):
    """A `HebbianModel` that says the class of each pixel.

    Called with images it gives probabilities; `predict` gives masks. Images are ``(N, C, H, W)``, or volumes
    ``(N, C, D, H, W)``, of any size, uint8 or float in [0, 1]: they keep their size, and are looked at in overlapping
    tiles as ``fasthebb predict`` does; grey is made colour or the other way round. An encoder, of a pre-training alone,
    gives `features`.

    Args:
        saved: the network, its preprocessing and classes, the background's name first.

    Raises:
        SharingError: the description does not fit the weights.

    >>> from fasthebb.data import Preprocessing
    >>> from fasthebb.models import build_segmentation
    >>> described = {"name": "unet", "channels": 1, "dims": 2, "hebbian": True, "depth": 1, "width": 2, "norm": "batch"}
    >>> preprocessing = Preprocessing.fit([torch.rand(1, 20, 30)])
    >>> tensors = build_segmentation(**described, classes=2).state_dict()
    >>> model = HebbianSegmenter(SavedSegmentation(described, preprocessing, tensors, ["background", "nucleus"]))
    >>> [mask] = model.predict(torch.zeros(1, 1, 37, 50))
    >>> mask.shape, mask.dtype
    (torch.Size([37, 50]), torch.uint8)
    """

    _saved_as: ClassVar[type[Saved]] = SavedSegmentation

    @staticmethod
    def _built(saved: Saved) -> nn.Module:
        assert isinstance(saved, SavedSegmentation)
        return saved.segmenter() if saved.classes else saved.build(classes=1)

    def forward(self, images: Tensor, *, tile: int | None = None) -> Tensor:
        """Probabilities ``(N, classes, *size)`` of images or volumes, uint8 or float in [0, 1]; without gradients.

        Args:
            images: on any device; the result is on the CPU.
            tile: side of a tile in pixels; 256 if left out, of volumes 64.

        Raises:
            SharingError: the model is an encoder, or these are no images.
        """
        self._require_classes()
        images = self._seen(images)
        if not len(images):
            return torch.zeros(0, len(self.classes), *images.shape[2:])
        assert isinstance(self.network, SegmentationNetwork)
        network, classes = self.network, len(self.classes)
        return torch.stack(
            [probabilities(network, self.preprocessing, one, classes, tile=tile) for one in images]
        ).cpu()

    def features(self, images: Tensor) -> Tensor:
        """What the layers before the classifier hand on, ``(N, F, *size)``, of whole images as for a call."""
        prepared = self.preprocessing(self._seen(images).to(next(self.network.parameters()).device))
        features: Tensor = self.network.get_submodule("features")(prepared)
        return features

    def predict(self, images: Tensor, *, tile: int | None = None) -> list[Tensor]:  # type: ignore[override]
        """The class of each pixel, ``(*size)`` uint8 an image: positions in `classes`. `tile` as for a call."""
        return [one.argmax(0).to(torch.uint8) for image in images for one in self(image[None], tile=tile)]

    def _seen(self, images: Tensor) -> Tensor:
        """Images as they are, with the channels that the network sees."""
        described = self.saved.model
        return with_channels(checked_images(images, dims=described["dims"]), described["channels"])

    def export(self, path: str | Path, *, resize: bool = False) -> Path:
        """Write one graph from images to probabilities, for other programs and ``fasthebb predict --weights``.

        Its input ``images`` is ``(N, channels, *size)`` float32 in [0, 1], for any N, where each side is a multiple of
        the ``multiple`` that is kept in the file, and at least twice it; its output ``probabilities``
        ``(N, classes, *size)``. The preprocessing is part of it; tiles are the caller's.

        Args:
            path: ends in ".onnx", or in ".pt2" for the format of `torch.export`.
            resize: there is nothing to resize.

        Raises:
            SharingError: the model is an encoder, or `resize` is asked for.
            fasthebb.exported.ExportError: for another ending, or a network whose graph cannot be taken.
        """
        self._require_classes()
        if resize:
            raise SharingError("a segmentation network sees images at their own size: leave resize out")
        described = self.saved.model
        multiple = max(2 ** int(described.get("depth", 3)), self.preprocessing.tile)
        description = SegmentationDescription(self.classes, described["channels"], described["dims"], multiple)
        return export(self.preprocessing, self.network, description, path)
