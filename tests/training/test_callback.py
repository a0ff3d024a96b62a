from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fasthebb
from fasthebb import HPCA, SWTA, Hybrid, NonFiniteError, SoftHebb
from fasthebb.training import HebbianCallback

LR, MOMENTUM = 0.05, 0.9
X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 3
RULE = HPCA(max_lr=0.5)


class Project(lightning.LightningModule):
    """Somebody's module, which knows nothing of local rules."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU())
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(x))
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.train()  # whatever a project does here
        self(100 + batch[0])

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.tested = self(X[:8])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=LR, momentum=MOMENTUM)


def batches(size: int = 8, repeat: int = 1) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(X.repeat(repeat, 1), Y.repeat(repeat)), batch_size=size)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., lightning.Trainer]:
    def run(
        module: lightning.LightningModule, *callbacks: Callback, ckpt: Any = None, size: int = 8, **options: Any
    ) -> Any:
        loaders = {"train_dataloaders": batches(size), **options.pop("loaders", {})}
        trainer = lightning.Trainer(
            **{
                "accelerator": "cpu",
                "logger": False,
                "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "max_epochs": 2,
                "default_root_dir": tmp_path,
                "callbacks": list(callbacks),
                **options,
            }
        )
        trainer.fit(module, **loaders, ckpt_path=ckpt, weights_only=True)
        return trainer

    return run


def steps(
    module: Project, rule: Any, *, hybrid: bool, epochs: int = 2, accumulate: int = 1, size: int = 8, clip: float = 0.0
) -> Project:
    """The same training with a loop by hand."""
    plasticity = fasthebb.attach(module, rule)
    optimizer: torch.optim.Optimizer = module.configure_optimizers()
    for _ in range(epochs):
        for index, (x, y) in enumerate(batches(size), start=1):
            (nn.functional.cross_entropy(module(x), y) / accumulate).backward()
            if index % accumulate:
                continue
            for layer in plasticity.layers.values():
                if not hybrid:
                    for parameter in layer.parameters():
                        parameter.grad = None
            plasticity.write_grad()
            if clip:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    plasticity.detach()
    return module


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(one: nn.Module | dict[str, Tensor], other: nn.Module | dict[str, Tensor]) -> None:
    left, right = (state if isinstance(state, dict) else state.state_dict() for state in (one, other))
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("rule", [{"encoder.*": RULE}, {"encoder.0": SWTA(), "encoder.2": RULE}], ids=["hpca", "two"])
def test_training_is_that_of_the_loop_by_hand(fit: Callable[..., Any], rule: Any, hybrid: bool) -> None:
    module, start = Project(), weights(Project())
    fit(module, HebbianCallback(rule, hybrid=hybrid))
    assert_same(module, steps(Project(), rule, hybrid=hybrid))
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, start[name])}
    assert moved >= {"encoder.0.weight", "encoder.2.weight", "head.weight", "head.bias"}
    assert ("encoder.0.bias" in moved) == hybrid  # a layer that learns locally rests otherwise


def test_a_layer_that_learns_locally_learns_nothing_from_the_loss(fit: Callable[..., Any]) -> None:
    module, alone = Project(), Project().encoder[0]
    fit(module, HebbianCallback({"encoder.0": RULE}))
    plasticity = fasthebb.attach(alone, RULE)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=LR, momentum=MOMENTUM)
    for x, _ in [*batches(), *batches()]:
        with torch.no_grad():
            alone(x)
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(module.encoder[0].weight, alone.weight)
    assert torch.equal(module.encoder[0].bias, alone.bias)


def test_the_rest_learns_as_without_it(fit: Callable[..., Any]) -> None:
    """With the local layer's update scaled to nothing, and its loss gradient taken away, it is a frozen layer."""
    module, frozen = Project(), Project()
    fit(module, HebbianCallback({"encoder.0": RULE}, local_scale=0.0))
    frozen.encoder[0].requires_grad_(False)
    fit(frozen)
    assert_same(module, frozen)


@pytest.mark.parametrize("hybrid", [False, True])
def test_accumulated_batches_are_one(fit: Callable[..., Any], hybrid: bool) -> None:
    module, whole = Project(), Project()
    fit(module, HebbianCallback({"encoder.*": RULE}, hybrid=hybrid), accumulate_grad_batches=2, size=4)
    assert_same(module, steps(Project(), {"encoder.*": RULE}, hybrid=hybrid, accumulate=2, size=4))
    fit(whole, HebbianCallback({"encoder.*": RULE}, hybrid=hybrid))
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name])


def test_mixed_precision_changes_the_products_alone(fit: Callable[..., Any]) -> None:
    module, exact = Project(), Project()
    fit(module, HebbianCallback({"encoder.*": RULE}), precision="bf16-mixed")
    fit(exact, HebbianCallback({"encoder.*": RULE}))
    assert not torch.equal(module.encoder[0].weight, exact.encoder[0].weight)
    torch.testing.assert_close(module.encoder[0].weight, exact.encoder[0].weight, rtol=0.02, atol=0.02)
    assert module.encoder[0].weight.dtype == torch.float32


def test_clipping_clips_the_sum_of_loss_and_rule(fit: Callable[..., Any]) -> None:
    module = Project()
    fit(module, HebbianCallback({"encoder.*": RULE}), gradient_clip_val=0.1)
    assert_same(module, steps(Project(), {"encoder.*": RULE}, hybrid=False, clip=0.1))
    free = Project()
    fit(free, HebbianCallback({"encoder.*": RULE}))
    assert not torch.equal(free.encoder[0].weight, module.encoder[0].weight)


def test_validation_never_teaches(fit: Callable[..., Any]) -> None:
    module, alone = Project(), Project()
    fit(module, HebbianCallback({"encoder.*": RULE}), loaders={"val_dataloaders": batches()}, val_check_interval=2)
    fit(alone, HebbianCallback({"encoder.*": RULE}))
    assert_same(module, alone)


def test_a_resumed_training_equals_an_uninterrupted_one(fit: Callable[..., Any], tmp_path: Path) -> None:
    rule = {"encoder.0": SWTA(), "encoder.2": RULE}
    whole, first, second = Project(), Project(), Project()
    fit(whole, HebbianCallback(rule), max_epochs=4)
    fit(first, HebbianCallback(rule), ModelCheckpoint(tmp_path, filename="last"))
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    assert any("encoder.2.direction" in one.get("plasticity", {}) for one in state.values())
    callback = HebbianCallback(rule)
    with torch.no_grad():
        second.encoder[0].weight.zero_()  # so that everything comes from the checkpoint
    fit(second, callback, ckpt=tmp_path / "last.ckpt", max_epochs=4)
    assert_same(second, whole)
    assert callback.plasticity is not None
    assert callback.plasticity.state_dict().keys() == {"encoder.2.direction"}


def test_initial_weights_are_drawn_once(fit: Callable[..., Any], tmp_path: Path) -> None:
    """SoftHebb asks for weights of its own: in the first fit, and not when it is resumed or continued."""
    module, callback = Project(), HebbianCallback({"encoder.0": SoftHebb()})
    before = module.encoder[0].weight.detach().clone()
    fit(module, callback, ModelCheckpoint(tmp_path, filename="last"), max_steps=1)
    learned = module.encoder[0].weight.detach().clone()
    assert (learned - before).norm() > 10
    fit(module, callback, max_steps=1)  # continued: one step further
    assert (module.encoder[0].weight - learned).abs().max() < 3 * LR
    resumed = Project()
    fit(resumed, HebbianCallback({"encoder.0": SoftHebb()}), ckpt=tmp_path / "last.ckpt", max_steps=1)
    assert torch.equal(resumed.encoder[0].weight, learned)


def test_in_the_end_the_module_is_plain_and_computes_the_same(fit: Callable[..., Any]) -> None:
    module, callback = Project(), HebbianCallback({"encoder.0": SWTA()}, detach=False)
    fit(module, callback)
    plasticity = callback.plasticity
    assert plasticity is not None and plasticity.attached
    module.eval()
    hooked = module(X)
    plasticity.detach()
    torch.testing.assert_close(module(X), hooked)
    plain = Project()
    fit(plain, HebbianCallback({"encoder.0": SWTA()}))
    assert not plain.encoder[0]._forward_hooks
    torch.testing.assert_close(plain.eval()(X), hooked)


def test_raw_weights_of_a_checkpoint_are_tested_as_they_were_trained(fit: Callable[..., Any], tmp_path: Path) -> None:
    module, callback = Project(), HebbianCallback({"encoder.0": SWTA()})
    trainer = fit(module, callback, ModelCheckpoint(tmp_path, filename="last"))
    expected = module.eval()(X[:8])
    raw = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]["encoder.0.weight"]
    assert (raw.norm(dim=1) - 1).abs().max() > 0.05
    trainer.test(module, batches(), ckpt_path=tmp_path / "last.ckpt", verbose=False, weights_only=True)
    torch.testing.assert_close(module.tested, expected)
    assert not module.encoder[0]._forward_hooks
    torch.testing.assert_close(module(X[:8]), expected)


def test_an_interrupted_training_leaves_a_plain_module(fit: Callable[..., Any]) -> None:
    class Broken(Project):
        last = 2

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            if batch_idx == self.last:
                raise RuntimeError("broken")
            return super().training_step(batch, batch_idx)

    module = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        fit(module, HebbianCallback({"encoder.*": RULE}))
    assert not module.encoder[0]._forward_hooks
    kept = HebbianCallback({"encoder.*": RULE}, detach=False)
    with pytest.raises(RuntimeError, match="broken"):
        fit(module, kept)
    module.last = -1
    fit(module, kept)  # and goes on with what is attached


def test_rules_that_use_the_gradient_get_it(fit: Callable[..., Any]) -> None:
    module, expected = Project(), Project()
    fit(module, HebbianCallback({"encoder.2": Hybrid(RULE, local=0.5)}))
    fit(expected, HebbianCallback({"encoder.2": RULE}, hybrid=True, local_scale=0.5))
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name])


def test_layers_that_are_built_late_learn(fit: Callable[..., Any]) -> None:
    class Late(Project):
        def __init__(self) -> None:
            super().__init__()
            del self.encoder

        def configure_model(self) -> None:
            if not hasattr(self, "encoder"):
                self.encoder = Project().encoder

    module = Late()
    fit(module, HebbianCallback({"encoder.*": RULE}))
    plain = Project()
    fit(plain, HebbianCallback({"encoder.*": RULE}))
    assert torch.equal(module.encoder[0].weight, plain.encoder[0].weight)


class TwoOptimizers(Project):
    """Manual optimisation, the encoder by one optimizer and the head by another."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=LR, momentum=MOMENTUM) for part in (self.encoder, self.head)]


def test_manual_optimisation_and_several_optimizers(fit: Callable[..., Any]) -> None:
    module, usual = TwoOptimizers(), Project()
    fit(module, HebbianCallback({"encoder.*": RULE}))
    fit(usual, HebbianCallback({"encoder.*": RULE}))
    assert_same(module, usual)
    apart = TwoOptimizers()
    fit(apart, HebbianCallback({"encoder.*": RULE}), HebbianCallback({"head": RULE}))
    assert not torch.equal(apart.head.weight, module.head.weight)
    with pytest.raises(ValueError, match="found layers that learn in 2 optimizers, expected one"):
        fit(TwoOptimizers(), HebbianCallback(RULE))


def test_a_weight_that_no_optimizer_steps_is_refused(fit: Callable[..., Any]) -> None:
    class HeadAlone(Project):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.head.parameters(), lr=LR)

    with pytest.raises(ValueError, match=r"layer 'encoder.0' is to learn, and no optimizer.*exclude=\['encoder.0'\]"):
        fit(HeadAlone(), HebbianCallback(RULE))


def test_layers_that_take_no_part_are_named(fit: Callable[..., Any]) -> None:
    class Elsewhere(Project):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return self.head(batch[0][:, :4]).square().mean()

    with pytest.raises(RuntimeError, match="no plastic layer has seen anything since the last call"):
        fit(Elsewhere(), HebbianCallback({"encoder.*": RULE}))


def test_what_is_not_finite_is_said_and_never_written(fit: Callable[..., Any], tmp_path: Path) -> None:
    class Wild(Project):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return super().training_step([torch.full_like(batch[0], torch.inf), batch[1]], batch_idx)

    with pytest.raises(NonFiniteError, match="layer 'encoder"):
        fit(Wild(), HebbianCallback({"encoder.*": RULE}), ModelCheckpoint(tmp_path, every_n_train_steps=1))
    assert not list(tmp_path.glob("*.ckpt"))
    seen: list[int] = []

    class Counted(Wild):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            seen.append(batch_idx)

    with pytest.raises(NonFiniteError):
        fit(Counted(), HebbianCallback({"encoder.*": RULE}), loaders={"train_dataloaders": batches(repeat=20)})
    assert seen[-1] == 49


def test_supervised_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="found a rule with classes, whose labels a callback does not know"):
        HebbianCallback({"head": SWTA(classes=3)})


def test_mistakes_about_layers_are_those_of_attach(fit: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'encoder.0'"):
        fit(Project(), HebbianCallback({"encoder0": RULE}))
    module = Project()
    fit(module, HebbianCallback(RULE, exclude="head"))
    assert_same(module, steps(Project(), {"encoder.*": RULE}, hybrid=False))


def test_several_callbacks_keep_their_states_apart() -> None:
    one, other = HebbianCallback({"encoder.0": RULE}), HebbianCallback({"encoder.2": RULE})
    assert one.state_key != other.state_key
    assert one.state_key == HebbianCallback({"encoder.0": HPCA(max_lr=0.1)}).state_key
