"""Hidden layers that learn at once: one after the other, each from a sample of what it sees, without steps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from fasthebb import Rule, attach
from fasthebb.evaluation import evaluating
from fasthebb.kernels import at_least_float32
from fasthebb.synapses import TransposedConvolutionSynapse, synapse_of
from fasthebb.training.batch_norm import batch_norms, estimate
from fasthebb.training.layout import channels_last

PATCHES = 50_000
"""How many patches a layer learns from."""
PATCHES_AN_IMAGE = 16
"""How many of them come from one image, more where there are few images."""


def learn_at_once(
    features: nn.Sequential,
    rule: Rule | None,
    epoch: Callable[[], Iterable[Sequence[Any]]],
    images: int,
    *,
    seed: int = 0,
) -> Iterator[str]:
    """Put the layers of `features` where a rule would bring them, each by `Rule.fixed_point`.

    In the order in which they are used: the batch norms before a layer are estimated, then about `PATCHES` patches of
    its input are drawn, and its weights are computed from these. In a layer of several groups each group learns for
    itself. The batch norms behind the last layer are estimated at the end.

    Args:
        features: the layers; changed in place (and put in channels_last layout).
        rule: `Sanger`, a competitive one, or another that has a `Rule.fixed_point`; with ``None`` the weights stay as
            they are and only the batch norms are estimated, as a control.
        epoch: called for each pass, gives batches that begin with images `(N, C, H, W)`; as many as needed are taken.
        images: how many images a pass has.
        seed: of the draws.

    Yields:
        The name of each layer, once it has learned.

    Raises:
        ValueError: no layer can learn, the rule learns by steps alone, or there are too few patches.

    >>> from fasthebb import Sanger
    >>> features, images = nn.Sequential(nn.Linear(5, 3, bias=False)), torch.randn(40, 5)
    >>> list(learn_at_once(features, Sanger(), lambda: [(images,)], 40))
    ['0']
    >>> torch.allclose(features[0].weight @ features[0].weight.T, torch.eye(3), atol=1e-5)
    True
    """
    if not isinstance(features, nn.Sequential):
        raise TypeError("layers that learn at once do so one after the other: features must be an nn.Sequential")
    features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(seed)
    each = max(PATCHES_AN_IMAGE, ceil(PATCHES / images))
    enough = ceil(PATCHES / each)  # images
    layers = {} if rule is None else _learning(features, rule)
    children = [name for name, _ in features.named_children()]
    settled = 0
    with torch.no_grad(), evaluating(features):
        for name, layer in layers.items():
            position = children.index(name.partition(".")[0])
            _settle(features, settled, position, _first(epoch(), enough))
            settled = position
            seen = _Seen(layer, each, generator)
            for batch, *_ in epoch():
                seen.look(features, batch)
                if seen.count >= PATCHES:
                    break
            assert rule is not None
            _learn(layer, rule, seen.patches(), generator)
            yield name
        _settle(features, settled, len(features), _first(epoch(), enough))


def _learning(features: nn.Sequential, rule: Rule) -> dict[str, nn.Module]:
    """The layers that learn, by name, in the order in which the features hold them; an error if there is none."""
    plasticity = attach(features, rule)
    layers = dict(plasticity.layers)
    plasticity.detach()
    return layers


def _first(batches: Iterable[Sequence[Any]], images: int) -> Iterator[Sequence[Any]]:
    """The batches that hold the first so many images."""
    seen = 0
    for batch in batches:
        if seen >= images:
            return
        seen += len(batch[0])
        yield batch


def _settle(features: nn.Sequential, start: int, end: int, batches: Iterable[Sequence[Any]]) -> None:
    """Estimate the batch norms among the children from `start` to before `end`."""
    norms = {index: batch_norms(features[index]) for index in range(start, end)}
    last = max((index for index, own in norms.items() if own), default=-1)
    estimate([norm for own in norms.values() for norm in own], features[: last + 1], batches)


class _Enough(Exception):  # noqa: N818 - nothing is wrong
    """The forward has come as far as it is needed."""


class _Seen:
    """What a layer sees: a few positions drawn from each image, or all where there are no more."""

    def __init__(self, layer: nn.Module, each: int, generator: torch.Generator) -> None:
        self.layer, self.each, self.generator = layer, each, generator
        self.parts: list[Tensor] = []
        self.count = 0

    def look(self, features: nn.Sequential, images: Tensor) -> None:
        """Run the features and keep patches of the layer's input."""
        weight: Any = self.layer.weight

        def keep(layer: nn.Module, args: tuple[Any, ...]) -> None:
            drawn = self._drawn(args[0].to(weight.dtype))
            self.parts.append(drawn)
            self.count += drawn.shape[1]
            raise _Enough

        hook = self.layer.register_forward_pre_hook(keep)
        try:
            features(channels_last(images.to(weight.device)))
        except _Enough:
            pass  # what the layer makes of its input, and all behind it, nobody needs
        finally:
            hook.remove()

    def _drawn(self, x: Tensor) -> Tensor:
        """Patches of an input of the layer, ``(g, M, K)``."""
        synapse = synapse_of(self.layer)
        parts = []
        received = synapse.receive(x)
        for one in torch.split(received, 1):  # unfolded, an image is as many times larger as a kernel has pixels
            patches = synapse.patches(one)
            if patches.shape[1] > self.each:
                chosen = torch.randperm(patches.shape[1], generator=self.generator)[: self.each]
                patches = patches[:, chosen.to(x.device)]
            parts.append(patches)
        return torch.cat(parts, dim=1)

    def patches(self) -> Tensor:
        """All of them, ``(g, M, K)``."""
        return torch.cat(self.parts, dim=1)


def _learn(layer: nn.Module, rule: Rule, patches: Tensor, generator: torch.Generator) -> None:
    """Give a layer its weights from patches ``(g, M, K)``; of a bias nothing is left."""
    synapse = synapse_of(layer)
    if isinstance(synapse, TransposedConvolutionSynapse):
        raise ValueError("transposed convolutions learn by steps alone")
    rows = torch.stack([rule.fixed_point(at_least_float32(group), synapse.neurons, generator) for group in patches])
    synapse.weight.copy_(synapse.from_rows(rows))
    if synapse.bias is not None:
        synapse.bias.zero_()
