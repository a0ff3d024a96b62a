"""Label spreading: what a classifier says of an image, corrected by what it says of similar ones."""

import torch
from torch import Tensor, nn

from fasthebb.training.self_training import aligned

NEIGHBOURS = 10
SHARE = 0.8
"""Part of an image's answer that comes from its neighbours."""
SHARPNESS = 4
"""Similarities are raised to this power."""
ROUNDS = 30
DIRECTIONS = 512
"""Neighbours are looked for in so many principal components of the features, if there are more of them."""
LABEL_WEIGHT = 3.0
"""Of a known class, against what a classifier is sure of."""
CONTRAST = 1.5
"""Logits are the spread answers in units of their standard deviation, times this."""
_BLOCK = 1000


def spread_labels(likely: Tensor, labels: Tensor, features: Tensor, *, seed: int = 0) -> Tensor:
    """What a classifier takes unlabelled images for, after it has been spread among them and from labelled ones.

    Args:
        likely: ``(N, C)`` probabilities, of the unlabelled images.
        labels: ``(n,)`` classes of the labelled ones.
        features: ``(N + n, D)`` of both, in this order.
        seed: see `spread`.

    Returns:
        ``(N, C)`` probabilities, whose means are the classes' shares among the labels.

    >>> likely, features = torch.full((2, 2), 0.5), torch.tensor([[3.0, 0.1], [0.1, 3.0], [3.0, 0.0], [0.0, 3.0]])
    >>> spread_labels(likely, torch.tensor([0, 1]), features).argmax(1)
    tensor([0, 1])
    """
    known = nn.functional.one_hot(labels, likely.shape[1]).to(likely)
    shares = known.mean(0)
    answers = torch.cat([aligned(likely, shares) - shares, LABEL_WEIGHT * (known - shares)])
    spread_out = spread(answers, features, seed=seed)[: len(likely)]
    deviation = spread_out.std().clamp_min(torch.finfo(likely.dtype).tiny)
    return aligned(torch.softmax(CONTRAST * spread_out / deviation, dim=1), shares)


def spread(answers: Tensor, features: Tensor, *, seed: int = 0) -> Tensor:
    """Let the answers for N images flow along a graph of their nearest neighbours.

    ``Z <- SHARE D^-1/2 A D^-1/2 Z + (1 - SHARE) Y`` (Zhou et al., "Learning with local and global consistency",
    NeurIPS 2003). Y are the answers, D the row sums of A, and A connects each image with those that are most similar to
    it, by the cosine between their features, which weighs by its fourth power.

    Args:
        answers: ``(N, C)`` Y, a row an image; centre them, so that a zero says nothing.
        features: ``(N, D)``.
        seed: of the random projection that finds the principal components.

    Returns:
        ``(N, C)`` Z.

    Raises:
        ValueError: there is not a row of features an answer, or a single image.

    >>> answers = torch.tensor([[1.0], [0.0], [-1.0], [0.0]])
    >>> spread(answers, torch.tensor([[3.0, 0.1], [3.0, 0.0], [0.1, 3.0], [0.0, 3.0]])).squeeze(1)
    tensor([ 0.5561,  0.4439, -0.5561, -0.4439])
    """
    if len(answers) != len(features) or len(answers) < 2:
        raise ValueError(
            f"found {len(features)} rows of features for {len(answers)} answers, expected one an answer, and at least 2"
        )
    with torch.no_grad():
        similarity, neighbours = _nearest(_directions(features, seed), min(NEIGHBOURS, len(answers) - 1))
        weight = similarity.clamp_min(0).pow(SHARPNESS).to(answers)
        degree = weight.sum(1).index_add_(0, neighbours.flatten(), weight.flatten())
        scale = degree.clamp_min(torch.finfo(degree.dtype).tiny).rsqrt()
        weight = weight * scale[:, None] * scale[neighbours]
        spread_out = answers.clone()
        for _ in range(ROUNDS):
            received = torch.einsum("nk,nkc->nc", weight, spread_out[neighbours])
            sent = weight[:, :, None] * spread_out[:, None]
            received.index_add_(0, neighbours.flatten(), sent.flatten(0, 1))
            spread_out = SHARE * received + (1 - SHARE) * answers
    return spread_out


def _directions(features: Tensor, seed: int) -> Tensor:
    """Unit vectors along the features, in their first principal components."""
    centred = features - features.mean(0)
    if min(centred.shape) > DIRECTIONS:
        with torch.random.fork_rng(devices=[]):  # pca_lowrank draws from the global generator
            torch.manual_seed(seed)
            *_, axes = torch.pca_lowrank(centred, DIRECTIONS, center=False, niter=2)
        centred = centred @ axes
    return nn.functional.normalize(centred, dim=1)


def _nearest(unit: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosine and row ``(N, count)`` of each row's nearest others."""
    similarities, rows = [], []
    for start in range(0, len(unit), _BLOCK):
        products = unit[start : start + _BLOCK] @ unit.T
        products.diagonal(start).fill_(-torch.inf)
        nearest = products.topk(count, dim=1)
        similarities.append(nearest.values)
        rows.append(nearest.indices)
    return torch.cat(similarities), torch.cat(rows)
