"""A classifier of scikit-learn that learns its features from all rows, and classes from the labelled ones."""

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from typing_extensions import Self

from fasthebb import Rule
from fasthebb.sklearn.fine_tuning import fine_tune
from fasthebb.sklearn.inputs import as_rows, kinds_of, labelled, meant_as_unlabelled, rows_as_fitted
from fasthebb.sklearn.random import private_stream, seed_of
from fasthebb.sklearn.transformer import HebbianTransformer, Solver
from fasthebb.training import ridge

Readout = Literal["ridge", "finetune"]


class HebbianClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Hidden layers learn from all rows by a Hebbian rule, a linear read-out from those that have a label.

    As in scikit-learn's semi-supervised estimators, the label -1 means "unlabelled" where labels are numbers. There are
    two exceptions: the labels -1 and 1 alone are two classes, as they are usually coded, and with ``unlabelled=None``
    every label is a class. Texts are always classes: encode them as numbers to leave rows unlabelled. `score` leaves
    unlabelled rows out, so that `cross_val_score` and `GridSearchCV` take such labels too.

    Args:
        rule: see `HebbianTransformer`, as for everything up to `device`.
        hidden_layer_sizes: likewise.
        image_shape: likewise.
        network: likewise.
        width: likewise.
        solver: likewise.
        epochs: likewise.
        learning_rate: likewise.
        batch_size: likewise; also of the fine-tuning.
        random_state: likewise.
        device: likewise.
        readout: "ridge" fits a ridge regression, whose penalty a cross-validation among the labelled rows chooses;
            "finetune" goes on from there with backprop through all layers.
        finetune_epochs: passes over the labelled rows; after ten of them the learning rate is halved every epoch.
        finetune_learning_rate: of the first ten of them.
        unlabelled: the label that means "unlabelled"; None if there is none.

    Attributes:
        classes_: ``(C,)`` classes, sorted, without "unlabelled".
        transformer_: the `HebbianTransformer` with the hidden layers.
        coef_: ``(C, F)`` weights of the read-out.
        intercept_: ``(C,)``.
        n_features_in_: numbers a row.
        feature_names_in_: names of the columns, where `X` had any.

    Raises:
        ValueError: an argument is out of range or does not fit the data; no row has a label.
        fasthebb.NonFiniteError: the weights diverge: lower the learning rate.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> few = np.where(np.arange(len(y)) < 50, y, -1)
    >>> bool(HebbianClassifier(random_state=0).fit(X, few).score(X[50:], y[50:]) > 0.7)
    True
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
        readout: Readout = "ridge",
        finetune_epochs: int = 20,
        finetune_learning_rate: float = 1e-2,
        unlabelled: int | None = -1,
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
        self.readout = readout
        self.finetune_epochs = finetune_epochs
        self.finetune_learning_rate = finetune_learning_rate
        self.unlabelled = unlabelled

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn.

        Args:
            X: ``(N, D)`` or ``(N, C, H, W)``, finite numbers, at least two rows.
            y: ``(N,)`` labels; see the class for what is unlabelled.
        """
        self._check_parameters()
        rows, shape = as_rows(X, self.image_shape)
        values, targets = validate_data(self, rows, y, dtype=kinds_of(shape), ensure_min_samples=2)
        check_classification_targets(targets)
        self._unlabelled = meant_as_unlabelled(targets, self.unlabelled)
        known = labelled(targets, self._unlabelled)
        if not known.any():
            raise ValueError(f"found no labelled row, only {self.unlabelled}: expected some rows of each class")
        self.classes_, encoded = np.unique(targets[known], return_inverse=True)
        seed = seed_of(self.random_state)
        shared = {name: getattr(self, name) for name in HebbianTransformer().get_params(deep=False)}
        self.transformer_ = HebbianTransformer(**{**shared, "image_shape": shape, "random_state": seed}).fit(values)
        features = torch.from_numpy(self.transformer_.transform(values[known]).astype(np.float64))
        labels = torch.from_numpy(encoded.astype(np.int64))
        fitted = ridge([features], labels, classes=len(self.classes_), seed=seed)
        self.coef_, self.intercept_ = fitted.weight.numpy(), fitted.bias.numpy()
        if self.readout == "finetune":
            with private_stream(seed, next(self.transformer_.network_.buffers()).device):
                self._fine_tune(torch.from_numpy(values[known]), labels, seed)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits ``(N, C)``; of two classes the difference ``(N,)``, positive for the second."""
        logits = self._logits(X)
        two: NDArray[np.float64] = logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits
        return two

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities ``(N, C)`` in the order of `classes_`."""
        logits = self._logits(X)
        likely = np.exp(logits - logits.max(1, keepdims=True))
        shares: NDArray[np.float64] = likely / likely.sum(1, keepdims=True)
        return shares

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class of each row, ``(N,)``."""
        winners = self._logits(X).argmax(1)
        named: NDArray[Any] = self.classes_[winners]
        return named

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy on the rows that have a label, 0 to 1.

        Raises:
            ValueError: none has.
        """
        check_is_fitted(self)
        targets = column_or_1d(y)
        known = labelled(targets, self._unlabelled)
        if not known.any():
            raise ValueError(f"found no labelled row to score, only {self.unlabelled}")
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(accuracy_score(targets[known], self.predict(X)[known], sample_weight=weight))

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        shape = self.transformer_.image_shape_
        values = validate_data(self, rows_as_fitted(X, shape), reset=False, dtype=kinds_of(shape))
        features = self.transformer_.transform(values).astype(np.float64)
        logits: NDArray[np.float64] = features @ self.coef_.T + self.intercept_
        return logits

    def _fine_tune(self, x: Tensor, labels: Tensor, seed: int) -> None:
        """Move the hidden layers, and the read-out from where it is."""
        network = self.transformer_.network_
        like = next(network.buffers())
        classes, size = self.coef_.shape
        head = nn.Linear(size, classes, device=like.device, dtype=like.dtype)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(self.coef_))
            head.bias.copy_(torch.from_numpy(self.intercept_))
        fine_tune(
            network,
            head,
            x,
            labels,
            epochs=self.finetune_epochs,
            lr=self.finetune_learning_rate,
            batch_size=self.batch_size,
            generator=torch.Generator().manual_seed(seed),
        )
        self.coef_, self.intercept_ = (p.detach().cpu().double().numpy() for p in (head.weight, head.bias))

    def _check_parameters(self) -> None:
        if self.readout not in get_args(Readout):
            raise ValueError(f"readout: found {self.readout!r}, expected one of {get_args(Readout)}")
        if not isinstance(self.finetune_epochs, int | np.integer) or self.finetune_epochs < 0:
            raise ValueError(f"finetune_epochs: found {self.finetune_epochs!r}, expected an integer of at least 0")
        rate = self.finetune_learning_rate
        if not isinstance(rate, float | int | np.number) or not 0 < rate < np.inf:
            raise ValueError(f"finetune_learning_rate: found {rate!r}, expected a positive number")
        if self.unlabelled is not None and not isinstance(self.unlabelled, int | np.integer):
            raise ValueError(f"unlabelled: found {self.unlabelled!r}, expected an integer such as -1, or None")
