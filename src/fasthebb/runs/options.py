"""What a user may choose for each command; the command line and its help are made from these."""

from dataclasses import dataclass, field
from typing import Literal

from fasthebb import HPCA, Rule
from fasthebb.training import Order, Precision


@dataclass(frozen=True)
class DataOptions:
    """Which images, and how they are prepared.

    Args:
        data: "digits", a folder of images (by class, or flat), parquet, WebDataset shards, or a name on the Hub.
        unlabelled: more images, whose labels are never read; may be given several times.
        label_file: CSV with the columns file and label, and perhaps group and split, that labels some of the images.
        group: column of the label file (a patient, a slide) whose values never straddle splits.
        strict: stop at the first unreadable image instead of leaving it out.
        seed: fixes weights, order and the draw of labels.
        batch_size: images a step.
        precision: "32-true", or "bf16-mixed" for products in bfloat16.
        deterministic: use only operations that give the same result on every run.
        epochs: passes over the training images.
        lr: learning rate.
    """

    data: str = "digits"
    unlabelled: list[str] = field(default_factory=list)
    label_file: str | None = None
    group: str | None = None
    strict: bool = False
    seed: int = 0
    batch_size: int = 64
    precision: Precision = "32-true"
    deterministic: bool = False


@dataclass(frozen=True)
class PretrainOptions(DataOptions):
    """Options of ``fasthebb pretrain``.

    Args:
        rule: "hpca", "swta", "hebb", "oja", "sanger", "wta", "polynomial_wta", "krotov_hopfield", "softhebb", "ica", or
            the ``module.Class`` of a rule of your own; its fields are ``--rule.FIELD``.
        order: "together" lets all layers learn at once, "greedy" one after the other.
        epochs: passes over the unlabelled images (in the greedy order, for each layer).
        lr: learning rate of the rule; 0 is the control in which only batch norm adapts.
        model: "cnn6", "cnn10", "vgg11", "vgg13", "vgg16" or "vgg19".
        width: factor on the numbers of channels of its convolutions.
        hidden: neurons of its dense layer, 0 for none; if left out, 4096, and none in a VGG.
        image_size: height and width in pixels that images are resized to; the network's own if left out.
        channels: colour channels of an image; chosen if left out.
        augment: mirror and shift the images at random.
        whiten: decorrelate pixels (ZCA), as competitive rules need it; if left out, done for these.
    """

    rule: Rule = field(default_factory=lambda: HPCA(max_lr=0.1))
    order: Order = "together"
    epochs: int = 5
    lr: float = 0.1
    model: str = "cnn6"
    width: float = 1.0
    hidden: int | None = None
    image_size: int | None = None
    channels: int | None = None
    augment: bool = False
    whiten: bool | None = None


@dataclass(frozen=True)
class FinetuneOptions(DataOptions):
    """Options of ``fasthebb finetune``.

    Args:
        init: run folder or ``encoder.safetensors`` of a pre-training; left out, backprop starts from random weights.
        labels: simulates scarcity: "400" images in all, the fraction "0.01", or "5/class"; every label if left out.
        probe: train the classifier alone and leave the features as they are.
        epochs: passes over the labelled images.
        lr: learning rate of the first ten epochs; halved every epoch after them.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty.
        dropout: probability of leaving out an input of the classifier.
        augment: mirror and shift the images at random; if left out, done for colour images.
        model: network, where there is no ``init``.
        width: factor on the numbers of channels, where there is no ``init``.
        hidden: neurons of the dense layer, where there is no ``init``.
        image_size: height and width in pixels, where there is no ``init``.
        channels: colour channels, where there is no ``init``.
        whiten: decorrelate pixels, where there is no ``init``.
    """

    init: str | None = None
    labels: str | None = None
    probe: bool = False
    epochs: int = 20
    lr: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 5e-2
    dropout: float = 0.5
    augment: bool | None = None
    model: str | None = None
    width: float | None = None
    hidden: int | None = None
    image_size: int | None = None
    channels: int | None = None
    whiten: bool | None = None


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``fasthebb evaluate``.

    Args:
        weights: run folder or ``classifier.safetensors`` of a fine-tuning.
        data: labelled images, as for ``finetune``.
        label_file: CSV that labels the images.
        group: column of the label file whose values never straddle splits.
        split: which of the images to score; "all" for images that have nothing to do with the training.
        batch_size: images at a time; the scores do not depend on it.
        strict: stop at the first unreadable image instead of leaving it out.
    """

    weights: str
    data: str = "digits"
    label_file: str | None = None
    group: str | None = None
    split: Literal["test", "validation", "train", "all"] = "test"
    batch_size: int = 256
    strict: bool = False


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``fasthebb predict``.

    Args:
        weights: run folder or ``classifier.safetensors`` of a fine-tuning.
        images: an image, or a folder of images at any depth.
        batch_size: images at a time; the predictions do not depend on it.
        strict: stop at the first unreadable image instead of leaving it out.
    """

    weights: str
    images: str
    batch_size: int = 256
    strict: bool = False
