import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb.evaluation import classification_scores, predict_logits
from fasthebb.models import Network
from fasthebb.training import Classifier, fit, last_checkpoint, make_trainer

Model = Callable[..., Network]


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def train(module: Classifier, loader: Any, validation: Any = None, epochs: int | None = None, **kwargs: Any) -> None:
    trainer = make_trainer(epochs=epochs or module.total_epochs, out=kwargs.pop("out", None), progress=False)
    fit(trainer, module, loader, validation, **kwargs)


def test_fine_tuning_trains_every_parameter_and_learns(make_model: Model, loader: Any) -> None:
    model = make_model(hebbian=False)
    before = state(model)
    train(Classifier(model, classes=3, epochs=15, lr=0.02), loader)
    assert changed(before, state(model)) == set(before)
    logits, labels = predict_logits(model, loader)
    assert classification_scores(logits, labels, 3)["top1"] > 80


@pytest.mark.parametrize("validation", [False, True])
def test_a_probe_leaves_the_encoder_bit_for_bit(make_model: Model, loader: Any, validation: bool) -> None:
    model = make_model()
    before = state(model)
    module = Classifier(model, classes=3, epochs=3, probe=True)
    module.train()
    train(module, loader, loader if validation else None)
    assert changed(before, state(model)) == {"classifier.1.weight", "classifier.1.bias"}
    assert not any(layer.training for layer in model.features.modules())
    assert not any(p.requires_grad for p in model.features.parameters())


def test_dropout_of_a_probe_is_on_while_it_trains(make_model: Model, loader: Any) -> None:
    model = make_model()
    model.eval()
    modes: list[bool] = []
    model.classifier.register_forward_hook(lambda layer, *_: modes.append(layer.training))
    train(Classifier(model, classes=3, epochs=2, probe=True), loader, loader)
    assert modes == 2 * (3 * [True] + 3 * [False])


def test_a_model_in_eval_mode_trains_in_train_mode(make_model: Model, loader: Any) -> None:
    model = make_model().eval()
    train(Classifier(model, classes=3, epochs=1), loader)
    assert model.features.norm1.num_batches_tracked == len(loader)


def test_learning_rate_halves_every_epoch_after_the_tenth(make_model: Model, loader: Any, tmp_path: Path) -> None:
    train(Classifier(make_model(), classes=3, epochs=13, lr=0.008, probe=True), loader, out=tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.008] * 10 + [0.004, 0.002, 0.001])


@pytest.mark.parametrize("probe", [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    make_model: Model, make_loader: Any, tmp_path: Path, probe: bool, measured: Any
) -> None:
    def module() -> Classifier:
        return Classifier(make_model(), classes=3, epochs=12, lr=0.01, probe=probe, seed=3)

    whole, first, second = module(), module(), module()
    train(whole, make_loader(), make_loader(seed=1), out=tmp_path / "whole")
    train(first, make_loader(), make_loader(seed=1), epochs=11, out=tmp_path / "parts")
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    train(second, make_loader(), make_loader(seed=1), out=tmp_path / "parts", ckpt=checkpoint)
    assert changed(state(whole), state(first))
    assert not changed(state(whole), state(second))
    assert measured(tmp_path / "whole") == measured(tmp_path / "parts")


def test_validation_scores_are_those_of_the_whole_set(make_model: Model, make_loader: Any, tmp_path: Path) -> None:
    model = make_model()
    validation = make_loader(images=19, batch=7, seed=2, noise=0.0)
    train(Classifier(model, classes=3, epochs=1), make_loader(), validation, out=tmp_path)
    row = next(csv.DictReader((tmp_path / "metrics.csv").open()))
    expected = classification_scores(*predict_logits(model, validation), classes=3)
    assert {name: float(row[f"val_{name}"]) for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("label", "found"), [(-1, "from -1 to 2"), (3, "from 0 to 3")])
def test_labels_that_are_no_class_are_refused(make_model: Model, loader: Any, label: int, found: str) -> None:
    loader.batch = 24
    loader.labels[0] = label
    loader.labels[1:4] = torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match=found):
        train(Classifier(make_model(), classes=3, epochs=1), loader)


def test_a_batch_of_one_image_trains(make_model: Model, make_loader: Any) -> None:
    model = make_model()
    train(Classifier(model, classes=3, epochs=1), make_loader(images=17, batch=8))
    assert model.features.norm5.num_batches_tracked == 2
    before = state(model)
    train(Classifier(model, classes=3, epochs=1), make_loader(images=1, batch=1))
    assert "features.conv1.weight" in changed(before, state(model))


def test_a_loss_that_is_not_finite_ends_the_training_before_a_checkpoint(
    make_model: Model, loader: Any, tmp_path: Path
) -> None:
    loader.images[3] = math.nan
    with pytest.raises(fasthebb.NonFiniteError, match="epoch 0"):
        train(Classifier(make_model(), classes=3, epochs=2), loader, loader, out=tmp_path)
    assert last_checkpoint(tmp_path / "checkpoints") is None


def test_seed_decides(make_model: Model, make_loader: Any) -> None:
    models = [make_model() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.rand(seed + 5)  # what ran before makes no difference
        train(Classifier(model, classes=3, epochs=1, seed=seed), make_loader())
    assert not changed(state(models[0]), state(models[1]))
    assert changed(state(models[0]), state(models[2]))


def test_any_network_can_be_fine_tuned(make_loader: Any) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24 * 24, 3))
    loader = make_loader()
    train(Classifier(model, classes=3, epochs=2), loader)
    assert 0 in loader.epochs_told
    assert 1 in loader.epochs_told
    assert isinstance(Classifier(model, classes=3), lightning.LightningModule)
