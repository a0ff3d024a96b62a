"""What learning comes to, from a sample of patches at once, without steps."""

import torch
from torch import Tensor

CHUNK = 16_384  # patches compared with all prototypes at a time


def principal_components(patches: Tensor, count: int) -> Tensor:
    """Leading eigenvectors of ``X'X``, of unit norm: what linear Hebbian PCA (Sanger's rule) converges to.

    The mean is not taken off, as the rule does not. The largest component of each row is positive.

    Args:
        patches: X, ``(M, K)``.
        count: number of rows.

    Returns:
        ``(count, K)``, like ``patches``, the largest eigenvalue first.

    Raises:
        ValueError: more components than there are inputs.

    >>> principal_components(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0]]), 1)
    tensor([[1., 0.]])
    """
    if count > patches.shape[1]:
        raise ValueError(
            f"found {count} neurons of {patches.shape[1]} inputs each, and there are no more principal components than "
            "inputs: take a narrower layer, or a competitive rule"
        )
    vectors = torch.linalg.eigh(patches.T @ patches)[1].flip(1)[:, :count]
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    components: Tensor = (vectors * peaks.sign()).T.contiguous()
    return components


def whitened_prototypes(
    patches: Tensor, count: int, generator: torch.Generator, *, share: float = 0.1, rounds: int = 3
) -> Tensor:
    """Spherical k-means of whitened patches, as weights for the patches as they are.

    Hard competition in which every neuron's step is whole: with ``Z = X V``, ``V = U (L + share mean(L))^-1/2 U'`` of
    the eigenvectors U and eigenvalues L of ``X'X / M``, each round moves a prototype to the direction of the sum of
    the patches that are nearest to it in angle; ``w = prototype V``. Coates and Ng (Learning feature representations
    with k-means, 2012).

    Args:
        patches: X, ``(M, K)``, with at least ``count`` rows.
        count: number of prototypes; they start as patches, and one that is nearest to none starts anew.
        generator: draws patches, on the CPU.
        share: part of the mean eigenvalue that is added before inverting: the higher, the smoother the filters.
        rounds: of k-means.

    Returns:
        ``(count, K)``, like ``patches``.

    Raises:
        ValueError: fewer patches than prototypes.

    >>> x = torch.tensor([[4.0, 0.1], [4.0, -0.1], [0.1, 1.0], [-0.1, 1.0]])
    >>> whitened_prototypes(x, 2, torch.Generator().manual_seed(1), share=0.0).abs().argmax(1).sort().values
    tensor([0, 1])
    """
    if len(patches) < count:
        raise ValueError(
            f"found {len(patches)} patches for {count} neurons, expected at least one each: give more images"
        )
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    values = values.clamp_min(0)
    scale = (values + share * values.mean()).clamp_min(torch.finfo(values.dtype).tiny).rsqrt()
    whitening = (vectors * scale) @ vectors.T
    white = torch.nn.functional.normalize(patches @ whitening, dim=1)

    def drawn(number: int) -> Tensor:
        return white[torch.randperm(len(white), generator=generator)[:number].to(white.device)]

    prototypes = drawn(count)
    for _ in range(rounds):
        total = torch.zeros_like(prototypes)
        won = torch.zeros(count, device=white.device)
        for part in torch.split(white, CHUNK):
            nearest = (part @ prototypes.T).argmax(1)
            total.index_add_(0, nearest, part)
            won += torch.bincount(nearest, minlength=count)
        idle = won == 0
        total[idle] = drawn(int(idle.sum()))
        prototypes = torch.nn.functional.normalize(total, dim=1)
    weights: Tensor = prototypes @ whitening
    return weights
