import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import fasthebb
from fasthebb.models import SegmentationNetwork, build_segmentation
from fasthebb.training import SegmentationVAE, fit, last_checkpoint, make_trainer, reestimate_batch_norm

Model = Callable[..., SegmentationNetwork]


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


class Stop(lightning.Callback):
    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step == 6:
            raise RuntimeError("interrupted")


@pytest.fixture
def small(make_unet: Model) -> Callable[..., SegmentationVAE]:
    def build(**kwargs: Any) -> SegmentationVAE:
        model = make_unet(**kwargs.pop("unet", {}))
        return SegmentationVAE(model, **{"latent": 8, "epochs": 1, **kwargs})

    return build


Small = Callable[..., SegmentationVAE]


def train(module: SegmentationVAE, loader: Any, ckpt: Any = None, **kwargs: Any) -> None:
    fit(
        make_trainer(epochs=module.total_epochs, **{"out": None, "progress": False, **kwargs}),
        module,
        loader,
        None,
        ckpt,
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_the_loss_is_the_bound_on_the_likelihood(small: Small, dims: int) -> None:
    module = small(unet={"dims": dims})
    images = torch.randn(3, 1, *[11] * dims)
    module.eval()  # reconstructs from the mean, so that it can be done again
    loss = module.training_step((images, None), 0)
    reconstructions, posterior = module.vae(images)
    assert reconstructions.shape == images.shape
    assert posterior.mean.shape == (3, 8 * 3**dims)
    code = Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    kl = kl_divergence(code, Normal(0.0, 1.0)).sum(dim=1).mean()
    likelihood = Normal(reconstructions, 1.0).log_prob(images) + 0.5 * math.log(2 * math.pi)
    expected = (kl - likelihood.flatten(1).sum(1).mean()) * 2 / 11**dims
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_discs_are_learned_and_the_code_carries_them(small: Small, make_discs: Any, tmp_path: Path) -> None:
    module = small(epochs=5, lr=0.01)
    discs = make_discs(images=32, batch=8, batches=12)
    discs.images += 4 * discs.masks.unsqueeze(1)
    train(module, discs, out=tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[-1] < 0.7 * losses[0]
    for row in rows:
        expected = 2 / 24**2 * (float(row["reconstruction"]) + float(row["kl"]))
        assert float(row["train_loss"]) == pytest.approx(expected, rel=1e-4)
    vae = module.vae.eval()
    with torch.no_grad():
        found = vae(discs.images)[0]
    own, anothers = ((seen - discs.images).square().mean() for seen in (found, found.roll(1, dims=0)))
    assert anothers > 1.3 * own


def test_all_that_goes_up_passes_the_code(small: Small) -> None:
    module = small().eval()
    images = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        module.vae.back.weight.zero_()
        first, second = module.vae(images)[0]
    assert torch.equal(first, second)


def test_everything_learns_but_the_classifier_and_the_weights_of_skipped_connections(
    small: Small, make_discs: Any
) -> None:
    module = small(weight_decay=0.0)
    before = state(module)
    train(module, make_discs())
    assert module.vae.features is module.model.features
    assert changed(before, state(module)) == {name for name in before if "classifier" not in name}
    skipped = {"up1": 8, "up2": 4}  # channels that the encoder hands on, which come first
    for level, channels in skipped.items():
        name = f"model.features.{level}.conv1.weight"
        moved = (state(module)[name] != before[name]).flatten(2).any(2).any(0)
        assert moved.tolist() == [False] * channels + [True] * channels


def test_a_learning_rate_of_zero_moves_batch_norm_alone(small: Small, make_discs: Any) -> None:
    module = small(lr=0.0)
    before = state(module)
    train(module, make_discs())
    moved = changed(before, state(module))
    assert moved
    assert all("running" in name or "tracked" in name for name in moved)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    small: Small, make_discs: Any, tmp_path: Path, measured: Any
) -> None:
    whole, first, second = (small(epochs=3, seed=3) for _ in range(3))
    train(whole, make_discs(), out=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        train(first, make_discs(), out=tmp_path / "parts", callbacks=[Stop()])
    checkpoint = last_checkpoint(tmp_path / "parts" / "checkpoints")
    train(second, make_discs(), checkpoint, out=tmp_path / "parts")
    assert changed(state(whole), state(first))
    assert not changed(state(whole), state(second))
    assert measured(tmp_path / "whole") == measured(tmp_path / "parts")


def test_seed_decides(small: Small, make_unet: Model) -> None:
    modules = []
    for seed in (0, 0, 1):
        model = make_unet()
        before = torch.get_rng_state()
        modules.append(SegmentationVAE(model, epochs=1, seed=seed, latent=8))
        assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (state(module) for module in modules)
    assert not changed(first, same)
    assert {name.split(".")[1] for name in changed(first, other)} == {"code", "back", "pixels"}


def test_a_loss_that_is_not_finite_ends_the_training_before_a_checkpoint(
    small: Small, make_discs: Any, tmp_path: Path
) -> None:
    discs = make_discs()
    discs.images[:] = math.nan
    with pytest.raises(fasthebb.NonFiniteError, match=r"loss of the autoencoder was not finite in epoch 0"):
        train(small(epochs=2), discs, out=tmp_path)
    assert last_checkpoint(tmp_path / "checkpoints") is None


def test_few_digits_will_do_and_the_features_go_on_to_the_classifier(small: Small, make_discs: Any) -> None:
    module, discs = small(unet={"hebbian": True}), make_discs()
    train(module, discs, precision="bf16-mixed")
    reestimate_batch_norm(module.model.features, discs)
    assert module.model(discs.images).shape == (8, 2, 24, 24)
    assert {tensor.dtype for name, tensor in state(module).items() if name.endswith("weight")} == {torch.float32}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"lr": -1.0}, "lr must not be negative, got -1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"latent": 0}, "latent must be at least 1, got 0"),
    ],
)
def test_values_out_of_range_are_refused(small: Small, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="a VAE is built around a U-Net, found CoarseFeatures: take unet"):
        SegmentationVAE(build_segmentation("lraspp_mobilenet_v3_large"), epochs=1)
