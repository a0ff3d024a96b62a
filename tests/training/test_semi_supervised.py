import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb.data import IGNORE, Crops, MaskedSet, Preprocessing
from fasthebb.models import SegmentationNetwork, build_segmentation, unet
from fasthebb.training import (
    CrossConsistency,
    CrossPseudo,
    LabelledAndUnlabelled,
    MeanTeacher,
    RectifiedPyramid,
    SemiSupervised,
    fit,
    last_checkpoint,
    make_trainer,
)
from fasthebb.training.curves import ramp_up

Model = Callable[..., SegmentationNetwork]
METHODS: list[Any] = [MeanTeacher, CrossPseudo, CrossConsistency, RectifiedPyramid]

methods = pytest.mark.parametrize("method", METHODS)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


class Stop(lightning.Callback):
    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step == 7:
            raise RuntimeError("interrupted")


def train(module: SemiSupervised, *pair: Any, validation: Any = None, epochs: int = 1, **kwargs: Any) -> None:
    ckpt = kwargs.pop("ckpt", None)
    trainer = make_trainer(epochs=epochs, **{"out": None, "progress": False, **kwargs})
    fit(trainer, module, LabelledAndUnlabelled(*pair), validation, ckpt)


@methods
def test_discs_are_found(make_unet: Model, make_discs: Any, method: Any, tmp_path: Path) -> None:
    module = method(make_unet(), lr=0.02, ema=0.8)
    labelled, unlabelled = make_discs(batches=16), make_discs(images=50, batches=16, seed=5)
    unseen = make_discs(images=30, seed=9)
    before = unseen.dice(module.network())
    train(module, labelled, unlabelled, validation=make_discs(batches=1), epochs=2, out=tmp_path)
    assert before < 0.4
    assert unseen.dice(module.network()) > 0.75
    metrics = (tmp_path / "metrics.csv").read_text().splitlines()
    assert {"train_loss", "consistency_loss", "lr", "val_dice"} <= set(metrics[0].split(","))


@methods
def test_unlabelled_images_matter_and_their_masks_do_not(make_unet: Model, make_discs: Any, method: Any) -> None:
    states = []
    for seed, hidden in ((5, False), (5, True), (6, False)):
        unlabelled = make_discs(batches=2, seed=seed)
        if hidden:
            unlabelled.masks[:] = IGNORE
        module = method(make_unet(), lr=0.01, ramp=0.0)
        train(module, make_discs(batches=2), unlabelled)
        states.append(state(module.network()))
    assert not changed(states[0], states[1])
    assert any(name.endswith("weight") for name in changed(states[0], states[2]))


@methods
def test_the_loss_is_that_of_the_masks_and_the_consistency_in_time(
    make_unet: Model, make_discs: Any, method: Any
) -> None:
    labelled, unlabelled = next(iter(make_discs())), next(iter(make_discs(seed=1)))
    module = method(make_unet(), weight=3.0, ramp=0.5)
    whole = copy.deepcopy(module)
    torch.manual_seed(0)
    loss = whole.training_step((labelled, unlabelled), 0)
    torch.manual_seed(0)
    supervised, consistency = module.supervised(*labelled), module.consistency(unlabelled[0])
    assert consistency > 0
    torch.testing.assert_close(loss, supervised + 3 * math.exp(-5) * consistency)


def test_the_weight_rises_as_in_the_paper() -> None:
    assert [ramp_up(done, 0.4) for done in (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)] == pytest.approx(
        [math.exp(-5), math.exp(-5 * 0.75**2), math.exp(-5 * 0.25), 1, 1, 1]
    )
    assert ramp_up(0.0, 0.0) == 1


@methods
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    make_unet: Model, make_discs: Any, tmp_path: Path, method: Any, measured: Any
) -> None:
    def module() -> SemiSupervised:
        made: SemiSupervised = method(make_unet(dropout=0.3), seed=3, lr=0.01, ramp=1.0)
        return made

    def loaders() -> Any:
        return make_discs(batches=3), make_discs(batches=2, seed=1)

    whole, first, second = module(), module(), module()
    train(whole, *loaders(), epochs=3, out=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        train(first, *loaders(), epochs=3, out=tmp_path / "parts", callbacks=[Stop()])
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    train(second, *loaders(), epochs=3, out=tmp_path / "parts", ckpt=checkpoint)
    assert changed(state(whole), state(first))
    assert not changed(state(whole), state(second))
    assert measured(tmp_path / "whole") == measured(tmp_path / "parts")


@methods
@pytest.mark.parametrize("ema", [0.9, None])
def test_what_is_kept_is_a_plain_network(make_unet: Model, make_discs: Any, method: Any, ema: float | None) -> None:
    if method is MeanTeacher and ema is None:
        with pytest.raises(ValueError, match="a mean teacher is a running average, found ema=None"):
            method(make_unet(), ema=None)
        return
    module = method(make_unet(), ema=ema)
    train(module, make_discs(batches=2), make_discs(batches=2))
    assert (module.network() is module.model) == (ema is None)
    fresh = unet(2, 1, depth=2, width=4)
    fresh.load_state_dict(module.network().state_dict(), strict=True)
    images = torch.randn(2, 1, 20, 24)
    torch.testing.assert_close(fresh.eval()(images), module.network().eval()(images))


@methods
def test_every_parameter_learns_with_few_digits_too(make_unet: Model, make_discs: Any, method: Any) -> None:
    module = method(make_unet(), ramp=0.0)
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    train(module, make_discs(batches=1), make_discs(batches=1, seed=1), precision="bf16-mixed")
    after = dict(module.named_parameters())
    still = {name for name in before if after[name].requires_grad and torch.equal(before[name], after[name])}
    assert not still


@methods
def test_what_is_frozen_stays_as_it_is(make_unet: Model, make_discs: Any, method: Any) -> None:
    module = method(make_unet(), frozen=["*"], freeze_norms=True)
    before = state(module)
    train(module, make_discs(batches=2), make_discs(batches=2))
    moved = changed(before, state(module))
    kept = ("model.features", "second.features", "average.features")
    assert "model.classifier.1.weight" in moved
    assert not [name for name in moved if name.startswith(kept)]


@methods
def test_volumes_of_one_crop_a_batch_and_sides_that_do_not_divide(
    make_unet: Model, make_discs: Any, method: Any
) -> None:
    how: dict[str, Any] = {"dims": 3, "side": 11, "batch": 1, "batches": 2}
    module = method(make_unet(dims=3), ramp=0.0)
    before = state(module.model)
    train(module, make_discs(**how), make_discs(seed=1, **how))
    assert changed(before, state(module.model)) == set(before)


@methods
def test_networks_without_a_decoder_that_is_known(make_discs: Any, method: Any) -> None:
    features = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    module = method(SegmentationNetwork(features, nn.Sequential(nn.Conv2d(6, 2, 1))), ramp=0.0)
    before = state(module.model)
    train(module, make_discs(batches=2), make_discs(batches=2, seed=1))
    assert changed(before, state(module.model)) == set(before)


@pytest.mark.parametrize("method", [CrossConsistency, RectifiedPyramid])
def test_networks_of_torchvision(method: Any) -> None:
    torch.manual_seed(0)
    model = build_segmentation("lraspp_mobilenet_v3_large", classes=3, channels=1)
    module = method(model, ema=None, ramp=0.0)
    masks = torch.randint(3, (2, 33, 40))
    loss = module.training_step(((torch.randn(2, 1, 33, 40), masks), (torch.randn(2, 1, 33, 40),)), 0)
    loss.backward()
    assert torch.isfinite(loss)
    auxiliary = module.auxiliary if method is CrossConsistency else module.heads
    assert all(parameter.grad is not None for parameter in auxiliary.parameters())


@methods
def test_crops_of_few_masks_and_many_images(make_unet: Model, make_discs: Any, method: Any) -> None:
    discs = make_discs(images=6)
    images = [((image + 4) * 20).clamp(0, 255).to(torch.uint8) for image in discs.images]
    everything = MaskedSet(images, [*discs.masks[:2].to(torch.uint8), *[None] * 4], [str(row) for row in range(6)])
    preprocessing = Preprocessing.fit(everything)
    labelled, unlabelled = (
        Crops(part, preprocessing, crop=(16, 16), batch_size=2, augment="shift")
        for part in (everything.subset([0, 1]), everything)
    )
    module = method(make_unet())
    before = state(module.model)
    train(module, labelled, unlabelled, validation=Crops(everything, preprocessing, crop=(16, 16), batch_size=2))
    assert changed(before, state(module.model)) == set(before)


@methods
def test_a_loss_that_is_not_finite_ends_the_training(make_unet: Model, make_discs: Any, method: Any) -> None:
    unlabelled = make_discs(batches=1)
    unlabelled.images[:] = math.nan
    with pytest.raises(fasthebb.NonFiniteError, match="epoch 0: lower the learning rate"):
        train(method(make_unet()), make_discs(batches=1), unlabelled)


@methods
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weight": -1.0}, "weight must not be negative, got -1"),
        ({"ramp": 1.5}, "ramp is a part of the steps, from 0 to 1, got 1.5"),
        ({"frozen": ["nothing"]}, "frozen: 'nothing' matches no layer"),
    ],
)
def test_values_out_of_range_are_refused(make_unet: Model, method: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(make_unet(), **kwargs)
