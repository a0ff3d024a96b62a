"""Pictures of every rule on data of two dimensions: ``python benchmarks/pictures_of_rules.py docs/rules``.

Each picture is one layer of `torch.nn.Linear` that learns by the rule through `fasthebb.attach`, as a network would:
where its weight vectors start (rings), how they move (lines) and where they come to rest (dots). Takes half a minute.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor, nn

import fasthebb

BATCH = 50
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too


def stretched(generator: torch.Generator, count: int = 600) -> Tensor:
    """A cloud about the origin, three times as wide along (2, 1) as across it."""
    along = torch.tensor([[2.0, 1.0], [-1.0, 2.0]]) / 5**0.5
    return torch.randn(count, 2, generator=generator) * torch.tensor([0.9, 0.3]) @ along


def groups(generator: torch.Generator, count: int = 600) -> Tensor:
    """Three groups in different directions, all at the distance 1."""
    angles = torch.tensor([0.3, 1.6, 3.8])[torch.arange(count) % 3]
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)
    return centres + 0.12 * torch.randn(count, 2, generator=generator)


def mixture(generator: torch.Generator, count: int = 1200) -> Tensor:
    """Two independent sources with heavy tails, mixed: one along (1, 0.2), the other along (0.5, 1)."""
    sources = torch.distributions.Laplace(0.0, 0.5)
    uniform = torch.rand(count, 2, generator=generator).clamp(1e-4, 1 - 1e-4)
    return sources.icdf(uniform) @ MIXING.T


MIXING = torch.tensor([[1.0, 0.5], [0.2, 1.0]])
"""Its columns are the directions of the two sources."""


def two_classes(generator: torch.Generator, count: int = 600) -> Tensor:
    """A cloud that is widest along the first axis, while the classes lie side by side along the second."""
    points = torch.randn(count, 2, generator=generator) * torch.tensor([1.0, 0.15])
    points[:, 1] += torch.where(torch.arange(count) % 2 == 0, -0.35, 0.35)
    return points


def class_of(points: Tensor) -> Tensor:
    """Which class the points of `two_classes` are of, in its order: 0, 1, 0, 1, ..."""
    return (torch.arange(len(points)) % 2).float()


def class_loss(layer: nn.Linear, points: Tensor, classes: Tensor) -> Tensor:
    """How badly one neuron tells the classes apart by its sign, or two by which responds more."""
    responses = layer(points)
    if layer.out_features == 1:
        return nn.functional.binary_cross_entropy_with_logits(responses[:, 0], classes)
    return nn.functional.cross_entropy(responses, classes.long())


@dataclass(frozen=True)
class Picture:
    """One rule, what it sees, and where it starts."""

    rule: fasthebb.Rule
    data: Callable[[torch.Generator], Tensor]
    start: list[list[float]]
    lr: float = 0.1
    epochs: int = 20
    anneal: bool = False
    """Lower the learning rate to zero, for rules whose every step is equally long."""
    loss: bool = False
    """Also learn from `class_loss`."""
    beside: dict[str, fasthebb.Rule | None] = field(default_factory=dict)
    """Others from the same start, by name, for comparison; None is backprop alone."""
    reach: float = 1.9
    """How far the picture goes."""


FOUR = [[0.25, 0.1], [0.1, -0.3], [-0.2, 0.15], [0.22, -0.18]]  # the last is never the nearest to a point
THREE = FOUR[:3]
PICTURES = {
    "hebb": Picture(fasthebb.Hebb(), stretched, [[-0.05, 0.3], [0.1, -0.3]], lr=0.05, epochs=8, reach=2.6),
    "oja": Picture(fasthebb.Oja(), stretched, [[-0.05, 0.3], [0.1, -0.3]]),
    "sanger": Picture(fasthebb.Sanger(), stretched, [[-0.05, 0.3], [0.3, 0.2]], epochs=60),
    "hpca": Picture(
        fasthebb.HPCA(step_scale="none"), stretched, [[0.1, 0.3], [-0.2, 0.2], [0.2, 0.1], [-0.1, 0.3]], epochs=300
    ),
    "wta": Picture(fasthebb.WTA(), groups, FOUR),
    "swta": Picture(fasthebb.SWTA(temperature=0.1), groups, FOUR),
    "polynomial_wta": Picture(fasthebb.PolynomialWTA(power=8), groups, FOUR),
    "summed_swta": Picture(fasthebb.SummedSWTA(inverse_temperature=8), groups, FOUR, lr=0.005),
    "krotov_hopfield": Picture(fasthebb.KrotovHopfield(push=0.2), groups, THREE, lr=0.03, anneal=True),
    "softhebb": Picture(
        fasthebb.SoftHebb(inverse_temperature=4.0, initial_scale=None), groups, THREE, lr=0.03, anneal=True
    ),
    "ica": Picture(fasthebb.ICA(), mixture, [[1.0, 0.0], [0.0, 1.0]], lr=0.05, epochs=60, reach=3.2),
    "hybrid": Picture(
        fasthebb.Hybrid(fasthebb.Oja(), local=0.3),
        two_classes,
        [[0.2, 0.1]],
        epochs=60,
        loss=True,
        beside={"the rule alone": fasthebb.Oja(), "the loss alone": None},
    ),
    "global_guided": Picture(
        fasthebb.GlobalGuided(),
        two_classes,
        [[0.2, -0.1], [-0.25, 0.1]],
        lr=0.05,
        epochs=60,
        loss=True,
        beside={"the loss alone": None},
    ),
}


def learn(picture: Picture, rule: fasthebb.Rule | None) -> Tensor:
    """The weights after every step, ``(steps + 1, O, 2)``, the first being the start."""
    generator = torch.Generator().manual_seed(0)
    points = picture.data(generator)
    classes = class_of(points)
    layer = nn.Linear(2, len(picture.start), bias=False)
    layer.weight.data = torch.tensor(picture.start)
    plasticity = None if rule is None else fasthebb.attach(layer, rule)
    optimizer = torch.optim.SGD(layer.parameters(), lr=picture.lr)
    steps = picture.epochs * len(points) // BATCH
    path = [layer.weight.detach().clone()]
    for _ in range(picture.epochs):
        for chosen in torch.randperm(len(points), generator=generator).split(BATCH):
            if picture.loss and (rule is None or rule.uses_gradient):
                class_loss(layer, points[chosen], classes[chosen]).backward()
            else:
                layer(points[chosen])
            if plasticity is not None:
                plasticity.write_grad()
            if picture.anneal:
                optimizer.param_groups[0]["lr"] = picture.lr * (1 - (len(path) - 1) / steps)
            optimizer.step()
            optimizer.zero_grad()
            path.append(layer.weight.detach().clone())
    return torch.stack(path)


def draw(picture: Picture, axes: Axes) -> None:
    """The cloud, and the way of each weight vector through it."""
    points = picture.data(torch.Generator().manual_seed(0))
    shades = torch.where(class_of(points) == 0, 0.8, 0.55) if picture.loss else torch.full((len(points),), 0.75)
    axes.scatter(*points.T, s=5, c=shades, cmap="gray", vmin=0, vmax=1, linewidths=0, zorder=1)
    axes.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.8", linewidth=0.8, linestyle=":"))
    if picture.data is mixture:
        for direction in MIXING.T:
            axes.axline((0, 0), direction.tolist(), color="0.3", linewidth=0.8, linestyle="--", zorder=2)
    for style, (name, rule) in zip(("--", ":"), picture.beside.items(), strict=False):
        other = learn(picture, rule)
        for neuron in range(other.shape[1]):
            axes.plot(*other[:, neuron].T, style, color="0.25", label=name if neuron == 0 else None, zorder=3)
    for neuron, (way, colour) in enumerate(zip(learn(picture, picture.rule).unbind(1), COLOURS, strict=False)):
        axes.annotate(
            "", xy=way[-1].tolist(), xytext=(0, 0), arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.45}
        )
        axes.plot(*way.T, color=colour, linewidth=1.6, zorder=4)
        axes.plot(*way[0], "o", color=colour, markerfacecolor="white", markersize=6, zorder=5)
        axes.plot(*way[-1], "o", color=colour, markersize=8, label=f"neuron {neuron + 1}", zorder=6)
    axes.plot(0, 0, "+", color="black", markersize=9, zorder=2)
    axes.set(xlim=(-picture.reach, picture.reach), ylim=(-picture.reach, picture.reach), aspect="equal")
    axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        figure, axes = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
        draw(picture, axes)
        figure.savefig(folder / f"{name}.png", dpi=130)
        plt.close(figure)
        ends = [[round(number, 2) for number in neuron] for neuron in learn(picture, picture.rule)[-1].tolist()]
        print(f"{name}: {ends}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "expected one argument, the folder for the pictures: python benchmarks/pictures_of_rules.py docs/rules"
        )
    main(Path(sys.argv[1]))
