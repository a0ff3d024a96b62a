"""Estimators for scikit-learn: features that are learned without labels, and a classifier from few of them."""

from fasthebb.sklearn.classifier import HebbianClassifier
from fasthebb.sklearn.transformer import HebbianTransformer

__all__ = ["HebbianClassifier", "HebbianTransformer"]
