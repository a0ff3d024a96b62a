"""Hebbian pre-training: the hidden layers learn from images alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, get_args

import lightning
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from fasthebb import Plasticity, Rule, attach
from fasthebb.evaluation import classification_scores, evaluating
from fasthebb.synapses import Transposed
from fasthebb.training.batch_norm import batch_norms, estimate, fewest_images, fixed_batch_norms
from fasthebb.training.layout import channels_last, in_channels_last
from fasthebb.training.partial import layer_outputs, order_of_use
from fasthebb.training.processes import joined_images, process_count
from fasthebb.training.readouts import as_metrics, measure, warn_of_idle_layers
from fasthebb.training.seeding import seed_epoch
from fasthebb.training.taught import teach

Order = Literal["together", "greedy"]
CHECK_EVERY = 50


class HebbianPretraining(lightning.LightningModule):
    """Let the layers of `model.features` learn by a Hebbian rule; labels are never read, unless `classes` are given.

    Plain SGD with constant learning rate. In the order "together" all layers learn at once; in the order "greedy" one
    after the other, `epochs` epochs each, in the order in which the network uses them: the layers before the learning
    one are at rest and in eval mode (their batch norms estimated anew when it starts), what is used after it is not
    even computed. Nor is, in the other order, what is used after the last learning layer, where other layers with
    weights are and every learning one is used once. Every epoch logs read-outs of the layers (`layer/<name>/<readout>`,
    see `Readout`), and a layer that hardly moved or died in its first epoch is warned of.

    Afterwards `plasticity.detach()` leaves a plain network, and `reestimate_batch_norm` settles its batch norms.

    Args:
        model: a network with a `features` module, such as `cnn6` or `unet`; changed in place (and put in channels_last
            layout).
        rule: one rule for every layer, or a mapping from patterns of layer names (within `features`) to rules.
        lr: learning rate; 0 is the control in which only batch norm adapts.
        order: "together" or "greedy".
        transposed: how transposed convolutions learn, see `fasthebb.attach`.
        epochs: epochs, in the greedy order for each layer. Train for `total_epochs`.
        seed: with the number of the epoch it fixes everything that is drawn, so a resumed run equals an
            uninterrupted one.
        classes: number of classes of a classifier that the rule `SWTA` teaches meanwhile, with the labels of the
            batches: only to look on, as the papers choose their epoch. `val_top1` is logged every epoch, when the
            trainer is given validation images.
        reduce_dtype: what several processes send each other in, see `fasthebb.attach`. They send a layer's sums while
            the next layers run.

    Raises:
        ValueError: an argument is out of range or does not fit the network.
        fasthebb.NonFiniteError: during training, at most 50 steps after a weight update ceased to be finite; a
            checkpoint is never written in that state.

    Attributes:
        plasticity: what `fasthebb.attach` returned for `model.features`.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Rule | Mapping[str, Rule],
        *,
        lr: float = 0.1,
        order: Order = "together",
        transposed: Transposed = "forward",
        epochs: int,
        seed: int = 0,
        classes: int | None = None,
        reduce_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got '{order}'")
        if lr < 0:
            raise ValueError(f"lr must not be negative, got {lr}")
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        for one in rule.values() if isinstance(rule, Mapping) else [rule]:
            if one.supervised or one.uses_gradient:
                needs = "labels: leave classes out" if one.supervised else "the gradient of a loss: take another"
                raise ValueError(f"pre-training has images alone, and {type(one).__name__} needs {needs}")
        if classes is not None and order == "greedy":
            raise ValueError("classes: a classifier looks on at the whole network, expected order='together'")
        self.automatic_optimization = False
        self.model = in_channels_last(model)
        self.features = model.get_submodule("features")
        self.plasticity = attach(self.features, rule, transposed=transposed, reduce_dtype=reduce_dtype)
        self.taught = None if classes is None else teach(model.get_submodule("classifier"), classes)
        self.classes = classes
        self._validation: list[tuple[Tensor, Tensor]] = []
        self.lr, self.order, self.epochs, self.seed = lr, order, epochs, seed
        self._initial = {
            name: layer.get_parameter("weight").detach().clone() for name, layer in self.plasticity.layers.items()
        }
        self._sequence: list[str] = []  # layer names in the order of use, once a batch has been seen
        self._order: list[nn.Module] = []  # layers and batch norms in the order of use
        self._last: str | None = None  # the layer at which the forward pass may end
        self._probe: Tensor | None = None
        self._sends_early = False

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training: `epochs`, in the greedy order times the number of layers."""
        return self.epochs * (len(self.plasticity.layers) if self.order == "greedy" else 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD without momentum over the plastic weights."""
        return torch.optim.SGD([p for one in self._learning for p in one.parameters()], lr=self.lr)

    @property
    def _learning(self) -> list[Plasticity]:
        return [self.plasticity, *([] if self.taught is None else [self.taught])]

    def on_fit_start(self) -> None:
        """Refuse a trainer that does not fit."""
        if (self.trainer.max_epochs or 0) > self.total_epochs:
            raise ValueError(f"the trainer has max_epochs={self.trainer.max_epochs}, expected {self.total_epochs}")
        precision = self.trainer.precision_plugin
        if isinstance(precision, MixedPrecision) and precision.scaler is not None:
            raise ValueError("Hebbian updates are not rescaled: use bf16-mixed or 32-true instead of 16-mixed")

    def on_train_start(self) -> None:
        """Keep the first batch of the first epoch for the read-outs, and learn the order of the layers from it."""
        loader = self._loader()
        seed_epoch(self.seed, 0, loader)
        images = next(iter(loader))[0]
        self._probe = channels_last(images.to(self.device))
        names = {layer: name for name, layer in self.plasticity.layers.items()}
        norms = batch_norms(self.features)
        weighted = [layer for layer in self.features.modules() if isinstance(getattr(layer, "weight", None), Tensor)]
        with torch.no_grad(), evaluating(self.features):
            calls: Counter[str] = Counter()
            with self.plasticity.observed(lambda name, _: calls.update([name])):
                used = order_of_use({*names, *norms, *weighted}, lambda: self.features(self._probe))
        self._order = [layer for layer in used if layer in names or layer in norms]
        self._sequence = [names[layer] for layer in used if layer in names]
        used_once = max(calls.values(), default=0) == 1
        self._sends_early = used_once and process_count() > 1
        if used_once and self.order == "together" and self.taught is None:
            last = self._sequence[-1]
            if any(layer not in norms for layer in used[used.index(self.plasticity.layers[last]) + 1 :]):
                self._last = last
        if self.trainer.fit_loop.restarted_mid_epoch:
            self._set_modes()

    def on_train_epoch_start(self) -> None:
        """Put the layers in the modes of this epoch and fix its random stream."""
        loader = self._loader()
        if self.order == "greedy" and self.current_epoch % self.epochs == 0:
            self.features.eval()
            self._settle_batch_norms_before_the_stage(loader)
        self._set_modes()
        seed_epoch(self.seed, self.current_epoch, loader)

    def _set_modes(self) -> None:
        """Let all layers learn, or the one whose turn it is."""
        self.train()
        if self.order == "greedy":
            self.features.eval()
            self.plasticity.layers[self._sequence[self._stage]].train()

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """One local step on a batch of images `(N, C, H, W)`, and labels if there are any."""
        optimizer = self.optimizers()
        images = channels_last(batch[0])
        joined = joined_images(self._loader(), batch_idx, images)
        with torch.no_grad(), fixed_batch_norms(self.features, when=joined < fewest_images(self.features)):
            if self.lr == 0:
                with self.plasticity.paused():
                    self._run(images)
            else:
                self._learn(images, batch)
        optimizer.step()  # type: ignore[union-attr]
        optimizer.zero_grad()  # type: ignore[union-attr]
        if (batch_idx + 1) % CHECK_EVERY == 0:
            self.plasticity.check()

    def _learn(self, images: Tensor, batch: Sequence[Any]) -> None:
        """Leave the updates of one batch as gradients."""
        with self.plasticity.last_micro_batch() if self._sends_early else nullcontext():
            features = self._run(images)
        if self.taught is not None:
            with self.taught.teacher(batch[1]):
                self.model.get_submodule("classifier")(features)
        for one in self._learning:
            one.write_grad()

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep what the classifier that looks on makes of a validation batch."""
        images, labels = batch
        logits = self.model.get_submodule("classifier")(self._run(channels_last(images)))
        self._validation.append((logits.float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Score the validation images together."""
        logits, labels = (torch.cat(part) for part in zip(*self._validation, strict=True))
        self._validation.clear()
        if torch.isfinite(logits).all():  # otherwise the end of the epoch names the cause
            self.log("val_top1", classification_scores(logits, labels, self.classes or 0)["top1"], prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Log the read-outs; warn of idle layers after their first epoch."""
        for one in self._learning:
            one.check()
        with evaluating(self.features):
            readouts = measure(self.plasticity, self._initial, lambda: self._run(self._probe))
        self.log_dict(as_metrics(readouts))
        if self.lr > 0 and self.current_epoch % self.epochs == 0:
            learned = {self._sequence[self._stage]} if self.order == "greedy" else set(readouts)
            warn_of_idle_layers(self.plasticity, {name: r for name, r in readouts.items() if name in learned})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the rules' state and the initial weights, which the read-outs compare with."""
        self.plasticity.check()
        checkpoint["plasticity"] = self.plasticity.state_dict()
        checkpoint["initial_weights"] = self._initial
        if self.taught is not None:
            checkpoint["taught"] = self.taught.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` added."""
        self.plasticity.load_state_dict(checkpoint["plasticity"])
        self._initial = checkpoint["initial_weights"]
        if self.taught is not None:
            self.taught.load_state_dict(checkpoint["taught"])

    @property
    def _stage(self) -> int:
        return self.current_epoch // self.epochs

    def _loader(self) -> Any:
        return self.trainer.train_dataloader

    def _run(self, images: Any) -> Tensor:
        """Forward as far as something learns."""
        last = self._sequence[self._stage] if self.order == "greedy" else self._last
        if last is None:
            features: Tensor = self.features(images)
            return features
        (learned,) = layer_outputs(self.features, [self.plasticity.layers[last]], images)
        return learned

    def _settle_batch_norms_before_the_stage(self, loader: Any) -> None:
        """Estimate the batch norms between the layer that learned last and the one that learns next."""
        if self._stage == 0:
            return
        learners = (self.plasticity.layers[self._sequence[stage]] for stage in (self._stage - 1, self._stage))
        start, end = map(self._order.index, learners)
        between = self._order[start + 1 : end]
        norms = [norm for norm in batch_norms(self.features) if norm in between]
        seed_epoch(self.seed, self.current_epoch, loader)
        estimate(
            norms,
            lambda images: layer_outputs(self.features, between[-1:], images),
            loader,
            fewest=fewest_images(self.features),
        )
