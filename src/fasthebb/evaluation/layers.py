"""Where in a network the features are made: the same read-outs after each of its layers."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from fasthebb.evaluation.features import layer_features, stages
from fasthebb.evaluation.readers import knn_top1, svm_top1
from fasthebb.evaluation.retrieval import retrieval_scores


def layer_scores(
    model: nn.Module,
    reference: Iterable[tuple[Tensor, Tensor]],
    scored: Iterable[tuple[Tensor, Tensor]],
    *,
    layers: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Read out layers of a network with classifiers that only look: neighbours, a linear machine, retrieval.

    Args:
        model: any network; it is as before afterwards.
        reference: batches `(images, labels)` to learn from and to retrieve, of every class that is scored.
        scored: batches to classify and to ask for; not the same images.
        layers: their names; if left out, the `stages` of `model.features`.
        groups: a group name for each image of `reference`, for the choice of the machine's penalty.

    Returns:
        For each layer its name as `layer`, the number of features as `size`, and in per cent `knn` and `svm` (top-1,
        see `knn_top1`, and `svm_top1`, which learns from at most 2,000 images), `retrieval` and `binary_retrieval` (see
        `retrieval_scores`).

    Raises:
        ValueError: as `layer_features` does.

    >>> import torch
    >>> from fasthebb.models import cnn6
    >>> model = cnn6(channels=1, image_size=24, width=0.1, hidden=16)
    >>> reference = [(torch.randn(8, 1, 24, 24), torch.arange(8) % 2)]
    >>> scored = [(torch.randn(2, 1, 24, 24), torch.arange(2))]
    >>> [row["layer"] for row in layer_scores(model, reference, scored)][::4]
    ['features.norm1', 'features.norm5']
    """
    names = stages(model) if layers is None else list(layers)
    known, known_labels = layer_features(model, reference, names)
    asked, asked_labels = layer_features(model, scored, names)
    rows = []
    for name in names:
        features = (known.pop(name), known_labels, asked.pop(name), asked_labels)
        rows.append(
            {
                "layer": name,
                "size": features[0].shape[1],
                "knn": knn_top1(*features),
                "svm": svm_top1(*features, groups=groups),
                "retrieval": retrieval_scores(*features),
                "binary_retrieval": retrieval_scores(*features, binary=True),
            }
        )
    return rows
