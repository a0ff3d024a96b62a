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
from sklearn.preprocessing import StandardScaler

from fasthebb.sklearn import HebbianClassifier, HebbianTransformer

X, Y = load_digits(return_X_y=True)
TRAIN, TEST = slice(0, 1000), slice(1000, None)
SMALL = HebbianClassifier(hidden_layer_sizes=(64,), epochs=1, random_state=0)


def few_labels(each: int, seed: int = 0) -> NDArray[np.int64]:
    """Labels of the training rows, all but a few of each class -1."""
    rng = np.random.default_rng(seed)
    labels = np.full(1000, -1)
    for kind in range(10):
        rows = rng.choice(np.flatnonzero(Y[TRAIN] == kind), each, replace=False)
        labels[rows] = kind
    return labels


def test_few_labels_go_a_long_way() -> None:
    """Far beyond chance (10 %), beyond random weights, and beyond a regression on the pixels of the labelled rows."""
    scores = []
    for seed in range(3):
        few = few_labels(3, seed)
        known = few != -1
        estimators = [HebbianClassifier(random_state=seed), HebbianClassifier(random_state=seed, epochs=0)]
        pixels = LogisticRegression(max_iter=1000).fit(X[TRAIN][known] / 16, few[known])
        scores.append(
            [*(e.fit(X[TRAIN], few).score(X[TEST], Y[TEST]) for e in estimators), pixels.score(X[TEST] / 16, Y[TEST])]
        )
    learned, control, regression = np.mean(scores, axis=0)
    assert learned > 0.7
    assert learned > control
    assert learned > regression


def test_images_go_further() -> None:
    few = few_labels(3)
    images = HebbianClassifier(image_shape=(8, 8), width=0.15, random_state=0).fit(X[TRAIN], few)
    assert images.score(X[TEST], Y[TEST]) > 0.75


def test_unlabelled_rows_teach_the_hidden_layers_alone() -> None:
    few = few_labels(2)
    fitted = clone(SMALL).fit(X[TRAIN], few)
    alone = HebbianTransformer(hidden_layer_sizes=(64,), epochs=1, random_state=0).fit(X[TRAIN])
    np.testing.assert_array_equal(fitted.transformer_.transform(X[TEST]), alone.transform(X[TEST]))
    assert fitted.classes_.tolist() == list(range(10))
    assert fitted.coef_.shape == (10, 64)
    logits = alone.transform(X[TEST]) @ fitted.coef_.T + fitted.intercept_
    np.testing.assert_allclose(fitted.decision_function(X[TEST]), logits)
    np.testing.assert_array_equal(fitted.predict(X[TEST]), logits.argmax(1))


def test_labels_are_those_of_the_labelled_rows_whatever_stands_for_unlabelled() -> None:
    few = few_labels(2)
    usual = clone(SMALL).fit(X[TRAIN], few)
    floats = clone(SMALL).fit(X[TRAIN], few.astype(float))
    ninety_nine = clone(SMALL).set_params(unlabelled=99).fit(X[TRAIN], np.where(few < 0, 99, few))
    for other in (floats, ninety_nine):
        np.testing.assert_array_equal(usual.coef_, other.coef_)
        np.testing.assert_array_equal(usual.classes_, other.classes_)
    every = clone(SMALL).set_params(unlabelled=None).fit(X[TRAIN], few)
    assert every.classes_.tolist() == list(range(-1, 10))


def test_minus_one_and_one_alone_are_two_classes_and_said_to_be() -> None:
    labels = np.where(Y[:100] < 5, -1, 1)
    with pytest.warns(UserWarning, match="labels -1 and 1 alone, which are taken for two classes"):
        fitted = clone(SMALL).fit(X[:100], labels)
    assert fitted.classes_.tolist() == [-1, 1]
    assert fitted.score(X[:100], labels) > 0.8  # and here -1 counts
    assert fitted.decision_function(X[:100]).shape == (100,)


def test_texts_are_always_classes() -> None:
    names = np.array(["even", "odd"])[Y[:100] % 2]
    fitted = clone(SMALL).fit(X[:100], names)
    assert set(fitted.predict(X[:100])) == {"even", "odd"}
    assert fitted.score(X[:100], names) > 0.8


def test_scores_leave_unlabelled_rows_out() -> None:
    fitted = clone(SMALL).fit(X[TRAIN], few_labels(5))
    hidden = np.where(np.arange(797) % 2, -1, Y[TEST])
    assert fitted.score(X[TEST], hidden) == fitted.score(X[TEST][::2], Y[TEST][::2])
    weights = np.linspace(0, 1, 797)
    assert fitted.score(X[TEST], hidden, weights) == fitted.score(X[TEST][::2], Y[TEST][::2], weights[::2])
    ones = np.where(np.arange(797) % 2, -1, 1)  # of a fold that happens to hold one class: not two classes
    assert fitted.score(X[TEST], ones) == fitted.score(X[TEST][::2], ones[::2])
    with pytest.raises(ValueError, match="found no labelled row to score"):
        fitted.score(X[TEST], np.full(797, -1))


@pytest.mark.parametrize("readout", ["ridge", "finetune"])
def test_a_seed_fixes_the_classifier_and_no_global_stream_is_touched(readout: str) -> None:
    estimator = clone(SMALL).set_params(readout=readout, finetune_epochs=2)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    first = clone(estimator).fit(X[TRAIN], few_labels(2)).predict_proba(X[TEST])
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])
    assert random.getstate() == before[2]
    torch.manual_seed(5)
    again = clone(estimator).fit(X[TRAIN], few_labels(2))
    np.testing.assert_array_equal(first, again.predict_proba(X[TEST]))
    np.testing.assert_array_equal(first, pickle.loads(pickle.dumps(again)).predict_proba(X[TEST]))


def test_fine_tuning_moves_all_layers_and_lowers_the_loss() -> None:
    few = few_labels(3)
    known = few != -1
    ridge = clone(SMALL).fit(X[TRAIN], few)
    tuned = clone(SMALL).set_params(readout="finetune", finetune_learning_rate=0.05).fit(X[TRAIN], few)
    assert not np.array_equal(ridge.transformer_.transform(X[:9]), tuned.transformer_.transform(X[:9]))
    losses = [-np.log(e.predict_proba(X[TRAIN][known])[np.arange(30), few[known]]).mean() for e in (ridge, tuned)]
    assert losses[1] < losses[0]
    still = clone(SMALL).set_params(readout="finetune", finetune_epochs=0).fit(X[TRAIN], few)
    np.testing.assert_allclose(ridge.predict_proba(X[TEST]), still.predict_proba(X[TEST]))


def test_it_works_in_pipelines_and_searches_with_unlabelled_rows() -> None:
    few = few_labels(10)
    pipeline = make_pipeline(StandardScaler(), clone(SMALL))
    assert cross_val_score(pipeline, X[TRAIN], few, cv=2, error_score="raise").mean() > 0.5
    grid = {"hebbianclassifier__hidden_layer_sizes": [(2,), (48,)], "hebbianclassifier__rule": ["wta", "hpca"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X[TRAIN], few)
    assert search.best_params_["hebbianclassifier__hidden_layer_sizes"] == (48,)
    assert search.score(X[TEST], Y[TEST]) > 0.5


def test_images_as_arrays() -> None:
    images = X[:300].reshape(300, 1, 8, 8)
    estimator = HebbianClassifier(width=0.05, random_state=0)
    assert cross_val_score(estimator, images, Y[:300], cv=2, error_score="raise").mean() > 0.5
    fitted = estimator.fit(images, Y[:300])
    np.testing.assert_array_equal(fitted.predict(images), fitted.predict(X[:300]))
    with pytest.raises(ValueError, match="found images of shape"):
        fitted.predict(images[:, :, :4])


def test_columns_have_names() -> None:
    frame = pd.DataFrame(X[:100], columns=[f"pixel{index}" for index in range(64)])
    fitted = clone(SMALL).fit(frame, Y[:100])
    assert fitted.feature_names_in_[3] == "pixel3"
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"pixel3": "other"}))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"readout": "svm"}, r"readout: found 'svm', expected one of \('ridge', 'finetune'\)"),
        ({"finetune_epochs": -2}, "finetune_epochs: found -2, expected an integer of at least 0"),
        ({"finetune_learning_rate": 0}, "finetune_learning_rate: found 0, expected a positive number"),
        ({"unlabelled": "none"}, "unlabelled: found 'none', expected an integer such as -1, or None"),
        ({"rule": "hybrid"}, "needs labels or the gradient of a loss"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        clone(SMALL).set_params(**parameters).fit(X[:100], Y[:100])
    assert "\n" not in str(error.value)


def test_labels_that_are_all_missing_are_refused() -> None:
    with pytest.raises(ValueError, match="found no labelled row, only -1: expected some rows of each class"):
        clone(SMALL).fit(X[:50], np.full(50, -1))
