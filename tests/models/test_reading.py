import pytest
import torch

from fasthebb.evaluation import layer_features
from fasthebb.models import build_model


@pytest.mark.parametrize("read", [["norm1"], ["norm1", "norm2"], ["conv2", "norm5"], ["relu5", "conv1"]])
def test_layers_read_together_are_those_of_the_network(read: list[str]) -> None:
    torch.manual_seed(0)
    whole = build_model("cnn6", classes=3, width=0.1, hidden=16).eval()
    reading = build_model("cnn6", classes=3, width=0.1, hidden=16, read=read, side=3).eval()
    reading.features.load_state_dict(whole.features.state_dict())  # the same names
    images = torch.randn(5, 3, 32, 32)
    names = [f"features.{name}" for name in whole.features._modules if name in read]
    found, _ = layer_features(whole, [(images, torch.zeros(5, dtype=torch.long))], names, side=3)
    torch.testing.assert_close(reading.features(images), torch.cat([found[name] for name in names], 1))
    assert reading(images).shape == (5, 3)


def test_what_lies_behind_is_not_computed() -> None:
    network = build_model("cnn6", width=0.1, hidden=16, read=["norm2"])

    def refuse(*_: object) -> None:
        raise AssertionError

    network.features.conv3.register_forward_pre_hook(refuse)
    network(torch.zeros(2, 3, 32, 32))


def test_a_batch_trains_through_what_is_read() -> None:
    network = build_model("cnn6", width=0.1, hidden=16, read=["norm1", "norm2"]).train()
    assert network.features.norm1.num_batches_tracked == 0  # nothing was learned from the zeros that tell the size
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    assert network.features.conv1.weight.grad is not None
    assert network.features.conv3.weight.grad is None


@pytest.mark.parametrize(
    ("read", "side", "message"),
    [
        (["norm9"], 4, "found 'norm9' as a layer to read, expected some of conv1, relu1, pool1, norm1"),
        (["norm1"], 0, "found a side of 0 positions, expected at least 1"),
    ],
)
def test_what_cannot_be_read_is_refused(read: list[str], side: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model("cnn6", width=0.1, hidden=16, read=read, side=side)
