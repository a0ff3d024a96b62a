"""The networks that are measured, by name."""

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from fasthebb.models import MODELS, build_model, usual


@dataclass
class Subject:
    """A network and a batch of images.

    Attributes:
        model: what backprop trains.
        hidden: what learns by a local rule: all of it, or its part without the classifier.
        images: ``(B, 3, H, W)`` noise; a step takes the same time on any images.
        labels: ``(B,)``.
    """

    model: nn.Module
    hidden: nn.Module
    images: Tensor
    labels: Tensor


def subject(name: str, batch_size: int, image_size: int | None, device: torch.device) -> Subject:
    """Build a network of fasthebb, torchvision or timm.

    Args:
        name: as ``fasthebb pretrain --model``, or a name that torchvision or timm knows.
        batch_size: number of images.
        image_size: height and width; if left out, the network's own, 224 for those from elsewhere.
        device: where it runs.

    Raises:
        ValueError: no such network.

    >>> subject("cnn6", 2, None, torch.device("cpu")).images.shape
    torch.Size([2, 3, 32, 32])
    """
    size = image_size or (usual(name, "image_size") if name in MODELS else 224)
    torch.manual_seed(0)
    if name in MODELS:
        model: nn.Module = build_model(name, classes=10, channels=3, image_size=size)
        hidden = model.get_submodule("features")
    else:
        model = hidden = _from_elsewhere(name)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch_size, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    return Subject(model, hidden, images, torch.arange(batch_size, device=device) % 10)


def _from_elsewhere(name: str) -> nn.Module:
    import torchvision

    if name in torchvision.models.list_models(module=torchvision.models):
        model: nn.Module = torchvision.models.get_model(name, weights=None)
        return model
    where = "torchvision (timm is not installed)"
    if find_spec("timm") is not None:
        import timm

        if timm.is_model(name):
            model = timm.create_model(name)
            return model
        where = "torchvision or timm"
    raise ValueError(f"there is no network {name!r} in fasthebb ({', '.join(MODELS)}), {where}")
