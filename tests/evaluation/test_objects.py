from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthebb.evaluation import objects_table, overlay
from fasthebb.evaluation.objects import COLOURS

NAMES = ["background", "nucleus", "fibre"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.lists(st.integers(1, 8), min_size=2, max_size=3), density=st.floats(0, 0.5))
def test_objects_are_what_can_be_walked_through(seed: int, size: list[int], density: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, size, generator=generator).to(torch.uint8)
    mask[torch.rand(size, generator=generator) > density] = 0
    expected = []
    for index in (1, 2):
        left = {tuple(p) for p in (mask == index).nonzero().tolist()}
        while left:
            reached = {min(left)}
            while True:
                beside = {
                    tuple(a + s for a, s in zip(pixel, step, strict=True))
                    for pixel in reached
                    for step in product((-1, 0, 1), repeat=len(size))
                }
                if beside & left <= reached:
                    break
                reached |= beside & left
            left -= reached
            expected.append((NAMES[index], np.array(sorted(reached))))
    rows = objects_table(mask, names=NAMES)
    axes = "yx" if len(size) == 2 else "zyx"
    assert [row["object"] for row in rows] == list(range(1, len(rows) + 1))
    assert [(row["class"], row["area"]) for row in rows] == [(name, len(pixels)) for name, pixels in expected]
    for row, (_, pixels) in zip(rows, expected, strict=True):
        assert [row[f"centroid_{axis}"] for axis in axes] == pytest.approx(pixels.mean(axis=0), abs=0.006)
        assert [row[f"min_{axis}"] for axis in axes] == pixels.min(axis=0).tolist()
        assert [row[f"max_{axis}"] for axis in axes] == (pixels.max(axis=0) + 1).tolist()


def test_background_and_what_counts_for_nothing_are_no_objects() -> None:
    mask = torch.tensor([[0, 255, 0], [1, 255, 2]], dtype=torch.uint8)
    assert [row["class"] for row in objects_table(mask, names=NAMES)] == ["nucleus", "fibre"]
    assert objects_table(torch.full((4, 4), 255, dtype=torch.uint8), names=NAMES) == []


def test_rows_have_plain_numbers_under_the_same_names() -> None:
    mask = torch.zeros(5, 5, dtype=torch.uint8)
    mask[1, 1] = mask[3, 3:] = 1
    first, second = objects_table(mask, names=NAMES)
    assert second == {
        "object": 2,
        "class": "nucleus",
        "area": 2,
        "centroid_y": 3.0,
        "centroid_x": 3.5,
        "min_y": 3,
        "min_x": 3,
        "max_y": 4,
        "max_x": 5,
    }
    assert list(first) == list(second)
    assert {type(value) for value in second.values()} == {int, float, str}


def test_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="found class 3 in a mask, and names for classes 0 to 2"):
        objects_table(torch.full((2, 2), 3, dtype=torch.uint8), names=NAMES)
    with pytest.raises(ValueError, match=r"expected a mask \(H, W\)"):
        objects_table(torch.zeros(4, dtype=torch.uint8), names=NAMES)


def square(side: int = 20) -> torch.Tensor:
    mask = torch.zeros(side, side, dtype=torch.uint8)
    mask[5:15, 5:15] = 1
    return mask


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_outlines_lie_over_the_image(channels: int, dtype: torch.dtype) -> None:
    image = torch.randint(0, 256, (channels, 20, 20), dtype=torch.uint8)
    image[0, 0, 0] = 255
    shown = image if channels == 3 else image[:1].expand(3, 20, 20)
    before = image.clone()
    given = image if dtype == torch.uint8 else image / 255 / 16  # 12 of 16 bits are in use
    pixels = torch.from_numpy(np.array(overlay(given, square()))).movedim(-1, 0)
    outline = square().bool()
    outline[6:14, 6:14] = False
    assert (pixels[:, outline] == torch.tensor(COLOURS[0])[:, None]).all()
    torch.testing.assert_close(pixels[:, ~outline], shown[:, ~outline], atol=1, rtol=0)
    assert torch.equal(image, before)


def test_classes_have_colours_of_their_own_and_what_counts_for_nothing_none() -> None:
    mask = torch.zeros(12, 2 * len(COLOURS) + 4, dtype=torch.uint8)
    for index in range(1, len(COLOURS) + 2):
        mask[3, 2 * index] = index
    mask[8] = 255
    pixels = np.array(overlay(torch.zeros(1, *mask.shape), mask))
    found = [tuple(int(v) for v in pixels[3, 2 * index]) for index in range(1, len(COLOURS) + 2)]
    assert len(set(found)) == len(COLOURS)
    assert found[-1] == found[0]
    assert (pixels[8] == 0).all()


def test_the_middle_slice_of_a_volume_is_shown() -> None:
    volume, mask = torch.zeros(1, 5, 20, 20, dtype=torch.uint8), torch.zeros(5, 20, 20, dtype=torch.uint8)
    volume[0, 2], mask[2], mask[0] = 77, square(), 2
    assert np.array_equal(np.array(overlay(volume, mask)), np.array(overlay(volume[:, 2], square())))


def test_outlines_of_large_images_are_wide_enough_to_be_seen() -> None:
    mask = torch.zeros(1800, 900, dtype=torch.uint8)
    mask[300:600, 300:600] = 1
    row = np.array(overlay(torch.zeros(1, 1800, 900, dtype=torch.uint8), mask))[450]
    assert (row.any(axis=1)).sum() == 6


def test_a_black_image_stays_black() -> None:
    assert not np.array(overlay(torch.zeros(3, 6, 6), torch.zeros(6, 6, dtype=torch.uint8))).any()


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found \(1, 4, 4\) and \(4, 5\)"):
        overlay(torch.zeros(1, 4, 4), torch.zeros(4, 5, dtype=torch.uint8))
