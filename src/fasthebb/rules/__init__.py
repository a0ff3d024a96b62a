"""What is learned: one small file a rule."""

from fasthebb.rules.hpca import HPCA
from fasthebb.rules.rule import Rule, Sums
from fasthebb.rules.swta import SWTA

__all__ = ["HPCA", "SWTA", "Rule", "Sums"]
