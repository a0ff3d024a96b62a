"""Hidden layers as a transformer of scikit-learn."""

from copy import deepcopy
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from typing_extensions import Self

from fasthebb import Rule
from fasthebb.sklearn.inputs import ImageShape, as_rows, check_pixels, kinds_of, rows_as_fitted
from fasthebb.sklearn.learning import at_once, batches, by_steps, can_learn_at_once, chosen_rule
from fasthebb.sklearn.network import Standardise, convolutions, dense_layers, with_input
from fasthebb.sklearn.random import private_stream, seed_of

Solver = Literal["auto", "steps", "at-once"]


class HebbianTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features that hidden layers learn by a Hebbian rule, without labels.

    Rows ``(N, D)`` go through dense layers with ReLU. They are centred, and divided by one common scale: numbers of
    different units belong behind a ``StandardScaler``. Images go through convolutions; they are standardised by
    channel, whatever range their pixels have, and come as ``(N, C, H, W)``, or as rows ``(N, C * H * W)`` with
    `image_shape`.

    A `random_state` fixes the result; the global random streams are neither read nor moved.

    Args:
        rule: by which layers learn: a name ("wta", "swta", "hpca", "sanger", ...; see `fasthebb.rules.names`) or a rule
            such as ``fasthebb.SWTA(temperature=0.05)``. Of those with a bound on learning rates, such as "hpca", the
            name stands for one that is stable at `learning_rate`.
        hidden_layer_sizes: neurons of each dense layer; the features are the last ones. Not used for images.
        image_shape: ``(C, H, W)`` or ``(H, W)`` of images that come as rows.
        network: for images: "triangle2", two wide convolutions whose maps are averaged to 2x2, or another network of
            `fasthebb.models.MODELS`, torchvision or timm, without its dense layers.
        width: factor on the network's numbers of channels; 1 for those of torchvision and timm.
        solver: "steps" learns batch by batch; "at-once" puts one layer after the other where the rule would end, which
            competitive rules and "sanger" can; "auto" is "at-once" for images where the rule can, otherwise "steps".
        epochs: passes over `X`, for steps; 0 leaves the weights as they were drawn, as a control.
        learning_rate: of the steps.
        batch_size: rows a step.
        random_state: seed of everything that is drawn, or a ``RandomState`` to draw it from; None takes another one
            each time.
        device: "cpu", "cuda" or another device of torch; "auto" takes a GPU if there is one.

    Attributes:
        network_: the learned layers, an ``nn.Sequential`` that takes rows ``(N, D)`` as they come.
        image_shape_: ``(C, H, W)``, or None where rows are no images.
        n_features_in_: D.
        feature_names_in_: names of the columns, where `X` had any.

    Raises:
        ValueError: an argument is out of range or does not fit `X`.
        fasthebb.NonFiniteError: the weights diverge: lower the learning rate.

    >>> from sklearn.datasets import load_digits
    >>> X, _ = load_digits(return_X_y=True)
    >>> HebbianTransformer(hidden_layer_sizes=(32,), random_state=0).fit_transform(X).shape
    (1797, 32)
    >>> HebbianTransformer(image_shape=(8, 8), width=0.05, random_state=0).fit_transform(X[:500]).shape
    (500, 204)
    """

    def __init__(
        self,
        rule: str | Rule = "wta",
        *,
        hidden_layer_sizes: Any = (256,),
        image_shape: Any = None,
        network: str = "triangle2",
        width: float = 0.25,
        solver: Solver = "auto",
        epochs: int = 5,
        learning_rate: float = 0.1,
        batch_size: int = 64,
        random_state: Any = None,
        device: Any = "auto",
    ) -> None:
        self.rule = rule
        self.hidden_layer_sizes = hidden_layer_sizes
        self.image_shape = image_shape
        self.network = network
        self.width = width
        self.solver = solver
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the hidden layers.

        Args:
            X: ``(N, D)`` or ``(N, C, H, W)``, finite numbers, at least two rows.
            y: not read.
        """
        sizes = self._checked_parameters()
        rule = chosen_rule(self.rule, self.learning_rate)
        rows, shape = as_rows(X, self.image_shape)
        values = self._validated(rows, shape, reset=True)
        check_pixels(values.shape[1], shape)
        device, seed = self._chosen_device(), seed_of(self.random_state)
        with private_stream(seed, device):
            if shape is None:
                layers = dense_layers(values.shape[1], sizes)
            else:
                layers = convolutions(self.network, shape, self.width)
            network = with_input(Standardise(values, shape), layers)
            # Images are many numbers of few bits; a GPU of Apple's knows no float64.
            single = shape is not None or device.type == "mps" or values.dtype == np.float32
            network.to(device, torch.float32 if single else torch.float64)
            x = torch.from_numpy(np.array(values))  # a copy: numpy's memory may be read-only
            if self.solver == "at-once" or (self.solver == "auto" and shape is not None and can_learn_at_once(rule)):
                at_once(network, rule, x, seed=seed)
            else:
                by_steps(
                    network,
                    rule,
                    x,
                    epochs=self.epochs,
                    learning_rate=self.learning_rate,
                    batch_size=self.batch_size,
                    generator=torch.Generator().manual_seed(seed),
                )
        self.image_shape_ = shape
        self.network_: nn.Sequential = network.eval()
        self._n_features_out = self._features(values[:1]).shape[1]
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Features ``(N, F)`` of ``(N, D)`` or ``(N, C, H, W)``, float32 if `X` is that (or images of few bits)."""
        check_is_fitted(self)
        rows = rows_as_fitted(X, self.image_shape_)
        return self._features(self._validated(rows, self.image_shape_, reset=False))

    def _features(self, values: NDArray[Any]) -> NDArray[Any]:
        x = torch.from_numpy(np.array(values))
        with torch.inference_mode():
            parts = [self.network_(part).flatten(1).cpu() for (part,) in batches(x, self.network_)]
        return torch.cat(parts).numpy().astype(values.dtype, copy=False)

    def _validated(self, rows: Any, shape: ImageShape | None, *, reset: bool) -> NDArray[Any]:
        checked: NDArray[Any] = validate_data(
            self, rows, reset=reset, dtype=kinds_of(shape), ensure_min_samples=2 if reset else 1
        )
        return checked

    def _checked_parameters(self) -> tuple[int, ...]:
        """Refuse what is out of range; the sizes of the dense layers."""
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, int | np.integer) else tuple(sizes)
        if not sizes or not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes: found {self.hidden_layer_sizes!r}, expected numbers of neurons such as (256,)"
            )
        if self.solver not in get_args(Solver):
            raise ValueError(f"solver: found {self.solver!r}, expected one of {get_args(Solver)}")
        for name, least in (("epochs", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name}: found {value!r}, expected an integer of at least {least}")
        for name in ("learning_rate", "width"):
            value = getattr(self, name)
            if not isinstance(value, float | int | np.number) or not 0 < value < np.inf:
                raise ValueError(f"{name}: found {value!r}, expected a positive number")
        return tuple(int(size) for size in sizes)

    def _chosen_device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            return torch.device(self.device)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device: found {self.device!r}, expected 'auto', 'cpu', 'cuda' or the like") from error

    def __getstate__(self) -> dict[str, Any]:
        """A network on a GPU is kept as one on the CPU, so that it can be read where there is none."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "network_" in state and next(self.network_.buffers()).device.type != "cpu":
            state["network_"] = deepcopy(self.network_).cpu()
        return state

    def __sklearn_tags__(self) -> Any:
        """Features have the dtype of the rows."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
