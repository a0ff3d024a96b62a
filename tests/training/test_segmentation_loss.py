import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fasthebb.training import segmentation_loss

IGNORE = 255


def batch(classes: int, size: tuple[int, ...], seed: int, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, *size, generator=generator)
    masks = torch.randint(classes, (2, *size), generator=generator)
    masks[torch.rand(masks.shape, generator=generator) < ignored] = IGNORE
    return logits, masks


shapes = st.sampled_from([(7,), (4, 5), (3, 2, 4)])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), shapes, st.integers(0, 999), st.floats(0, 0.9))
def test_the_loss_is_cross_entropy_and_dice_of_the_pixels_that_count(
    classes: int, size: tuple[int, ...], seed: int, ignored: float
) -> None:
    logits, masks = batch(classes, size, seed, ignored)
    counted = masks.flatten() != IGNORE
    rows, truth = logits.movedim(1, -1).reshape(-1, classes)[counted].double(), masks.flatten()[counted]
    expected = F.cross_entropy(rows, truth) if len(truth) else torch.tensor(0.0)
    p = rows.softmax(1)
    present = [k for k in range(1, classes) if (truth == k).any()]
    losses = []
    for k in present:
        g = (truth == k).double()
        losses.append(1 - 2 * (p[:, k] * g).sum() / (p[:, k].square().sum() + g.square().sum()))
    if losses:
        expected = expected + torch.stack(losses).mean()
    torch.testing.assert_close(segmentation_loss(logits, masks).double(), expected.double(), rtol=1e-4, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 999), st.floats(0, 1))
def test_ignored_pixels_give_no_gradient_and_make_no_difference(
    size: tuple[int, ...], seed: int, ignored: float
) -> None:
    logits, masks = batch(3, size, seed, ignored)
    logits.requires_grad_()
    loss = segmentation_loss(logits, masks)
    loss.backward()
    hidden = (masks == IGNORE).unsqueeze(1).expand_as(logits)
    assert not logits.grad[hidden].any()
    if not hidden.all():
        assert logits.grad[~hidden].any()
    assert torch.isfinite(logits.grad).all()
    other = torch.where(hidden, 100 * torch.randn_like(logits), logits)
    assert torch.equal(segmentation_loss(other, masks), loss)


@pytest.mark.parametrize("size", [(4, 4), (2, 3, 4)])
def test_nothing_to_learn_from_is_no_loss(size: tuple[int, ...]) -> None:
    logits = torch.randn(2, 3, *size, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((2, *size), IGNORE))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("masks", [torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
def test_perfect_predictions_have_no_loss_even_where_classes_are_absent(masks: Tensor) -> None:
    masks = masks.long()
    logits = 100 * F.one_hot(masks, 3).movedim(-1, 1).float()
    assert segmentation_loss(logits, masks) == pytest.approx(0.0, abs=1e-6)
    assert segmentation_loss(-logits, masks) > 1


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_certain_and_wrong_predictions_are_finite(scale: float) -> None:
    logits, masks = batch(2, (4, 4), 0)
    logits = (scale * logits).requires_grad_()
    loss = segmentation_loss(logits, masks)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_class_weights_multiply_the_cross_entropy_of_their_pixels() -> None:
    logits, masks = batch(3, (4, 5), 1, ignored=0.2)
    weights = torch.tensor([0.5, 2.0, 0.0])
    plain, weighted = segmentation_loss(logits, masks), segmentation_loss(logits, masks, weights)
    each = F.cross_entropy(logits, masks, reduction="none", ignore_index=IGNORE)
    factors = torch.tensor([*weights, *[0] * (IGNORE - 3), 1])[masks]
    difference = ((factors - 1) * each).sum() / (masks != IGNORE).sum()
    torch.testing.assert_close(weighted - plain, difference)


def test_few_digits_are_enough_for_logits() -> None:
    logits, masks = batch(2, (8, 8), 2)
    loss = segmentation_loss(logits.bfloat16(), masks)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, segmentation_loss(logits, masks), rtol=0.02, atol=0)


def test_dice_counts_small_objects_as_much_as_large_ones() -> None:
    masks = torch.zeros(1, 32, 32, dtype=torch.int64)
    masks[0, 4:6, 4:6] = 1
    nothing = torch.stack([torch.full((1, 32, 32), 9.0), torch.full((1, 32, 32), -9.0)], dim=1)
    cross_entropy = F.cross_entropy(nothing, masks)
    assert cross_entropy < 0.1  # that all is background is nearly right
    assert segmentation_loss(nothing, masks) - cross_entropy == pytest.approx(1.0, abs=1e-3)
