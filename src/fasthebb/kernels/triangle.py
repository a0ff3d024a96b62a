"""Each neuron's correlation with what the neurons up to it leave unexplained, where inputs come as rows.

Two equal forms of ``Y'X - tril(Y'Y) W``, and a cost model that chooses.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fasthebb.kernels.precision import at_least_float32

BLOCK = 64  # neurons taken at once by the blocked form


def by_gram(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """Through the whole Gram matrix: ``o o (N + K)`` multiplications beside the correlation's ``N o K``."""
    correlation, gram = y.mT @ x, torch.tril(y.mT @ y)
    if _is_narrow(y):
        return at_least_float32(correlation) - gram @ w
    return correlation.baddbmm_(gram, w, alpha=-1)


def by_blocks(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """In blocks of neurons, with a running residual ``X - sum_{j before the block} y_j w_j``.

    ``2 N o K`` multiplications, and ``o BLOCK (N + K)`` within the blocks: far less than the Gram matrix costs where a
    wide layer sees few samples.
    """
    if _is_narrow(y):
        return _by_blocks_in_float32(y, x, w)
    if torch.compiler.is_compiling():
        return _by_blocks_out_of_place(y, x, w)
    neurons = y.shape[2]
    update = torch.empty_like(w)
    residual = x.clone()
    for start in range(0, neurons, BLOCK):
        block = slice(start, min(start + BLOCK, neurons))
        responses, weights = y[:, :, block], w[:, block]
        gram = torch.tril(responses.mT @ responses)
        part = update[:, block]  # in place: fresh memory of the size of the weight costs as much as the products
        part.baddbmm_(responses.mT, residual, beta=0).baddbmm_(gram, weights, alpha=-1)
        if block.stop < neurons:
            residual.baddbmm_(responses, weights, alpha=-1)
    return update


def _by_blocks_out_of_place(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """The same for compiled code, which would turn every write into a block into a copy of the whole update."""
    neurons = y.shape[2]
    parts, residual = [], x
    for start in range(0, neurons, BLOCK):
        block = slice(start, min(start + BLOCK, neurons))
        responses, weights = y[:, :, block], w[:, block]
        gram = torch.tril(responses.mT @ responses)
        parts.append(responses.mT @ residual - gram @ weights)
        if block.stop < neurons:
            residual = residual - responses @ weights
    return torch.cat(parts, dim=1)


def _by_blocks_in_float32(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """The same for narrow dtypes: products in these, the residual and the difference of products in float32."""
    neurons = y.shape[2]
    update = torch.empty_like(w, dtype=torch.float32)
    residual = at_least_float32(x).clone()
    for start in range(0, neurons, BLOCK):
        block = slice(start, min(start + BLOCK, neurons))
        responses, weights = y[:, :, block], w[:, block]
        gram = torch.tril(responses.mT @ responses)
        part = update[:, block]
        part.copy_(responses.mT @ residual.to(y.dtype)).sub_(gram @ weights)
        if block.stop < neurons:
            residual.sub_(responses @ weights)
    return update


def _is_narrow(y: Tensor) -> bool:
    return y.dtype in (torch.bfloat16, torch.float16)


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"gram": by_gram, "blocks": by_blocks}


def cheaper_form(samples: int, neurons: int, inputs: int) -> str:
    """The form with fewer multiplications; that of blocks only where it saves a third, as its products are thin.

    >>> cheaper_form(samples=64, neurons=4096, inputs=2304), cheaper_form(samples=4096, neurons=128, inputs=576)
    ('blocks', 'gram')
    """
    blocks = samples * neurons * inputs + neurons * min(BLOCK, neurons) * (samples + inputs)
    return "blocks" if 1.5 * blocks < neurons * neurons * (samples + inputs) else "gram"


def correlate_residual(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """``Y'X - tril(Y'Y) W``, in the cheaper form.

    Args:
        y: responses, ``(g, N, o)``.
        x: inputs as rows, ``(g, N, K)``.
        w: weights as rows, ``(g, o, K)``.

    Returns:
        ``(g, o, K)``, at least in float32.

    >>> y, x, w = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]]), torch.eye(2)[None]
    >>> correlate_residual(y, x, w)
    tensor([[[2., 4.],
             [4., 4.]]])
    """
    return FORMS[cheaper_form(y.shape[1], y.shape[2], x.shape[2])](y, x, w)
