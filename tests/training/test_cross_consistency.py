from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fasthebb.models import SegmentationNetwork, build_segmentation
from fasthebb.training import CrossConsistency
from fasthebb.training.cross_consistency import with_noise, without_channels, without_strongest
from fasthebb.training.decoders import Decoder, encoded

Model = Callable[..., SegmentationNetwork]

sizes = st.sampled_from([(6, 5), (3, 4, 5)])


def maps(size: tuple[int, ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    return [torch.rand(3, channels, *size, generator=generator) + 0.1 for channels in (4, 40)]


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 99))
def test_noise_is_in_proportion(size: tuple[int, ...], seed: int) -> None:
    z = maps(size, seed)
    for before, after in zip(z, with_noise(z), strict=True):
        ratio = after / before
        assert ratio.min() >= 0.7 - 1e-5
        assert ratio.max() <= 1.3 + 1e-5
        assert ratio.std() > 0.1


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 99))
def test_whole_channels_are_dropped(size: tuple[int, ...], seed: int) -> None:
    z = maps(size, seed)
    after = without_channels(z)[1]
    left = after.flatten(2).ne(0)
    assert torch.equal(left.all(2), left.any(2))
    assert 0.25 < left.float().mean() < 0.75
    torch.testing.assert_close(after[left.view_as(after)], 2 * z[1][left.view_as(after)])


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 99))
def test_the_strongest_places_are_dropped(size: tuple[int, ...], seed: int) -> None:
    z = maps(size, seed)
    for before, after in zip(z, without_strongest(z), strict=True):
        attention, left = before.mean(1).flatten(1), after.ne(0).all(1).flatten(1)
        for strength, kept in zip(attention, left, strict=True):
            part = strength / strength.max()
            assert kept[part < 0.6].all()
            assert not kept[part >= 0.9].any()
            if kept.any():
                assert part[kept].max() < part[~kept].min()
        assert torch.equal(after, before * left.view(3, 1, *size))


@pytest.mark.parametrize(("dims", "size"), [(2, (24, 21)), (3, (8, 9, 12))])
def test_encoder_and_decoder_are_the_network(make_unet: Model, dims: int, size: tuple[int, ...]) -> None:
    model = make_unet(dims=dims).eval()
    images = torch.randn(2, 1, *size)
    rest = Decoder(model.features, model.classifier)
    torch.testing.assert_close(rest(encoded(model.features, images), size), model(images))


def test_encoder_and_decoder_are_a_network_of_torchvision() -> None:
    model = build_segmentation("lraspp_mobilenet_v3_large", classes=3).eval()
    images = torch.randn(1, 3, 33, 40)
    z = encoded(model.features, images)
    assert z[0].shape[2:] == (5, 5)
    torch.testing.assert_close(Decoder(model.features, model.classifier)(z, (33, 40)), model(images))


def test_the_decoder_of_the_network_learns_nothing_from_consistency(make_unet: Model) -> None:
    module = CrossConsistency(make_unet())
    loss = module.consistency(torch.randn(4, 1, 16, 16))
    loss.backward()
    for name, parameter in module.model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("features.down"), name
    assert all(parameter.grad is not None for parameter in module.auxiliary.parameters())


def test_without_perturbations_and_with_the_same_decoder_all_agree(
    make_unet: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = CrossConsistency(make_unet())
    monkeypatch.setattr("fasthebb.training.cross_consistency.PERTURBATIONS", (list, list, list))
    images = torch.randn(4, 1, 16, 16)
    assert module.consistency(images) > 1e-4
    for decoder in module.auxiliary:
        decoder.load_state_dict(Decoder(module.model.features, module.model.classifier).state_dict())
    assert module.consistency(images) < 1e-10


def test_auxiliary_decoders_begin_as_the_networks_own_with_other_classifiers(make_unet: Model) -> None:
    model = make_unet()
    before = torch.get_rng_state()
    module = CrossConsistency(model)
    assert torch.equal(torch.get_rng_state(), before)
    own = Decoder(module.model.features, module.model.classifier).state_dict()
    classifiers = []
    for decoder in module.auxiliary:
        found = decoder.state_dict()
        assert found.keys() == own.keys()
        assert all(torch.equal(found[name], own[name]) for name in own if name.startswith("ups."))
        classifiers.append(found["classifier.1.weight"])
    assert len({tuple(weight.flatten().tolist()) for weight in [*classifiers, own["classifier.1.weight"]]}) == 4
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in module.auxiliary.modules())
