from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from fasthebb import SWTA
from fasthebb.sklearn import HebbianClassifier, HebbianTransformer


@parametrize_with_checks(
    [
        HebbianTransformer(),
        HebbianTransformer("hpca", hidden_layer_sizes=(20, 10)),
        HebbianTransformer("sanger", hidden_layer_sizes=1, solver="at-once"),
        HebbianClassifier(),
        HebbianClassifier(SWTA(), readout="finetune", finetune_epochs=3),
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)
