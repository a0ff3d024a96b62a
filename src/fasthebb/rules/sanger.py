"""Sanger's rule, the linear case of HPCA under its own name."""

from dataclasses import dataclass

from fasthebb.rules.hpca import HPCA, Activation, StepScale


@dataclass(frozen=True)
class Sanger(HPCA):
    """Sanger's generalised Hebbian algorithm: neuron by neuron, the principal components of the input.

    For one sample ``dw_i = y_i (x - sum_{j<=i} y_j w_j)``, ``y = x W'``, averaged over the N samples:

        ``dW = (Y'X - tril(Y'Y) W) / N``

    Sanger (Neural Networks 2, 1989). `HPCA` with ``activation="identity"`` and ``step_scale="none"``. Good for an
    online PCA of data that does not fit into memory, and as a linear baseline.

    >>> Sanger().activation
    'identity'
    """

    activation: Activation = "identity"
    step_scale: StepScale = "none"
