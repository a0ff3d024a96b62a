"""Hebbian pre-training of networks that are no sequence."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb.data import Crops, MaskedSet, Preprocessing
from fasthebb.models import SegmentationNetwork
from fasthebb.training import HebbianPretraining, fit, make_trainer, reestimate_batch_norm

Model = Callable[..., SegmentationNetwork]
LAYERS = [
    f"{level}.{layer}"
    for level in ("down1", "down2", "up1")
    for layer in (("transposed",) if level == "up1" else ()) + ("conv1", "conv2")
]

pytestmark = pytest.mark.filterwarnings("ignore::fasthebb.training.ReadoutWarning")

rules = pytest.mark.parametrize("rule", [fasthebb.HPCA(max_lr=0.1), fasthebb.SWTA()], ids=["HPCA", "SWTA"])


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def train(module: HebbianPretraining, loader: Any, **kwargs: Any) -> None:
    fit(make_trainer(epochs=module.total_epochs, out=None, progress=False, **kwargs), module, loader)


@rules
@pytest.mark.parametrize(("dims", "batch"), [(2, 4), (3, 1)])
def test_every_layer_and_every_norm_of_a_unet_learns(
    make_unet: Model, make_discs: Any, rule: fasthebb.Rule, dims: int, batch: int
) -> None:
    model = make_unet(dims=dims, depth=1, hebbian=True)
    before = state(model)
    module = HebbianPretraining(model, rule, epochs=1)
    train(module, make_discs(dims=dims, side=12, batch=batch))
    assert module._sequence == LAYERS
    statistics = {name for name in before if "running" in name or "tracked" in name}
    assert changed(before, state(model)) == statistics | {f"features.{layer}.weight" for layer in LAYERS}


def test_layers_may_have_rules_of_their_own(make_unet: Model, make_discs: Any) -> None:
    model = make_unet(depth=1, hebbian=True)
    before = state(model)
    train(
        HebbianPretraining(model, {"down*": fasthebb.HPCA(max_lr=0.1), "up1.transposed": fasthebb.SWTA()}, epochs=1),
        make_discs(),
    )
    moved = {name for name in changed(before, state(model)) if name.endswith("weight")}
    assert moved == {f"features.{layer}.weight" for layer in LAYERS if layer[:4] == "down" or layer == "up1.transposed"}


@rules
def test_greedy_trains_one_layer_a_stage_and_settles_the_norms_before_it(
    make_unet: Model, make_discs: Any, rule: fasthebb.Rule
) -> None:
    model, history = make_unet(depth=1, hebbian=True), []

    class Record(lightning.Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
            history.append(state(model.features))

    history.append(state(model.features))
    module = HebbianPretraining(model, rule, order="greedy", epochs=1)
    assert module.total_epochs == len(LAYERS)
    train(module, make_discs(), callbacks=[Record()])
    settled: dict[str, str] = {}
    for before, layer in pairwise(LAYERS):
        settled[layer] = before.replace("conv", "norm")  # a transposed convolution has no norm behind it
    for epoch, layer in enumerate(LAYERS):
        moved = {name.rpartition(".")[0] for name in changed(history[epoch], history[epoch + 1])}
        assert moved == {layer} | ({settled[layer]} if "norm" in settled.get(layer, "") else set())


def test_greedy_settles_with_the_final_weights_of_the_layers_before(make_unet: Model, make_discs: Any) -> None:
    model, discs = make_unet(depth=1, hebbian=True), make_discs()
    module = HebbianPretraining(model, {"down1.*": fasthebb.HPCA(max_lr=0.1)}, order="greedy", epochs=1)
    train(module, discs)
    discs.set_epoch(1)
    seen = torch.cat([model.features.get_submodule("down1.conv1")(images) for images, _ in discs])
    norm: Any = model.features.get_submodule("down1.norm1")
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert norm.num_batches_tracked == len(discs)


def test_norms_are_estimated_from_single_crops(make_unet: Model, make_discs: Any) -> None:
    one, four = (make_unet(depth=1) for _ in range(2))
    discs = make_discs(batches=2)
    singles = [(images[row : row + 1],) for images, _ in discs for row in range(len(images))]
    reestimate_batch_norm(one, singles)
    reestimate_batch_norm(four, discs)
    name = "features.down1.norm1.running_mean"
    torch.testing.assert_close(state(one)[name], state(four)[name])
    assert state(one)["features.down1.norm1.num_batches_tracked"] == 8


@pytest.mark.parametrize("dims", [2, 3])
def test_crops_without_masks_are_enough(make_unet: Model, dims: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(256, (1, *[20] * (dims - 1), side), generator=generator, dtype=torch.uint8) for side in (14, 30)
    ]
    unlabelled = MaskedSet(images, [None, None], ["a", "b"])
    crops = Crops(unlabelled, Preprocessing.fit(unlabelled), crop=[16] * dims, batch_size=2, batches=2, augment="shift")
    model = make_unet(dims=dims, depth=1, hebbian=True)
    before = state(model)
    train(HebbianPretraining(model, fasthebb.HPCA(max_lr=0.1), epochs=1), crops)
    assert {f"features.{layer}.weight" for layer in LAYERS} <= changed(before, state(model))
