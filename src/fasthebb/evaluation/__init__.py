"""What a trained network is worth: predictions, scores, and means with their confidence intervals."""

from fasthebb.evaluation.bootstrap import bootstrap_intervals
from fasthebb.evaluation.exciting import most_exciting
from fasthebb.evaluation.features import layer_features, stages
from fasthebb.evaluation.layers import layer_scores
from fasthebb.evaluation.metrics import ClassReport, class_report, classification_scores
from fasthebb.evaluation.modes import evaluating
from fasthebb.evaluation.prediction import predict_logits
from fasthebb.evaluation.readers import knn_top1, svm_top1
from fasthebb.evaluation.retrieval import retrieval_scores
from fasthebb.evaluation.statistics import mean_interval

__all__ = [
    "ClassReport",
    "bootstrap_intervals",
    "class_report",
    "classification_scores",
    "evaluating",
    "knn_top1",
    "layer_features",
    "layer_scores",
    "mean_interval",
    "most_exciting",
    "predict_logits",
    "retrieval_scores",
    "stages",
    "svm_top1",
]
