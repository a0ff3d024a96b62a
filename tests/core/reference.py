"""The rules straight from METHOD.md, in float64, with a loop over samples and a loop over neurons.

Independent of the library: the test's own padding, patches and similarities, so that the naive rules are checked too.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

import fasthebb


@dataclass(frozen=True)
class Part:
    """Weights that meet the same samples: all of a group, or those of one kernel offset of a transposed convolution.

    Attributes:
        columns: which of the K inputs they belong to.
        positions: number of the output position of each sample.
        inputs: the vector that the weights meet there.
    """

    columns: slice
    positions: list[int]
    inputs: list[Tensor]


@dataclass(frozen=True)
class Group:
    """What one group of a layer's neurons sees and answers.

    Attributes:
        seen: the input of each output position, ``(N, K)``.
        weight: ``(o, K)``, in the same order.
        answers: of each neuron to what is seen, ``(N, o)``.
        parts: of the weights, by what they meet.
        labels: of each sample, where there is a teacher.
    """

    seen: Tensor
    weight: Tensor
    answers: Tensor
    parts: list[Part]
    labels: list[int] = field(default_factory=list)


Definition = Callable[[Any, Group], Tensor]


def ordinary(seen: Tensor, weight: Tensor, answers: Tensor | None = None) -> Group:
    """Every weight meets every sample, and by default answers with their product."""
    parts = [Part(slice(None), list(range(len(seen))), list(seen))]
    return Group(seen, weight, seen @ weight.T if answers is None else answers, parts)


def patches_of(layer: nn.Module, images: Tensor) -> Tensor:
    """Everything that each group of a layer sees, ``(g, N, K)``, K in the order of ``weight.flatten(1)``."""
    return torch.stack([group.seen for group in groups_of(layer, images)])


def groups_of(
    layer: nn.Module, images: Tensor, transposed: str = "forward", rule: fasthebb.Rule | None = None
) -> list[Group]:
    images = images.double()
    weight: Tensor = layer.weight.detach().double()  # type: ignore[union-attr, operator]
    if isinstance(layer, nn.Linear):
        return [ordinary(images.reshape(-1, layer.in_features), weight)]
    assert isinstance(layer, _ConvNd)
    images = images[None] if images.dim() == weight.dim() - 1 else images
    if layer.transposed and transposed == "reversed":
        return [
            reversed_group(layer, *parts, unit_norm=rule is not None and rule.unit_norm)
            for parts in zip(images.chunk(layer.groups, dim=1), weight.chunk(layer.groups), strict=True)
        ]
    if layer.transposed:
        return [
            transposed_group(layer, *parts)
            for parts in zip(images.chunk(layer.groups, dim=1), weight.chunk(layer.groups), strict=True)
        ]
    sides: list[int] = []  # before and after, the last dimension first
    for axis in reversed(range(weight.dim() - 2)):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [0, 0] if layer.padding == "valid" else [int(layer.padding[axis])] * 2
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(images, sides, mode=mode) if any(sides) else images
    return [
        ordinary(patches(layer, channels), w.flatten(1))
        for channels, w in zip(padded.chunk(layer.groups, dim=1), weight.chunk(layer.groups), strict=True)
    ]


def patches(layer: _ConvNd, images: Tensor) -> Tensor:
    """The patches of padded images, ``(N, K)``, cut out one by one."""
    settings = list(zip(images.shape[2:], layer.kernel_size, layer.stride, layer.dilation, strict=True))
    starts = [range(0, size - d * (k - 1), s) for size, k, s, d in settings]
    found = []
    for image in images:
        for corner in itertools.product(*starts):
            window = [
                slice(start, start + d * (k - 1) + 1, d) for start, (_, k, _, d) in zip(corner, settings, strict=True)
            ]
            found.append(image[(slice(None), *window)].flatten())
    return torch.stack(found)


def transposed_group(layer: _ConvNd, images: Tensor, weight: Tensor) -> Group:
    """Input by input and offset by offset, which output they reach; ``weight`` is ``(C, o, *kernel)``."""
    channels, volume = weight.shape[0], math.prod(layer.kernel_size)
    out = output_size(layer, images)
    seen = torch.zeros(len(images), *out, volume, channels, dtype=torch.float64)
    parts = [Part(slice(a * channels, (a + 1) * channels), [], []) for a in range(volume)]
    position = torch.arange(len(images) * math.prod(out)).reshape(len(images), *out)
    for number, offset in enumerate(itertools.product(*(range(k) for k in layer.kernel_size))):
        for p in itertools.product(*(range(size) for size in images.shape[2:])):
            place = place_of(layer, p, offset, out)
            if place is None:
                continue
            for image in range(len(images)):
                x = images[(image, slice(None), *p)]
                seen[(image, *place, number)] = x
                parts[number].positions.append(int(position[(image, *place)]))
                parts[number].inputs.append(x)
    rows = weight.flatten(2).permute(1, 2, 0).flatten(1)  # (o, offsets * C)
    seen = seen.reshape(-1, volume * channels)
    return Group(seen, rows, seen @ rows.T, parts)


def output_size(layer: _ConvNd, images: Tensor) -> list[int]:
    """Of a transposed convolution."""
    return [
        s * (size - 1) - 2 * p + d * (k - 1) + extra + 1
        for size, s, p, d, k, extra in zip(
            images.shape[2:],
            layer.stride,
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,
            layer.kernel_size,
            layer.output_padding,
            strict=True,
        )
    ]


def place_of(layer: _ConvNd, p: tuple[int, ...], offset: tuple[int, ...], out: list[int]) -> tuple[int, ...] | None:
    """Which output an input at p reaches through the weights of an offset; None where it was cut off."""
    place = tuple(
        s * i + d * a - int(cut)
        for s, i, d, a, cut in zip(layer.stride, p, layer.dilation, offset, layer.padding, strict=True)
    )
    return place if all(0 <= i < size for i, size in zip(place, out, strict=True)) else None


def reversed_group(layer: _ConvNd, images: Tensor, weight: Tensor, *, unit_norm: bool) -> Group:
    """Input by input, what is read of the output at the places where it was written; ``weight`` is ``(C, o, *kernel)``.

    With unit norm, inputs are what is left of responses after a division by the norms, and write with unit weights.
    """
    norms = weight.flatten(1).norm(dim=1)
    used = weight / norms.reshape(-1, *(1,) * (weight.dim() - 1)) if unit_norm else weight
    out = output_size(layer, images)
    places = [
        [
            (offset, place_of(layer, p, offset, out))
            for offset in itertools.product(*(range(k) for k in layer.kernel_size))
        ]
        for p in itertools.product(*(range(size) for size in images.shape[2:]))
    ]
    seen, answers = [], []
    for image in images:
        inputs = image.flatten(1).T  # (positions, C)
        output = torch.zeros(weight.shape[1], *out, dtype=torch.float64)
        for x, reached in zip(inputs, places, strict=True):
            for offset, place in reached:
                if place is not None:
                    output[(slice(None), *place)] += x @ used[(slice(None), slice(None), *offset)]
        for x, reached in zip(inputs, places, strict=True):
            patch = torch.zeros(weight.shape[1], *layer.kernel_size, dtype=torch.float64)
            for offset, place in reached:
                if place is not None:
                    patch[(slice(None), *offset)] = output[(slice(None), *place)]
            seen.append(patch.flatten())
            answers.append(x * norms if unit_norm else x)
    return ordinary(torch.stack(seen), weight.flatten(1), torch.stack(answers))


def back_in_shape(layer: nn.Module, steps: list[Tensor], transposed: str) -> Tensor:
    """One matrix ``(o, K)`` a group, in the shape of the layer's weight."""
    shape = layer.weight.shape  # type: ignore[union-attr]
    if not (isinstance(layer, _ConvNd) and layer.transposed and transposed == "forward"):
        return torch.cat(steps).reshape(shape)
    groups = [step.reshape(len(step), -1, shape[0] // layer.groups).permute(2, 0, 1) for step in steps]
    return torch.cat(groups).reshape(shape)


def is_open(rule: Any, group: Group, n: int, neuron: int) -> bool:
    """Whether a neuron may learn from a sample: of its own class, left over, or no label to say otherwise."""
    classes = getattr(rule, "classes", None)
    if classes is None or group.labels[n] < 0:
        return True
    each = len(group.weight) // classes
    left_over = len(group.weight) - each * classes
    return neuron < left_over or (neuron - left_over) // each == group.labels[n]


def activation(rule: Any, s: Tensor) -> Tensor:
    return {"relu": torch.relu, "tanh": torch.tanh, "identity": torch.clone}[rule.activation](s)


def definition_of_hpca(rule: Any, group: Group) -> Tensor:
    """``dw_i = y_i (x - sum_{j<=i} y_j w_j)``, averaged over the samples."""
    step, count = torch.zeros_like(group.weight), len(group.seen)
    Y = torch.stack([activation(rule, s) for s in group.answers])
    for n, i in itertools.product(range(count), range(len(group.weight))):
        Y[n, i] *= is_open(rule, group, n, i)
    for part in group.parts:
        for n, x in zip(part.positions, part.inputs, strict=True):
            explained = torch.zeros_like(x)
            for i, w in enumerate(group.weight[:, part.columns]):
                explained = explained + Y[n, i] * w
                step[i, part.columns] += Y[n, i] * (x - explained)
    divisor = sqrt(group.weight.shape[1]) if rule.step_scale == "fan_in" else 1.0
    if rule.max_lr is not None:  # before the first update, v is uniform
        v = torch.full((Y.shape[1],), Y.shape[1] ** -0.5, dtype=torch.float64)
        divisor = max(divisor, 2 * rule.max_lr * float((Y.T @ Y @ v).norm()) / count)
    return step / (count * divisor)


def shares_of(rule: Any, alike: Tensor) -> Tensor:
    """R of the neurons that compete for one sample, from their similarity to it."""
    if isinstance(rule, fasthebb.WTA):
        shares = torch.zeros_like(alike)
        for _ in range(rule.k):
            shares[torch.where(shares == 0, alike, -1.0).argmax()] = 1
        return shares
    odds = alike**rule.power if isinstance(rule, fasthebb.PolynomialWTA) else torch.exp(alike / rule.temperature)
    return odds / odds.sum()


def definition_of_competition(rule: Any, group: Group) -> Tensor:
    """``dw_i = r_i (x - w_i)``, averaged over the samples with weights ``r_i / sum_n r_i``."""
    shares = torch.zeros(len(group.seen), len(group.weight), dtype=torch.float64)
    for n in range(len(group.seen)):
        rivals = [i for i in range(len(group.weight)) if is_open(rule, group, n, i)]
        alike = torch.tensor([((1 + cosine(group, n, i)) / 2) ** 2 for i in rivals], dtype=torch.float64)
        shares[n, rivals] = shares_of(rule, alike)
    step = torch.zeros_like(group.weight)
    for part in group.parts:
        for i, w in enumerate(group.weight[:, part.columns]):
            total = float(sum(shares[n, i] for n in part.positions))
            for n, x in zip(part.positions, part.inputs, strict=True):
                if total > 0:
                    step[i, part.columns] += shares[n, i] / total * shares[n, i] * (x - w)
    return step


def cosine(group: Group, n: int, neuron: int) -> float:
    """Of the angle between a sample and a neuron's weights; 0 if there is none.

    From the neuron's answer, which need not be their product: no sample is shorter than what a neuron says of it.
    """
    norms = group.weight.norm(dim=1)
    said = [float(s.abs() / norm) for s, norm in zip(group.answers[n], norms, strict=True) if norm > 0]
    length = max(float(group.seen[n].norm()), *said) * float(norms[neuron])
    return float(group.answers[n, neuron]) / length if length > 0 else 0.0


def sum_of_steps(group: Group, growth: Callable[[Tensor], Tensor], decay: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum over samples of ``dw_i = a_i x - b_i w_i``, a and b functions of the sample's products ``s`` ``(o,)``."""
    step = torch.zeros_like(group.weight)
    for part in group.parts:
        for n, x in zip(part.positions, part.inputs, strict=True):
            s = group.answers[n]
            for i, w in enumerate(group.weight[:, part.columns]):
                step[i, part.columns] += growth(s)[i] * x - decay(s)[i] * w
    return step


def definition_of_hebb(rule: Any, group: Group) -> Tensor:
    return sum_of_steps(group, lambda s: activation(rule, s), torch.zeros_like) / len(group.seen)


def definition_of_oja(rule: Any, group: Group) -> Tensor:
    step = sum_of_steps(group, lambda s: activation(rule, s), lambda s: activation(rule, s) ** 2)
    return step / len(group.seen)


def definition_of_krotov_hopfield(rule: Any, group: Group) -> Tensor:
    def gates(s: Tensor) -> Tensor:
        g, order = torch.zeros_like(s), sorted(range(len(s)), key=lambda i: -float(s[i]))
        g[order[0]], g[order[rule.k - 1]] = 1, -rule.push
        return g

    step = sum_of_steps(group, gates, lambda s: gates(s) * s)
    return step / step.abs().max().clamp_min(torch.finfo(step.dtype).tiny)


def definition_of_softhebb(rule: Any, group: Group) -> Tensor:
    def y(s: Tensor) -> Tensor:
        odds = torch.exp(rule.inverse_temperature * (s - s.max()))
        shares = odds / odds.sum()
        return torch.where(s == s.max(), shares, -shares)

    step = sum_of_steps(group, y, lambda s: y(s) * s)
    return step / step.abs().max().clamp_min(torch.finfo(step.dtype).tiny)


def definition_of_summed_swta(rule: Any, group: Group) -> Tensor:
    """``dw_i = r_i (x - w_i)``, summed over the samples."""
    norms = group.weight.norm(dim=1).clamp_min(1e-300)

    def r(s: Tensor) -> Tensor:
        projections = rule.inverse_temperature * s / norms
        odds = torch.exp(projections - projections.max())
        return odds / odds.sum()

    return sum_of_steps(group, r, r)


def definition_of_ica(rule: Any, group: Group) -> Tensor:
    """``dW = W - f(s) s' W``, averaged over the samples."""
    explained = torch.zeros_like(group.weight)
    for part in group.parts:
        for n in part.positions:
            s = group.answers[n]
            f = activation(rule, s)
            for i in range(len(s)):
                for j in range(i + 1 if rule.hierarchical else len(s)):
                    explained[i, part.columns] += f[i] * s[j] * group.weight[j, part.columns]
    explained /= len(group.seen)
    if not rule.normalised:
        return group.weight - explained
    rows = zip(explained, group.weight, strict=True)
    return torch.stack([w * (w @ e) / (w @ w) - e for e, w in rows])


def definition_of_global_guided(rule: Any, group: Group) -> Tensor:
    def r(s: Tensor) -> Tensor:
        odds = torch.exp((s - s.max()) / rule.temperature)
        return odds / odds.sum()

    return sum_of_steps(group, r, lambda s: r(s) * s) / len(group.seen)


DEFINITIONS: dict[type[fasthebb.Rule], Definition] = {
    fasthebb.HPCA: definition_of_hpca,
    fasthebb.Sanger: definition_of_hpca,
    fasthebb.SWTA: definition_of_competition,
    fasthebb.WTA: definition_of_competition,
    fasthebb.PolynomialWTA: definition_of_competition,
    fasthebb.Hebb: definition_of_hebb,
    fasthebb.Oja: definition_of_oja,
    fasthebb.KrotovHopfield: definition_of_krotov_hopfield,
    fasthebb.SoftHebb: definition_of_softhebb,
    fasthebb.SummedSWTA: definition_of_summed_swta,
    fasthebb.ICA: definition_of_ica,
    fasthebb.GlobalGuided: definition_of_global_guided,
}


def labels_of(images: Tensor, classes: int) -> Tensor:
    """Labels from -1 (none) up that depend on each image alone, whatever the dtype: ``(B,)``."""
    sums = images.double().reshape(len(images), -1).sum(1).abs()
    return (1000 * sums).long() % (classes + 1) - 1


def gradient_of(weight: Tensor) -> Tensor:
    """Some gradient, for the rules that use one."""
    return torch.sin(torch.arange(1.0, weight.numel() + 1, dtype=torch.float64)).reshape(weight.shape)


def update_by_definition(rule: Any, layer: nn.Module, images: Tensor, transposed: str = "forward") -> Tensor:
    """``dW``, in the shape of the layer's weight, in float64."""
    if isinstance(rule, fasthebb.Hybrid):
        local = rule.local * update_by_definition(rule.rule, layer, images, transposed)
        return local - rule.backprop * gradient_of(local)
    groups = groups_of(layer, images, transposed, rule)
    if getattr(rule, "classes", None) is not None:
        batch = images if images.dim() > unbatched_dims(layer) else images[None]
        for group in groups:
            of_images = labels_of(batch, rule.classes)
            group.labels.extend(of_images.repeat_interleave(len(group.seen) // len(batch)).tolist())
    step = back_in_shape(layer, [DEFINITIONS[type(rule)](rule, group) for group in groups], transposed)
    return -gradient_of(step).sign() * step.abs() if isinstance(rule, fasthebb.GlobalGuided) else step


def unbatched_dims(layer: nn.Module) -> int:
    """Dimensions of a single input."""
    return layer.weight.dim() - 1  # type: ignore[union-attr, operator]


def has_ties(rule: Any, layer: nn.Module, images: Tensor, transposed: str = "forward") -> bool:
    """Whether two neurons respond alike, which decides nothing for a rule that ranks them."""
    if not isinstance(rule, (fasthebb.WTA, fasthebb.KrotovHopfield, fasthebb.SoftHebb)):
        return False
    for group in groups_of(layer, images, transposed, rule):
        s = group.answers
        if isinstance(rule, fasthebb.WTA):
            s = torch.tensor([[cosine(group, n, i) for i in range(s.shape[1])] for n in range(len(s))])
        gaps = s.sort(dim=1).values.diff(dim=1)
        if gaps.numel() and float(gaps.min()) < 1e-5:
            return True
    return False


def assert_near(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Equal up to ``relative`` times the largest magnitude of ``expected``, and to round-off where that is zero."""
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    error = float((actual.double() - expected.double()).abs().max())
    size = float(expected.double().abs().max())
    assert error <= relative * (size + 0.01), f"largest error {error:.2g} beside numbers up to {size:.2g}"
