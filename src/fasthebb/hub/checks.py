"""What is refused of files from others before anything is built from them, and of what are no images."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fasthebb.models import build_model, build_segmentation
from fasthebb.runs.saved import FORMAT, Saved, SavedNetwork, SavedSegmentation


class SharingError(ValueError):
    """A user's mistake about a shared model, in one line: what was found, what was expected, what to do."""


def description(saved: Saved) -> dict[str, Any]:
    """What ``config.json`` says."""
    return {
        "format": FORMAT,
        "library_name": "fasthebb",
        **({"task": saved.task} if saved.task != SavedNetwork.task else {}),
        "model": dict(saved.model),
        "classes": list(saved.classes),
        "preprocessing": {name: json.loads(text) for name, text in saved.preprocessing.metadata().items()},
        "notes": dict(saved.notes),
    }


def check_agreement(saved: Saved, config: Path) -> None:
    """Refuse a ``config.json`` that says something else than the header of the weights.

    Raises:
        SharingError: it does, or cannot be read.
    """
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SharingError(f"{config} is not readable JSON: write the folder again") from error
    own = description(saved)
    for key in ("format", "task", "model", "classes", "preprocessing"):
        if not isinstance(said, dict) or said.get(key) != own.get(key):
            raise SharingError(
                f"{config.name} and the weights of {config.parent} do not say the same of {key!r}: one of them was "
                "changed; get them anew from where they come from"
            )


def check_header(weights: Path) -> None:
    """Refuse what `SavedNetwork.load` takes on trust in a file's header."""
    try:
        with safe_open(weights, framework="pt") as file:
            classes = json.loads((file.metadata() or {}).get("classes", "[]"))
    except SafetensorError:
        return  # which it says itself
    except (ValueError, RecursionError):
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise SharingError(f"{weights} does not name its classes, expected a list of texts: get it anew")


def check_fits(saved: Saved) -> None:
    """Refuse, before anything is built, a description that is far from the weights: it could ask for all memory."""
    if saved.normalised() and not saved.classes:
        raise SharingError(
            "this encoder divides by the norms of its weights, which a plain network does not: pre-train with "
            "--fold true"
        )
    try:
        with torch.device("meta"):
            described = _built(saved)
    except (ValueError, RuntimeError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise SharingError(f"the weights are of a network that cannot be built: {reason}") from error
    prefixes = ("features.", "classifier.") if saved.classes else ("features.",)
    shapes = {name: value.shape for name, value in described.state_dict().items() if name.startswith(prefixes)}
    if shapes != {name: value.shape for name, value in saved.tensors.items() if name.startswith(prefixes)}:
        raise SharingError("the weights do not fit the network that they are said to be of: get them anew")
    preprocessing = saved.preprocessing
    if saved.model["channels"] != len(preprocessing.mean):
        raise SharingError(
            f"the network takes images of {saved.model['channels']} channels, and the preprocessing those of "
            f"{len(preprocessing.mean)}: get them anew"
        )
    size = saved.model.get("image_size")
    if size is not None and size != preprocessing.image_size:
        raise SharingError(
            f"the network takes images of {size} pixels, and the preprocessing those of "
            f"{preprocessing.image_size}: get them anew"
        )
    if saved.model.get("dims") == 3 and preprocessing.whitening is not None:
        raise SharingError("the network takes volumes, and the preprocessing whitens flat images: get them anew")


def checked_images(images: Tensor, dims: int) -> Tensor:
    """Images ``(N, C, *size)`` of so many axes, as uint8 or float32 in [0, 1].

    Raises:
        SharingError: these are none.
    """
    axes = {2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}[dims]
    if not isinstance(images, Tensor) or images.dim() != dims + 2:
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise SharingError(f"found {found}, expected a tensor of {'images' if dims == 2 else 'volumes'} {axes}")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise SharingError(f"found images of {images.dtype}, expected torch.uint8, or float in [0, 1]")
    images = images.float()
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        low, high = images.min().item(), images.max().item()
        raise SharingError(f"found values from {low:.3g} to {high:.3g}, expected uint8, or float in [0, 1]")
    return images


def _built(saved: Saved) -> nn.Module:
    classes = max(1, len(saved.classes))
    if isinstance(saved, SavedSegmentation):
        return build_segmentation(**saved.model, classes=classes)
    return build_model(**saved.model, classes=classes, dropout=0.0)
