"""A trained network that is shared and used: with its preprocessing and the names of its classes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fasthebb.exported import Description, export
from fasthebb.hub.card import card_text
from fasthebb.hub.provenance import provenance
from fasthebb.hub.resizing import fitted
from fasthebb.models import build_model
from fasthebb.runs.saved import FORMAT, SavedNetwork, task_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class SharingError(ValueError):
    """A user's mistake about a shared model, in one line: what was found, what was expected, what to do."""


class HebbianModel(
    nn.Module,
    ModelHubMixin,
    library_name="fasthebb",
    pipeline_tag="image-classification",
    tags=["hebbian-learning", "semi-supervised", "image-classification"],
):
    """A network with everything that is needed to use it on new images, and to pass it on.

    Called with images it gives probabilities; `predict` gives names. Images are ``(N, C, H, W)`` of any size, uint8 or
    float in [0, 1]: they are resized by their shorter side, cropped to the centre square, converted between grey and
    colour, and preprocessed as in training. An encoder, of a pre-training alone, gives `features`.

    A folder of `save_pretrained` holds ``model.safetensors`` (the weights, and in its header all else), ``config.json``
    (the same to read) and ``README.md`` (the model card). `push_to_hub` uploads these three files. Files from others
    are data and never run: nothing is unpickled, and a description is checked before anything is built from it.

    Args:
        saved: the network, its preprocessing and classes.

    Attributes:
        saved: these, without the weights, which are those of `network`.
        network: from preprocessed images to logits.
        preprocessing: of the images.
        classes: names in the order of the outputs; empty for an encoder.

    Raises:
        SharingError: the description does not fit the weights, or the network is no plain one.

    >>> import tempfile
    >>> from fasthebb.data import Preprocessing
    >>> described = {"name": "cnn6", "channels": 1, "image_size": 24, "width": 0.1, "hidden": 8, "hebbian": True}
    >>> preprocessing = Preprocessing.fit(torch.rand(9, 1, 24, 24))
    >>> tensors = build_model(**described, classes=2).state_dict()
    >>> model = HebbianModel(SavedNetwork(described, preprocessing, tensors, ["ant", "bee"]))
    >>> model(torch.zeros(3, 3, 50, 40, dtype=torch.uint8)).shape
    torch.Size([3, 2])
    >>> folder = Path(tempfile.mkdtemp()) / "insects"
    >>> _ = model.save_pretrained(folder)
    >>> images = torch.rand(5, 1, 24, 24)
    >>> torch.equal(HebbianModel.from_pretrained(folder)(images), model(images))
    True
    """

    _hub_mixin_config = {}  # noqa: RUF012 - so that the mixin makes none: `_save_pretrained` writes it
    saved: SavedNetwork

    def __init__(self, saved: SavedNetwork) -> None:
        super().__init__()
        _check_fits(saved)
        self.saved = replace(saved, tensors={})
        self.classes = list(saved.classes)
        self.preprocessing = saved.preprocessing
        self.network = saved.classifier() if saved.classes else saved.build(classes=1).eval()
        self.eval()

    @classmethod
    def from_run(cls, path: str | Path) -> Self:
        """The network of a run folder of ``fasthebb finetune`` or ``pretrain``, or of one of their weights files.

        What the run says of data, rule and scores comes with it, for the model card; of paths only the last part.

        Raises:
            SharingError: it is of another task.
            ValueError: there is no such run, or it cannot be read; in one line.
        """
        folder = Path(path)
        name = "encoder.safetensors" if (folder / "encoder.safetensors").is_file() else "classifier.safetensors"
        if (task := task_of(folder, name)) != SavedNetwork.task:
            raise SharingError(f"{path} is of a network for {task}, expected one that classifies images")
        saved = SavedNetwork.load(folder, name)
        return cls(replace(saved, notes=provenance(saved.notes, folder if folder.is_dir() else folder.parent)))

    # --- on images ------------------------------------------------------------------------------------------------

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities ``(N, classes)`` of images ``(N, C, H, W)``, uint8 or float in [0, 1]; where the model is.

        Raises:
            SharingError: the model is an encoder, or these are no images.
        """
        self._require_classes()
        return torch.softmax(self.network(self._prepared(images)), dim=1)

    def features(self, images: Tensor) -> Tensor:
        """What the hidden layers hand on, ``(N, features)``, of images as for a call."""
        features: Tensor = self.network.features(self._prepared(images)).flatten(1)
        return features

    def predict(self, images: Tensor, *, batch_size: int = 256) -> list[str]:
        """The name of the likeliest class of each image; `batch_size` of them at a time, without gradients."""
        self._require_classes()
        with torch.inference_mode():
            winners = [int(row) for part in torch.split(images, batch_size) for row in self(part).argmax(1)]
        return [self.classes[winner] for winner in winners]

    def _prepared(self, images: Tensor) -> Tensor:
        if not isinstance(images, Tensor) or images.dim() != 4:
            found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise SharingError(f"found {found}, expected a tensor of images (N, C, H, W)")
        if images.dtype != torch.uint8:
            if not images.is_floating_point():
                raise SharingError(f"found images of {images.dtype}, expected torch.uint8, or float in [0, 1]")
            images = images.float()
            if images.numel() and not (images.min() >= 0 and images.max() <= 1):
                low, high = images.min().item(), images.max().item()
                raise SharingError(f"found values from {low:.3g} to {high:.3g}, expected uint8, or float in [0, 1]")
        described = self.saved.model
        square = fitted(images, described["image_size"], described["channels"])
        prepared: Tensor = self.preprocessing(square.to(next(self.network.parameters()).device))
        return prepared

    def _require_classes(self) -> None:
        if not self.classes:
            raise SharingError("this is an encoder without classes, which gives features(images): fine-tune it first")

    # --- as files -------------------------------------------------------------------------------------------------

    def export(self, path: str | Path) -> Path:
        """Write one graph from images to probabilities, for other programs and ``fasthebb predict --weights``.

        Its input ``images`` is ``(N, channels, image_size, image_size)`` float32 in [0, 1], for any N; its output
        ``probabilities`` ``(N, classes)``. The preprocessing is part of it, the resizing is not. The classes, channels
        and image size are kept as JSON texts in ``metadata_props``, or in the extra file ``fasthebb.json``.

        Args:
            path: ends in ".onnx", or in ".pt2" for the format of `torch.export`.

        Raises:
            SharingError: the model is an encoder.
            fasthebb.exported.ExportError: for another ending, or a network whose graph cannot be taken.
        """
        self._require_classes()
        described = self.saved.model
        description = Description(self.classes, described["channels"], described["image_size"])
        return export(self.preprocessing, self.network, description, path)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """Read a folder of `save_pretrained`, or download it from the Hub.

        Args:
            pretrained_model_name_or_path: a folder, or a name such as "somebody/insects".
            force_download: even if it is in the cache.
            token: for private models; by default that of ``hf auth login``.
            cache_dir: of downloads.
            local_files_only: use the cache alone.
            revision: branch, tag or commit on the Hub.
            model_kwargs: there are none.

        Raises:
            SharingError: there is no such model, or its files contradict each other or are damaged.
        """
        if model_kwargs:
            raise SharingError(f"unknown argument {next(iter(model_kwargs))!r}")
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            return cls._read(folder / WEIGHTS, folder / CONFIG)
        name = str(pretrained_model_name_or_path)
        files = []
        try:
            for file in (WEIGHTS, CONFIG):
                files.append(
                    Path(
                        hf_hub_download(
                            name,
                            file,
                            revision=revision,
                            cache_dir=cache_dir,
                            force_download=force_download,
                            token=token,
                            local_files_only=local_files_only,
                        )
                    )
                )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise SharingError(
                f"found no folder {name!r}, and no such model of fasthebb on the Hub ({reason}): check the spelling"
            ) from error
        return cls._read(*files)

    @classmethod
    def _read(cls, weights: Path, config: Path) -> Self:
        """Both files, which must say the same."""
        if not weights.is_file():
            raise SharingError(f"found no {WEIGHTS} in {weights.parent}, expected a folder of save_pretrained")
        _check_header(weights)
        saved = SavedNetwork.load(weights, WEIGHTS)
        if config.is_file():
            try:
                said = json.loads(config.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise SharingError(f"{config} is not readable JSON: write the folder again") from error
            own = _config(saved)
            for key in ("format", "model", "classes", "preprocessing"):
                if not isinstance(said, dict) or said.get(key) != own[key]:
                    raise SharingError(
                        f"{CONFIG} and {WEIGHTS} of {config.parent} do not say the same of {key!r}: one of them was "
                        "changed; get them anew from where they come from"
                    )
        return cls(saved)

    def _save_pretrained(self, save_directory: Path) -> None:
        """See `ModelHubMixin.save_pretrained`."""
        trained = self.network.state_dict()
        tensors = {name: trained[name] for name in trained if self.classes or name.startswith("features.")}
        saved = replace(self.saved, tensors=tensors, preprocessing=self.preprocessing)
        saved.save(save_directory / WEIGHTS)
        (save_directory / CONFIG).write_text(json.dumps(_config(saved), indent=2) + "\n", encoding="utf-8")

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, model_card_kwargs: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Upload to the Hub; needs ``hf auth login``, or a token.

        Args:
            repo_id: name there, such as "somebody/insects"; made if there is none.
            model_card_kwargs: for the model card: ``text`` to add, or fields of the Hub's such as ``license="mit"``.
            more: as `ModelHubMixin.push_to_hub`: ``private``, ``token``, ``commit_message``, ``branch`` and the like.

        Returns:
            The address of the commit.
        """
        return super().push_to_hub(repo_id, model_card_kwargs={"name": repo_id, **(model_card_kwargs or {})}, **more)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The model card: data, rule, scores, how to use it."""
        return ModelCard(card_text(self.saved, self._hub_mixin_info.model_card_data, **kwargs))


def _config(saved: SavedNetwork) -> dict[str, Any]:
    """What ``config.json`` says."""
    return {
        "format": FORMAT,
        "library_name": "fasthebb",
        "model": dict(saved.model),
        "classes": list(saved.classes),
        "preprocessing": {name: json.loads(text) for name, text in saved.preprocessing.metadata().items()},
        "notes": dict(saved.notes),
    }


def _check_header(weights: Path) -> None:
    """Refuse what `SavedNetwork.load` takes on trust in a file's header."""
    try:
        with safe_open(weights, framework="pt") as file:
            classes = json.loads((file.metadata() or {}).get("classes", "[]"))
    except SafetensorError:
        return  # which it says itself
    except (ValueError, RecursionError):
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise SharingError(f"{weights} does not name its classes, expected a list of texts: get it anew")


def _check_fits(saved: SavedNetwork) -> None:
    """Refuse, before anything is built, a description that is far from the weights: it could ask for all memory."""
    if saved.normalised() and not saved.classes:
        raise SharingError(
            "this encoder divides by the norms of its weights, which a plain network does not: pre-train with "
            "--fold true"
        )
    try:
        with torch.device("meta"):
            described = build_model(**saved.model, classes=max(1, len(saved.classes)), dropout=0.0)
    except (ValueError, RuntimeError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise SharingError(f"the weights are of a network that cannot be built: {reason}") from error
    prefixes = ("features.", "classifier.") if saved.classes else ("features.",)
    shapes = {name: value.shape for name, value in described.state_dict().items() if name.startswith(prefixes)}
    if shapes != {name: value.shape for name, value in saved.tensors.items() if name.startswith(prefixes)}:
        raise SharingError("the weights do not fit the network that they are said to be of: get them anew")
    if saved.model["image_size"] != saved.preprocessing.image_size:
        raise SharingError(
            f"the network takes images of {saved.model['image_size']} pixels, and the preprocessing those of "
            f"{saved.preprocessing.image_size}: get them anew"
        )
