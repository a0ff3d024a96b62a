"""The images that excite a layer's neurons most."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fasthebb.evaluation.exciting import IMAGES, most_exciting, picture


def test_they_are_those_of_the_largest_responses_in_the_order_of_the_loader() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(5 * 16, 30)).train()
    images = torch.randn(40, 1, 6, 6)
    found = most_exciting(model, [(part,) for part in images.split(7)], ["0", "3"], neurons=4)
    maps = model[0](images)
    assert model.training
    assert found["0"].shape == found["3"].shape == (4, IMAGES)
    for row, neuron in zip(found["0"], (0, 1, 3, 4), strict=True):
        best = maps[:, neuron].flatten(1).max(1).values
        assert torch.equal(row, best.topk(IMAGES).indices)
    last = model(images)
    assert torch.equal(found["3"][-1], last[:, -1].topk(IMAGES).indices)
    assert not model[0]._forward_hooks


@pytest.mark.parametrize(("channels", "dtype"), [(3, torch.uint8), (1, torch.uint8), (5, torch.float32)])
def test_a_picture_has_a_row_a_neuron(channels: int, dtype: torch.dtype, tmp_path: Path) -> None:
    images = torch.zeros(4, channels, 24, 24, dtype=dtype)
    images[2] = 255 if dtype == torch.uint8 else 1.0
    drawn = np.asarray(Image.open(io.BytesIO(picture(images, torch.tensor([[2, 0, 1], [0, 2, 3]])))))
    assert drawn.shape == (2 * 50, 3 * 50, 3)
    assert (drawn[:48, :48] == 255).all()
    assert (drawn[:48, 50:98] == 0).all()
    assert (drawn[50:98, 50:98] == 255).all()
