"""Image retrieval: of the images nearest to a query, how many are of its class?"""

import torch
from torch import Tensor

from fasthebb.evaluation.features import check_features

CHUNK_ENTRIES = 1 << 23
"""Similarities held at once, of as many queries as that allows: with what is made of them, some 150 MB."""


def retrieval_scores(
    database: Tensor,
    database_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    k: int = 100,
    binary: bool = False,
) -> dict[str, float]:
    """Precision and mean average precision of retrieval, at `k` and at the size of the query's class.

    Each query ranks the database by similarity; an image of its class is a hit. Precision is the share of hits among
    the first k. Average precision is the mean, over the hits within the first k, of the precision at the rank of each;
    0 without a hit. (Other works divide by all images of the class instead, which gives less.)

    Args:
        database: features `(M, D)`: of the training images, in the papers.
        database_labels: `(M,)` their classes.
        queries: features `(N, D)`: of the test images.
        query_labels: `(N,)` their classes.
        k: depth of the list.
        binary: compare by the Hamming distance of the features binarised at 0 (above it or not), as compact codes are;
            otherwise by cosine similarity. Equals stay in the order of the database.

    Returns:
        In per cent, means over the queries: `precision_at_100` and `map_at_100` (with k in the place of 100; of all M,
        if there are no more) and `precision_at_class_size` and `map_at_class_size`, for which k is the number of the
        database's images of the query's class. Queries of a class without images in the database take no part.

    Raises:
        ValueError: shapes do not fit each other, a label is negative, k is below 1, or no query can be answered.

    >>> database, labels = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 1, 1])
    >>> retrieval_scores(database, labels, torch.tensor([[0.1, 1.0]]), torch.tensor([1]), k=1)
    {'precision_at_1': 100.0, 'map_at_1': 100.0, 'precision_at_class_size': 100.0, 'map_at_class_size': 100.0}
    """
    _check(database, database_labels, queries, query_labels, k)
    sizes = torch.bincount(database_labels, minlength=int(query_labels.max()) + 1)  # (classes,)
    answerable = sizes[query_labels] > 0
    if not answerable.any():
        raise ValueError("none of the queries is of a class of the database: there is nothing to retrieve")
    queries, query_labels = queries[answerable], query_labels[answerable]
    images, k_found = len(database), min(k, len(database))
    deepest = max(k_found, int(sizes[query_labels].max()))
    known = _comparable(database, binary)
    totals: dict[str, float] = {}
    rows = max(1, CHUNK_ENTRIES // images)
    for asked, labels in zip(torch.split(queries, rows), torch.split(query_labels, rows), strict=True):
        distances = _distances(_comparable(asked, binary), known, binary)  # (rows, M)
        # A distance and a position in one number: all are different, and equals in the order of the database.
        ranks = distances.mul_(images).add_(torch.arange(images, device=distances.device))
        nearest = ranks.topk(deepest, dim=1, largest=False).values % images  # (rows, deepest)
        hits = database_labels[nearest] == labels[:, None]
        for name, depth in ((str(k), torch.full_like(labels, k_found)), ("class_size", sizes[labels])):
            precision, average = _precision(hits, depth)
            for key, values in ((f"precision_at_{name}", precision), (f"map_at_{name}", average)):
                totals[key] = totals.get(key, 0.0) + float(values.sum())
    return {key: 100 * total / len(queries) for key, total in totals.items()}


def _comparable(features: Tensor, binary: bool) -> Tensor:
    """Features whose inner products are similarities: signs, or vectors of length one."""
    if binary:
        return torch.where(features > 0, 1.0, -1.0)
    return torch.nn.functional.normalize(features.float(), dim=1)


def _distances(queries: Tensor, database: Tensor, binary: bool) -> Tensor:
    """Distances `(N, M)` as int64: the number of differing bits, or an increasing function of one minus the cosine."""
    similarity = queries @ database.T
    if binary:
        return similarity.neg_().add_(queries.shape[1]).div_(2).long()  # whole numbers, exact in float32 up to D = 2^24
    distance = similarity.neg_().add_(1).clamp_(min=0)
    return distance.view(torch.int32).long()  # the bits of floats from 0 on are ordered as the floats are


def _precision(hits: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and average precision `(N,)` of ranked hits `(N, K)`, each query's to its own depth `(N,)`."""
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    counted = hits & (ranks <= depth[:, None])
    found = counted.cumsum(dim=1)  # hits up to each rank
    average = (found / ranks * counted).sum(dim=1) / found[:, -1].clamp(min=1)
    return found[:, -1] / depth, average


def _check(database: Tensor, database_labels: Tensor, queries: Tensor, query_labels: Tensor, k: int) -> None:
    check_features(database, database_labels, queries, query_labels)
    if min(int(database_labels.min()), int(query_labels.min())) < 0:
        raise ValueError("labels must not be negative: leave unlabelled images (-1) out")
    if k < 1:
        raise ValueError(f"found k = {k}, expected at least 1")
