"""What a trained network is worth: predictions, scores, and means with their confidence intervals."""

from fasthebb.evaluation.metrics import classification_scores
from fasthebb.evaluation.modes import evaluating
from fasthebb.evaluation.prediction import predict_logits
from fasthebb.evaluation.statistics import mean_interval

__all__ = ["classification_scores", "evaluating", "mean_interval", "predict_logits"]
