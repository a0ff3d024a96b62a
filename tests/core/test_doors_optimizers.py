"""`write_grad` comes last, right before the optimizer's step: weights move under every way of training."""

from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fasthebb

LR = 0.5


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = model(x)
    return out.square().mean()


@pytest.fixture
def layer() -> nn.Linear:
    return nn.Linear(3, 2, bias=False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 3)


@pytest.fixture
def moves(layer: nn.Linear, x: Tensor, rule: fasthebb.Rule) -> dict[str, Tensor]:
    """What the rule alone and backprop through the attached layer alone move the weight by in one step."""
    plasticity = fasthebb.attach(layer, rule)
    (gradient,) = torch.autograd.grad(loss_of(layer, x), [layer.weight])
    delta = plasticity.deltas()[""]
    for handle in plasticity._handles:
        handle.remove()
    return {"local": LR * delta, "global": -LR * gradient}


def test_a_local_step(layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor]) -> None:
    before = layer.weight.detach().clone()
    plasticity = fasthebb.attach(layer, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=LR)
    with torch.no_grad():
        layer(x)
    plasticity.write_grad()
    optimizer.step()
    torch.testing.assert_close(layer.weight, before + moves["local"])


@pytest.mark.parametrize("local_scale", [1.0, 0.1, 0.0])
def test_hybrid_learning_scales_the_local_part_alone(
    layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor], local_scale: float
) -> None:
    before = layer.weight.detach().clone()
    plasticity = fasthebb.attach(layer, rule, local_scale=local_scale)
    optimizer = torch.optim.SGD(layer.parameters(), lr=LR)
    loss_of(layer, x).backward()
    plasticity.write_grad()
    optimizer.step()
    torch.testing.assert_close(layer.weight, before + local_scale * moves["local"] + moves["global"])


def test_a_grad_scaler_leaves_the_local_part_unscaled(
    layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor]
) -> None:
    before = layer.weight.detach().clone()
    plasticity = fasthebb.attach(layer, rule)
    optimizer = torch.optim.SGD(layer.parameters(), lr=LR)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss_of(layer, x)).backward()
    scaler.unscale_(optimizer)
    plasticity.write_grad()
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(layer.weight, before + moves["local"] + moves["global"])


def test_clipping_before_write_grad_spares_the_local_part(
    layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor]
) -> None:
    before = layer.weight.detach().clone()
    plasticity = fasthebb.attach(layer, rule)
    optimizer = torch.optim.SGD(layer.parameters(), lr=LR)
    loss_of(layer, x).backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 1e-9)
    plasticity.write_grad()
    optimizer.step()
    torch.testing.assert_close(layer.weight, before + moves["local"])


class Manual(lightning.LightningModule):
    def __init__(self, layer: nn.Linear, rule: fasthebb.Rule) -> None:
        super().__init__()
        self.layer = layer
        self.plasticity = fasthebb.attach(layer, rule)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.layer.parameters(), lr=LR)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        with torch.no_grad():
            self.layer(batch[0])
        self.plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()


class Automatic(lightning.LightningModule):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.layer.parameters(), lr=LR)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return loss_of(self.layer, batch[0])


class WriteGrad(lightning.Callback):
    def __init__(self, plasticity: fasthebb.Plasticity) -> None:
        self.plasticity = plasticity

    def on_before_optimizer_step(self, *args: Any) -> None:
        self.plasticity.write_grad()


def fit(module: lightning.LightningModule, x: Tensor, *callbacks: lightning.Callback) -> None:
    trainer = lightning.Trainer(
        max_steps=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(TensorDataset(x), batch_size=len(x)))


pytestmark = pytest.mark.filterwarnings("ignore:The 'train_dataloader'", "ignore:.*does not have many workers")


def test_lightning_by_manual_optimisation(
    layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor]
) -> None:
    before = layer.weight.detach().clone()
    fit(Manual(layer, rule), x)
    torch.testing.assert_close(layer.weight, before + moves["local"])


def test_lightning_by_a_callback_before_the_optimizers_step(
    layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor]
) -> None:
    before = layer.weight.detach().clone()
    fit(Automatic(layer), x, WriteGrad(fasthebb.attach(layer, rule)))
    torch.testing.assert_close(layer.weight, before + moves["local"] + moves["global"])


def test_lightning_clears_what_is_written_inside_an_automatic_training_step(
    layer: nn.Linear, x: Tensor, rule: fasthebb.Rule, moves: dict[str, Tensor]
) -> None:
    """Why the documentation forbids it: when this fails, the advice has become needless."""
    before = layer.weight.detach().clone()
    plasticity = fasthebb.attach(layer, rule)

    class Inside(Automatic):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            plasticity.write_grad()
            return loss

    fit(Inside(layer), x)
    torch.testing.assert_close(layer.weight, before + moves["global"])
