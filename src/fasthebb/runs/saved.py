"""A network on disk together with everything needed to use it on new images."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from fasthebb.data import Preprocessing
from fasthebb.models import Network, SegmentationNetwork, build_model, build_segmentation, usual
from fasthebb.runs.folder import RunError
from fasthebb.training import check_fit, load_into, load_weights, save_weights

FORMAT = "fasthebb 1"
NORMALISED = "normalised"
"""Note of the layers that hand on x.w / |w| of their weights as they are: a JSON list of names within ``features``."""

WHOLE = ("features.", "classifier.")
"""Beginnings of the names of all tensors of a network."""
MOST_NEW_WEIGHTS = 200_000_000
"""Weights of a classifier that is yet to be trained."""
AnyNetwork = TypeVar("AnyNetwork", Network, SegmentationNetwork)

LABELS_SPENT = "labels_spent"
"""Note of how many labels chose the epoch of a pre-training, where any did."""


@dataclass(frozen=True)
class Saved:
    """A network's description, its weights and the preprocessing of its images; see the kinds of it below.

    Attributes:
        model: ``name`` and the keywords of the network's builder, without ``classes`` and ``dropout``.
        preprocessing: what images go through before the network.
        tensors: the network's ``state_dict``; of an encoder, what lies under ``features.``; empty before training.
        classes: class names in the order of the outputs; empty for an encoder.
        notes: further text, such as the rule.
    """

    model: Mapping[str, Any]
    preprocessing: Preprocessing
    tensors: Mapping[str, Tensor]
    classes: list[str] = field(default_factory=list)
    notes: Mapping[str, str] = field(default_factory=dict)

    task: ClassVar[str]
    kinds: ClassVar[Mapping[str, type]]
    """The keywords that describe a network, and their types."""
    more_kinds: ClassVar[Mapping[str, type]] = {}
    """Those that may be left out."""

    def normalised(self) -> list[str]:
        """Layers of ``features`` that hand on x.w / |w|: hooks must see to it."""
        found = json.loads(self.notes.get(NORMALISED, "[]"))
        if not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
            raise RunError(
                f"the weights name their normalised layers as {str(found)[:60]}, expected a list of names: get or make "
                "them anew"
            )
        return found

    def labels_spent(self) -> int:
        """How many labels the pre-training has used, to choose its epoch."""
        text = self.notes.get(LABELS_SPENT, "0")
        if not text.isdecimal():
            raise RunError(
                f"the weights say that {text[:60]!r} labels were spent on them, expected a number: get or make them "
                "anew"
            )
        return int(text)

    def save(self, path: Path) -> None:
        """Write everything to one safetensors file."""
        metadata = {
            "format": FORMAT,
            "task": self.task,
            "model": json.dumps(dict(self.model)),
            "classes": json.dumps(self.classes),
            **{f"note.{name}": text for name, text in self.notes.items()},
            **self.preprocessing.metadata(),
        }
        save_weights(path, {**self.tensors, **self.preprocessing.tensors()}, metadata)

    def with_weights(self, tensors: Mapping[str, Tensor], classes: list[str]) -> Self:
        """The same description with other weights and classes."""
        return replace(self, tensors=tensors, classes=classes)

    @classmethod
    def load(cls, path: str | Path, default_name: str) -> Self:
        """Read a file, or ``default_name`` in a run folder.

        Raises:
            RunError: if there is no such file, it is of another task, or it was not written by fasthebb.
            WeightsError: if the file is broken.
        """
        file = Path(path)
        if file.is_dir():
            file = file / default_name
        if file.suffix in (".onnx", ".pt2") and file.is_file():
            raise RunError(
                f"found the exported network {file}, which fasthebb predict alone reads: give the run folder that it "
                "is of"
            )
        if not file.is_file():
            raise RunError(f"found no weights at {path}, expected a run folder with {default_name} or such a file")
        tensors, metadata = load_weights(file)
        try:
            written = metadata["format"]
            described, classes = json.loads(metadata["model"]), json.loads(metadata["classes"])
        except (KeyError, ValueError, RecursionError) as error:
            raise RunError(f"{file} was not written by fasthebb: it does not say which network it is of") from error
        if written != FORMAT:
            raise RunError(
                f"{file} has the format {written!r}, expected {FORMAT!r}: make it anew, or use the version of fasthebb "
                "that wrote it"
            )
        if (task := metadata.get("task", "classification")) != cls.task:
            raise RunError(f"{file} is of a network for {task!r}, expected {cls.task!r}: give --task {task}")
        model = cls._description(described, file)
        if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
            raise RunError(
                f"{file} names its classes as {str(classes)[:60]}, expected a list of names: get or make it anew"
            )
        preprocessing = Preprocessing.from_saved(metadata, tensors)
        for name, found, what in (
            ("channels", len(preprocessing.mean), "channels"),
            ("image_size", preprocessing.image_size, "pixels"),
        ):
            if name in cls.kinds and found != model[name]:
                raise RunError(
                    f"{file}: the network takes images of {model[name]} {what}, and the preprocessing those of "
                    f"{found}: get or make it anew"
                )
        return cls(
            model=model,
            preprocessing=preprocessing,
            tensors=tensors,
            classes=classes,
            notes={name.removeprefix("note."): text for name, text in metadata.items() if name.startswith("note.")},
        )

    @classmethod
    def _description(cls, found: Any, file: Path) -> dict[str, Any]:
        """The network as a file from elsewhere describes it: the keywords that we write, of the types that we write."""
        kinds = dict(cls.kinds)
        if isinstance(found, dict):
            kinds |= {name: kind for name, kind in cls.more_kinds.items() if name in found}
        if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != kinds:
            raise RunError(
                f"{file} does not describe a network of fasthebb: found {str(found)[:60]}, expected "
                f"{', '.join(kinds)}: get or make it anew"
            )
        return found


def task_of(path: str | Path, default_name: str) -> str:
    """The task of the network in a file, or in ``default_name`` of a run folder; of others "classification"."""
    file = Path(path)
    file = file / default_name if file.is_dir() else file
    if file.suffix != ".safetensors" or not file.is_file():
        return SavedNetwork.task
    return load_weights(file)[1].get("task", SavedNetwork.task)


@dataclass(frozen=True)
class SavedNetwork(Saved):
    """A network that says the class of an image."""

    task = "classification"
    kinds: ClassVar[Mapping[str, type]] = {
        "name": str,
        "channels": int,
        "image_size": int,
        "width": float,
        "hidden": int,
        "hebbian": bool,
    }
    more_kinds: ClassVar[Mapping[str, type]] = {
        "code": int,
        "plain_norms": bool,
        "mirrored": bool,
        "read": list,
        "side": int,
    }

    def build(self, classes: int, dropout: float = 0.0) -> Network:
        """The network with new outputs for ``classes`` classes and these features, random ones if there are no tensors.

        Raises:
            WeightsError: if the weights do not fit the network that the file describes.
        """
        return _built(build_model, self, classes, dropout)

    def classifier(self) -> Network:
        """The whole network, features and classifier, in eval mode."""
        if not self.classes:
            raise RunError("these weights are an encoder without classes: fine-tune it first, with fasthebb finetune")
        return _built(build_model, self, len(self.classes), 0.0, WHOLE).eval()


@dataclass(frozen=True)
class SavedSegmentation(Saved):
    """A network that says the class of each pixel."""

    task = "segmentation"
    kinds: ClassVar[Mapping[str, type]] = {"name": str, "channels": int, "dims": int, "hebbian": bool}
    more_kinds: ClassVar[Mapping[str, type]] = {"depth": int, "width": int, "norm": str}

    def build(self, classes: int, dropout: float = 0.0) -> SegmentationNetwork:
        """As `SavedNetwork.build`."""
        return _built(build_segmentation, self, classes, dropout)

    def segmenter(self) -> SegmentationNetwork:
        """The whole network, features and classifier, in eval mode."""
        if not self.classes:
            raise RunError("these weights are an encoder without classes: fine-tune it first, with fasthebb finetune")
        return _built(build_segmentation, self, len(self.classes), 0.0, WHOLE).eval()


def _built(
    build: Callable[..., AnyNetwork],
    saved: Saved,
    classes: int,
    dropout: float,
    prefixes: Sequence[str] = ("features.",),
) -> AnyNetwork:
    """The network that is described, with the tensors if there are any.

    A file from elsewhere may describe any network at all: whether it fits its tensors is seen before memory is taken.

    Raises:
        RunError: it cannot be built.
        WeightsError: the tensors do not fit it.
    """
    described = {**saved.model, "classes": classes, "dropout": dropout}
    if not saved.tensors:
        return build(**described)
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            outline = build(**described)
    except Exception as error:  # torch refuses impossible sizes in several ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise RunError(
            f"the weights describe a network that cannot be built ({reason}): get or make them anew"
        ) from error
    check_fit(outline, saved.tensors, strict_prefixes=prefixes)
    more = sum(tensor.numel() for name, tensor in outline.state_dict().items() if name not in saved.tensors)
    if more > MOST_NEW_WEIGHTS:
        raise RunError(
            f"the weights describe a network with {more:,} weights that they do not have: get or make them anew"
        )
    model = build(**described)
    load_into(model, saved.tensors, strict_prefixes=prefixes)
    return model


def network_options(
    name: str | None, *, width: float | None, hidden: int | None, image_size: int | None, channels: int | None
) -> dict[str, Any]:
    """The keywords of `build_model`, with the network's own values in the place of what was left out.

    Refuses a network that cannot be built, before the long reading of images.

    Raises:
        ValueError: as the network's builder does.
    """
    name = "cnn6" if name is None else name
    given = {"width": width, "hidden": hidden, "image_size": image_size, "channels": channels}
    described: dict[str, Any] = {key: usual(name, key) if value is None else value for key, value in given.items()}
    described["width"] = float(described["width"])
    with torch.device("meta"):
        build_model(name, **described)
    return {"name": name, **described}


def reading_options(described: Mapping[str, Any], read: Sequence[str], side: int) -> dict[str, Any]:
    """The keywords of `build_model` that let layers of a network be read together; none where no layer is named.

    Raises:
        ValueError: there is no such layer, or the side is not positive; before the long reading of images.
    """
    if not read:
        return {}
    chosen: dict[str, Any] = {"read": list(read), "side": side}
    with torch.device("meta"):
        build_model(**described, **chosen)
    return chosen
