"""`attach`, and the `Plasticity` it returns."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fasthebb.plasticity.hook import Hook
from fasthebb.plasticity.learner import Learner, NonFiniteError, unit_norm_scale
from fasthebb.plasticity.reduction import active_group, check_reduce_dtype, from_first, start_reduction
from fasthebb.plasticity.selection import Layer, select
from fasthebb.plasticity.sharded import refuse_sharded
from fasthebb.rules import Rule, Sums
from fasthebb.synapses import Transposed, synapse_of

Observer = Callable[[str, Tensor], None]
Reduction = Callable[[], tuple[Sums, Tensor]]

NOTHING_SEEN = (
    "no plastic layer has seen anything since the last call: is the model in eval mode or paused, was it "
    "compiled before attach, or is it a copy of the model that was attached?"
)


def attach(
    model: nn.Module,
    rule: Rule | Mapping[str, Rule],
    *,
    exclude: Iterable[str] = (),
    transposed: Transposed = "forward",
    local_scale: float = 1.0,
    process_group: dist.ProcessGroup | None = None,
    reduce_dtype: torch.dtype | None = None,
) -> "Plasticity":
    """Let the layers of ``model`` learn by local rules while it runs forward.

    The model's class, code and ``state_dict`` keys stay as they are. A layer learns while its own ``training`` flag is
    set. Attach before ``torch.compile`` and before deep copies. With several processes all of them attach, and what a
    rule draws to start from is that of the first.

    Args:
        model: any module.
        rule: one rule for every supported layer, or ``{pattern: rule}``; patterns as in `fnmatch`, first match wins.
        exclude: names or patterns of layers to leave out.
        transposed: how transposed convolutions learn. "forward": output channels respond to the input, as in a
            convolution. "reversed": input channels are the responses, and see the patch of the output that they write.
        local_scale: multiplies every ``dW``, for learning from a loss as well.
        process_group: processes whose sums are added up; by default all of them, if there are several.
        reduce_dtype: ``torch.bfloat16`` halves what processes send each other, and rounds it (docs/scaling.md has the
            error); by default sums travel as they are.

    Returns:
        The `Plasticity`: ``write_grad()`` before each ``optimizer.step()``, ``detach()`` in the end.

    Raises:
        ValueError: for a pattern that matches nothing or an unsupported layer, a layer that is attached already, or a
            weight whose norm cannot be folded because another layer uses it.
        TypeError: for something that is not a rule.
        RuntimeError: for a compiled model, or one whose weights are sharded over processes.

    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> from fasthebb import HPCA, SWTA
    >>> plasticity = attach(model, {"0": HPCA(), "2": SWTA()})
    >>> list(plasticity.rules)
    ['0', '2']
    """
    if not isfinite(local_scale):
        raise ValueError(f"local_scale: found {local_scale}, expected a finite number")
    check_reduce_dtype(reduce_dtype)
    if transposed not in get_args(Transposed):
        raise ValueError(f"transposed: found {transposed!r}, expected one of {get_args(Transposed)}")
    for module in model.modules():
        if isinstance(module, torch._dynamo.OptimizedModule) or module._compiled_call_impl is not None:
            raise RuntimeError("found a compiled model, whose forward pass ignores new hooks: attach, then compile")
    _guard_hooks_when_compiling()
    selection = select(model, rule, exclude)
    refuse_sharded(model, [(layer.name, layer.module) for layer, _ in selection.chosen])
    for layer, chosen_rule in selection.chosen:
        _require_free(layer, chosen_rule, transposed)
    tied: dict[tuple[int, Rule], list[Layer]] = {}
    for layer, chosen_rule in selection.chosen:
        tied.setdefault((id(layer.module.weight), chosen_rule), []).append(layer)
    _refuse_shared_norms(model, tied)
    if selection.skipped:
        listed = "; ".join(f"{name!r}: {reason}" for name, reason in selection.skipped.items())
        warnings.warn(f"these layers do not learn: {listed}", UserWarning, stacklevel=2)
    for layer, _ in selection.chosen:
        _remove_orphans(layer.module)
    learners = [Learner(layers, chosen_rule, transposed) for (_, chosen_rule), layers in tied.items()]
    group = active_group(process_group)
    if group is not None:
        for learner in learners:
            from_first(learner.drawn(), group)
    return Plasticity(model, learners, selection.skipped, local_scale, process_group, reduce_dtype)


def _guard_hooks_when_compiling() -> None:
    """Let compiled code notice hooks.

    By default ``torch.compile`` does not look at them, and runs what it compiled for one model on another of the same
    structure that has other hooks, or none: silently the wrong function.
    """
    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch._dynamo.reset()  # what was compiled until now does not look


def _require_free(layer: Layer, rule: Rule, transposed: Transposed) -> None:
    """Refuse a layer that learns already, or whose function would change without a word."""
    for hook in layer.module._forward_hooks.values():
        if not isinstance(hook, Hook):
            continue
        if hook.owner is not None:
            raise ValueError(f"layer {layer.name!r} has a rule already: detach() that plasticity first")
        same_norms = type(synapse_of(layer.module, hook.transposed)) is type(synapse_of(layer.module, transposed))
        if hook.rule.unit_norm and not (rule.unit_norm and same_norms):
            kind = type(hook.rule).__name__
            how = "" if hook.transposed == "forward" else f", transposed={hook.transposed!r}"
            raise ValueError(
                f"layer {layer.name!r} was copied while {kind} was attached and still divides by its weight's norm: "
                f"fold it first, with fasthebb.attach(model, fasthebb.{kind}(){how}).detach()"
            )


def _remove_orphans(module: nn.Module) -> None:
    """Take away what a copy of an attached model inherited: hooks that feed nobody, which a new one replaces."""
    for key, hook in list(module._forward_hooks.items()):
        if isinstance(hook, Hook):
            for registry in (
                module._forward_hooks,
                module._forward_hooks_with_kwargs,
                module._forward_hooks_always_called,
            ):
                registry.pop(key, None)


def _refuse_shared_norms(model: nn.Module, tied: Mapping[tuple[int, Rule], list[Layer]]) -> None:
    for (weight, rule), layers in tied.items():
        if not rule.unit_norm:
            continue
        own = {id(layer.module) for layer in layers}
        for name, module in model.named_modules():
            if id(module) not in own and any(id(p) == weight for p in module.parameters(recurse=False)):
                raise ValueError(
                    f"layer {layers[0].name!r} shares its weight with {name!r}, which does not learn by the same rule: "
                    f"{type(rule).__name__} divides by the weight's norm, which cannot be folded for one of them alone"
                )


class Plasticity:
    """The learning of a model's plastic layers, made by `attach`.

    Attributes:
        skipped: layers that do not learn, with the reason, where one rule was given for all.
        rules: name of each plastic layer and its rule; layers that share a weight are one entry.
        layers: name and module of each plastic layer.
    """

    def __init__(
        self,
        model: nn.Module,
        learners: list[Learner],
        skipped: dict[str, str],
        local_scale: float,
        process_group: dist.ProcessGroup | None,
        reduce_dtype: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.skipped = skipped
        self.rules = {learner.name: learner.rule for learner in learners}
        self.layers = {layer.name: layer.module for learner in learners for layer in learner.layers}
        self.attached = True
        self.is_paused = False
        self.observer: Observer | None = None
        self._learners = learners
        self._local_scale = local_scale
        self._process_group = process_group
        self._reduce_dtype = reduce_dtype
        self._labels: Tensor | None = None
        self._reduce_early = False
        self._warned_uncalled = False
        self._handles = [
            layer.module.register_forward_hook(
                Hook(learner.rule, learner.transposed, self, learner, layer.module), with_kwargs=True, prepend=True
            )
            for learner in learners
            for layer in learner.layers
        ]

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights that learn, each once: what the optimizer steps."""
        yield from {id(learner.weight): learner.weight for learner in self._learners}.values()

    # --- the step -------------------------------------------------------------------------------------------------

    def attend(self, learner: Learner, module: nn.Module, x: Tensor, output: Tensor, learning: bool) -> None:
        """Take in one call of a layer; for the hooks."""
        if self.observer is not None:
            synapse = learner.synapse(module)
            if x.dim() == synapse.unbatched_dims:
                x, output = x[None], output[None]
            seen, s = synapse.see(x.to(output.dtype), output)
            response = learner.rule.response(synapse, seen, s)
            self.observer(learner.name, response.transpose(0, 1).flatten(1))  # (N, O)
        if not learning:
            return
        learner.check_version()
        if learner.reducing is not None:
            raise RuntimeError(
                f"layer {learner.name!r} ran again after its sums were sent: last_micro_batch() needs weights used once"
            )
        learner.learn(module, x, output, self._labels)
        if self._reduce_early:
            group = active_group(self._process_group)
            if group is not None:  # also after an empty batch: the other processes expect an answer in this order
                learner.reducing = self._send(learner, group, in_background=True)

    def write_grad(self) -> None:
        """Turn the sums since the last call into ``-dW``, added to ``.grad``: last thing before the optimizer's step.

        With several processes this is where they communicate, in the same order on each: all of them must call it.

        Raises:
            RuntimeError: if no layer has seen anything since the last call, or a weight changed meanwhile.
        """
        self._require_attached()
        group = active_group(self._process_group)
        if group is not None:
            refuse_sharded(self.model, self.layers.items())  # they may have been since attach
        idle = all(learner.sums is None for learner in self._learners)
        if idle and group is None:
            raise RuntimeError(NOTHING_SEEN)
        self._warn_uncalled()
        seen_by: list[Tensor] = []  # how many processes, of each layer
        for learner in self._learners:
            reduced = self._reduced(learner, group)
            if reduced is None:
                continue
            sums, processes = reduced
            state = learner.advance(sums)
            gradient = learner.gradient(sums, -self._local_scale)
            if processes is not None:  # nobody saw this layer: whatever its rule makes of no samples is not an update
                seen_by.append(processes)
                gradient = torch.where(processes > 0, gradient, 0)
                state = {name: torch.where(processes > 0, new, learner.state[name]) for name, new in state.items()}
            learner.state = state
            finite = gradient.sum(dtype=torch.promote_types(gradient.dtype, torch.float32)).isfinite()
            learner.nonfinite = ~finite if learner.nonfinite is None else learner.nonfinite | ~finite
            _add_to_grad(learner.weight, gradient, replace=learner.rule.uses_gradient)
            learner.clear()
        # Only a process that saw nothing itself waits for the device: were all of them like this, all of them raise.
        if idle and not any(bool(processes > 0) for processes in seen_by):
            raise RuntimeError(NOTHING_SEEN)

    def deltas(self, *, reduce: bool = False) -> dict[str, Tensor]:
        """``{layer name: dW}`` of what was seen since the last `write_grad`, which is not cleared.

        Args:
            reduce: add up the sums of all processes first, which must then all call this; by default only this
                process's, and only the layers it saw.

        >>> layer = nn.Linear(3, 2)
        >>> from fasthebb import SWTA
        >>> plasticity = attach(layer, SWTA())
        >>> _ = layer(torch.ones(1, 3))
        >>> plasticity.deltas()[""].shape
        torch.Size([2, 3])
        """
        self._require_attached()
        group = active_group(self._process_group) if reduce else None
        found = {}
        for learner in self._learners:
            learner.check_version()
            if group is None:
                if learner.sums is not None:
                    found[learner.name] = learner.delta(learner.sums)
                continue
            total, processes = self._send(learner, group, in_background=False)()
            found[learner.name] = torch.where(processes > 0, learner.delta(total), 0)
        return found

    def clear(self) -> None:
        """Forget what was seen since the last `write_grad`."""
        for learner in self._learners:
            learner.clear()

    def _send(self, learner: Learner, group: dist.ProcessGroup, in_background: bool) -> Reduction:
        """Begin to add up a layer's sums over the processes, whether or not this one saw it."""
        sums = learner.nothing() if learner.sums is None else learner.sums
        seen = learner.sums is not None
        return start_reduction(sums, seen, learner.weight, group, in_background, self._reduce_dtype)

    def _reduced(self, learner: Learner, group: dist.ProcessGroup | None) -> tuple[Sums, Tensor | None] | None:
        if learner.sums is not None:
            learner.check_version()
        if group is None:
            return None if learner.sums is None else (learner.sums, None)
        reducing = learner.reducing or self._send(learner, group, in_background=False)
        return reducing()

    def check(self) -> None:
        """Read the flags that non-finite updates set; the one place where the host waits for the device.

        Raises:
            NonFiniteError: names the layer and says what to try.
        """
        flagged = [learner for learner in self._learners if learner.nonfinite is not None]
        if not flagged:
            return
        flags = torch.stack([f for learner in flagged if (f := learner.nonfinite) is not None]).tolist()
        broken = [learner for learner, flag in zip(flagged, flags, strict=True) if flag]
        if broken:
            first = broken[0]
            bounded = getattr(first.rule, "max_lr", 1.0) is None
            raise NonFiniteError(
                f"the update of layer {first.name!r} is no longer finite"
                + (f" (nor that of {len(broken) - 1} more)" if len(broken) > 1 else "")
                + ": use a smaller learning rate"
                + (f", bound it with {type(first.rule).__name__}(max_lr=...)" if bounded else "")
                + ", and check the images for NaN; then start again from the last checkpoint"
            )

    # --- how it learns --------------------------------------------------------------------------------------------

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing learns inside; every layer computes what it does outside."""
        before, self.is_paused = self.is_paused, True
        try:
            yield
        finally:
            self.is_paused = before

    @contextmanager
    def teacher(self, labels: Tensor) -> Iterator[None]:
        """Give supervised rules the class of each image, ``(B,)`` int64, for the forward passes inside."""
        before, self._labels = self._labels, labels
        try:
            yield
        finally:
            self._labels = before

    @contextmanager
    def last_micro_batch(self) -> Iterator[None]:
        """Send each layer's sums as soon as its forward pass is done, while the next layers run.

        For the last forward pass before `write_grad`, run by every process, of layers whose weight is used once;
        outside ``torch.compile``.
        """
        if torch.compiler.is_compiling():
            raise RuntimeError("last_micro_batch() cannot be compiled")
        self._reduce_early = True
        try:
            yield
        finally:
            self._reduce_early = False

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Call ``observer(layer name, responses (N, O))`` on each call of a plastic layer inside, learning or not."""
        before, self.observer = self.observer, observer
        try:
            yield
        finally:
            self.observer = before

    # --- what is kept ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """The rules' state tensors, by layer and name; the weights are in the model's own ``state_dict``."""
        return {
            f"{learner.name}.{name}": value.detach().clone()
            for learner in self._learners
            for name, value in learner.state.items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: if names or shapes differ from those of this plasticity.
        """
        own = self.state_dict()
        for name in sorted(own.keys() ^ state.keys()):
            where = "is missing" if name in own else "is unknown"
            raise ValueError(f"state {name!r} {where}: it was saved with other layers or another rule")
        for name, value in own.items():
            if state[name].shape != value.shape:
                raise ValueError(
                    f"state {name!r}: found shape {tuple(state[name].shape)}, expected {tuple(value.shape)}"
                )
        for learner in self._learners:
            learner.load_state({name: state[f"{learner.name}.{name}"] for name in learner.state})
            learner.nonfinite = None

    def folded_state_dict(self) -> dict[str, Tensor]:
        """The model's ``state_dict`` with norms folded into the weights: a plain model that computes the same."""
        state: dict[str, Tensor] = {name: value.detach() for name, value in self.model.state_dict().items()}
        for learner in self._learners:
            if learner.rule.unit_norm and self.attached:
                folded = self._folded(learner)
                for layer in learner.layers:
                    for raw in layer.raw_names:
                        state[f"{raw}.weight" if raw else "weight"] = folded
        return state

    def detach(self) -> None:
        """Take the hooks away and fold norms into the weights: a plain model again, computing the same function."""
        self._require_attached()
        with torch.no_grad():
            for learner in self._learners:
                if learner.rule.unit_norm:
                    learner.weight.copy_(self._folded(learner))
        for handle in self._handles:
            handle.remove()
        self.attached = False
        self.clear()

    @staticmethod
    def _folded(learner: Learner) -> Tensor:
        weight, synapse = learner.weight.detach(), learner.synapse()
        scale = synapse.per_neuron(unit_norm_scale(synapse, weight))
        return torch.empty_like(weight).copy_(weight * scale)

    def _require_attached(self) -> None:
        if not self.attached:
            raise RuntimeError("this plasticity was detached: call fasthebb.attach again")

    def _warn_uncalled(self) -> None:
        if self._warned_uncalled or torch.compiler.is_compiling():
            return
        self._warned_uncalled = True
        names = [learner.name for learner in self._learners if not learner.called]
        if names:
            listed = ", ".join(repr(name) for name in names)
            warnings.warn(f"these layers learn nothing, as nothing calls them: {listed}", UserWarning, stacklevel=3)


def _add_to_grad(weight: nn.Parameter, gradient: Tensor, replace: bool) -> None:
    """Add ``gradient`` to ``weight.grad``, in the strides and dtype of the weight."""
    if weight.grad is not None and not replace:
        weight.grad.add_(gradient)
        return
    if gradient.dtype != weight.dtype or gradient.stride() != weight.stride():
        gradient = torch.empty_like(weight).copy_(gradient)
    weight.grad = gradient
