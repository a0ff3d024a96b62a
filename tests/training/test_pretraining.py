import copy
import csv
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb.models import Network
from fasthebb.training import HebbianPretraining, ReadoutWarning, fit, last_checkpoint, make_trainer

Model = Callable[..., Network]
LAYERS = ["conv1", "conv2", "conv3", "conv4", "dense5"]

pytestmark = pytest.mark.filterwarnings("ignore::fasthebb.training.ReadoutWarning")


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def train(module: HebbianPretraining, loader: Any, epochs: int | None = None, **kwargs: Any) -> lightning.Trainer:
    trainer = make_trainer(
        epochs=epochs or module.total_epochs, out=kwargs.pop("out", None), progress=False, **kwargs.pop("trainer", {})
    )
    fit(trainer, module, loader, **kwargs)
    return trainer


@pytest.mark.parametrize("rule", [fasthebb.HPCA(), fasthebb.SWTA()])
def test_only_plastic_weights_and_batch_norms_learn(make_model: Model, loader: Any, rule: fasthebb.Rule) -> None:
    model = make_model()
    before = state(model)
    train(HebbianPretraining(model, rule, epochs=1), loader)
    norms = {name for name in before if ("norm" in name and "running" in name) or "tracked" in name}
    assert changed(before, state(model)) == norms | {f"features.{layer}.weight" for layer in LAYERS}


def test_biases_are_untouched(make_model: Model, loader: Any) -> None:
    model = make_model(hebbian=False)
    before = state(model)
    train(HebbianPretraining(model, fasthebb.HPCA(), epochs=1), loader)
    assert not {name for name in changed(before, state(model)) if name.endswith("bias")}


def loop_of_the_documentation(model: Network, rule: Any, loader: Any, lr: float, epochs: int, seed: int) -> None:
    model.to(memory_format=torch.channels_last)
    plasticity = fasthebb.attach(model.features, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=lr)
    for epoch in range(epochs):
        torch.manual_seed(seed * 1_000_003 + epoch)
        loader.set_epoch(epoch)
        for images, _ in loader:
            with torch.no_grad():
                model.features(images.contiguous(memory_format=torch.channels_last))
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()


def test_together_is_the_loop_of_the_documentation(make_model: Model, loader: Any) -> None:
    model = make_model()
    other = copy.deepcopy(model)
    train(HebbianPretraining(model, fasthebb.HPCA(), lr=0.05, epochs=2, seed=5), loader)
    loop_of_the_documentation(other, fasthebb.HPCA(), loader, lr=0.05, epochs=2, seed=5)
    assert not changed(state(model), state(other))


def test_a_learning_rate_of_zero_moves_batch_norm_alone(make_model: Model, loader: Any) -> None:
    model = make_model()
    before = state(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReadoutWarning)
        train(HebbianPretraining(model, fasthebb.HPCA(), lr=0.0, epochs=2), loader)
    moved = changed(before, state(model))
    assert moved
    assert all("norm" in name for name in moved)


def test_layers_behind_the_last_that_learns_are_not_computed(make_model: Model, loader: Any) -> None:
    rules = {"conv1": fasthebb.HPCA(), "conv2": fasthebb.HPCA()}
    model = make_model()
    other = copy.deepcopy(model)
    module = HebbianPretraining(model, rules, lr=0.05, epochs=2, seed=5)
    calls = []
    model.features.conv3.register_forward_hook(lambda *_: calls.append(module.trainer.global_step))
    train(module, loader)
    assert len(calls) == 1  # when the order of the layers is found
    loop_of_the_documentation(other, rules, loader, lr=0.05, epochs=2, seed=5)
    behind = changed(state(model), state(other))
    assert {name.split(".")[1] for name in behind} == {"norm2", "norm3", "norm4", "norm5"}


def test_a_layer_used_twice_is_not_where_the_pass_ends(make_model: Model, loader: Any) -> None:
    model = make_model()
    twice = nn.Sequential(nn.Conv2d(1, 4, 3), shared := nn.Conv2d(4, 4, 3), shared, nn.Conv2d(4, 2, 3))
    model.features = twice
    calls = []
    twice[1].register_forward_hook(lambda *_: calls.append(1))
    train(HebbianPretraining(model, {"1": fasthebb.HPCA()}, epochs=1), loader)
    assert len(calls) == 2 * (len(loader) + 2)  # the order of the layers, the batches, the read-outs


def test_greedy_trains_one_layer_a_stage_on_layers_at_rest(make_model: Model, loader: Any) -> None:
    model = make_model()
    module = HebbianPretraining(model, fasthebb.HPCA(), order="greedy", epochs=2)
    assert module.total_epochs == 10
    history: list[dict[str, Tensor]] = [state(model.features)]

    class Record(lightning.Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            history.append(state(model.features))

    trainer = make_trainer(epochs=10, out=None, progress=False)
    trainer.callbacks.append(Record())
    fit(trainer, module, loader)
    settles = [set(), {"norm1"}, {"norm2"}, {"norm3"}, {"norm4"}]  # at the start of each stage
    for epoch in range(10):
        stage, repeated = divmod(epoch, 2)
        moved = {name.split(".")[0] for name in changed(history[epoch], history[epoch + 1])}
        assert moved == {LAYERS[stage]} | (set() if repeated else settles[stage]), epoch
    assert model.features.norm1.num_batches_tracked == len(loader)


def test_greedy_does_not_compute_what_follows_the_learning_layer(make_model: Model, loader: Any) -> None:
    model = make_model()
    module = HebbianPretraining(model, fasthebb.HPCA(), order="greedy", epochs=1)
    calls = []
    model.features.norm1.register_forward_hook(lambda *_: calls.append(module.trainer.global_step))
    train(module, loader, epochs=1)
    assert len(calls) == 1  # when the order of the layers is found


def test_greedy_settles_batch_norm_with_the_final_weights_of_the_layers_before(make_model: Model, loader: Any) -> None:
    model = make_model()
    train(HebbianPretraining(model, fasthebb.HPCA(), order="greedy", epochs=1), loader, epochs=2)
    torch.manual_seed(1)
    loader.set_epoch(1)
    out = model.features[:3](torch.cat([images for images, _ in loader]))
    torch.testing.assert_close(model.features.norm1.running_mean, out.mean(dim=(0, 2, 3)), rtol=0.05, atol=0.01)


def test_greedy_follows_the_order_of_use_whatever_holds_the_layers(make_model: Model, loader: Any) -> None:
    plain, other = make_model(), make_model()

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = other.features[6:], other.features[:6]

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.last(self.first(images))
            return features

    own = other.features
    other.features = Backwards()  # type: ignore[assignment]
    for model in (plain, other):
        module = HebbianPretraining(model, fasthebb.HPCA(), order="greedy", epochs=1)
        train(module, loader)
    assert next(iter(module.plasticity.layers)) == "last.conv3"
    assert not changed(state(plain.features), state(own))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"order": "both", "epochs": 1}, "together, greedy"),
        ({"lr": -1.0, "epochs": 1}, "lr must not be negative"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_values_out_of_range_are_refused(make_model: Model, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HebbianPretraining(make_model(), fasthebb.HPCA(), **kwargs)


@pytest.mark.parametrize(
    ("rule", "needs"),
    [(fasthebb.SWTA(classes=3), "labels"), ({"*": fasthebb.GlobalGuided()}, "the gradient of a loss")],
)
def test_a_rule_that_needs_more_than_images_is_refused(make_model: Model, rule: Any, needs: str) -> None:
    with pytest.raises(ValueError, match=f"pre-training has images alone, and [A-Za-z]+ needs {needs}"):
        HebbianPretraining(make_model(), rule, epochs=1)


def test_a_trainer_that_goes_on_too_long_is_refused(make_model: Model, loader: Any) -> None:
    with pytest.raises(ValueError, match="max_epochs=3, expected 2"):
        train(HebbianPretraining(make_model(), fasthebb.HPCA(), epochs=2), loader, epochs=3)


@pytest.mark.parametrize("order", ["together", "greedy"])
@pytest.mark.parametrize(
    "rule", [fasthebb.HPCA(max_lr=0.1), fasthebb.SWTA(), dict.fromkeys(["conv1", "conv2"], fasthebb.HPCA(max_lr=0.1))]
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    make_model: Model, make_loader: Any, tmp_path: Path, order: Any, rule: Any, measured: Any
) -> None:
    def module() -> HebbianPretraining:
        return HebbianPretraining(make_model(), rule, order=order, epochs=2, seed=7)

    whole, first, second = module(), module(), module()
    total = whole.total_epochs
    train(whole, make_loader(), out=tmp_path / "whole")
    train(first, make_loader(), epochs=total // 2, out=tmp_path / "parts")
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    assert checkpoint
    torch.load(checkpoint, weights_only=True)
    train(second, make_loader(), out=tmp_path / "parts", ckpt=checkpoint)
    assert changed(state(whole), state(first))
    assert not changed(state(whole), state(second))
    assert measured(tmp_path / "whole") == measured(tmp_path / "parts")


def test_read_outs_land_in_the_metrics_and_say_what_happened(make_model: Model, loader: Any, tmp_path: Path) -> None:
    model = make_model()
    before = state(model.features)
    train(HebbianPretraining(model, fasthebb.HPCA(), epochs=2), loader, out=tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for layer in LAYERS:
        old, new = before[f"{layer}.weight"].flatten(1), model.features.get_parameter(f"{layer}.weight").flatten(1)
        read = {key: float(rows[-1][f"layer/{layer}/{key}"]) for key in ("weight_norm", "relative_change")}
        assert read["weight_norm"] == pytest.approx(float(new.detach().norm(dim=1).mean()), rel=1e-5)
        assert read["relative_change"] == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-5)
        assert 0 <= float(rows[-1][f"layer/{layer}/winner_entropy"]) <= 1
        assert 0 <= float(rows[-1][f"layer/{layer}/dead_neurons"]) <= 1


def test_a_layer_that_hardly_moves_is_warned_of_once(make_model: Model, loader: Any) -> None:
    module = HebbianPretraining(make_model(), fasthebb.HPCA(), lr=1e-6, epochs=3)
    with pytest.warns(ReadoutWarning) as caught:
        train(module, loader)
    messages = [str(warning.message) for warning in caught if warning.category is ReadoutWarning]
    assert len(messages) == 1
    assert all(f"{layer} has hardly moved" in messages[0] for layer in LAYERS)
    assert "raise the learning rate" in messages[0]


def test_dead_neurons_are_warned_of(make_model: Model, loader: Any) -> None:
    model = make_model()
    with torch.no_grad():
        model.features.conv1.weight.fill_(-1.0)
    loader.images.abs_().add_(1.0)
    module = HebbianPretraining(model, fasthebb.HPCA(), lr=1e-3, epochs=1)
    with pytest.warns(ReadoutWarning, match=r"conv1: 100 % of its neurons are dead"):
        train(module, loader)


def test_a_batch_of_one_image_trains_and_leaves_batch_norm_alone(make_model: Model, make_loader: Any) -> None:
    model = make_model()
    before = state(model)
    train(HebbianPretraining(model, fasthebb.HPCA(), epochs=1), make_loader(images=1, batch=1))
    moved = changed(before, state(model))
    assert "features.conv1.weight" in moved
    assert not {name for name in moved if "norm" in name}
    model = make_model()
    train(HebbianPretraining(model, fasthebb.HPCA(), epochs=1), make_loader(images=17, batch=8))
    assert model.features.norm5.num_batches_tracked == 2


def test_divergence_is_reported_and_never_saved(make_model: Model, loader: Any, tmp_path: Path) -> None:
    loader.images[3] = math.nan
    with pytest.raises(fasthebb.NonFiniteError):
        train(HebbianPretraining(make_model(), fasthebb.HPCA(), epochs=2), loader, out=tmp_path)
    assert last_checkpoint(tmp_path / "checkpoints") is None


def test_a_rule_may_be_a_mapping_of_layer_names(make_model: Model, loader: Any) -> None:
    model = make_model()
    before = state(model)
    rules = {"conv*": fasthebb.HPCA(), "dense5": fasthebb.SWTA()}
    train(HebbianPretraining(model, rules, epochs=1), loader)
    assert {name for name in changed(before, state(model)) if name.endswith("weight")} == {
        f"features.{layer}.weight" for layer in LAYERS
    }


def test_training_in_bfloat16_keeps_float32_weights(make_model: Model, loader: Any) -> None:
    model = make_model()
    before = state(model)
    train(HebbianPretraining(model, fasthebb.HPCA(), epochs=1), loader, trainer={"precision": "bf16-mixed"})
    assert {tensor.dtype for name, tensor in state(model).items() if name.endswith("weight")} == {torch.float32}
    assert "features.conv1.weight" in changed(before, state(model))
