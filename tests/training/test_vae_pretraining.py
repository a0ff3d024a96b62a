import csv
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import fasthebb
from fasthebb.models import Network
from fasthebb.training import VAEPretraining, fit, last_checkpoint, make_trainer, reestimate_batch_norm

Model = Callable[..., Network]
MEASURES = ("epoch", "train_loss", "reconstruction", "kl", "lr")

pytestmark = pytest.mark.parametrize("paper", [False, True])


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def train(module: VAEPretraining, loader: Any, epochs: int | None = None, **kwargs: Any) -> None:
    trainer = make_trainer(
        epochs=epochs or module.total_epochs, out=kwargs.pop("out", None), progress=False, **kwargs.pop("trainer", {})
    )
    fit(trainer, module, loader, **kwargs)


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: float(row[name]) for name in MEASURES} for row in csv.DictReader(file)]


@pytest.fixture
def digits(make_loader: Any) -> Any:
    """512 handwritten digits of 24 x 24 pixels, standardised."""
    loader = make_loader(images=512, batch=32)
    images = torch.from_numpy(load_digits().images[:512]).float().unsqueeze(1)
    images = nn.functional.interpolate(images, size=24, mode="bilinear")
    loader.images = (images - images.mean()) / images.std()
    return loader


@pytest.fixture
def small(make_model: Model) -> Callable[..., VAEPretraining]:
    def build(**kwargs: Any) -> VAEPretraining:
        return VAEPretraining(make_model(hebbian=False, hidden=16), **{"latent": 8, "epochs": 1, **kwargs})

    return build


Small = Callable[..., VAEPretraining]


def test_the_loss_is_the_one_of_the_method(small: Small, paper: bool) -> None:
    module = small(paper=paper)
    images = torch.randn(6, 1, 24, 24) + 1
    module.eval()  # reconstructs from the mean, so that it can be done again
    loss = module.training_step((images, None), 0)
    reconstructions, posterior = module.vae(images)
    code = Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    kl = kl_divergence(code, Normal(0.0, 1.0)).sum(dim=1).mean()
    if paper:
        expected = nn.functional.mse_loss(reconstructions, images) + 0.5 * kl
    else:
        likelihood = Normal(reconstructions, 1.0).log_prob(images) + 0.5 * math.log(2 * math.pi)
        expected = (kl - likelihood.sum(dim=(1, 2, 3)).mean()) * 2 / (24 * 24)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_the_papers_loss_is_a_beta_of_768(make_model: Model, paper: bool) -> None:
    module = VAEPretraining(make_model(channels=3, image_size=32, hebbian=False), epochs=1, paper=paper)
    error, kl = torch.tensor(0.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    images = torch.zeros(1, 3, 32, 32)

    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Any]:
            return images + error, SimpleNamespace(kl=lambda: kl.expand(1))

    module.vae = Fixed()  # type: ignore[assignment]
    error.data.fill_(0.5)
    loss = module.training_step((images, None), 0)
    summed = 0.5 * error.detach() ** 2 * 3 * 32 * 32
    loss.backward()
    assert kl.grad is not None
    assert error.grad is not None
    weight_of_error = error.grad / (error.detach() * 3 * 32 * 32)  # by the derivative of the half of summed squares
    assert float(kl.grad / weight_of_error) == pytest.approx(768 if paper else 1)
    assert float(loss.detach()) == pytest.approx(float(weight_of_error * summed))


def test_digits_are_learned_and_the_papers_code_is_empty(
    small: Small, digits: Any, tmp_path: Path, paper: bool
) -> None:
    module = small(paper=paper, epochs=4, lr=0.01)
    train(module, digits, out=tmp_path)
    found = rows(tmp_path)
    losses = [row["train_loss"] for row in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    beta = 24 * 24 / 4 if paper else 1
    for row in found:
        expected = 2 / 24**2 * (row["reconstruction"] + beta * row["kl"])
        assert row["train_loss"] == pytest.approx(expected, rel=1e-4)
    vae = module.vae.eval()
    posterior = vae.encode(digits.images)
    own, anothers = (
        float((vae.decode(codes, 24, posterior.indices) - digits.images).square().mean())
        for codes in (posterior.mean, posterior.mean.roll(1, dims=0))
    )
    assert anothers < 1.01 * own if paper else anothers > 1.15 * own
    assert found[-1]["kl"] < 0.3 if paper else found[-1]["kl"] > 2


def test_every_parameter_of_the_autoencoder_learns_and_the_classifier_does_not(
    small: Small, loader: Any, paper: bool
) -> None:
    module = small(paper=paper)
    before = state(module)
    train(module, loader)
    names = {name for name in before if not name.startswith("model.classifier")}
    if paper:
        names -= {"vae.decoder.3.1.bias"}  # the batch norm that follows takes it out again
    assert changed(before, state(module)) == names
    assert module.vae.features is module.model.features
    assert module.vae.decoder[0][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_learning_rate_halves_every_epoch_after_the_tenth(
    small: Small, make_loader: Any, tmp_path: Path, paper: bool
) -> None:
    train(small(paper=paper, epochs=13, lr=0.008), make_loader(images=8), out=tmp_path)
    assert [row["lr"] for row in rows(tmp_path)] == pytest.approx([0.008] * 10 + [0.004, 0.002, 0.001])


def test_the_optimizer_is_nesterovs(small: Small, paper: bool) -> None:
    optimizer = small(paper=paper, lr=0.02, momentum=0.8).configure_optimizers()
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.02, 0.8, True, 0)
    assert not small(paper=paper, momentum=0.0).configure_optimizers().param_groups[0]["nesterov"]


def test_a_learning_rate_of_zero_moves_batch_norm_alone(small: Small, loader: Any, paper: bool) -> None:
    module = small(paper=paper, lr=0.0)
    before = state(module)
    train(module, loader)
    moved = changed(before, state(module))
    assert moved
    assert all("running" in name or "tracked" in name for name in moved)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    small: Small, make_loader: Any, tmp_path: Path, paper: bool
) -> None:
    whole, first, second = (small(paper=paper, epochs=12, lr=0.01, seed=3) for _ in range(3))
    train(whole, make_loader(), out=tmp_path / "whole")
    train(first, make_loader(), epochs=11, out=tmp_path / "parts")
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    train(second, make_loader(), out=tmp_path / "parts", ckpt=checkpoint)
    assert changed(state(whole), state(first))
    assert not changed(state(whole), state(second))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_seed_decides(small: Small, make_model: Model, make_loader: Any, paper: bool) -> None:
    modules = []
    for number, seed in enumerate((0, 0, 1)):
        model = make_model(hebbian=False, hidden=16)
        torch.rand(number)  # what ran before makes no difference
        before = torch.get_rng_state()
        modules.append(VAEPretraining(model, epochs=1, seed=seed, latent=8, paper=paper))
        assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (state(module) for module in modules)
    assert not changed(first, same)
    assert {name.split(".")[1] for name in changed(first, other)} == {"code", "dense", "decoder"}
    for module in modules:
        train(module, make_loader())
    first, same, other = (state(module) for module in modules)
    assert not changed(first, same)
    assert "vae.features.conv1.weight" in changed(first, other)


def test_a_batch_of_one_image_trains_and_leaves_batch_norm_alone(small: Small, make_loader: Any, paper: bool) -> None:
    module = small(paper=paper)
    train(module, make_loader(images=17, batch=8))
    assert module.model.features.norm5.num_batches_tracked == 2
    before = state(module)
    train(module, make_loader(images=1, batch=1))
    moved = changed(before, state(module))
    assert "vae.features.conv1.weight" in moved
    assert not any("running" in name or "tracked" in name for name in moved)


def test_a_loss_that_is_not_finite_ends_the_training_before_a_checkpoint(
    small: Small, loader: Any, tmp_path: Path, paper: bool
) -> None:
    loader.images[3] = math.nan
    with pytest.raises(fasthebb.NonFiniteError, match=r"epoch 0: lower the learning rate \(0.001\)"):
        train(small(paper=paper, epochs=2), loader, out=tmp_path)
    assert last_checkpoint(tmp_path / "checkpoints") is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"lr": -1.0}, "lr must not be negative, got -1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"latent": 0}, "latent must be at least 1, got 0"),
    ],
)
def test_values_out_of_range_are_refused(small: Small, kwargs: dict[str, Any], message: str, paper: bool) -> None:
    with pytest.raises(ValueError, match=message):
        small(paper=paper, **kwargs)


@pytest.mark.parametrize("trainer", [{"precision": "bf16-mixed"}, {"deterministic": True}])
def test_precision_and_determinism_can_be_chosen(
    small: Small, loader: Any, paper: bool, trainer: dict[str, Any]
) -> None:
    module = small(paper=paper)
    before = state(module)
    try:
        train(module, loader, trainer=trainer)
    finally:
        torch.use_deterministic_algorithms(False)
    assert "vae.features.conv1.weight" in changed(before, state(module))
    assert {tensor.dtype for name, tensor in state(module).items() if name.endswith("weight")} == {torch.float32}


def test_the_features_go_on_to_the_classifier(small: Small, loader: Any, paper: bool) -> None:
    module = small(paper=paper)
    train(module, loader)
    reestimate_batch_norm(module.model.features, loader)
    assert module.model(loader.images).shape == (24, 3)
