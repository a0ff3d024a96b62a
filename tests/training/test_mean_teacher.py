from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fasthebb.models import SegmentationNetwork
from fasthebb.training import MeanTeacher
from fasthebb.training.batch_norm import batch_norms, fixed_batch_norms
from fasthebb.training.mean_teacher import normalising_like

Model = Callable[..., SegmentationNetwork]


def module(make_unet: Model, **kwargs: Any) -> MeanTeacher:
    made = MeanTeacher(make_unet(), **kwargs)
    with torch.no_grad():
        for parameter in made.network().parameters():
            parameter.add_(0.05)
    return made


def test_the_student_learns_the_squared_distance_from_the_teacher_who_learns_nothing(make_unet: Model) -> None:
    made = module(make_unet, noise=0.0)
    images = torch.randn(4, 1, 16, 16)
    before = {name: tensor.clone() for name, tensor in made.network().state_dict().items()}
    loss = made.consistency(images)
    loss.backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in made.network().state_dict().items())
    student, teacher = made.model.train()(images).softmax(1), made.network().train()(images).softmax(1)
    torch.testing.assert_close(loss, (student - teacher).square().sum(1).mean())
    assert all(parameter.grad is not None for parameter in made.model.parameters())
    assert all(parameter.grad is None for parameter in made.network().parameters())
    assert not any(layer.training for layer in made.network().eval().modules())


def test_student_and_teacher_see_noise_of_their_own(make_unet: Model) -> None:
    made = MeanTeacher(make_unet(), noise=0.5)
    seen: list[Tensor] = []
    for network in (made.model, made.network()):
        network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images = torch.randn(40, 1, 16, 16)
    made.consistency(images)
    student, teacher = (one - images for one in seen)
    for noise in (student, teacher):
        torch.testing.assert_close(noise.std(), torch.tensor(0.5), rtol=0.05, atol=0)
    assert ((student * teacher).mean() / 0.25).abs() < 0.05


def test_equal_networks_and_no_noise_agree(make_unet: Model) -> None:
    made = MeanTeacher(make_unet(), noise=0.0)
    assert made.consistency(torch.randn(4, 1, 16, 16)) < 1e-10


def test_the_teacher_normalises_as_its_student_does(make_unet: Model) -> None:
    model, copied = make_unet(), make_unet().eval()
    with fixed_batch_norms(model), normalising_like(copied, model):
        assert not any(norm.training for norm in batch_norms(copied))
    model.features.get_submodule("down1").eval()
    norms = batch_norms(copied)
    with normalising_like(copied, model):
        assert [norm.training for norm in norms[:3]] == [False, False, True]
    assert all(norm.track_running_stats and not norm.training for norm in norms)
