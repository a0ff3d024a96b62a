"""The scikit-learn estimators on digits with few labels, beside what a user of scikit-learn has already.

    python benchmarks/estimators.py

Writes ``docs/results/estimators.json``: top-1 on 797 test images; each seed draws its own labels among the other 1,000.
"""

import numpy as np
from record import save
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from fasthebb.evaluation import mean_interval
from fasthebb.sklearn import HebbianClassifier

SEEDS, A_CLASS = 5, (1, 5, 10)


def methods(seed: int) -> dict[str, tuple[BaseEstimator, bool]]:
    """Estimators by name, and whether they learn from unlabelled images too."""
    images = {"image_shape": (8, 8), "random_state": seed}
    return {
        "LogisticRegression": (LogisticRegression(max_iter=1000), False),
        "SVC": (SVC(), False),
        "LabelSpreading (7 neighbours)": (LabelSpreading(kernel="knn", n_neighbors=7), True),
        "HebbianClassifier, vectors": (HebbianClassifier(random_state=seed), True),
        "control: vectors, weights at rest": (HebbianClassifier(random_state=seed, epochs=0), True),
        "HebbianClassifier, images": (HebbianClassifier(**images), True),
        "control: images, weights at rest": (HebbianClassifier(**images, epochs=0, solver="steps"), True),
    }


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(SEEDS):
        X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=1000, random_state=seed, stratify=y)
        draw = np.random.default_rng(seed)
        order = {c: draw.permutation(np.flatnonzero(y_train == c)) for c in range(10)}
        for count in A_CLASS:
            rows = np.concatenate([order[c][:count] for c in range(10)])
            partly = np.full_like(y_train, -1)
            partly[rows] = y_train[rows]
            for name, (estimator, all_rows) in methods(seed).items():
                fitted = estimator.fit(X_train, partly) if all_rows else estimator.fit(X_train[rows], y_train[rows])
                right = 100 * float((fitted.predict(X_test) == y_test).mean())
                found.setdefault(name, {}).setdefault(str(count), []).append(round(right, 2))
    for name, scores in found.items():
        texts = ["{:.1f} ± {:.1f}".format(*mean_interval(values)) for values in scores.values()]
        print(f"{name:36}", *texts, flush=True)
    save("estimators", {"labels_a_class": list(A_CLASS), "seeds": SEEDS, "top1": found})


if __name__ == "__main__":
    main()
