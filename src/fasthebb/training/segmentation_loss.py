"""The loss of segmentation: cross entropy and soft Dice."""

import torch
from torch import Tensor


def segmentation_loss(logits: Tensor, masks: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross entropy plus soft Dice loss of a batch of predictions.

    With p the softmax of the logits, g one for a pixel's class and zero for others, and sums over all pixels i of the
    batch that count,

        loss = -1/M sum_i sum_k w_k g_ik log p_ik  +  1/K sum_k (1 - 2 sum_i p_ik g_ik / (sum_i p_ik^2 + sum_i g_ik^2))

    M pixels count, and the second mean is over the K foreground classes (all but class 0) that the batch's masks have:
    of an absent class Dice is 0 whatever is predicted, and has no gradient. Dice by squares is that of Milletari, Navab
    and Ahmadi (V-Net, 3DV 2016); it does not let the background drown small objects, which the cross entropy does.

    Args:
        logits: `(N, classes, *size)`, any floating type; the loss is float32.
        masks: `(N, *size)` class of each pixel. One that is no class, as `fasthebb.data.IGNORE` is, counts for nothing.
        class_weights: `(classes,)` factors w on the cross entropy of each class's pixels.

    Returns:
        A scalar, 0 where no pixel counts.

    >>> masks = torch.tensor([[0, 1, 255]])
    >>> segmentation_loss(torch.tensor([[[9.0, -9.0, -9.0], [-9.0, 9.0, 9.0]]]), masks)
    tensor(0.)
    >>> segmentation_loss(torch.zeros(1, 2, 3), masks)                                        # log 2 + 1 - 2/3
    tensor(1.0265)
    """
    log_p = torch.log_softmax(logits.float(), dim=1)
    classes = torch.arange(log_p.shape[1], device=masks.device)
    g = masks.unsqueeze(1) == classes.view(-1, *[1] * (masks.dim() - 1))  # a pixel to ignore is of none
    counts = g.any(dim=1, keepdim=True)
    weighted = log_p if class_weights is None else log_p * class_weights.view(-1, *[1] * (masks.dim() - 1))
    cross_entropy = -torch.where(g, weighted, 0).sum() / counts.sum().clamp_min(1)
    others = [dim for dim in range(log_p.dim()) if dim != 1]
    p = torch.where(counts, log_p.exp(), 0)[:, 1:]
    g = g[:, 1:]
    pixels = g.sum(others)
    dice = 2 * torch.where(g, p, 0).sum(others) / (p.square().sum(others) + pixels).clamp_min(1)
    present = pixels > 0
    return cross_entropy + torch.where(present, 1 - dice, 0).sum() / present.sum().clamp_min(1)
