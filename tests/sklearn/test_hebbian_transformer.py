import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn

import fasthebb
from fasthebb import HPCA, WTA
from fasthebb.sklearn import HebbianTransformer
from fasthebb.training import learn_at_once

X, Y = load_digits(return_X_y=True)
X, Y = X[:300], Y[:300]
SMALL = HebbianTransformer(hidden_layer_sizes=(16,), epochs=1, random_state=0)
IMAGES = HebbianTransformer(image_shape=(8, 8), width=0.05, random_state=0)


def colours(count: int = 12, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def test_steps_are_those_of_the_loop_by_hand() -> None:
    found = HebbianTransformer(HPCA(max_lr=0.2), hidden_layer_sizes=(7,), epochs=2, learning_rate=0.2, random_state=3)
    found.fit(X)
    x = torch.from_numpy(X - X.mean(0))
    x = x / x.square().mean().sqrt()
    torch.manual_seed(3)
    layer = nn.Linear(64, 7, bias=False).double()
    generator = torch.Generator().manual_seed(3)
    plasticity = fasthebb.attach(layer, HPCA(max_lr=0.2))
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.2)
    for _ in range(2):
        for rows in torch.randperm(300, generator=generator).split(64):
            layer(x[rows])
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()
    plasticity.detach()
    np.testing.assert_allclose(found.network_.dense1.weight.detach(), layer.weight.detach(), rtol=1e-9)
    np.testing.assert_allclose(found.transform(X), torch.relu(layer(x)).detach(), rtol=1e-7, atol=1e-9)


def test_layers_that_learn_at_once_are_those_of_learn_at_once() -> None:
    found = clone(SMALL).set_params(solver="at-once", hidden_layer_sizes=(20,)).fit(X)
    x = torch.from_numpy(X)
    network = nn.Sequential(*list(clone(SMALL).set_params(epochs=0, hidden_layer_sizes=(20,)).fit(X).network_))
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    for _ in learn_at_once(network, WTA(), lambda: ((x[rows],) for rows in order.split(256)), 300, seed=0):
        pass
    torch.testing.assert_close(found.network_[1].weight, network[1].weight)


@pytest.mark.parametrize("estimator", [SMALL, clone(SMALL).set_params(solver="at-once"), IMAGES])
def test_a_seed_fixes_the_features_and_no_global_stream_is_touched(estimator: HebbianTransformer) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    first = clone(estimator).fit_transform(X)
    clone(estimator).set_params(random_state=None).fit(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])
    assert random.getstate() == before[2]
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, clone(estimator).fit_transform(X))
    other = clone(estimator).set_params(random_state=np.random.RandomState(5)).fit_transform(X)
    assert not np.array_equal(first, other)


def test_without_a_random_state_every_fit_is_another() -> None:
    one, other = (clone(SMALL).set_params(random_state=None).fit_transform(X) for _ in range(2))
    assert not np.array_equal(one, other)


def test_zero_epochs_leave_the_weights_as_they_were_drawn() -> None:
    control, learned = (clone(SMALL).set_params(epochs=epochs).fit(X) for epochs in (0, 1))
    torch.manual_seed(0)
    drawn = nn.functional.normalize(nn.Linear(64, 16, bias=False).weight.double(), dim=1)  # as the rule hands it on
    torch.testing.assert_close(control.network_.dense1.weight, drawn)
    assert not torch.equal(control.network_.dense1.weight, learned.network_.dense1.weight)


def test_several_layers_see_centred_inputs() -> None:
    found = clone(SMALL).set_params(hidden_layer_sizes=[12, 5]).fit(X)
    assert found.transform(X).shape == (300, 5)
    with torch.no_grad():
        seen = found.network_[:4](torch.from_numpy(X))
    assert seen.mean(0).abs().max() < 1e-6
    assert (seen.var(0) - 1).abs().max() < 0.05


def test_units_make_no_difference() -> None:
    one, other = (clone(SMALL).fit_transform(scaled) for scaled in (X, 1e6 * X + 7))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_constant_columns_become_zero() -> None:
    constant = np.full((20, 3), 0.1)
    assert not clone(SMALL).fit(constant).network_.standardise(torch.from_numpy(constant)).abs().max() > 1e-9
    assert np.isfinite(clone(IMAGES).fit_transform(np.zeros((4, 64)))).all()


def test_images_as_rows_and_as_arrays_are_the_same() -> None:
    images = colours()
    by_array = clone(IMAGES).set_params(image_shape=None).fit(images)
    by_row = clone(IMAGES).set_params(image_shape=(3, 8, 8)).fit(images.reshape(12, -1))
    assert by_array.image_shape_ == by_row.image_shape_ == (3, 8, 8)
    assert by_array.n_features_in_ == 192
    np.testing.assert_array_equal(by_array.transform(images), by_row.transform(images))
    np.testing.assert_array_equal(by_array.transform(images), by_array.transform(images.reshape(12, -1)))
    assert by_array.transform(images).dtype == np.float32
    standard = by_array.network_.standardise(torch.from_numpy(images.reshape(12, -1)).float())
    assert standard.mean((0, 2, 3)).abs().max() < 1e-5
    assert (standard.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_images_may_be_higher_than_wide() -> None:
    assert clone(IMAGES).set_params(image_shape=None).fit_transform(colours(6, 12, 8)).shape == (6, 4 * 51)
    with pytest.raises(ValueError, match=r"found 'cnn6' for images of 32 x 24 pixels.*choose one of triangle2"):
        HebbianTransformer(network="cnn6").fit(colours(4, 32, 24))


def test_another_network_learns_by_steps() -> None:
    estimator = HebbianTransformer("hpca", network="cnn6", width=0.05, epochs=1, random_state=0)
    assert estimator.fit_transform(colours(4, 24, 24)).shape == (4, 13)


def test_a_pickle_computes_the_same() -> None:
    for estimator in (SMALL, IMAGES):
        fitted = clone(estimator).fit(X)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), fitted.transform(X))
        with torch.no_grad():  # and the network is one of torch that needs nothing else
            rows = torch.from_numpy(X).to(next(fitted.network_.buffers()))
            np.testing.assert_allclose(fitted.network_(rows).flatten(1), fitted.transform(X), rtol=1e-5, atol=1e-5)


def test_it_works_in_pipelines_and_searches() -> None:
    pipeline = make_pipeline(clone(SMALL), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, X, Y, cv=3).mean() > 0.6
    search = GridSearchCV(
        pipeline, {"hebbiantransformer__hidden_layer_sizes": [(2,), (24,)]}, cv=2, error_score="raise"
    )
    assert search.fit(X, Y).best_params_ == {"hebbiantransformer__hidden_layer_sizes": (24,)}


def test_columns_have_names() -> None:
    frame = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    fitted = clone(SMALL).set_output(transform="pandas").fit(frame)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    assert fitted.transform(frame).columns[-1] == "hebbiantransformer15"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rule": "wat"}, "unknown rule 'wat': did you mean wta"),
        ({"rule": WTA}, "expected a name such as 'wta' or a rule"),
        ({"rule": "hybrid"}, "found 'hybrid', which needs labels or the gradient of a loss"),
        ({"rule": fasthebb.Hybrid(HPCA())}, "which needs labels or the gradient"),
        ({"rule": HPCA(classes=3)}, "which needs labels or the gradient"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes: found \(\), expected numbers of neurons"),
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes: found \(8, 0\)"),
        ({"hidden_layer_sizes": "many"}, "hidden_layer_sizes: found 'many'"),
        ({"solver": "once"}, "solver: found 'once', expected one of"),
        ({"solver": "at-once", "rule": "hpca"}, "HPCA learns by steps alone"),
        ({"solver": "at-once", "hidden_layer_sizes": (400,)}, "found 300 patches for 400 neurons"),
        ({"epochs": -1}, "epochs: found -1, expected an integer of at least 0"),
        ({"batch_size": 2.5}, "batch_size: found 2.5, expected an integer of at least 1"),
        ({"learning_rate": 0}, "learning_rate: found 0, expected a positive number"),
        ({"width": "wide"}, "width: found 'wide', expected a positive number"),
        ({"device": "abacus"}, "device: found 'abacus', expected 'auto', 'cpu'"),
        ({"image_shape": (8, 9)}, r"found rows of 64 numbers, expected 72, those of an image \(1, 8, 9\)"),
        ({"image_shape": 8}, "image_shape: found 8, expected channels, height and width"),
        ({"image_shape": (8, 8), "network": "triangle3"}, "there is no model 'triangle3': did you mean 'triangle2'"),
        ({"image_shape": (8, 8), "network": "cnn6"}, "images must be at least 24 pixels"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        clone(SMALL).set_params(**parameters).fit(X)
    assert "\n" not in str(error.value)


def test_other_rows_than_those_fitted_are_refused() -> None:
    fitted = clone(SMALL).fit(X)
    with pytest.raises(ValueError, match="expected rows"):
        fitted.transform(np.zeros((2, 1, 8, 8)))
    fitted = clone(IMAGES).fit(X)
    with pytest.raises(ValueError, match=r"found images of shape \(1, 4, 16\), expected \(1, 8, 8\)"):
        fitted.transform(np.zeros((2, 1, 4, 16)))


def test_a_rate_at_which_weights_diverge_is_said() -> None:
    with pytest.raises(fasthebb.NonFiniteError):
        HebbianTransformer("hebb", learning_rate=1e30, epochs=20, random_state=0).fit(X)
