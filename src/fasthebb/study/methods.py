"""What a study compares: ways to come to features before the labels are used."""

import re
from dataclasses import dataclass
from typing import Literal

from fasthebb import HPCA, SWTA, Hybrid, Rule
from fasthebb.rules.names import NAMES, rule_class

Kind = Literal["none", "none-tuned", "random", "weights", "vae", "vae-paper", "rule", "guided"]
PLAIN: tuple[Kind, ...] = ("none", "none-tuned", "random", "weights", "vae", "vae-paper")
CONTROLS = ("none", "random", "random+at-once", "none+whiten", "random+whiten", "none-tuned", "weights")
"""What any gain is to be compared with."""
_NAME = re.compile(
    r"(?P<base>[\w.-]+)(@(?P<layers>[\w.*/-]+))?(?P<hybrid>\+hybrid)?(?P<once>\+at-once)?(?P<whiten>\+whiten)?"
)


@dataclass(frozen=True)
class Method:
    """One way, by the name that tables show.

    Attributes:
        name: as the user wrote it.
        kind: ``"none"`` is backprop alone, ``"none-tuned"`` the same for as long as the costliest other method takes
            with its pre-training, ``"random"`` a pre-training with learning rate 0, ``"weights"`` a file,
            ``"vae"`` and ``"vae-paper"`` autoencoders, ``"rule"`` a Hebbian rule, ``"guided"`` one that uses the
            gradient, from the start and without pre-training.
        rule: of a Hebbian pre-training.
        beside: rule by which hidden layers learn while the network is trained with labels.
        layers: those that learn by the rule, the others by backprop alone; empty for the usual ones.
        whiten: whether pixels are decorrelated.
        at_once: whether layers learn at once, one after the other, and not by steps.
    """

    name: str
    kind: Kind
    rule: Rule | None = None
    beside: Rule | None = None
    layers: tuple[str, ...] = ()
    whiten: bool = False
    at_once: bool = False

    @property
    def pretrains(self) -> bool:
        """Whether there is a pre-training before the labels."""
        return self.kind not in ("none", "none-tuned", "weights", "guided")


def method_named(name: str, *, paper: bool = False, whiten: bool = True) -> Method:
    """A method by its name.

    Args:
        name: "none", "none-tuned", "random", "weights", "vae", "vae-paper", a rule's short name or the
            ``module.Class`` of one's own, "global_guided" or a class that uses the gradient; ``@conv1/conv2`` behind a
            rule lets these layers alone learn by it, ``@all`` every hidden one, ``+hybrid`` lets it go on beside
            backprop when there are labels, ``+at-once`` puts one layer after the other where the rule would end (of
            "random": leaves all at rest, and estimates batch norms from the same sample), ``+whiten`` decorrelates
            pixels.
        paper: take the rules as the papers do, without a bound on the step.
        whiten: decorrelate pixels for competitive rules, too, where the name does not ask for it.

    Raises:
        ValueError: there is no such method.

    >>> method_named("hpca@conv1/conv2").layers, method_named("none+whiten").whiten, method_named("swta").whiten
    (('conv1', 'conv2'), True, True)
    >>> method_named("random").pretrains, method_named("none").pretrains
    (True, False)
    >>> method_named("hpca+hybrid").beside.rule == method_named("hpca").rule
    True
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(
            f"found the method {name!r}, expected one of {', '.join(PLAIN)}, a rule ({', '.join(NAMES)}) or the "
            "module.Class of one, perhaps with @LAYER/LAYER, +hybrid, +at-once or +whiten behind it"
        )
    base, usual, whiten = found["base"], whiten, found["whiten"] is not None
    if base in PLAIN:
        if found["layers"] or found["hybrid"] or (found["once"] and base != "random"):
            raise ValueError(
                f"found layers, hybrid or at-once in the method {name!r}, expected them behind a rule only"
            )
        # Of whitened images the control is that of competitive rules, whose networks have norms of their own.
        rule = _rule("swta" if whiten else "hpca", paper) if base == "random" else None
        return Method(name, base, rule, whiten=whiten, at_once=found["once"] is not None)  # type: ignore[arg-type]
    if base.lower() == "hybrid":
        raise ValueError("found the method 'hybrid', expected the rule that is to go on beside backprop: hpca+hybrid")
    try:
        rule = _rule(base, paper)
    except ValueError as error:
        raise ValueError(f"method {name!r}: {error}; other methods: {', '.join(PLAIN)}") from error
    if rule.uses_gradient:
        if found["layers"] or found["hybrid"] or found["once"]:
            raise ValueError(
                f"found the method {name!r}, expected no layers, hybrid or at-once: the rule uses the gradient"
            )
        return Method(name, "guided", beside=rule, whiten=whiten)
    layers = tuple(found["layers"].split("/")) if found["layers"] else ()
    at_once = found["once"] is not None
    if at_once and layers:
        raise ValueError(f"found layers in the method {name!r}, and at once all of them learn: leave one out")
    beside = Hybrid(rule) if found["hybrid"] else None
    return Method(name, "rule", rule, beside, layers, whiten or (usual and rule.competitive and not at_once), at_once)


def _rule(name: str, paper: bool) -> Rule:
    made = rule_class(name)
    if made is HPCA:
        return HPCA() if paper else HPCA(max_lr=0.1)
    return SWTA() if made is SWTA else made()
