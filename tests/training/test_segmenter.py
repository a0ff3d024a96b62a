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
from fasthebb.evaluation import segmentation_scores
from fasthebb.models import SegmentationNetwork, unet
from fasthebb.training import Segmenter, best_weights, fit, last_checkpoint, make_trainer
from fasthebb.training.curves import warm_cosine

Model = Callable[..., SegmentationNetwork]


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


class Record(lightning.Callback):
    """What the model was and how fast it learned, after every step; an interruption on request."""

    def __init__(self, stop: int | None = None) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.lrs: list[list[float]] = []
        self.stop = stop

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *args: Any) -> None:
        self.states.append(state(module.model))
        self.lrs.append([group["lr"] for group in trainer.optimizers[0].param_groups])
        if self.stop == trainer.global_step:
            raise RuntimeError("interrupted")


def train(module: Segmenter, loader: Any, validation: Any = None, epochs: int = 2, **kwargs: Any) -> lightning.Trainer:
    fitting = {name: kwargs.pop(name) for name in ("ckpt",) if name in kwargs}
    trainer = make_trainer(epochs=epochs, **{"out": None, "progress": False, **kwargs})
    fit(trainer, module, loader, validation, **fitting)
    return trainer


def test_discs_are_found(make_unet: Model, make_discs: Any) -> None:
    module = Segmenter(make_unet(), lr=0.02, ema=0.8)
    unseen = make_discs(images=50, seed=9)
    before = unseen.dice(module.network())
    train(module, make_discs(batches=16), epochs=3)
    assert before < 0.5
    assert unseen.dice(module.network()) > 0.8
    assert unseen.dice(module.model) > 0.8


def test_everything_learns(make_unet: Model, make_discs: Any) -> None:
    model = make_unet()
    before = state(model)
    train(Segmenter(model), make_discs())
    assert changed(before, state(model)) == set(before)


def test_volumes_of_one_crop_a_batch(make_unet: Model, make_discs: Any) -> None:
    model = make_unet(dims=3, depth=1)
    before = state(model)
    train(Segmenter(model), make_discs(dims=3, side=12, batch=1, batches=2), epochs=1)
    assert changed(before, state(model)) == set(before)
    assert model.features.get_parameter("down1.conv2.weight").is_contiguous(memory_format=torch.channels_last_3d)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    make_unet: Model, make_discs: Any, tmp_path: Path, measured: Any
) -> None:
    def module() -> Segmenter:
        return Segmenter(make_unet(dropout=0.3), seed=3, lr=0.01)

    whole, first, second = module(), module(), module()
    train(whole, make_discs(), make_discs(seed=1), epochs=3, out=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        train(first, make_discs(), make_discs(seed=1), epochs=3, out=tmp_path / "parts", callbacks=[Record(stop=10)])
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    train(second, make_discs(), make_discs(seed=1), epochs=3, out=tmp_path / "parts", ckpt=checkpoint)
    assert changed(state(whole), state(first))
    assert not changed(state(whole), state(second))
    assert measured(tmp_path / "whole") == measured(tmp_path / "parts")


def test_what_is_frozen_stays_as_it_is(make_unet: Model, make_discs: Any) -> None:
    model = make_unet()
    before = state(model)
    module = Segmenter(model, frozen=["down*", "up1.norm1"])
    train(module, make_discs(), make_discs())
    moved = changed(before, state(model))
    resting = ("features.down", "features.up1.norm1")
    assert moved == {name for name in before if not name.startswith(resting)}
    assert not changed(
        {name: tensor for name, tensor in before.items() if name.startswith(resting)}, state(module.network())
    )


def test_norms_may_keep_their_statistics_while_scale_and_shift_learn(make_unet: Model, make_discs: Any) -> None:
    model = make_unet()
    before = state(model)
    train(Segmenter(model, freeze_norms=True), make_discs(), make_discs())
    assert changed(before, state(model)) == {name for name in before if "running" not in name and "num_" not in name}


def test_learning_rates_follow_the_curve_each_with_its_factor(
    make_unet: Model, make_discs: Any, tmp_path: Path
) -> None:
    record = Record()
    module = Segmenter(make_unet(), lr=0.01, warm_up=0.3, features_lr={"down*": 0.1, "up2": 0.0, "*": 0.5})
    before = state(module.model)
    train(module, make_discs(), epochs=3, callbacks=[record], out=tmp_path)
    factors = [group["factor"] for group in module.trainer.optimizers[0].param_groups]
    assert factors == [0.1, 0.5, 0.0, 1.0]
    expected = [0.01 * warm_cosine(step / 12, 0.3) for step in range(12)]
    for lrs, lr in zip(record.lrs, expected, strict=True):
        assert lrs == pytest.approx([factor * lr for factor in factors])
    moved = changed(before, state(module.model))
    assert "features.up1.conv1.weight" in moved
    assert "features.up2.conv1.weight" not in moved
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [float(row["lr"]) for row in rows] == pytest.approx(expected[3::4])


def test_the_network_that_is_kept_is_the_running_average(make_unet: Model, make_discs: Any) -> None:
    record = Record()
    module = Segmenter(make_unet(), lr=0.01, ema=0.8)
    train(module, make_discs(), callbacks=[record])
    assert len(record.states) == 8
    for name, tensor in module.network().state_dict().items():
        average = record.states[0][name].double()
        for step, one in enumerate(record.states[1:], start=2):
            d = min(0.8, 1 - 1 / step)
            average = d * average + (1 - d) * one[name]
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), average, rtol=1e-4, atol=1e-6)
        else:
            assert tensor == 8
    fresh = unet(2, 1, depth=2, width=4)
    fresh.load_state_dict(module.network().state_dict(), strict=True)
    last = Segmenter(make_unet(), ema=None)
    assert last.network() is last.model


def test_validation_scores_the_kept_network_on_all_pixels_together(
    make_unet: Model, make_discs: Any, tmp_path: Path
) -> None:
    validation = make_discs(seed=4, batch=3)
    validation.masks[:, :2] = 255
    module = Segmenter(make_unet(classes=4), lr=0.01)
    trainer = train(module, make_discs(), validation, epochs=3, out=tmp_path, keep_best="val_dice")
    rows = [float(row["val_dice"]) for row in csv.DictReader((tmp_path / "metrics.csv").open())]
    images, masks = (torch.cat(part) for part in zip(*validation, strict=True))
    with torch.no_grad():
        found = module.network().eval()(images).argmax(1)
    scores = segmentation_scores(list(found.to(torch.uint8)), list(masks.to(torch.uint8)), 4)
    assert rows[-1] == pytest.approx(scores["dice_pooled"], rel=1e-5)
    best = best_weights(trainer)
    module.load_state_dict(best)
    assert len(rows) == 3


@pytest.mark.parametrize("value", [-1, 2, 254])
def test_a_mask_with_a_value_that_no_class_has_is_refused(make_unet: Model, make_discs: Any, value: int) -> None:
    loader = make_discs()
    loader.masks[:, 5, 5] = value
    with pytest.raises(ValueError, match=f"found the value {value} in a mask, expected a class from 0 to 1, or 255"):
        train(Segmenter(make_unet()), loader)


def test_images_without_a_pixel_that_counts_leave_the_weights_alone(make_unet: Model, make_discs: Any) -> None:
    loader = make_discs()
    loader.masks[:] = 255
    model = make_unet()
    before = state(model)
    train(Segmenter(model, weight_decay=0.0), loader)
    assert all("running" in name or "num_" in name for name in changed(before, state(model)))


def test_a_loss_that_is_not_finite_ends_the_training_before_a_checkpoint(
    make_unet: Model, make_discs: Any, tmp_path: Path
) -> None:
    loader = make_discs()
    loader.images[:] = math.nan
    with pytest.raises(fasthebb.NonFiniteError, match="epoch 0: lower the learning rate"):
        train(Segmenter(make_unet()), loader, loader, out=tmp_path)
    assert last_checkpoint(tmp_path / "checkpoints") is None


def test_seed_decides(make_unet: Model, make_discs: Any) -> None:
    states = []
    for seed in (0, 0, 1):
        model = make_unet(dropout=0.5)
        torch.rand(seed + 5)  # what ran before makes no difference
        train(Segmenter(model, seed=seed), make_discs(batches=2), epochs=1)
        states.append(state(model))
    assert not changed(states[0], states[1])
    assert changed(states[0], states[2])


def test_few_digits_and_reproducible_operations_can_be_asked_for(make_unet: Model, make_discs: Any) -> None:
    model = make_unet()
    before = state(model)
    try:
        train(Segmenter(model), make_discs(), make_discs(), epochs=1, precision="bf16-mixed", deterministic=True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert changed(before, state(model)) == set(before)
    assert {tensor.dtype for name, tensor in state(model).items() if name.endswith("weight")} == {torch.float32}


def test_rare_classes_may_weigh_more(make_unet: Model, make_discs: Any) -> None:
    weights = torch.tensor([1.0, 100.0])
    module = Segmenter(make_unet(), class_weights=weights)
    images, masks = next(iter(make_discs()))
    ratio = module.loss(module(images), masks) / Segmenter(make_unet()).loss(module(images), masks)
    assert ratio > 3
    assert "class_weights" not in module.state_dict()


def test_a_network_that_needs_two_images_keeps_its_norms_at_one(make_discs: Any) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, images: Tensor) -> Tensor:
            x: Tensor = self.convolution(images)
            return x * self.norm(x.mean((2, 3), keepdim=True))

    model = SegmentationNetwork(Pooled(), nn.Sequential(nn.Conv2d(4, 2, 1)))
    before = state(model)
    train(Segmenter(model), make_discs(batch=1), epochs=1)
    assert not any("running" in name for name in changed(before, state(model)))
    train(Segmenter(model), make_discs(batch=2), epochs=1)
    assert any("running" in name for name in changed(before, state(model)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"lr": -1.0}, "lr must not be negative, got -1"),
        ({"warm_up": 1.0}, "warm_up is a part of the steps, at least 0 and below 1, got 1"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1, or None, got 1"),
        ({"class_weights": torch.ones(3)}, "expected 2 class weights, one a class"),
        ({"features_lr": -0.5}, "features_lr must not be negative, got -0.5"),
        (
            {"features_lr": {"down1": 1.0, "donw2": 0.5}},
            "features_lr: 'donw2' matches no layer .* did you mean 'down2'",
        ),
        ({"frozen": ["encoder*"]}, "frozen: 'encoder.' matches no layer of the features; there are down1, "),
    ],
)
def test_values_out_of_range_are_refused(make_unet: Model, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segmenter(make_unet(), **kwargs)


def test_networks_that_cannot_segment_are_refused(make_unet: Model) -> None:
    with pytest.raises(ValueError, match="a single class, expected background and at least one more"):
        Segmenter(make_unet(classes=1))
    with pytest.raises(ValueError, match="found no convolution in Sequential, expected one"):
        Segmenter(SegmentationNetwork(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Flatten())))
