"""Where it is learned: rules hooked onto the layers of any network, and their sums turned into gradients."""

from fasthebb.plasticity.attached import Plasticity, attach
from fasthebb.plasticity.learner import NonFiniteError

__all__ = ["NonFiniteError", "Plasticity", "attach"]
