"""A trained network that is shared and used: with its preprocessing and the names of its classes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn
from typing_extensions import Self

from fasthebb.exported import Description, export
from fasthebb.hub.card import card_text
from fasthebb.hub.checks import (
    SharingError,
    check_agreement,
    check_fits,
    check_header,
    checked_images,
    description,
)
from fasthebb.hub.provenance import provenance
from fasthebb.hub.resizing import fitted
from fasthebb.runs.saved import Saved, SavedNetwork, task_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class HebbianModel(
    nn.Module,
    ModelHubMixin,
    library_name="fasthebb",
    pipeline_tag="image-classification",
    tags=["hebbian-learning", "semi-supervised"],
):
    """A network with everything that is needed to use it on new images, and to pass it on.

    Called with images it gives probabilities; `predict` gives names. Images are ``(N, C, H, W)`` of any size, uint8 or
    float in [0, 1]: they are resized by their shorter side, cropped to the centre square, converted between grey and
    colour, and preprocessed as in training. An encoder, of a pre-training alone, gives `features`. A network that says
    the class of each pixel comes from `from_run` and `from_pretrained` as a `HebbianSegmenter`.

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
    >>> from fasthebb.models import build_model
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
    _saved_as: ClassVar[type[Saved]] = SavedNetwork
    saved: Saved

    def __init__(self, saved: Saved) -> None:
        super().__init__()
        check_fits(saved)
        self.saved = replace(saved, tensors={})
        self.classes = list(saved.classes)
        self.preprocessing = saved.preprocessing
        self.network = self._built(saved)
        self.eval()

    @classmethod
    def from_run(cls, path: str | Path) -> Self:
        """The network of a run folder of ``fasthebb finetune`` or ``pretrain``, or of one of their weights files.

        What the run says of data, rule and scores comes with it, for the model card; of paths only the last part.

        Raises:
            SharingError: it is of a task that this class is not for.
            ValueError: there is no such run, or it cannot be read; in one line.
        """
        folder = Path(path)
        name = "encoder.safetensors" if (folder / "encoder.safetensors").is_file() else "classifier.safetensors"
        kind = cls._for(folder / name if folder.is_dir() else folder)
        saved = kind._saved_as.load(folder, name)
        return kind(replace(saved, notes=provenance(saved.notes, folder if folder.is_dir() else folder.parent)))

    @classmethod
    def _for(cls, weights: Path) -> type[Self]:
        """This class, or that below it which is for the task of the weights."""
        if not weights.is_file():
            return cls  # which says so
        task = task_of(weights, weights.name)
        for one in (cls, *cls.__subclasses__()):
            if one._saved_as.task == task:
                return one
        raise SharingError(f"{weights} is of a network for {task!r}, expected {cls._saved_as.task!r}")

    @staticmethod
    def _built(saved: Saved) -> nn.Module:
        assert isinstance(saved, SavedNetwork)
        return saved.classifier() if saved.classes else saved.build(classes=1)

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
        features: Tensor = self.network.get_submodule("features")(self._prepared(images))
        return features.flatten(1)

    def predict(self, images: Tensor, *, batch_size: int = 256) -> list[str]:
        """The name of the likeliest class of each image; `batch_size` of them at a time, without gradients."""
        self._require_classes()
        with torch.inference_mode():
            winners = [int(row) for part in torch.split(images, batch_size) for row in self(part).argmax(1)]
        return [self.classes[winner] for winner in winners]

    def _prepared(self, images: Tensor) -> Tensor:
        images = checked_images(images, dims=2)
        described = self.saved.model
        square = fitted(images, described["image_size"], described["channels"])
        prepared: Tensor = self.preprocessing(square.to(next(self.network.parameters()).device))
        return prepared

    def _require_classes(self) -> None:
        if not self.classes:
            raise SharingError(
                "this is an encoder without classes, which gives features(images) alone: fine-tune it first"
            )

    # --- as files -------------------------------------------------------------------------------------------------

    def export(self, path: str | Path, *, resize: bool = False) -> Path:
        """Write one graph from images to probabilities, for other programs and ``fasthebb predict --weights``.

        Its input ``images`` is ``(N, channels, image_size, image_size)`` float32 in [0, 1], for any N; its output
        ``probabilities`` ``(N, classes)``. The preprocessing is part of it. The classes, channels and image size are
        kept as JSON texts in ``metadata_props``, or in the extra file ``fasthebb.json``.

        Args:
            path: ends in ".onnx", or in ".pt2" for the format of `torch.export`.
            resize: let the graph take images ``(N, channels, H, W)`` of any size, and resize and crop them as a call
                does: to the rounding of uint8, which it leaves out, 1/255 of a pixel's range at most.

        Raises:
            SharingError: the model is an encoder.
            fasthebb.exported.ExportError: for another ending, or a network whose graph cannot be taken.
        """
        self._require_classes()
        described = self.saved.model
        description = Description(self.classes, described["channels"], described["image_size"], resizes=resize)
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
            raise SharingError(
                f"found the argument {next(iter(model_kwargs))!r}, expected force_download, token, cache_dir, "
                "local_files_only or revision"
            )
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
        check_header(weights)
        kind = cls._for(weights)
        saved = kind._saved_as.load(weights, WEIGHTS)
        if config.is_file():
            check_agreement(saved, config)
        return kind(saved)

    def _save_pretrained(self, save_directory: Path) -> None:
        """See `ModelHubMixin.save_pretrained`."""
        trained = self.network.state_dict()
        tensors = {name: trained[name] for name in trained if self.classes or name.startswith("features.")}
        saved = replace(self.saved, tensors=tensors, preprocessing=self.preprocessing)
        saved.save(save_directory / WEIGHTS)
        (save_directory / CONFIG).write_text(json.dumps(description(saved), indent=2) + "\n", encoding="utf-8")

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
