"""Hebbian learning for PyTorch, computed as matrix products.

The hidden layers of any network learn from unlabelled images by a local rule; backprop then fine-tunes on few labels.

>>> import torch, fasthebb
>>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
>>> plasticity = fasthebb.attach(model, fasthebb.HPCA())
>>> optimizer = torch.optim.SGD(plasticity.parameters(), lr=1e-2)
>>> with torch.no_grad():
...     _ = model(torch.randn(16, 8))
>>> plasticity.write_grad()
>>> optimizer.step()
>>> plasticity.detach()
"""

from importlib.metadata import version as _version

from fasthebb import naive
from fasthebb.plasticity import NonFiniteError, Plasticity, attach
from fasthebb.rules import (
    HPCA,
    ICA,
    SWTA,
    WTA,
    GlobalGuided,
    Hebb,
    Hybrid,
    KrotovHopfield,
    Oja,
    PolynomialWTA,
    Rule,
    Sanger,
    SoftHebb,
    SummedSWTA,
    Sums,
)
from fasthebb.synapses import Synapse

__version__ = _version("fasthebb")
__all__ = [
    "HPCA",
    "ICA",
    "SWTA",
    "WTA",
    "GlobalGuided",
    "Hebb",
    "Hybrid",
    "KrotovHopfield",
    "NonFiniteError",
    "Oja",
    "Plasticity",
    "PolynomialWTA",
    "Rule",
    "Sanger",
    "SoftHebb",
    "SummedSWTA",
    "Sums",
    "Synapse",
    "attach",
    "naive",
]
