"""Which layers learn, and by which rule."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from fasthebb.rules import Rule
from fasthebb.synapses import KINDS, is_candidate, unsupported_reason


@dataclass
class Layer:
    """A module and every name it goes by, as the model has them and as patterns see them."""

    module: nn.Module
    raw_names: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first name."""
        return self.names[0]

    def matches(self, pattern: str) -> bool:
        """Whether one of the names fits."""
        return any(fnmatchcase(name, pattern) for name in self.names)


@dataclass
class Selection:
    """What `select` found: pairs of layer and rule, and the layers left out with the reason."""

    chosen: list[tuple[Layer, Rule]]
    skipped: dict[str, str]


def clean_name(name: str) -> str:
    """A module's name without the parts that wrappers add.

    >>> clean_name("module._orig_mod.features.0")
    'features.0'
    """
    return ".".join(part for part in name.split(".") if part not in ("module", "_orig_mod"))


def candidate_layers(model: nn.Module) -> list[Layer]:
    """Every module of ``model`` that holds a matrix of weights, in order."""
    layers: dict[int, Layer] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if is_candidate(module):
            layer = layers.setdefault(id(module), Layer(module))
            layer.raw_names.append(name)
            layer.names.append(clean_name(name))
    return list(layers.values())


def select(model: nn.Module, rule: Rule | Mapping[str, Rule], exclude: Iterable[str]) -> Selection:
    """Give every layer its rule.

    Raises:
        TypeError: for a rule that is not an instance of `Rule`.
        ValueError: for a pattern that names an unsupported layer or nothing, or if no layer is left.
    """
    layers = candidate_layers(model)
    excluded = _excluded(layers, [exclude] if isinstance(exclude, str) else list(exclude))
    layers = [layer for layer in layers if id(layer) not in excluded]
    reasons = {id(layer): unsupported_reason(layer.module) for layer in layers}
    chosen: list[tuple[Layer, Rule]] = []
    skipped: dict[str, str] = {}
    if isinstance(rule, Mapping):
        chosen = _by_pattern(layers, reasons, rule)
    else:
        _require_rule(rule, "rule")
        for layer in layers:
            reason = reasons[id(layer)]
            if reason is None:
                chosen.append((layer, rule))
            else:
                skipped[layer.name] = reason
    if not chosen:
        listed = "; ".join(f"{name!r}: {reason}" for name, reason in list(skipped.items())[:3])
        raise ValueError(
            f"found no layer of {type(model).__name__} that can learn, expected at least one {KINDS}"
            + (f" ({listed})" if listed else "")
        )
    return Selection(chosen, skipped)


def _by_pattern(
    layers: list[Layer], reasons: dict[int, str | None], rules: Mapping[str, Rule]
) -> list[tuple[Layer, Rule]]:
    if not rules:
        raise ValueError("found an empty mapping of rules, expected {pattern: rule}")
    taken: dict[int, Rule] = {}
    for pattern, rule in rules.items():
        _require_rule(rule, f"rule for {pattern!r}")
        matched = [layer for layer in layers if layer.matches(pattern)]
        if not matched:
            raise ValueError(f"pattern {pattern!r} matches no layer; {_possible(pattern, layers, reasons)}")
        free = [layer for layer in matched if id(layer) not in taken]
        if not free:
            warnings.warn(
                f"pattern {pattern!r} matches only layers that earlier patterns took: the first match wins",
                UserWarning,
                stacklevel=4,
            )
        for layer in free:
            reason = reasons[id(layer)]
            if reason is not None:
                raise ValueError(
                    f"pattern {pattern!r} names {layer.name!r}, which cannot learn: {reason}; "
                    f"exclude=[{layer.name!r}] leaves it out"
                )
            taken[id(layer)] = rule
    return [(layer, taken[id(layer)]) for layer in layers if id(layer) in taken]


def _excluded(layers: list[Layer], patterns: list[str]) -> set[int]:
    found: set[int] = set()
    for pattern in patterns:
        matched = {id(layer) for layer in layers if layer.matches(pattern)}
        if not matched:
            inside = any(name.startswith(pattern + ".") for layer in layers for name in layer.names)
            hint = f"{pattern + '.*'!r} leaves out what is in it" if inside else _possible(pattern, layers, {})
            raise ValueError(f"exclude: {pattern!r} matches no layer; {hint}")
        found |= matched
    return found


def _possible(pattern: str, layers: list[Layer], reasons: dict[int, str | None]) -> str:
    names = [layer.name for layer in layers if reasons.get(id(layer)) is None]
    close = get_close_matches(pattern, names, n=1)
    shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return (f"did you mean {close[0]!r}? " if close else "") + f"layers that can learn: {shown or 'none'}"


def _require_rule(rule: object, what: str) -> None:
    if isinstance(rule, type) and issubclass(rule, Rule):
        raise TypeError(f"{what}: found the class {rule.__name__}, expected an instance: {rule.__name__}()")
    if not isinstance(rule, Rule):
        raise TypeError(f"{what}: found {rule!r}, expected a fasthebb.Rule such as fasthebb.HPCA()")
