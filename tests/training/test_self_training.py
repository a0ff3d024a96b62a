import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.utilities.model_summary import summarize
from torch import Tensor, nn

from fasthebb import NonFiniteError
from fasthebb.data import Batches, ImageSet, Preprocessing
from fasthebb.training import SelfTraining, fit, make_trainer
from fasthebb.training.self_training import aligned

CLASSES, UNLABELLED, LABELLED = 3, 90, 9


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 999))
def test_aligned_probabilities_have_the_classes_shares(count: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    likely = torch.rand(count, classes, generator=generator, dtype=torch.float64) + 0.5
    shares = torch.rand(classes, generator=generator, dtype=torch.float64) + 0.5
    shares /= shares.sum()
    found = aligned(likely, shares)
    torch.testing.assert_close(found.sum(1), torch.ones(count, dtype=torch.float64))
    torch.testing.assert_close(found.mean(0), shares, atol=1e-2, rtol=0)
    again = aligned(found, found.mean(0))
    torch.testing.assert_close(again, found)  # nothing to do


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bright rows say the class, among noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 120, (count, 1, 6, 6), generator=generator)
    pixels[torch.arange(count), 0, 2 * labels] += 100
    return pixels.to(torch.uint8), labels


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES))


def batches(size: int = 18) -> tuple[Batches, Tensor, Tensor]:
    """Numbered images, and the classes of those without and with labels."""
    (some, hidden), (few, known) = images(UNLABELLED, 0), images(LABELLED, 1)
    rows = torch.arange(UNLABELLED + LABELLED)
    dataset = ImageSet(torch.cat([some, few]), rows, [str(row) for row in rows.tolist()])
    made = Batches(dataset, Preprocessing.fit(dataset.images), batch_size=size, shuffle=True)
    return made, hidden, known


def doubtful(hidden: Tensor, right: float, seed: int = 0) -> Tensor:
    """A teacher that is right about so many images, and equally sure of all."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(hidden), generator=generator) > right
    said = torch.where(wrong, (hidden + 1 + torch.arange(len(hidden)) % 2) % CLASSES, hidden)
    return 0.4 * nn.functional.one_hot(said, CLASSES) + 0.2


def test_the_student_surpasses_its_teacher() -> None:
    loader, hidden, known = batches()
    teacher = doubtful(hidden, 0.6)
    module = SelfTraining(network(), teacher=teacher, labels=known, lr=0.1)
    fit(make_trainer(epochs=12, out=None, progress=False), module, loader)
    unseen, classes = images(300, 7)
    with torch.no_grad():
        right = (module.model.eval()(loader.preprocessing(unseen)).argmax(1) == classes).double().mean()
    before = (teacher.argmax(1) == hidden).double().mean()
    assert before < 0.7
    assert right > before + 0.15
    assert (module.target[:UNLABELLED].argmax(1) == hidden).double().mean() > before + 0.1


def test_targets_go_from_the_teacher_to_the_student_and_labels_stay() -> None:
    loader, hidden, known = batches()
    module = SelfTraining(network(), teacher=doubtful(hidden, 0.7), labels=known, lr=0.0, trust=0.5, heard=0.25)
    start = module.target.clone()
    torch.testing.assert_close(start[:UNLABELLED], module.teacher)
    fit(make_trainer(epochs=4, out=None, progress=False), module, loader)
    torch.testing.assert_close(module.target[UNLABELLED:], nn.functional.one_hot(known, CLASSES).float())
    shares = torch.full((CLASSES,), 1 / CLASSES)
    own = aligned(module.said[:UNLABELLED] ** (1 / module.temperature), shares)
    expected = aligned(module.teacher**0.25 * own**0.75, shares)
    torch.testing.assert_close(module.target[:UNLABELLED], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(module.target[:UNLABELLED], start[:UNLABELLED], atol=0.01)


def test_what_was_said_is_remembered_over_epochs() -> None:
    loader, hidden, known = batches(size=UNLABELLED + LABELLED)
    module = SelfTraining(network(), teacher=doubtful(hidden, 0.7), labels=known, lr=0.0, memory=0.75)
    fit(make_trainer(epochs=3, out=None, progress=False), module, loader)
    # At rest the same is said in every epoch: what is missing to one is the memory of nothing.
    torch.testing.assert_close(module.said.sum(1), torch.full((UNLABELLED + LABELLED,), 1 - 0.75**3))


def test_a_checkpoint_carries_targets_and_memory() -> None:
    _, hidden, known = batches()
    module = SelfTraining(network(), teacher=doubtful(hidden, 0.7), labels=known)
    assert {"target", "said", "teacher", "shares"} <= set(module.state_dict())
    assert summarize(module).total_parameters > 0


@pytest.mark.parametrize(
    ("teacher", "labels", "message"),
    [
        (torch.full((4, 3), 1 / 3), torch.empty(0, dtype=torch.int64), "needs labelled images, found none"),
        (torch.full((4, 3), 1.0), torch.tensor([0, 1, 2]), "expected a row of probabilities an image"),
        (torch.full((4, 3), torch.nan), torch.tensor([0, 1, 2]), "expected a row of probabilities an image"),
    ],
)
def test_what_nobody_can_learn_from_is_refused(teacher: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelfTraining(network(), teacher=teacher, labels=labels)


def test_divergence_ends_the_training() -> None:
    loader, hidden, known = batches()
    module = SelfTraining(network(), teacher=doubtful(hidden, 0.7), labels=known, lr=1e30)
    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        fit(make_trainer(epochs=3, out=None, progress=False), module, loader)
