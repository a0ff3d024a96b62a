"""Rules by name, as the command line takes them."""

from difflib import get_close_matches
from importlib import import_module

from fasthebb.rules.global_guided import GlobalGuided
from fasthebb.rules.hebb import Hebb
from fasthebb.rules.hpca import HPCA
from fasthebb.rules.hybrid import Hybrid
from fasthebb.rules.ica import ICA
from fasthebb.rules.krotov_hopfield import KrotovHopfield
from fasthebb.rules.oja import Oja
from fasthebb.rules.polynomial_wta import PolynomialWTA
from fasthebb.rules.rule import Rule
from fasthebb.rules.sanger import Sanger
from fasthebb.rules.softhebb import SoftHebb
from fasthebb.rules.summed_swta import SummedSWTA
from fasthebb.rules.swta import SWTA
from fasthebb.rules.wta import WTA

NAMES: dict[str, type[Rule]] = {
    "hpca": HPCA,
    "swta": SWTA,
    "summed_swta": SummedSWTA,
    "hebb": Hebb,
    "oja": Oja,
    "sanger": Sanger,
    "wta": WTA,
    "polynomial_wta": PolynomialWTA,
    "krotov_hopfield": KrotovHopfield,
    "softhebb": SoftHebb,
    "ica": ICA,
}
"""Short names of those that learn from images alone."""

GRADIENT_NAMES: dict[str, type[Rule]] = {"global_guided": GlobalGuided, "hybrid": Hybrid}
"""Short names of those that also use the gradient of a loss."""


def rule_class(name: str) -> type[Rule]:
    """The class of a rule, by its short name or as ``module.Class``, which is imported.

    Raises:
        ValueError: there is no such rule.

    >>> rule_class("swta").__name__, rule_class("fasthebb.rules.oja.Oja").__name__
    ('SWTA', 'Oja')
    >>> rule_class("stwa")
    Traceback (most recent call last):
    ...
    ValueError: unknown rule 'stwa': did you mean swta? (known: hpca, swta, ...; or the module.Class of your own)
    """
    known = {**NAMES, **GRADIENT_NAMES}
    if name.lower() in known:
        return known[name.lower()]
    module, _, attribute = name.rpartition(".")
    if not module:
        near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        meant = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown rule {name!r}{meant} (known: {', '.join(known)}; or the module.Class of your own)")
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise ValueError(f"cannot import the rule {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Rule)):
        raise ValueError(f"found no rule {attribute!r} in the module {module!r}: expected a subclass of fasthebb.Rule")
    return found
