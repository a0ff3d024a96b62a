"""What a user may choose for a study, and the papers' protocols."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from fasthebb.data import Augmentation
from fasthebb.runs.folder import given
from fasthebb.runs.options import Select, Task
from fasthebb.runs.refusal import OF_SEGMENTATION, refuse, refuse_impossible
from fasthebb.training import Precision, fast_precision

Readout = Literal[
    "finetune",
    "probe",
    "taught",
    "ridge",
    "student",
    "mean-teacher",
    "cross-pseudo",
    "cross-consistency",
    "rectified-pyramid",
]
OF_CLASSIFICATION = (
    "label_file",
    "stream",
    "workers",
    "hidden",
    "image_size",
    "code",
    "read",
    "side",
    "views",
    "rounds",
)
SEMI: tuple[Readout, ...] = ("mean-teacher", "cross-pseudo", "cross-consistency", "rectified-pyramid")
"""Ways of fine-tuning in which images without masks take part."""
Preset = Literal[
    "paper-cifar10",
    "paper-cifar100",
    "paper-tinyimagenet",
    "paper-imagenet",
    "paper-vgg",
    "paper-segmentation",
    "best-cifar10",
]


@dataclass(frozen=True)
class StudyOptions:
    """Options of ``fasthebb study``.

    Args:
        data: "digits", a folder of images by class, parquet, WebDataset shards, IDX files, or a name on the Hub.
        task: "classification", or "segmentation": labels are masks then, and scores are Dice and Jaccard.
        preset: a paper's protocol ("paper-segmentation" for --task segmentation), or "best-cifar10", what was found to
            be best there; options given beside it go first.
        methods: "none" (backprop alone), "random" (pre-training with learning rate 0), "none+whiten", "none-tuned"
            (backprop alone for as many minutes as the costliest method), "vae", "vae-paper", "weights", rules by
            name or module.Class; "hpca@conv1/conv2" lets these layers alone learn by the rule, "hpca@all" every hidden
            one, "hpca+hybrid" lets it go on beside backprop; "global_guided" gives backprop's gradient the size of a
            local step.
        labels: amounts: "400" in all, the fraction "0.01", "5/class".
        seeds: how many seeds of weights, from 0 on.
        draws: how many draws of the labels a seed, up to a tenth of the labels; one above.
        readouts: "finetune" trains the whole network, "probe" a linear classifier on frozen features,
            "taught" the same by a Hebbian rule with the labels as its teacher, "ridge" in closed form, "student"
            another network by backprop, on what "ridge" takes the unlabelled images for, and later on what it does
            itself. For segmentation "finetune", or with the images without masks "mean-teacher", "cross-pseudo",
            "cross-consistency", "rectified-pyramid".
        student: the network of the readout "student"; "cnn8" if left out.
        rounds: how often it learns for so many epochs, after the first time from what it says itself; 1 if left out.
        views: for "ridge" and "student": whiten features by how two random changes of an image make them differ, on so
            many unlabelled images; 0 leaves them as they are.
        search: trials of a search for each method's learning rates and weight decay, by cross-validation on the
            smallest amount of labels or masks, drawn by a seed of its own; 0 takes the settings below.
        cv: estimate by cross-validation on the labelled images in so many folds, for data without images to test on.
        jobs: cells side by side, each on its part of the processor's cores.
        keep: keep the classifier of every cell; otherwise only scores and curves are kept, and every encoder.
        dry_run: print the grid and the time it will take, from some measured steps of each method.
        weights: encoder.safetensors or run folder of the method "weights".
        unlabelled: more images, whose labels are never read; may be given several times.
        label_file: CSV with the columns file and label, and perhaps group and split.
        group: column whose values never straddle splits.
        strict: stop at the first unreadable image instead of leaving it out.
        stream: leave the images where they are and read them anew in every epoch, see ``pretrain``.
        workers: processes that read and decode a stream.
        model: network.
        width: factor on the numbers of channels of its convolutions.
        hidden: neurons of its dense layer, 0 for none; the network's own if left out.
        read: layers that the classifier sees together, and not the end of the features, see ``finetune``.
        side: positions along each side of their maps that these are averaged to.
        code: neurons of a dense layer between features and classes, whose signs are a short code for retrieval.
        image_size: height and width in pixels; the network's own if left out.
        channels: colour channels of an image; chosen if left out.
        crop: for segmentation: side in pixels of the crops; 128 if left out.
        depth: for segmentation: how often a U-Net halves its maps; 4 if left out.
        norm: for segmentation: "batch", "instance" or "none" in a U-Net; "instance" if left out.
        ignore_value: for segmentation: value of the masks' pixels that count for nothing.
        batch_size: images a step; 64 if left out, for segmentation 8.
        precision: "32-true", or "bf16-mixed" for products in bfloat16; "32-true" if left out, with the preset
            "best-cifar10" the one that this machine computes fast in.
        deterministic: use only operations that give the same result on every run.
        pretrain_epochs: passes over the unlabelled images; if left out 5, for competitive rules 1, for VAEs 20.
        pretrain_lr: learning rate of rules; if left out 0.1, for competitive ones 0.01. VAEs have their own, 0.01 and
            0.001.
        epochs: passes over the labelled images; if left out so many that 100,000 are looked at, at least 20 and at most
            200; of read-outs other than "finetune", and of segmentation, 20. The learning rate falls as far in any.
        lr: learning rate of the fine-tuning; 0.003 if left out.
        probe_lr: the same of the probe; ``lr`` if left out.
        weight_decay: L2 penalty; 0.05 if left out.
        probe_weight_decay: the same of the probe; 0.0005 if left out.
        augment: of the fine-tuning: "none", "shift", "light" or "hard"; if left out "shift" for colour images.
        select: the epoch that is kept: "last", "labelled-cv" or "validation", see ``finetune``.
    """

    data: str = "digits"
    task: Task = "classification"
    preset: Preset | None = None
    methods: list[str] | None = None
    labels: list[str] | None = None
    seeds: int | None = None
    draws: int | None = None
    readouts: list[Readout] | None = None
    student: str = "cnn8"
    rounds: int | None = None
    views: int | None = None
    search: int = 0
    cv: int = 0
    jobs: int = 1
    keep: bool = False
    dry_run: bool = False
    weights: str | None = None
    unlabelled: list[str] = field(default_factory=list)
    label_file: str | None = None
    group: str | None = None
    strict: bool = False
    stream: bool = False
    workers: int | None = None
    model: str | None = None
    width: float = 1.0
    hidden: int | None = None
    read: list[str] = field(default_factory=list)
    side: int = 4
    code: int = 0
    image_size: int | None = None
    channels: int | None = None
    crop: int | None = None
    depth: int | None = None
    norm: Literal["batch", "instance", "none"] | None = None
    ignore_value: int | None = None
    batch_size: int | None = None
    precision: Precision | None = None
    deterministic: bool = False
    pretrain_epochs: int | None = None
    pretrain_lr: float | None = None
    epochs: int | None = None
    lr: float | None = None
    probe_lr: float | None = None
    weight_decay: float | None = None
    probe_weight_decay: float | None = None
    augment: Augmentation | None = None
    select: Select | None = None

    @property
    def first_readout(self) -> Readout | None:
        """The one that a search looks for settings with."""
        return self.readouts[0] if self.readouts else None


USUAL: dict[str, Any] = {
    "methods": ["none", "random", "hpca", "swta"],
    "labels": ["0.01", "0.05", "0.1"],
    "seeds": 5,
    "draws": 1,
    "readouts": ["finetune"],
    "views": 0,
    "model": "cnn6",
    "batch_size": 64,
    "precision": "32-true",
    "lr": 3e-3,
    "weight_decay": 5e-2,
    "probe_weight_decay": 5e-4,
    "select": "last",
}
"""What was measured to work best, where no preset is asked for."""

SEGMENTATION: dict[str, Any] = {
    **USUAL,
    "methods": ["none", "random", "hpca"],
    "labels": ["5", "0.05", "0.1"],
    "seeds": 3,
    "model": "unet",
    "batch_size": 8,
    "epochs": 20,
    "weight_decay": 1e-4,
}
"""The same for segmentation."""

_PAPER: dict[str, Any] = {
    **USUAL,
    "methods": ["none", "vae-paper", "hpca", "swta"],
    "labels": ["0.01", "0.02", "0.03", "0.04", "0.05", "0.1", "0.25", "1.0"],
    "pretrain_epochs": 20,
    "pretrain_lr": 1e-2,
    "epochs": 20,
    "lr": 1e-3,
    "augment": "none",
    "select": "validation",
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper-cifar10": _PAPER,
    "paper-cifar100": {**_PAPER, "weight_decay": 1e-2},
    "paper-tinyimagenet": {**_PAPER, "weight_decay": 5e-3},
    "paper-imagenet": {
        **_PAPER,
        "model": "cnn10",
        "weight_decay": 1e-3,
        "batch_size": 32,
        "pretrain_lr": 1e-3,
    },
    "paper-vgg": {
        **_PAPER,
        "model": "vgg11",
        "weight_decay": 1e-3,
        "batch_size": 32,
        "pretrain_lr": 1e-3,
    },
    "best-cifar10": {
        **USUAL,
        "methods": ["wta+at-once"],
        "readouts": ["student"],
        "rounds": 2,
        "views": 8000,
        "model": "triangle2",
        "batch_size": 250,
        "precision": None,  # whichever is fast
        "epochs": 10,
    },
    "paper-segmentation": {
        **SEGMENTATION,
        "methods": ["none", "vae", "summed_swta"],
        "labels": ["0.01", "0.02", "0.05", "0.1", "0.2"],
        "seeds": 10,
        "readouts": ["finetune", *SEMI],
        "batch_size": 2,
        "norm": "batch",
        "pretrain_lr": 1e-6,
        "lr": 1e-3,
    },
}
"""Protocols of Lagani et al. (LOD 2021; Neurocomputing 595, 2024) and, for segmentation, of Ciampi et al. (Neural
Networks 2026), and what was found beyond them."""

OF_MASKS = ("paper-segmentation",)
"""Presets of segmentation."""

GRID = ("methods", "labels", "seeds", "draws", "readouts", "jobs", "keep", "dry_run")
"""Options that may change while a study is under way: they say which cells there are, not what a cell is."""


def follows_paper(options: StudyOptions) -> bool:
    """Whether the preset is a paper's protocol, to be kept to even where something else was found better."""
    return options.preset is not None and options.preset.startswith("paper")


def resolved(options: StudyOptions) -> StudyOptions:
    """The same with nothing left out that the preset, or what is usual, decides.

    Raises:
        ValueError: a number is out of range.

    >>> resolved(StudyOptions(preset="paper-cifar10", lr=0.1)).lr, resolved(StudyOptions()).seeds
    (0.1, 5)
    """
    segmenting = options.task == "segmentation"
    refuse_impossible(options)
    refuse(options, OF_CLASSIFICATION if segmenting else OF_SEGMENTATION, options.task)
    if options.preset is not None and segmenting != (options.preset in OF_MASKS):
        other = "classification" if segmenting else "segmentation"
        raise ValueError(f"found the preset {options.preset!r}, which is of --task {other}: give that, or leave it out")
    usual = SEGMENTATION if segmenting else USUAL
    known = usual if options.preset is None else PRESETS[options.preset]
    complete = replace(options, **{name: value for name, value in known.items() if getattr(options, name) is None})
    if complete.model != "unet":
        complete = replace(complete, norm=options.norm)  # others have none to choose
    if complete.precision is None:
        complete = replace(complete, precision=fast_precision())
    for name in ("seeds", "draws", "jobs", "rounds", "batch_size", "epochs"):
        value = getattr(complete, name)
        if value is not None and value < 1:
            raise ValueError(f"found {given(name, value)}, expected at least 1")
    if complete.search < 0:
        raise ValueError(f"found --search {complete.search}, expected a number of trials, or 0 for no search")
    assert complete.readouts is not None
    if complete.stream and (
        complete.search or complete.cv or complete.dry_run or {"ridge", "student"} & set(complete.readouts)
    ):
        raise ValueError("--stream has no --search, --cv, --dry-run, ridge and student yet: leave one of them out")
    if complete.search and complete.readouts[0] not in ("finetune", "probe", *SEMI):
        raise ValueError(
            f"a search needs a learning rate to look for, which {complete.readouts[0]!r} has not: let --readouts begin "
            "with finetune or probe"
        )
    others = set(complete.readouts) - ({"finetune", *SEMI} if segmenting else set(complete.readouts) - set(SEMI))
    if others:
        raise ValueError(
            f"found --readouts {','.join(sorted(others))}, which --task {complete.task} has not: leave them out"
        )
    for name in ("methods", "labels", "readouts"):
        values = getattr(complete, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(f"found {given(name, values)}, expected at least one, and each once")
    return complete


def cell_settings(options: StudyOptions) -> dict[str, Any]:
    """The options that say what a cell is, for comparison with those of another run."""
    return {f.name: getattr(options, f.name) for f in fields(options) if f.name not in (*GRID, "preset")}
