"""Which layers learn."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import fasthebb
from fasthebb import HPCA, SWTA


class Renamed(nn.Linear):
    """A subclass that computes what its parent does."""


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Standardised(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight - weight.mean(), bias)


def two_stages() -> nn.Module:
    return nn.ModuleDict(
        {
            "features": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3)),
            "classifier": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
        }
    )


def learning(model: nn.Module, rule: Any, **kwargs: Any) -> dict[str, fasthebb.Rule]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fasthebb.attach(model, rule, **kwargs).rules


def test_a_single_rule_goes_to_every_supported_layer() -> None:
    assert list(learning(two_stages(), HPCA())) == ["features.0", "features.2", "classifier.0", "classifier.2"]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["features.0"], ["features.2", "classifier.0", "classifier.2"]),
        (["classifier.*"], ["features.0", "features.2"]),
        (["classifier.*", "features.2"], ["features.0"]),
        ("*.0", ["features.2", "classifier.2"]),
    ],
)
def test_exclude_leaves_layers_out_by_name_or_pattern(exclude: Any, left: list[str]) -> None:
    assert list(learning(two_stages(), HPCA(), exclude=exclude)) == left


def test_a_mapping_touches_only_what_it_names_and_the_first_match_wins() -> None:
    rules = learning(two_stages(), {"features.2": SWTA(), "features.*": HPCA(), "*.0": SWTA(0.5)})
    assert rules == {"features.0": HPCA(), "features.2": SWTA(), "classifier.0": SWTA(0.5)}


def test_a_pattern_that_comes_too_late_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="'features.0' matches only layers that earlier patterns took") as caught:
        rules = fasthebb.attach(two_stages(), {"features.*": HPCA(), "features.0": SWTA()}).rules
    assert rules == {"features.0": HPCA(), "features.2": HPCA()}
    assert caught[0].filename == __file__


def test_exclude_also_holds_for_a_mapping() -> None:
    assert list(learning(two_stages(), {"features.*": HPCA()}, exclude=["*.2"])) == ["features.0"]


def test_the_parts_of_a_name_that_wrappers_add_are_removed() -> None:
    wrapped = nn.DataParallel(nn.ModuleDict({"_orig_mod": two_stages()}))
    assert list(learning(wrapped, {"features.*": HPCA()})) == ["features.0", "features.2"]
    wrapped = nn.DataParallel(two_stages())
    keys = list(wrapped.state_dict())
    plasticity = fasthebb.attach(wrapped, SWTA(), exclude=["classifier.*"])
    assert set(plasticity.layers) == {"features.0", "features.2"}
    assert list(plasticity.folded_state_dict()) == keys


def test_a_model_that_is_one_layer_has_the_empty_name() -> None:
    assert list(learning(nn.Linear(2, 2), {"*": HPCA()})) == [""]


def test_a_subclass_learns_if_it_computes_what_its_parent_does() -> None:
    assert list(learning(nn.Sequential(Renamed(3, 2)), HPCA())) == ["0"]


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_layer_learns_once_it_has_a_weight() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    model(torch.randn(2, 3, 5, 5))
    assert list(learning(model, HPCA())) == ["0", "2"]


def test_the_size_of_a_transposed_output_may_be_asked_for_at_each_call(rule: fasthebb.Rule) -> None:
    layer, x = nn.ConvTranspose2d(3, 4, 3, stride=2).double(), torch.randn(2, 3, 4, 4).double()
    fixed = nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1).double()
    fixed.load_state_dict(layer.state_dict())
    found = []
    for one, kwargs in ((layer, {"output_size": (10, 10)}), (fixed, {})):
        plasticity = fasthebb.attach(one, rule)
        one(x, **kwargs)
        found.append(plasticity.deltas()[""])
    torch.testing.assert_close(*found)


def replaced_forward() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.forward = lambda input: input  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Doubled(2, 2), "Doubled computes something else than Linear: it overrides forward"),
        (Standardised(2, 2, 1), "Standardised computes something else than Conv2d"),
        (replaced_forward(), "Linear computes something else"),
        (nn.Embedding(2, 2), "Embedding is not a kind of layer that learns: nn.Linear, nn.Conv1d, 2d, 3d or"),
        (nn.Bilinear(2, 2, 2), "Bilinear is not a kind of layer that learns"),
        (nn.LSTM(2, 2), "LSTM is not a kind of layer that learns"),
        (nn.LazyLinear(2), "it is lazy and has no weight yet"),
        (parametrizations.weight_norm(nn.Linear(2, 2)), "its weight is computed from other tensors"),
        (prune.l1_unstructured(nn.Linear(2, 2), "weight", 1), "its weight is computed from other tensors"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_what_cannot_learn_is_skipped_with_the_reason_and_refused_by_name(layer: nn.Module, reason: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), layer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plasticity = fasthebb.attach(model, HPCA())
    assert list(plasticity.rules) == ["0"]
    assert plasticity.skipped["1"].startswith(reason)
    messages = [str(warning.message) for warning in caught if "do not learn" in str(warning.message)]
    assert len(messages) == 1
    assert plasticity.skipped["1"] in messages[0]
    assert caught[0].filename == __file__
    plasticity.detach()
    with pytest.raises(ValueError, match=rf"'1' names '1', which cannot learn: .*{reason[:20]}.*exclude=\['1'\]"):
        fasthebb.attach(model, {"1": HPCA()})
    assert list(fasthebb.attach(model, {"*": HPCA()}, exclude=list(plasticity.skipped)).rules) == ["0"]


def test_the_output_projection_of_attention_is_skipped() -> None:
    block = nn.TransformerEncoderLayer(4, 2, 8)
    with pytest.warns(UserWarning, match="attention reads its weight directly"):
        plasticity = fasthebb.attach(block, HPCA())
    assert list(plasticity.rules) == ["linear1", "linear2"]
    assert set(plasticity.skipped) == {"self_attn", "self_attn.out_proj"}


def test_normalisations_are_neither_plastic_nor_worth_a_warning() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GroupNorm(1, 2), nn.LayerNorm([2, 3, 3]), nn.PReLU()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fasthebb.attach(model, HPCA()).skipped == {}


@pytest.mark.parametrize(
    ("rule", "kwargs", "message"),
    [
        ({"feature.0": HPCA()}, {}, "'feature.0' matches no layer; did you mean 'features.0'.*'classifier.2'"),
        ({"features.1": HPCA()}, {}, "'features.1' matches no layer; .*layers that can learn: 'features.0'"),
        ({}, {}, r"empty mapping of rules, expected {pattern: rule}"),
        (HPCA(), {"exclude": ["fc"]}, "exclude: 'fc' matches no layer; layers that can learn: 'features.0'"),
        (HPCA(), {"exclude": ["classifier"]}, r"'classifier.\*' leaves out what is in it"),
        (HPCA(), {"exclude": ["*"]}, "found no layer of ModuleDict that can learn, expected at least one nn.Linear"),
        (HPCA(), {"local_scale": float("nan")}, "local_scale: found nan, expected a finite number"),
    ],
)
def test_a_mistake_in_the_selection_says_what_was_given_and_what_is_possible(
    rule: Any, kwargs: dict[str, Any], message: str
) -> None:
    model = two_stages()
    with pytest.raises(ValueError, match=message):
        fasthebb.attach(model, rule, **kwargs)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (HPCA, r"found the class HPCA, expected an instance: HPCA\(\)"),
        ("hpca", "found 'hpca', expected a fasthebb.Rule"),
        ({"*": SWTA}, r"rule for '\*': found the class SWTA"),
    ],
)
def test_what_is_not_a_rule_is_refused(rule: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fasthebb.attach(nn.Linear(2, 2), rule)


@pytest.mark.parametrize("module", [fasthebb, fasthebb.naive], ids=["fast", "naive"])
@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("HPCA", {"activation": "gelu"}, "activation: found 'gelu', expected one of .*'relu', 'tanh', 'identity'"),
        ("HPCA", {"step_scale": "sqrt"}, "step_scale: found 'sqrt', expected one of .*'fan_in', 'none'"),
        ("HPCA", {"max_lr": 0.0}, "max_lr: found 0.0, expected a positive number or None"),
        ("HPCA", {"max_lr": float("inf")}, "max_lr: found inf"),
        ("SWTA", {"temperature": 0.0}, "temperature: found 0.0, expected a positive number such as 0.02"),
        ("SWTA", {"temperature": float("nan")}, "temperature: found nan"),
    ],
)
def test_a_parameter_out_of_range_is_an_error_before_anything_learns(
    module: Any, name: str, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(module, name)(**kwargs)


def test_defaults_are_the_papers_formulas() -> None:
    assert HPCA() == HPCA(activation="relu", step_scale="fan_in", max_lr=None)
    assert SWTA() == SWTA(temperature=0.02)
    for rule in (HPCA(), SWTA()):
        with pytest.raises(AttributeError):
            rule.temperature = 1.0  # type: ignore[misc, union-attr]


def test_a_layer_cannot_have_two_rules() -> None:
    model = two_stages()
    fasthebb.attach(model, {"features.0": HPCA()})
    with pytest.raises(ValueError, match=r"'features.0' has a rule already"):
        fasthebb.attach(model, SWTA())
    assert list(learning(model, {"classifier.*": SWTA()})) == ["classifier.0", "classifier.2"]


def test_the_models_class_code_and_keys_stay_as_they_are(rule: fasthebb.Rule) -> None:
    model = two_stages()
    kinds = [type(module) for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    code = [module.forward for module in model.modules()]
    fasthebb.attach(model, rule)
    assert [type(module) for module in model.modules()] == kinds
    assert [module.forward for module in model.modules()] == code
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
