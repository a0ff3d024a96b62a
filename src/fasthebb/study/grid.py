"""The cells of a study, and the runs that each of them is made of."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fasthebb.runs import FinetuneOptions, PretrainOptions
from fasthebb.runs.pretrain import learning_layers
from fasthebb.study.amounts import Data, asked, available
from fasthebb.study.methods import Method, method_named
from fasthebb.study.options import SEMI, Readout, StudyOptions, follows_paper
from fasthebb.training import USUAL_EPOCHS, usual_epochs

VAES = ("vae", "vae-paper")
FEW = 0.1
"""The part of the labels up to which several draws are taken."""
DRAWS_A_SEED = 1000


@dataclass(frozen=True)
class Pretraining:
    """A pre-training, shared by every cell of its method and seed."""

    method: Method
    seed: int

    @property
    def folder(self) -> Path:
        """Relative to the study's."""
        return Path("pretrained") / f"{as_file(self.method.name)}-s{self.seed}"


@dataclass(frozen=True)
class Search:
    """The search for a method's settings, before any of its runs."""

    method: Method

    @property
    def folder(self) -> Path:
        """Relative to the study's."""
        return Path("search") / as_file(self.method.name)


@dataclass(frozen=True)
class Cell:
    """One training with labels, tested once.

    Attributes:
        method: how its features come about.
        amount: of labels, as the user wrote it.
        labels: how many these are.
        seed: of weights and of the order of images.
        draw: number of the draw of labels within the seed; every method has the same draws.
        readout: what is trained.
    """

    method: Method
    amount: str
    labels: int
    seed: int
    draw: int
    readout: Readout

    @property
    def pretraining(self) -> Pretraining | None:
        """What must be done before."""
        return Pretraining(self.method, self.seed) if self.method.pretrains else None

    @property
    def folder(self) -> Path:
        """Relative to the study's."""
        name = f"{self.readout}-s{self.seed}-d{self.draw}"
        return Path("cells") / as_file(self.method.name) / as_file(self.amount) / name

    @property
    def draw_seed(self) -> int:
        """Each seed has draws of its own, so that a spread over seeds is one over draws as well."""
        return DRAWS_A_SEED * self.seed + self.draw

    def __str__(self) -> str:
        return f"{self.method.name}, {self.amount} labels, seed {self.seed}, draw {self.draw}, {self.readout}"


Run = Search | Pretraining | Cell


def make_grid(options: StudyOptions, data: Data) -> list[Cell]:
    """Every cell, in the order in which they are run: whole seeds first, so that a part of a study says something.

    Args:
        options: with nothing left out.
        data: images with every label or mask.

    Raises:
        ValueError: an unknown method, or an amount of labels that there is not.
    """
    assert options.methods and options.labels and options.seeds and options.draws and options.readouts
    paper, segmenting = follows_paper(options), options.task == "segmentation"
    # Ciampi et al. standardise images, and do not whiten them.
    methods = [method_named(name, paper=paper, whiten=not (paper and segmenting)) for name in options.methods]
    if any(method.kind == "weights" for method in methods) and options.weights is None:
        raise ValueError("the method 'weights' starts from a file: give --weights FILE")
    tuned = [method for method in methods if method.kind == "none-tuned"]
    if tuned and not (any(m.kind == "none" for m in methods) and any(m.kind in ("rule", *VAES) for m in methods)):
        raise ValueError(
            f"the method {tuned[0].name!r} trains for as long as another one takes: add 'none' and one that "
            "pre-trains to --methods"
        )
    if any(method.kind == "guided" for method in methods) and set(options.readouts) != {"finetune"}:
        raise ValueError("a method that learns with the gradient has no features before: give --readouts finetune")
    if segmenting:
        _refuse_methods(methods)
    methods.sort(key=lambda method: method.kind == "none-tuned")  # their time is that of the others
    total = available(data)
    counts = {amount: asked(data, amount) for amount in options.labels}
    return [
        Cell(method, amount, count, seed, draw, readout)
        for seed in range(options.seeds)
        for amount, count in counts.items()
        for draw in range(options.draws if count <= FEW * total else 1)
        for method in methods
        for readout in options.readouts
    ]


def _refuse_methods(methods: Iterable[Method]) -> None:
    """Those that segmentation has not."""
    for method in methods:
        if method.kind in ("guided", "vae-paper") or method.at_once or method.beside is not None:
            raise ValueError(f"found the method {method.name!r}, which --task segmentation has not: leave it out")


def compared(cell: Cell, grid: Iterable[Cell]) -> tuple[Cell, list[Cell]]:
    """What a cell of ``"none-tuned"`` takes its time from: backprop alone, and the methods that pre-train."""
    alike = [
        other
        for other in grid
        if (other.amount, other.seed, other.draw, other.readout) == (cell.amount, cell.seed, cell.draw, cell.readout)
    ]
    alone = next(other for other in alike if other.method.kind == "none")
    return alone, [other for other in alike if other.method.kind in ("rule", *VAES)]


def pretrainings(cells: Iterable[Cell]) -> list[Pretraining]:
    """What must be pre-trained for these cells, each once."""
    return list(dict.fromkeys(one for cell in cells if (one := cell.pretraining) is not None))


def pretrain_options(one: Pretraining, options: StudyOptions) -> PretrainOptions:
    """The options of ``fasthebb pretrain`` that this is."""
    method, vae = one.method, one.method.kind in VAES
    paper = follows_paper(options) and options.task == "classification"
    given: dict[str, Any] = {} if method.rule is None else {"rule": method.rule}
    if options.task == "classification":
        given |= {"hidden": options.hidden, "image_size": options.image_size}
    asked = PretrainOptions(
        **given,
        **_common(options),
        method=method.kind if vae else "at-once" if method.at_once else "hebbian",  # type: ignore[arg-type]
        layers=list(method.layers) or (["all"] if paper else []),
        fold=not paper,
        select="last" if not paper or vae or method.at_once or method.kind == "random" else "taught",
        # Weights at rest leave nothing to later passes: batch norm is estimated anew at the end.
        epochs=None if method.at_once else 1 if method.kind == "random" else options.pretrain_epochs,
        lr=0.0 if method.kind == "random" else None if vae or method.at_once else options.pretrain_lr,
        whiten=method.whiten,
        norms="relative" if paper else None,
        seed=one.seed,
        model=options.model,
        width=options.width,
        channels=options.channels,
    )
    # Written down, so that a study that was begun with other usual layers is not gone on with.
    return asked if asked.layers or asked.method != "hebbian" else replace(asked, layers=learning_layers(asked))


def epochs_of(cell: Cell, options: StudyOptions) -> int:
    """Passes over the labelled images, as ``fasthebb finetune`` takes them, where nothing else is asked for."""
    if options.epochs is not None:
        return options.epochs
    return usual_epochs(cell.labels) if cell.readout == "finetune" else USUAL_EPOCHS


def finetune_options(cell: Cell, options: StudyOptions, stretch: float = 1.0) -> FinetuneOptions:
    """The options of ``fasthebb finetune`` that this is.

    Args:
        cell: which; the ``init`` of its options is relative to the study's folder.
        options: with nothing left out.
        stretch: factor on the number of epochs, and so on the schedule of learning rates.
    """
    init = options.weights if cell.method.kind == "weights" else None
    if cell.pretraining is not None:
        init = str(cell.pretraining.folder)
    network: dict[str, Any] = {}
    if init is None:
        own = ("hidden", "image_size") if options.task == "classification" else ()
        network = {name: getattr(options, name) for name in ("model", "width", "channels", *own)}
        network["whiten"] = cell.method.whiten
    probe = cell.readout == "probe"
    lr = options.probe_lr if probe and options.probe_lr is not None else options.lr
    weight_decay = options.probe_weight_decay if probe else options.weight_decay
    closed = cell.readout in ("ridge", "student")
    assert weight_decay is not None and options.select and options.views is not None
    return FinetuneOptions(
        **_common(options),
        **network,
        init=init,
        labels=cell.amount,
        draw_seed=cell.draw_seed,
        seed=cell.seed,
        probe=probe,
        taught=cell.readout == "taught",
        rule=cell.method.beside if cell.readout == "finetune" else None,
        read=options.read,
        side=options.side,
        code=options.code,
        cv=options.cv,
        ridge=closed,
        views=options.views if closed else 0,
        student=options.student if cell.readout == "student" else None,
        rounds=(options.rounds or 1) if cell.readout == "student" else 1,
        semi=cell.readout if cell.readout in SEMI else "none",  # type: ignore[arg-type]
        select="last" if closed or cell.readout == "taught" else options.select,
        epochs=max(1, round(epochs_of(cell, options) * stretch)),
        norms="relative" if init is not None and follows_paper(options) and options.task == "classification" else None,
        lr=None if cell.readout in ("taught", "student") else lr,  # these have their own
        weight_decay=weight_decay,
        augment=options.augment,
    )


def _common(options: StudyOptions) -> dict[str, Any]:
    names = ("data", "unlabelled", "label_file", "group", "strict", "precision", "deterministic", "batch_size", "task")
    masks, streams = ("crop", "depth", "norm", "ignore_value"), ("stream", "workers")
    chosen = {name: getattr(options, name) for name in (*names, *masks, *streams)}
    return {**chosen, "logger": "none"}  # of thousands of cells nobody looks at each


def as_file(name: str) -> str:
    """A name that any file system takes.

    >>> as_file("5/class"), as_file("hpca@conv1/conv2")
    ('5-class', 'hpca@conv1-conv2')
    """
    return re.sub(r"[^\w.@+-]", "-", name)
