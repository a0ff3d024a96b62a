from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from fasthebb.models import MODELS, VAE, Network, Posterior, build_model, usual
from fasthebb.models.vae import _unpool, _upsample


def network(name: str = "cnn6", **kwargs: Any) -> Network:
    torch.manual_seed(1)
    given = {"classes": 3, "channels": 1, "image_size": 24, "hebbian": False, "width": 0.1, "hidden": 16}
    return build_model(name, **{**given, **kwargs})


def settled(vae: VAE, images: Tensor) -> VAE:
    """In eval mode, after batch norms have seen the images."""
    torch.manual_seed(2)
    for module in vae.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the average over all batches
    with torch.no_grad():
        for _ in range(10):
            vae.train()(images)
    return vae.eval()


@pytest.mark.parametrize("name", ["cnn8", "softhebb", "triangle2"])
def test_networks_that_pool_otherwise_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"a VAE is built around maximum pools that do not overlap, found .* as (pool|max)"
    ):
        VAE(build_model(name, width=0.05))


@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize("hidden", [0, 4096])
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("cnn8", "softhebb", "triangle2")])
def test_every_network_of_the_method_has_its_mirror_image(name: str, hidden: int, indices: bool) -> None:
    size = usual(name, "image_size")
    with torch.device("meta"):
        model = build_model(name, image_size=size, hidden=hidden, hebbian=False)
        vae = VAE(model, indices=indices)
        images = torch.zeros(2, 3, size, size)
    reconstructions, posterior = vae(images)
    assert reconstructions.shape == images.shape
    assert posterior.mean.shape == posterior.log_variance.shape == (2, 256)
    there = [layer.weight.shape for layer in model.features if isinstance(layer, nn.Conv2d)]
    back = [layer.weight.shape for layer in vae.decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert back == there[::-1]
    there = [layer.weight.shape[::-1] for layer in model.features if isinstance(layer, nn.Linear)]
    back = [layer.weight.shape for layer in vae.dense if isinstance(layer, nn.Linear)]
    assert back[1:] == there[::-1]
    pools = [layer for layer in model.features if isinstance(layer, nn.MaxPool2d)]
    assert len(posterior.indices) == (len(pools) if indices else 0)


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(24, 45),
    channels=st.integers(1, 4),
    width=st.sampled_from([0.01, 0.1]),
    hidden=st.sampled_from([0, 8]),
    indices=st.booleans(),
)
def test_reconstructions_have_the_size_of_the_images(
    size: int, channels: int, width: float, hidden: int, indices: bool
) -> None:
    vae = VAE(network(image_size=size, channels=channels, width=width, hidden=hidden), latent=5, indices=indices)
    images = torch.randn(2, channels, size, size)
    assert vae(images)[0].shape == images.shape


@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize(("name", "sizes"), [("cnn10", range(162, 175)), ("vgg11", range(32, 64, 5))])
def test_pools_that_drop_rows_are_undone(name: str, sizes: range, indices: bool) -> None:
    for size in sizes:
        with torch.device("meta"):
            vae = VAE(network(name, image_size=size), indices=indices)
            images = torch.zeros(2, 1, size, size)
        assert vae(images)[0].shape == images.shape, size


@pytest.mark.parametrize("indices", [False, True])
def test_the_encoder_is_the_networks_own(indices: bool) -> None:
    model = network()
    vae = VAE(model, latent=6, indices=indices)
    assert vae.features is model.features
    images = torch.randn(4, 1, 24, 24)
    posterior = settled(vae, images).encode(images)
    expected = vae.code(model.features(images))
    torch.testing.assert_close(torch.cat([posterior.mean, posterior.log_variance], dim=1), expected)
    vae.train()(images)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in vae.parameters())
    assert all(parameter.grad is not None for parameter in model.features.parameters())
    assert all(parameter.grad is None for parameter in model.classifier.parameters())


@pytest.mark.parametrize("name", ["cnn6", "vgg11"])
def test_the_code_is_all_that_the_decoder_knows(name: str) -> None:
    size = 33 if name == "vgg11" else 27
    images, order = torch.randn(5, 1, size, size), torch.tensor([3, 0, 4, 1, 2])
    vae = settled(VAE(network(name, image_size=size), latent=6), images)
    posterior = vae.encode(images)
    assert posterior.indices == ()
    plain, permuted = (vae.decode(codes, size) for codes in (posterior.mean, posterior.mean[order]))
    assert plain.flatten(1).std(dim=0).max() > 0.1
    torch.testing.assert_close(permuted, plain[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(vae(images)[0], plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["cnn6", "vgg11"])
def test_unpooling_by_indices_bypasses_the_code(name: str) -> None:
    size = 33 if name == "vgg11" else 27
    images = torch.randn(5, 1, size, size)
    vae = settled(VAE(network(name, image_size=size), latent=6, indices=True), images)
    posterior = vae.encode(images)
    same = vae.decode(posterior.mean[:1].expand(5, -1), size, posterior.indices)
    assert same.std(dim=0).max() > 0.1  # one code, five images


def test_the_papers_decoder_ends_in_batch_norm_and_the_other_in_a_convolution() -> None:
    last = [list(VAE(network(channels=2), indices=indices).decoder.modules())[-1] for indices in (True, False)]
    assert isinstance(last[0], nn.BatchNorm2d)
    assert last[0].num_features == 2
    assert isinstance(last[1], nn.ConvTranspose2d)


def test_the_first_reconstruction_is_hardly_worse_than_none() -> None:
    vae = VAE(network("cnn6", channels=3, image_size=32, width=0.5))
    images = torch.randn(16, 3, 32, 32)
    reconstructions, _ = vae.train()(images)
    assert reconstructions.square().mean() < 0.5  # of images whose own mean square is 1


def test_values_are_repeated_over_the_windows_of_their_pool() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    expected = torch.tensor([[1, 1, 2, 2, 2], [1, 1, 2, 2, 2], [3, 3, 4, 4, 4], [3, 3, 4, 4, 4], [3, 3, 4, 4, 4]])
    assert torch.equal(_upsample(x, 2, 5)[0, 0], expected.float())
    for pool in (2, 3, 5, 7):
        x = torch.randn(2, 3, 11, 11)
        repeated = x.repeat_interleave(pool, 2).repeat_interleave(pool, 3)
        assert torch.equal(_upsample(x, pool, 11 * pool), repeated)
        assert torch.equal(nn.functional.max_pool2d(_upsample(x, pool, 12 * pool - 1), pool), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("pool", "side"), [(2, 8), (2, 9), (3, 11)])
def test_unpooling_is_torchs(pool: int, side: int, layout: torch.memory_format) -> None:
    images = torch.randn(2, 3, side, side).contiguous(memory_format=layout)
    x, indices = nn.functional.max_pool2d(images, pool, return_indices=True)
    expected = nn.MaxUnpool2d(pool)(x, indices, output_size=(side, side))
    assert torch.equal(_unpool(x, indices, side), expected)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(_unpool(x, indices, side), expected)
    finally:
        torch.use_deterministic_algorithms(False)


def distribution(posterior: Posterior) -> Normal:
    return Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))


def test_kl_is_torchs_summed_over_the_variables() -> None:
    torch.manual_seed(0)
    posterior = Posterior(torch.randn(7, 5), torch.randn(7, 5))
    expected = kl_divergence(distribution(posterior), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(posterior.kl(), expected)
    assert torch.equal(Posterior(torch.zeros(2, 3), torch.zeros(2, 3)).kl(), torch.zeros(2))


def test_codes_are_drawn_from_the_posterior() -> None:
    torch.manual_seed(0)
    mean = torch.tensor([[1.0, -2.0]], requires_grad=True)
    log_variance = torch.tensor([[0.0, -3.0]], requires_grad=True)
    drawn = Posterior(mean.expand(20_000, -1), log_variance.expand(20_000, -1)).sample()
    torch.testing.assert_close(drawn.mean(dim=0), mean[0], rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.var(dim=0), log_variance[0].exp(), rtol=0.05, atol=0)
    drawn.square().mean(dim=0).sum().backward()  # of mean^2 + variance
    torch.testing.assert_close(mean.grad, 2 * mean, rtol=0, atol=0.06)
    torch.testing.assert_close(log_variance.grad, log_variance.exp(), rtol=0, atol=0.1)


def test_the_code_is_drawn_in_training_mode_and_the_mean_in_eval_mode() -> None:
    images = torch.randn(3, 1, 24, 24)
    vae = settled(VAE(network(), latent=6), images)
    first, second = vae(images)[0], vae(images)[0]
    assert torch.equal(first, second)
    vae.training = True  # of the whole alone: batch norms stay as they are
    assert not torch.equal(vae(images)[0], first)


def test_any_layout_and_precision() -> None:
    images = torch.randn(3, 1, 24, 24)
    for indices in (False, True):
        vae = settled(VAE(network(), latent=6, indices=indices), images).double()
        exact, posterior = vae(images.double())
        assert exact.dtype == posterior.mean.dtype == torch.float64
        vae.float().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(vae(images)[0], exact.float(), rtol=1e-3, atol=1e-3)
        with torch.autocast("cpu", torch.bfloat16):
            reconstructions, posterior = vae(images)
        assert posterior.mean.dtype == torch.float32
        error = (reconstructions.float() - exact).norm() / exact.norm()
        assert error < 0.2 if not indices else error < 1.0  # a maximum may move to its neighbour


def refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_values_out_of_range_are_named() -> None:
    refused(lambda: VAE(network(), latent=0), "latent must be at least 1, got 0")
    codes: Tensor = torch.zeros(1, 6)
    refused(lambda: VAE(network(), latent=6).decode(codes, 48), "images of 48 pixels end in 7 x 7 .* expected 1 x 1")
    indexed = VAE(network(), latent=6, indices=True)
    refused(lambda: indexed.decode(codes, 24), "indices of 2 pools, got 0")
    found = indexed.encode(torch.zeros(2, 1, 24, 24)).indices
    refused(lambda: VAE(network(), latent=6).decode(codes, 24, found), "indices of 0 pools, got 2")


def test_new_images_come_from_codes_alone() -> None:
    vae = VAE(network(), latent=6).eval()
    assert vae.decode(torch.randn(4, 6), 25).shape == (4, 1, 25, 25)
