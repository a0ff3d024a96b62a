"""What the pictures of the rules are said to show is what the rules do."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

import fasthebb

from .blocks import ROOT

SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "pictures_of_rules.py"))
PICTURES, MIXING, learn = SCRIPT["PICTURES"], SCRIPT["MIXING"], SCRIPT["learn"]
WIDEST = torch.tensor([2.0, 1.0]) / 5**0.5
MIDDLES = torch.tensor([0.3, 1.6, 3.8])


def ends(name: str) -> Tensor:
    return learn(PICTURES[name], PICTURES[name].rule)[-1]


def angle_to(vectors: Tensor, direction: Tensor) -> Tensor:
    """In degrees, whatever the sign."""
    cosine = vectors @ direction / vectors.norm(dim=1) / direction.norm()
    return torch.rad2deg(cosine.abs().clamp(max=1).acos())


def test_every_rule_has_a_picture_on_the_page() -> None:
    rules = {
        rule
        for name in fasthebb.__all__
        if isinstance(rule := getattr(fasthebb, name), type)
        and issubclass(rule, fasthebb.Rule)
        and rule is not fasthebb.Rule
    }
    assert {type(picture.rule) for picture in PICTURES.values()} == rules
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    for name in PICTURES:
        assert f"(rules/{name}.png)" in page
        assert 5_000 < (ROOT / "docs" / "rules" / f"{name}.png").stat().st_size < 100_000


def test_hebb_grows_along_the_widest_direction() -> None:
    assert (ends("hebb").norm(dim=1) > 1.5).all()
    assert (angle_to(ends("hebb"), WIDEST) < 20).all()


def test_oja_ends_at_length_one_in_the_widest_direction() -> None:
    assert torch.allclose(ends("oja").norm(dim=1), torch.ones(2), atol=0.02)
    assert (angle_to(ends("oja"), WIDEST) < 3).all()


def test_sanger_ends_at_right_angles() -> None:
    first, second = ends("sanger")
    assert angle_to(first[None], WIDEST) < 3
    assert abs(first @ second) < 0.02
    assert abs(second.norm() - 1) < 0.02


def test_hpca_finds_both_ends_of_both_components() -> None:
    blue, orange, green, pink = ends("hpca")
    assert torch.allclose(blue, -orange, atol=0.05)
    assert torch.allclose(green, -pink, atol=0.05)
    assert abs(blue @ green) < 0.05


@pytest.mark.parametrize("name", ["wta", "swta", "polynomial_wta", "summed_swta"])
def test_competition_ends_in_the_middles_of_groups(name: str) -> None:
    middles = torch.stack([MIDDLES.cos(), MIDDLES.sin()], dim=1)[[0, 2, 1]]
    assert torch.allclose(ends(name)[:3], middles, atol=0.05)


def test_the_fourth_neuron_is_dead_where_one_wins_and_not_where_all_share() -> None:
    start = torch.tensor(PICTURES["wta"].start[3])
    assert torch.equal(ends("wta")[3], start)
    assert torch.allclose(ends("swta")[3], ends("swta")[0], atol=0.05)


@pytest.mark.parametrize("name", ["krotov_hopfield", "softhebb"])
def test_losers_are_pushed_away_and_lengths_are_one(name: str) -> None:
    found = ends(name)
    assert torch.allclose(found.norm(dim=1), torch.ones(3), atol=0.01)
    assert torch.atan2(found[0, 1], found[0, 0]) < MIDDLES[0] - 0.02  # away from the second group


def test_ica_stands_at_a_right_angle_to_the_other_source() -> None:
    first, second = ends("ica")
    assert angle_to(first[None], MIXING[:, 1]) > 85
    assert angle_to(second[None], MIXING[:, 0]) > 85


def test_hybrid_ends_between_the_rule_and_the_loss() -> None:
    picture = PICTURES["hybrid"]
    vertical = torch.tensor([0.0, 1.0])
    rule, loss = (learn(picture, other)[-1] for other in picture.beside.values())
    assert angle_to(loss, vertical) < angle_to(ends("hybrid"), vertical) < 45 < angle_to(rule, vertical)
    assert 2 * ends("hybrid").norm() < loss.norm()


def test_global_guided_goes_where_the_loss_goes_and_stays_near_length_one() -> None:
    (loss,) = (learn(PICTURES["global_guided"], other)[-1] for other in PICTURES["global_guided"].beside.values())
    found = ends("global_guided")
    assert (torch.nn.functional.cosine_similarity(found, loss) > 0.97).all()
    assert (found.norm(dim=1) < 1.1).all()
    assert (loss.norm(dim=1) > 1.5).all()


def test_the_script_draws_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPT["main"].__globals__, "PICTURES", {"oja": PICTURES["oja"]})
    SCRIPT["main"](tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["oja.png"]
