"""Weights that cease to be finite are noticed, never kept, and gone back on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fasthebb import HPCA, NonFiniteError
from fasthebb.models import Network
from fasthebb.training import Classifier, HebbianPretraining, fit, last_checkpoint, make_trainer, rollbacks
from fasthebb.training.divergence import CHECK_EVERY, MOST_ROLLBACKS, require_finite

Model = Callable[..., Network]


def trainer_for(folder: Path, on: str, epochs: int = 2) -> Any:
    return make_trainer(epochs=epochs, out=folder, progress=False, on_divergence=on)  # type: ignore[arg-type]


class Breaks(Classifier):
    """Its weights break at a step, as long as the learning rate is not low enough."""

    bearable = 0.0
    at = 3

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        lr = optimizer.param_groups[0]["lr"]
        if self.global_step == self.at and lr > self.bearable:
            weight = self.model.get_submodule("classifier")[1].weight  # type: ignore[index]
            weight.grad.fill_(torch.inf)


@pytest.mark.parametrize("steps", [CHECK_EVERY, 7])
def test_a_broken_weight_is_noticed_soon_and_named(
    make_model: Model, make_loader: Any, tmp_path: Path, steps: int
) -> None:
    """Every so many steps, or at the end of an epoch that is shorter."""
    module = Breaks(make_model(), classes=3, epochs=1)
    epoch = 2 * CHECK_EVERY if steps == CHECK_EVERY else steps
    loader = make_loader(images=2 * epoch, batch=2)
    with pytest.raises(NonFiniteError) as error:
        fit(trainer_for(tmp_path, "stop", epochs=1), module, loader)
    line = str(error.value)
    assert "\n" not in line
    assert f"(noticed at step {steps}, in epoch 0)" in line
    assert "--on-divergence rollback" in line
    assert "learning rate" in line
    if steps == CHECK_EVERY:
        assert "the weights of layer '" in line
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_no_checkpoint_is_written_of_broken_weights(make_model: Model, make_loader: Any, tmp_path: Path) -> None:
    class BreaksLast(Breaks):
        at = 5  # the last step of the second epoch: no loss has seen it

    with pytest.raises(NonFiniteError, match=r"layer 'classifier\.1'"):
        fit(trainer_for(tmp_path, "stop"), BreaksLast(make_model(), classes=3, epochs=2), make_loader())
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["epoch"] == 0
    assert all(value.isfinite().all() for value in state["state_dict"].values())


def test_going_back_gives_what_half_the_learning_rate_gives_from_there(
    make_model: Model, make_loader: Any, tmp_path: Path
) -> None:
    class BreaksOften(Breaks):
        bearable = 0.3
        at = 4  # in the second epoch

    with pytest.warns(UserWarning, match="going back to the last checkpoint, with the learning rate"):
        module = BreaksOften(make_model(), classes=3, epochs=3, lr=1.0)
        fit(trainer_for(tmp_path / "back", "rollback", 3), module, make_loader())
    went_back = rollbacks(tmp_path / "back" / "checkpoints")
    assert [one["lr"] for one in went_back] == [0.5, 0.25]
    assert all(one["epoch"] == 1 and "finite" in one["cause"] for one in went_back)

    first = Classifier(make_model(), classes=3, epochs=3, lr=1.0)
    fit(trainer_for(tmp_path / "by hand", "stop", 1), first, make_loader())
    rest = Classifier(make_model(), classes=3, epochs=3, lr=0.25)
    fit(
        trainer_for(tmp_path / "by hand", "stop", 3),
        rest,
        make_loader(),
        None,
        last_checkpoint(tmp_path / "by hand/checkpoints"),
    )
    for one, other in zip(module.parameters(), rest.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_that_was_killed_after_it_went_back_keeps_the_lower_rate(
    make_model: Model, make_loader: Any, tmp_path: Path
) -> None:
    class BreaksOnce(Breaks):
        bearable = 0.6
        at = 4

    def run(folder: Path, epochs: int, ckpt: Path | None = None) -> Classifier:
        module = BreaksOnce(make_model(), classes=3, epochs=4, lr=1.0)
        fit(trainer_for(folder, "rollback", epochs), module, make_loader(), None, ckpt)
        return module

    with pytest.warns(UserWarning, match="going back"):
        whole = run(tmp_path / "whole", 4)
    with pytest.warns(UserWarning, match="going back"):
        run(tmp_path / "parts", 2)
    resumed = run(tmp_path / "parts", 4, last_checkpoint(tmp_path / "parts" / "checkpoints"))
    assert resumed.lr == whole.lr == 0.5
    assert rollbacks(tmp_path / "parts" / "checkpoints") == rollbacks(tmp_path / "whole" / "checkpoints")
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_goes_back_to_the_beginning_where_nothing_else_is_kept(
    make_model: Model, make_loader: Any, tmp_path: Path
) -> None:
    """A rule whose learning rate is far too high breaks in the first epoch."""
    module = HebbianPretraining(make_model(), HPCA(), lr=300.0, epochs=1)
    with pytest.warns(UserWarning, match="going back"), pytest.raises(NonFiniteError) as error:
        fit(trainer_for(tmp_path, "rollback", 1), module, make_loader(images=120, batch=2))
    assert f"although the learning rate was halved {MOST_ROLLBACKS} times" in str(error.value)
    gentle = HebbianPretraining(make_model(), HPCA(), lr=4.0, epochs=1)
    with pytest.warns(UserWarning, match="going back"):
        fit(trainer_for(tmp_path / "gentle", "rollback", 1), gentle, make_loader(images=120, batch=2))
    assert len(rollbacks(tmp_path / "gentle" / "checkpoints")) >= 1
    require_finite(gentle)
    plain = HebbianPretraining(make_model(), HPCA(), lr=gentle.lr, epochs=1)
    fit(make_trainer(epochs=1, out=None, progress=False), plain, make_loader(images=120, batch=2))
    for one, other in zip(gentle.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
