"""What a user may choose for each command; the command line and its help are made from these."""

from dataclasses import dataclass, field
from typing import Any, Literal

from fasthebb import HPCA, Rule
from fasthebb.data import Augmentation
from fasthebb.training import OnDivergence, Order, Precision

Select = Literal["last", "labelled-cv", "validation"]
"""How the epoch is chosen whose weights a fine-tuning keeps."""
Task = Literal["classification", "segmentation"]
Semi = Literal["none", "mean-teacher", "cross-pseudo", "cross-consistency", "rectified-pyramid"]
"""How the images without masks take part in a fine-tuning."""


@dataclass(frozen=True)
class DataOptions:
    """Which images, and how they are prepared.

    Args:
        data: "digits", a folder of images (by class, or flat), parquet, WebDataset shards, IDX files, or a name on the
            Hub.
        unlabelled: more images, whose labels are never read; may be given several times.
        label_file: CSV with the columns file and label, and perhaps group and split, that labels some of the images.
        group: column of the label file (a patient, a slide) whose values never straddle splits.
        strict: stop at the first unreadable image instead of leaving it out.
        stream: leave the images where they are and read them anew in every epoch, for sets that do not fit into memory;
            done without being asked where they do not.
        workers: processes that read and decode a stream; if left out as many as there are cores, at most 8, and half of
            them where the processor computes the network as well.
        seed: fixes weights, order and the draw of labels.
        task: "classification" of whole images, or "segmentation": a class for each pixel, from masks.
        crop: for segmentation: side in pixels of the crops that are trained on; 128 if left out, of volumes 32.
        depth: for segmentation: how often a U-Net halves its maps; 4 if left out, of volumes 3.
        norm: for segmentation: "batch", "instance" or "none" in a U-Net; "instance" if left out.
        ignore_value: for segmentation: value of the masks' pixels that count for nothing.
        batch_size: images a step, of each process: as many processes with as many images give the weights of one
            process with all of them.
        precision: "32-true", or "bf16-mixed" for products in bfloat16.
        deterministic: use only operations that give the same result on every run.
        checkpoint_minutes: how often a checkpoint is written within an epoch, beside that at its end; 0 for never.
        on_divergence: what to do when weights are no longer finite: "stop", or "rollback" to the last checkpoint and go
            on with half the learning rate, at most five times.
        devices: processes on this machine, one a GPU, or on its processor if it has none; under torchrun leave it out.
        nodes: machines; several need torchrun or SLURM, which start the processes on each.
        logger: what a training shows of itself, besides ``metrics.csv``: "tensorboard" (see ``fasthebb watch``),
            "none", or the ``module.Class`` of a Lightning logger.
        logger_options: keywords of that class, as ``--logger-options.NAME VALUE``.
        epochs: passes over the training images.
        lr: learning rate.
    """

    data: str = "digits"
    unlabelled: list[str] = field(default_factory=list)
    label_file: str | None = None
    group: str | None = None
    strict: bool = False
    stream: bool = False
    workers: int | None = None
    seed: int = 0
    task: Task = "classification"
    crop: int | None = None
    depth: int | None = None
    norm: Literal["batch", "instance", "none"] | None = None
    ignore_value: int | None = None
    batch_size: int = 64
    precision: Precision = "32-true"
    deterministic: bool = False
    checkpoint_minutes: float = 10.0
    on_divergence: OnDivergence = "stop"
    devices: int = 1
    nodes: int = 1
    logger: str = "tensorboard"
    logger_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PretrainOptions(DataOptions):
    """Options of ``fasthebb pretrain``.

    Args:
        preset: a paper's protocol, "paper-cifar10", "paper-cifar100", "paper-tinyimagenet", "paper-imagenet" (cnn10) or
            "paper-vgg" (VGG-11, or the one that ``model`` names): 20 epochs in batches of 64, on ImageNet of 32, with
            the papers' rules, norms and learning rates. What is given beside it goes first.
        method: "hebbian" learns by the rule, step by step; "at-once" puts one layer after the other where the rule
            would end, from a sample of what it sees (sanger, hpca with the identity, and competitive rules, which
            whiten patches for it); "vae" is a variational autoencoder around the same network, and
            "vae-paper" the one that the FastHebb papers compare with.
        rule: "hpca", "swta", "hebb", "oja", "sanger", "wta", "polynomial_wta", "krotov_hopfield", "softhebb", "ica",
            "summed_swta", or the ``module.Class`` of a rule of your own; its fields are ``--rule.FIELD``.
        layers: names or patterns of the layers that learn, or "all"; if left out those of cnn6 that were measured to
            work best, "conv1" and "conv2", for competitive rules "conv1", and every hidden layer of other networks.
        send: what several processes send each other the sums of the layers in: "float32", or "bfloat16", half as many
            bytes, which rounds updates by some thousandths (those of 512 processes by a seventh).
        order: "together" lets all layers learn at once, "greedy" one after the other.
        transposed: how transposed convolutions learn, for segmentation: "forward", their outputs respond to what they
            see, each kernel offset by itself; or "reversed", their inputs respond to the patches that they write.
        select: the epoch that is kept: "last"; "taught" the best on the validation images by a classifier that the rule
            SWTA teaches meanwhile with every label of the training images: the papers' way, whose labels all count.
        fold: fold norms into the weights, where a rule hands on x.w / |w|; false leaves them to the fine-tuning, which
            then goes on dividing by them, as the papers do.
        epochs: passes over the unlabelled images (in the greedy order, for each layer); if left out 5, for competitive
            rules 1, for a VAE 20.
        lr: learning rate; if left out 0.1, for competitive rules 0.01, for the two VAEs 0.01 and 0.001; 0 is the
            control in which only batch norm adapts.
        model: "cnn6", "cnn8", "cnn10", "vgg11", "vgg13", "vgg16", "vgg19", "softhebb", "triangle2", or a network of
            torchvision or timm; for segmentation "unet", or "deeplabv3_resnet50" or "fcn_resnet50" of torchvision. If
            left out, "cnn6" and "unet".
        width: factor on the numbers of channels of its convolutions.
        hidden: neurons of its dense layer, 0 for none; if left out, 4096, and none in a VGG.
        image_size: height and width in pixels that images are resized to; the network's own if left out.
        channels: colour channels of an image; chosen if left out.
        augment: change the images at random: "none", "shift" (mirror them, and shift by up to an eighth), "light" (also
            turn and resize), "hard" (also perspective, colour and a hidden part); all but "none" mirror, which digits
            and letters do not bear.
        whiten: decorrelate pixels (ZCA), as competitive rules need it; if left out, done for these, unless they learn
            at once.
        norms: the batch norms of cnn6, cnn10 and VGGs: "relative" keeps the variances of the channels relative to each
            other, from the third layer on, as in the papers; "plain" gives each the variance one, and is taken for
            competitive rules if left out: their few winners would leave nothing of the other neurons.
    """

    preset: Literal["paper-cifar10", "paper-cifar100", "paper-tinyimagenet", "paper-imagenet", "paper-vgg"] | None = (
        None
    )
    method: Literal["hebbian", "at-once", "vae", "vae-paper"] = "hebbian"
    rule: Rule = field(default_factory=lambda: HPCA(max_lr=0.1))
    layers: list[str] = field(default_factory=list)
    send: Literal["float32", "bfloat16"] = "float32"
    order: Order = "together"
    transposed: Literal["forward", "reversed"] = "forward"
    select: Literal["last", "taught"] = "last"
    fold: bool = True
    epochs: int | None = None
    lr: float | None = None
    model: str | None = None
    width: float = 1.0
    hidden: int | None = None
    image_size: int | None = None
    channels: int | None = None
    augment: Augmentation = "none"
    whiten: bool | None = None
    norms: Literal["relative", "plain"] | None = None


@dataclass(frozen=True)
class FinetuneOptions(DataOptions):
    """Options of ``fasthebb finetune``.

    Args:
        init: run folder or ``encoder.safetensors`` of a pre-training; left out, backprop starts from random weights.
        labels: simulates scarcity: "400" images in all, the fraction "0.01", or "5/class"; every label if left out.
        draw_seed: fixes the draw of labels; ``seed`` if left out.
        probe: train the classifier alone and leave the features as they are.
        taught: teach the classifier alone by the rule SWTA, with the labels as its teacher, instead of by backprop.
        ridge: fit the classifier alone in closed form, by ridge regression whose penalty is chosen by cross-validation
            on the labelled images; takes seconds, and no epochs or learning rate. With any augmentation the images'
            mirror images are fitted too.
        views: whiten the features, for ``--ridge``, by how two random changes of an image make them differ, on so many
            unlabelled images; 0 leaves them as they are. The changes are those of the student.
        student: network that then learns, by backprop from random weights, from what the ridge regression takes the
            unlabelled images for (spread among those that are alike, unless they are very many), and later from itself
            (self-training); it is what is kept and scored. Its epochs are
            passes over all images, its augmentation is "hard" where none is asked for and the images have colours, its
            learning rate 0.3 x batch size / 250, and momentum and weight decay are its own, 0.85 and 0.0005.
        rounds: how often a student learns for so many epochs: after the first round from what it says itself by then,
            spread anew.
        rule: rule by which the hidden layers learn, beside or instead of plain backprop: "global_guided", "hybrid" (its
            own rule is ``--rule.rule hpca``) or a ``module.Class``, with fields ``--rule.FIELD``.
        read: layers (norm1,norm2) that the classifier sees together, and not the end of the features; those behind the
            last of them do nothing.
        side: positions along each side of their maps that these are averaged to.
        code: neurons of a dense layer between features and classes, whose signs are a short code for retrieval; 0 for
            none.
        semi: for segmentation: how images without masks take part: "none", "mean-teacher", "cross-pseudo" (two networks
            teach each other), "cross-consistency", "rectified-pyramid".
        frozen: for segmentation: names or patterns of the layers that stay as they are.
        features_lr: for segmentation: factor on the learning rate of the pre-trained layers.
        cv: estimate the scores by cross-validation on the labelled images in so many folds, and hold none out for
            validation and test; 0 scores the test images.
        select: the epoch whose weights are kept: "last"; "labelled-cv" as many epochs as were best in a five-fold
            cross-validation on the labelled images; "validation" the best on the validation images, whose labels count.
        epochs: passes over the labelled images; if left out so many that 100,000 are looked at, at least 20 and at most
            200; with --probe, --taught or --student, and for segmentation, 20.
        lr: learning rate of the first half, halved every twentieth of the epochs after it (of up to 20 epochs: of the
            first ten, halved every epoch after them); 0.003 if left out. Of a taught classifier 0.1, and constant.
        stretch: factor on the lengths of the schedule of 20 epochs; if left out, a twentieth of the epochs, at least 1.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty, 0.05 if left out; for segmentation that of AdamW, 0.0001.
        dropout: probability of leaving out an input of the classifier.
        class_weights: "balanced" weighs images so that every class counts the same, however few labels it has; with
            "none" every labelled image counts the same.
        augment: "none", "shift", "light" or "hard", as for ``pretrain``; if left out, "shift" for colour images.
        model: network, where there is no ``init``.
        width: factor on the numbers of channels, where there is no ``init``.
        hidden: neurons of the dense layer, where there is no ``init``.
        image_size: height and width in pixels, where there is no ``init``.
        channels: colour channels, where there is no ``init``.
        whiten: decorrelate pixels, where there is no ``init``.
        norms: the batch norms of ``init``, as for ``pretrain``; if left out "plain" where backprop trains the whole
            network, which learns better from channels that vary alike, and those of the pre-training elsewhere.
    """

    init: str | None = None
    labels: str | None = None
    draw_seed: int | None = None
    probe: bool = False
    taught: bool = False
    ridge: bool = False
    views: int = 0
    student: str | None = None
    rounds: int = 1
    rule: Rule | None = None
    read: list[str] = field(default_factory=list)
    side: int = 4
    code: int = 0
    semi: Semi = "none"
    frozen: list[str] = field(default_factory=list)
    features_lr: float = 1.0
    cv: int = 0
    select: Select = "last"
    epochs: int | None = None
    lr: float | None = None
    stretch: float | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    dropout: float = 0.5
    class_weights: Literal["none", "balanced"] = "none"
    augment: Augmentation | None = None
    model: str | None = None
    width: float | None = None
    hidden: int | None = None
    image_size: int | None = None
    channels: int | None = None
    whiten: bool | None = None
    norms: Literal["relative", "plain"] | None = None


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``fasthebb evaluate``.

    Args:
        weights: run folder or ``classifier.safetensors`` of a fine-tuning.
        data: labelled images, as for ``finetune``.
        label_file: CSV that labels the images.
        group: column of the label file whose values never straddle splits; the intervals are by whole groups then.
        split: which of the images to score; "all" for images that have nothing to do with the training.
        batch_size: images at a time; the scores do not depend on it.
        strict: stop at the first unreadable image instead of leaving it out.
        tile: for segmentation: side in pixels of the overlapping tiles that an image is looked at in.
        ignore_value: for segmentation: value of the masks' pixels that count for nothing.
        layers: also compare the layers: neighbours, a linear machine and retrieval on the features of each, with the
            labelled training images of ``data`` to learn from, whether or not the fine-tuning had their labels (all of
            them; of more than 2,000, the machine takes that many).
    """

    weights: str
    data: str = "digits"
    label_file: str | None = None
    group: str | None = None
    split: Literal["test", "validation", "train", "all"] = "test"
    batch_size: int = 256
    strict: bool = False
    tile: int | None = None
    ignore_value: int | None = None
    layers: bool = False


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``fasthebb predict``.

    Args:
        weights: run folder or ``classifier.safetensors`` of a fine-tuning, or a file exported from one: ``.onnx``, or
            ``.pt2``, which may run code of its author and is read only where FASTHEBB_TRUST_PT2=1 is set.
        images: an image, or a folder of images at any depth.
        batch_size: images at a time; the predictions do not depend on it.
        strict: stop at the first unreadable image instead of leaving it out.
        tile: for segmentation: side in pixels of the overlapping tiles that an image is looked at in.
    """

    weights: str
    images: str
    batch_size: int = 256
    strict: bool = False
    tile: int | None = None
