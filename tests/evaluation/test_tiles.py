import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fasthebb.evaluation import predict_tiles
from fasthebb.evaluation.tiles import blending_weights, tile_starts
from fasthebb.models import unet


def unchanged(tiles: Tensor) -> Tensor:
    return tiles


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Size of an axis, side of a tile, overlap."""
    tile = draw(st.integers(1, 12))
    return draw(st.integers(1, 40)), tile, draw(st.integers(0, tile - 1))


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(axes(), min_size=2, max_size=3), batch_size=st.integers(1, 5), mirror=st.booleans())
def test_a_network_that_sees_one_pixel_gives_the_same_whatever_the_tiles(
    drawn: list[tuple[int, int, int]], batch_size: int, mirror: bool
) -> None:
    torch.manual_seed(0)
    sizes, tiles, overlaps = zip(*drawn, strict=True)
    if len(drawn) == 3:
        sizes = tuple(size // 2 + 1 for size in sizes)
    image = torch.randint(0, 256, (2, *sizes), dtype=torch.uint8)
    model = (nn.Conv2d if len(sizes) == 2 else nn.Conv3d)(2, 3, 1)
    whole = model(image[None] / 255).softmax(1)[0]
    tiled = predict_tiles(
        model,
        image,
        lambda tiles: tiles / 255,
        tile=tiles,
        overlap=overlaps,
        classes=3,
        batch_size=batch_size,
        mirror=mirror,
    )
    assert tiled.shape == whole.shape
    torch.testing.assert_close(tiled, whole.detach(), atol=1e-6, rtol=0)


@settings(max_examples=200, deadline=None)
@given(drawn=axes())
def test_tiles_cover_an_axis_and_their_weights_add_up_to_one(drawn: tuple[int, int, int]) -> None:
    size, tile, overlap = drawn
    size = max(size, tile)
    starts = tile_starts(size, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == size - tile
    assert all(0 < later - start <= tile - overlap for start, later in itertools.pairwise(starts))
    assert len(starts) == 1 or (len(starts) - 1) * (tile - overlap) + tile < size + (tile - overlap)  # as few as enough
    weights = blending_weights(size, tile, starts)
    total = torch.zeros(size)
    for start, own in zip(starts, weights, strict=True):
        assert (own > 0).all()
        total[start : start + tile] += own
    torch.testing.assert_close(total, torch.ones(size))


def test_weights_rise_from_the_border_of_a_tile_and_are_whole_where_it_is_alone() -> None:
    first, second = blending_weights(14, 8, [0, 6])
    assert (first[:6] == 1).all()
    assert (second[2:] == 1).all()
    assert second[:2].tolist() == pytest.approx((1 - first[6:]).tolist())
    assert 0 < second[0] < 0.5 < second[1] < 1


def test_neighbouring_tiles_fade_into_each_other() -> None:
    class Numbered(nn.Module):
        """Each tile is of a class of its own."""

        def forward(self, tiles: Tensor) -> Tensor:
            left = (tiles[:, :1] == 0).any(dim=(1, 2, 3)).float()
            logits = torch.stack([left, 1 - left], dim=1)[:, :, None, None] * 100
            return logits.expand(-1, 2, *tiles.shape[2:])

    image = torch.arange(12.0).expand(1, 8, 12)
    left = predict_tiles(Numbered(), image, unchanged, tile=8, overlap=4, classes=2)[0, 3]
    assert left[:4].tolist() == pytest.approx([1] * 4)
    assert left[8:].tolist() == pytest.approx([0] * 4)
    assert (left[3:9].diff() < 0).all()
    assert left[4:8].diff().min() > -0.45


def test_an_image_of_one_tile_is_predicted_as_it_is() -> None:
    torch.manual_seed(0)
    model, image = unet(2, 3, depth=2, width=4), torch.rand(3, 32, 32)
    whole = model.eval()(image[None]).softmax(1)[0]
    model.train()
    tiled = predict_tiles(model, image, unchanged, tile=32, overlap=8, classes=2)
    torch.testing.assert_close(tiled, whole.detach())
    assert model.training


def test_tiles_are_predicted_much_as_the_whole_image() -> None:
    torch.manual_seed(0)
    model, image = unet(2, 1, depth=1, width=4), torch.rand(1, 96, 64)
    model(torch.rand(4, 1, 32, 32))
    whole = model.eval()(image[None]).softmax(1)[0].detach()
    away = [
        float((predict_tiles(model, image, unchanged, tile=32, overlap=o, classes=2) - whole).abs().max())
        for o in (0, 16)
    ]
    assert away[1] < away[0] / 3 < 0.01


@pytest.mark.parametrize("size", [(5, 30), (1, 1), (2, 3), (3, 4, 5), (1, 9, 2)])
def test_an_image_below_a_tile_is_continued_by_reflection_and_cut_back(size: tuple[int, ...]) -> None:
    seen: list[Tensor] = []

    def keep(tiles: Tensor) -> Tensor:
        seen.append(tiles)
        return torch.cat([tiles, -tiles], dim=1)

    image = torch.rand(1, *size)
    tiled = predict_tiles(nn.Identity(), image, keep, tile=8, overlap=2, classes=2)
    torch.testing.assert_close(tiled[0], image[0].mul(2).sigmoid())
    expected = image
    for axis, side in enumerate(size, start=1):
        line = list(range(side))
        there_and_back = line + line[-2:0:-1]
        index = [there_and_back[i % len(there_and_back)] for i in range(max(8, side))]
        expected = expected.index_select(axis, torch.tensor(index))
    assert torch.equal(seen[0][0], expected[(slice(None), *(slice(8) for _ in size))])


@pytest.mark.parametrize("dims", [2, 3])
def test_mirror_images_are_averaged(dims: int) -> None:
    torch.manual_seed(0)
    model = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 2, 3, padding=1)
    image = torch.rand(1, *[6] * dims)
    ways = [[axis for axis in range(dims) if way >> axis & 1] for way in range(2**dims)]
    expected = torch.zeros(2, *[6] * dims)
    for way in ways:
        turned = [axis + 1 for axis in way]
        expected += model(image.flip(turned)[None]).softmax(1)[0].detach().flip(turned) / len(ways)
    averaged = predict_tiles(model, image, unchanged, tile=6, overlap=0, classes=2, mirror=True)
    torch.testing.assert_close(averaged, expected)
    assert not torch.allclose(averaged, predict_tiles(model, image, unchanged, tile=6, overlap=0, classes=2))


def test_the_network_sees_no_more_than_a_batch_of_tiles_of_a_large_image() -> None:
    seen: list[Any] = []

    def keep(tiles: Tensor) -> Tensor:
        seen.append((tuple(tiles.shape), tiles.untyped_storage().nbytes(), tiles.dtype))
        return torch.cat([tiles, tiles], dim=1).float()

    image = torch.zeros(1, 4000, 4000, dtype=torch.uint8)
    result = predict_tiles(nn.Identity(), image, keep, tile=512, overlap=64, classes=2, batch_size=4)
    assert result.shape == (2, 4000, 4000)
    assert len(seen) == 21  # 9 x 9 tiles
    assert all(shape[1:] == (1, 512, 512) and size <= 4 * 512 * 512 for shape, size, _ in seen)
    assert {dtype for *_, dtype in seen} == {torch.uint8}


def test_the_result_is_an_ordinary_float32_tensor_also_under_autocast() -> None:
    model = unet(2, 1, depth=1, width=4)
    with torch.autocast("cpu", torch.bfloat16):
        result = predict_tiles(model, torch.rand(1, 20, 20), unchanged, tile=16, overlap=4, classes=2)
    assert result.dtype == torch.float32
    assert not result.is_inference()
    torch.testing.assert_close(result.sum(0), torch.ones(20, 20), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"tile": 8, "overlap": 8}, r"tiles of \(8, 8\) with an overlap of \(8, 8\)"),
        ({"tile": 8, "overlap": -1}, "overlap of"),
        ({"tile": 0, "overlap": 0}, "tiles of"),
        ({"tile": (8, 8, 8)}, r"found tile \(8, 8, 8\), expected 2 sides"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"classes": 5}, r"expected logits \(1, 5, 8, 8\) of the network, got \(1, 3, 8, 8\)"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"tile": 8, "overlap": 2, "classes": 3, "batch_size": 1, **kwargs}
    with pytest.raises(ValueError, match=said):
        predict_tiles(nn.Conv2d(1, 3, 1), torch.rand(1, 20, 20), unchanged, **given)
