"""What the layers of a network make of a set of images."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from difflib import get_close_matches

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from fasthebb.evaluation.modes import evaluating
from fasthebb.models.reading import one_vector_each

POOLED_SIDE = 2


def layer_features(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    layers: Sequence[str] = ("features",),
    *,
    side: int = POOLED_SIDE,
) -> tuple[dict[str, Tensor], Tensor]:
    """Run `model` over `loader` in eval mode and keep what some of its layers hand on.

    The maps of a convolution are averaged to at most `side` x `side` positions before they are flattened: an image
    becomes one vector of moderate length, in which layers of very different resolution can be compared, and which still
    says roughly where in the image something was.

    Args:
        model: any network; it is as before afterwards, also after an error.
        loader: yields `(images, labels)` with labels `(N,)` int64.
        layers: names of modules as in `model.named_modules()`, which hand on `(N, D)` or `(N, C, H, W)`.
        side: positions along each side of a map, at least 1.

    Returns:
        Features `(images, D)` float32 by layer name, and labels `(images,)` int64, all on the CPU, in the loader's
        order. The features of all layers are held at once: 4 bytes x images x D of each.

    Raises:
        ValueError: there is no such layer, it is not called, it hands on something else, `side` is below 1, or the
            loader has no batch.

    >>> import torch
    >>> from fasthebb.models import cnn6
    >>> model = cnn6(channels=1, image_size=24, width=0.1, hidden=16)
    >>> batches = [(torch.zeros(5, 1, 24, 24), torch.arange(5))]
    >>> features, labels = layer_features(model, batches, ["features.norm1", "features"])
    >>> features["features.norm1"].shape, features["features"].shape                     # 10 channels, 2x2 positions
    (torch.Size([5, 40]), torch.Size([5, 16]))
    """
    if side < 1:
        raise ValueError(f"side: found {side}, expected at least 1")
    modules = dict(model.named_modules())
    for name in layers:
        if name not in modules:
            close = get_close_matches(name, list(modules), n=1)
            raise ValueError(f"the network has no layer '{name}'" + (f": did you mean '{close[0]}'?" if close else ""))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    seen: dict[str, Tensor] = {}
    kept: dict[str, list[Tensor]] = {name: [] for name in layers}
    labels = []

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if name not in seen:  # a network may look at the mirror images afterwards
                seen[name] = _vectors(output, name, side)

        return hook

    with evaluating(model), torch.inference_mode(), ExitStack() as hooks:
        for name in kept:
            hooks.callback(modules[name].register_forward_hook(keep(name)).remove)
        for images, targets in loader:
            seen.clear()
            model(images.to(device))
            for name, batches in kept.items():
                if name not in seen:
                    raise ValueError(f"the layer '{name}' takes no part in the network's forward, or it is compiled")
                batches.append(seen[name])
            labels.append(targets)
    if not labels:
        raise ValueError("there are no images to take features of: the loader is empty")
    return {name: torch.cat(kept.pop(name)) for name in list(kept)}, torch.cat(labels).cpu()


def stages(model: nn.Module) -> list[str]:
    """Names of the layers after which a hidden layer's work is done.

    These are the children of `model.features` with a norm (of any kind) or, if there is none, its convolutions and
    dense layers; then `features` itself, unless the last of them is its end; then the code layer, if there is one.

    >>> from fasthebb.models import cnn6
    >>> stages(cnn6(image_size=24, width=0.1, hidden=16))[-2:], stages(cnn6(image_size=24, width=0.1, hidden=0))[-2:]
    (['features.norm4', 'features.norm5'], ['features.norm4', 'features'])
    """
    children = list(model.get_submodule("features").named_children())
    norms = [name for name, child in children if isinstance(child, _NormBase | nn.GroupNorm | nn.LayerNorm)]
    weighted = [name for name, child in children if isinstance(child, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)]
    chosen = norms or weighted
    end = [] if chosen and chosen[-1] == children[-1][0] else ["features"]
    code = [name for name, _ in model.named_modules() if name == "classifier.code"]
    return [f"features.{name}" for name in chosen] + end + code


def check_features(known: Tensor, known_labels: Tensor, asked: Tensor, asked_labels: Tensor) -> None:
    """Whether two sets of features `(N, D)` have a label each and can be compared.

    Raises:
        ValueError: they cannot, or one of them is empty.
    """
    for features, labels in ((known, known_labels), (asked, asked_labels)):
        if features.dim() != 2 or labels.shape != features.shape[:1] or features.shape[1] != known.shape[1]:
            raise ValueError(
                f"expected features (N, {known.shape[-1]}) and labels (N,), found {tuple(features.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if len(labels) == 0:
            raise ValueError(
                "there is nothing to retrieve or to learn from: expected images of both kinds, found none of one"
            )


def _vectors(output: object, name: str, side: int) -> Tensor:
    """One vector an image, `(N, D)` float32 on the CPU: a copy, as an in-place layer may overwrite the output."""
    if not isinstance(output, Tensor) or output.dim() not in (2, 4):
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the layer '{name}' hands on {found}, expected (N, D) or (N, C, H, W)")
    return one_vector_each(output.float(), side).cpu()
