"""Products with the lower triangle of a Gram matrix: what the neurons before each neuron already explain."""

import torch
from torch import Tensor

BLOCK = 256  # neurons taken at once by the blocked form; its cost per neuron is flat from 128 to 512


def correlate_residual(y: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """``Y'X - tril(Y'Y) W``: each neuron's correlation with what the neurons up to it leave unexplained.

    Two equal forms. The Gram matrix costs ``o o (N + K)`` beside the correlation. In blocks of neurons, with a running
    residual ``X - sum_{j before the block} y_j w_j``, the cost is ``N o K + o BLOCK (N + K)``: far less where a wide
    layer sees few samples.

    Args:
        y: responses, ``(g, N, o)``.
        x: inputs as rows, ``(g, N, K)``.
        w: weights as rows, ``(g, o, K)``.

    Returns:
        ``(g, o, K)``.
    """
    samples, neurons, inputs = y.shape[1], y.shape[2], x.shape[2]
    if samples * neurons * inputs + neurons * BLOCK * (samples + inputs) >= neurons * neurons * (samples + inputs):
        return torch.baddbmm(y.mT @ x, torch.tril(y.mT @ y), w, alpha=-1)
    update = torch.empty_like(w, dtype=y.dtype)
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
