"""What is learned: one small file a rule."""

from fasthebb.rules.global_guided import GlobalGuided
from fasthebb.rules.hebb import Hebb
from fasthebb.rules.hpca import HPCA
from fasthebb.rules.hybrid import Hybrid
from fasthebb.rules.ica import ICA
from fasthebb.rules.krotov_hopfield import KrotovHopfield
from fasthebb.rules.oja import Oja
from fasthebb.rules.polynomial_wta import PolynomialWTA
from fasthebb.rules.rule import Rule, Sums
from fasthebb.rules.sanger import Sanger
from fasthebb.rules.softhebb import SoftHebb
from fasthebb.rules.summed_swta import SummedSWTA
from fasthebb.rules.swta import SWTA
from fasthebb.rules.wta import WTA

__all__ = [
    "HPCA",
    "ICA",
    "SWTA",
    "WTA",
    "GlobalGuided",
    "Hebb",
    "Hybrid",
    "KrotovHopfield",
    "Oja",
    "PolynomialWTA",
    "Rule",
    "Sanger",
    "SoftHebb",
    "SummedSWTA",
    "Sums",
]
