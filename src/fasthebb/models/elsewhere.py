"""Networks of torchvision and timm, taken apart into features and classifier."""

from importlib.util import find_spec

from torch import nn

from fasthebb.models.network import Network


def is_known_elsewhere(name: str) -> bool:
    """Whether torchvision or, where it is installed, timm has a network of that name."""
    if find_spec("torchvision") is not None:
        import torchvision

        if name in torchvision.models.list_models(module=torchvision.models):
            return True
    if find_spec("timm") is not None:
        import timm

        return bool(timm.is_model(name))
    return False


def from_elsewhere(
    name: str,
    classes: int = 1000,
    channels: int = 3,
    image_size: int = 224,
    *,
    hebbian: bool = True,
    width: float = 1.0,
    hidden: int = 0,
    dropout: float = 0.5,
) -> Network:
    """Build a network of torchvision or timm, with random weights: all but its last dense layer are the `features`.

    Args:
        name: as torchvision or timm knows it; torchvision goes first.
        classes: number of outputs.
        channels: channels of an image; 3 for torchvision's.
        image_size: height and width of an image in pixels.
        hebbian: makes no difference: the network is taken as it is.
        width: 1; these networks have none to choose.
        hidden: 0; likewise.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range, or the network has no dense layer at its end.

    >>> import torch
    >>> model = from_elsewhere("resnet18", classes=5, image_size=32)
    >>> model(torch.zeros(2, 3, 32, 32)).shape, model.classifier[-1].in_features
    (torch.Size([2, 5]), 512)
    """
    if width != 1 or hidden:
        raise ValueError(
            f"{name}: found width {width} and hidden {hidden}, expected 1 and 0: its layers are as they are"
        )
    if classes < 1:
        raise ValueError(f"{name}: classes must be at least 1, got {classes}")
    model = _made(name, channels, image_size)
    dense = [where for where, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise ValueError(f"{name} has no dense layer at its end to be replaced by a classifier: choose another network")
    last = model.get_submodule(dense[-1])
    assert isinstance(last, nn.Linear)
    parent, _, own = dense[-1].rpartition(".")
    setattr(model.get_submodule(parent), own, nn.Identity())
    return Network(nn.Sequential(model), nn.Sequential(nn.Dropout(dropout), nn.Linear(last.in_features, classes)))


def _made(name: str, channels: int, image_size: int) -> nn.Module:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        import timm

        made: nn.Module = timm.create_model(name, in_chans=channels)
        return made
    if channels != 3:
        raise ValueError(f"{name} of torchvision takes 3 channels, got {channels}: choose --channels 3")
    sized = {"image_size": image_size} if name.startswith("vit_") else {}
    aside = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    made = torchvision.models.get_model(name, weights=None, **sized, **aside)
    return made
