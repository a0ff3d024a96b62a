"""Layers of anybody's LightningModule that learn by local rules, through a callback."""

from collections.abc import Iterable, Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fasthebb import Plasticity, Rule, attach

CHECK_EVERY = 50


class HebbianCallback(Callback):
    """Let layers of a LightningModule learn by a local rule while a Trainer fits it.

    In three lines, of which the project has two already::

        from fasthebb import HPCA
        from fasthebb.training import HebbianCallback
        trainer = lightning.Trainer(callbacks=[HebbianCallback({"encoder.*": HPCA(max_lr=0.1)})])

    The module, its loss and its optimizer stay as they are. In every step of the optimizer the weights of the chosen
    layers get the local update in the place of the loss's gradient (their biases rest), or with `hybrid` both;
    everything else learns from the loss as before. Sums add up over accumulated batches and over processes. Validation,
    test and prediction never teach.

    For one device or DDP, where every process holds whole weights; with automatic optimisation or manual.

    The update is written right before the optimizer's step: after backward and unscaling, so that mixed precision needs
    no care. Lightning clips after that: with ``gradient_clip_val`` the local update is clipped as well, and counts in
    the norm. A rule with a bound of its own, such as ``HPCA(max_lr=...)``, needs no clipping.

    Checkpoints hold the rules' state, and the weights as they are. Those of a rule that hands on ``x.w / |w|`` (SWTA
    and other competitive ones) need this callback, or ``fasthebb.attach(model, rule).detach()``, to compute what they
    computed in training. It also sees to that in ``trainer.test(ckpt_path="best")`` and its like.

    Args:
        rule: one rule for every supported layer, or a mapping from patterns of layer names to rules, as `attach` takes.
        exclude: names or patterns of layers to leave out.
        local_scale: multiplies every local update.
        hybrid: add the local update to the loss's gradient; without it, layers that learn locally do not learn from the
            loss. Rules that use the gradient themselves, such as `fasthebb.Hybrid`, get it in any case.
        detach: leave a plain module in the end, norms folded into the weights; otherwise
            ``callback.plasticity.detach()`` does that.

    Attributes:
        plasticity: what `attach` returned; None before the first fit.

    Raises:
        ValueError: from ``trainer.fit``, as `attach` does; if no optimizer steps the weight of a layer that learns, or
            several of them do; for a rule that learns from labels.
        RuntimeError: no layer that learns took part in a training step; the module is compiled.
        fasthebb.NonFiniteError: at most 50 batches after an update ceased to be finite; no checkpoint but those of
            weights alone is written in that state.

    >>> from fasthebb import HPCA
    >>> HebbianCallback({"encoder.*": HPCA(max_lr=0.1)}, hybrid=True).plasticity is None
    True
    """

    def __init__(
        self,
        rule: Rule | Mapping[str, Rule],
        *,
        exclude: Iterable[str] = (),
        local_scale: float = 1.0,
        hybrid: bool = False,
        detach: bool = True,
    ) -> None:
        self.rule = rule
        self.exclude = [exclude] if isinstance(exclude, str) else list(exclude)
        self.local_scale = local_scale
        self.hybrid = hybrid
        self.detach = detach
        self.plasticity: Plasticity | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._loaded: dict[str, Tensor] | None = None
        rules = rule.values() if isinstance(rule, Mapping) else [rule]
        if any(isinstance(one, Rule) and one.supervised for one in rules):
            raise ValueError("found a rule with classes, whose labels a callback does not know: leave classes out")

    @property
    def state_key(self) -> str:
        """Tells several of these callbacks apart in a checkpoint."""
        patterns = list(self.rule) if isinstance(self.rule, Mapping) else None
        return self._generate_state_key(layers=patterns, exclude=self.exclude)

    # --- attached and detached ------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Attach the rules; only now, when lazily built layers are there and checkpoints are read."""
        known = self.plasticity is not None and self.plasticity.model is pl_module
        self._attach(trainer, pl_module, keep_weights=known or trainer.ckpt_path is not None)
        self._attached.is_paused = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the optimizer that steps the layers."""
        owners: dict[int, torch.optim.Optimizer] = {}
        for name, layer in self._attached.layers.items():
            stepping = [one for one in trainer.optimizers if _steps(one, layer.get_parameter("weight"))]
            if not stepping:
                raise ValueError(
                    f"layer {name!r} is to learn, and no optimizer steps its weight: give it to one in "
                    f"configure_optimizers, or leave the layer out, exclude=[{name!r}]"
                )
            owners |= {id(one): one for one in stepping}
        if len(owners) > 1:
            raise ValueError(
                f"found layers that learn in {len(owners)} optimizers, expected one: give each a HebbianCallback of "
                "its own, with a mapping that names its layers"
            )
        self._optimizer = next(iter(owners.values()))

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave a plain module, if that was asked for."""
        self._end()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Also after Ctrl-C, so that another trainer finds a plain module."""
        self._end()

    def _attach(self, trainer: lightning.Trainer, module: lightning.LightningModule, *, keep_weights: bool) -> None:
        if self.plasticity is not None and self.plasticity.model is module:
            if self.plasticity.attached:
                self.plasticity.clear()  # what an interrupted step has left
                return
            self._loaded = self._loaded or self.plasticity.state_dict()
        kept = [(weight, weight.detach().clone()) for weight in module.parameters()] if keep_weights else []
        versions = {id(weight): weight._version for weight in module.parameters()}
        self.plasticity = attach(module, self.rule, exclude=self.exclude, local_scale=self.local_scale)
        with torch.no_grad():
            for weight in self.plasticity.parameters():
                if weight._version != versions[id(weight)] and trainer.world_size > 1:
                    weight.copy_(trainer.strategy.broadcast(weight.detach()))  # each process has drawn its own
            for weight, value in kept:
                weight.copy_(value)
        if self._loaded is not None:
            self.plasticity.load_state_dict(self._loaded)
            self._loaded = None

    def _end(self) -> None:
        if self.detach and self.plasticity is not None and self.plasticity.attached:
            self.plasticity.detach()

    @property
    def _attached(self) -> Plasticity:
        assert self.plasticity is not None
        return self.plasticity

    # --- the step -------------------------------------------------------------------------------------------------

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Write the local update, in the place of the loss's gradient or beside it."""
        if optimizer is not self._optimizer:
            return
        if not self.hybrid:
            self._drop_gradients()
        self._attached.write_grad()

    def _drop_gradients(self) -> None:
        """Take away what the loss has to say to layers that learn locally."""
        using = {name for name, rule in self._attached.rules.items() if rule.uses_gradient}
        weights = {id(self._attached.layers[name].get_parameter("weight")) for name in using}
        for layer in self._attached.layers.values():
            if id(layer.get_parameter("weight")) not in weights:
                for parameter in layer.parameters(recurse=False):
                    parameter.grad = None

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look for updates that are not finite, now and then: the host waits for the device."""
        if (batch_idx + 1) % CHECK_EVERY == 0:
            self._attached.check()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look for updates that are not finite."""
        self._attached.check()

    # --- where nothing learns -------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Pause, whatever modes the module's layers are in."""
        self._look_on(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on."""
        self._look_away(trainer)

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Pause."""
        self._look_on(trainer, pl_module)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on."""
        self._look_away(trainer)

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Pause."""
        self._look_on(trainer, pl_module)

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on."""
        self._look_away(trainer)

    def _look_on(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._attached.check()  # a checkpoint may follow
        else:
            rules = self.rule.values() if isinstance(self.rule, Mapping) else [self.rule]
            if any(rule.unit_norm for rule in rules):  # the weights of a checkpoint are raw
                self._attach(trainer, module, keep_weights=True)
        if self.plasticity is not None:
            self.plasticity.is_paused = True

    def _look_away(self, trainer: lightning.Trainer) -> None:
        if self.plasticity is not None:
            self.plasticity.is_paused = False
        if trainer.state.fn != "fit":
            self._end()

    # --- what is kept ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The rules' state, for a checkpoint."""
        return {} if self.plasticity is None else {"plasticity": self.plasticity.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back, now or when the rules are attached."""
        self._loaded = state_dict.get("plasticity")
        if self._loaded is not None and self.plasticity is not None and self.plasticity.attached:
            self.plasticity.load_state_dict(self._loaded)
            self._loaded = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to write weights that are not finite."""
        if self.plasticity is not None:
            self.plasticity.check()


def _steps(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    return any(parameter is one for group in optimizer.param_groups for one in group["params"])
