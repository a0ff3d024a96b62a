"""What a trained network is worth: predictions, scores, and means with their confidence intervals."""

from fasthebb.evaluation.bootstrap import bootstrap_intervals
from fasthebb.evaluation.exciting import most_exciting
from fasthebb.evaluation.features import layer_features, stages
from fasthebb.evaluation.hausdorff import hausdorff95
from fasthebb.evaluation.layers import layer_scores
from fasthebb.evaluation.metrics import ClassReport, class_report, classification_scores
from fasthebb.evaluation.modes import evaluating
from fasthebb.evaluation.objects import objects_table, overlay
from fasthebb.evaluation.overlap import Overlap, compare_masks, segmentation_intervals, segmentation_scores
from fasthebb.evaluation.prediction import predict_logits
from fasthebb.evaluation.readers import knn_top1, svm_top1
from fasthebb.evaluation.retrieval import retrieval_scores
from fasthebb.evaluation.statistics import mean_interval
from fasthebb.evaluation.tiles import predict_tiles

__all__ = [
    "ClassReport",
    "Overlap",
    "bootstrap_intervals",
    "class_report",
    "classification_scores",
    "compare_masks",
    "evaluating",
    "hausdorff95",
    "knn_top1",
    "layer_features",
    "layer_scores",
    "mean_interval",
    "most_exciting",
    "objects_table",
    "overlay",
    "predict_logits",
    "predict_tiles",
    "retrieval_scores",
    "segmentation_intervals",
    "segmentation_scores",
    "stages",
    "svm_top1",
]
