"""The commands for segmentation: a class for each pixel, from few masks."""

from fasthebb.runs.segmentation.evaluate import evaluate
from fasthebb.runs.segmentation.finetune import finetune
from fasthebb.runs.segmentation.predict import predict
from fasthebb.runs.segmentation.pretrain import pretrain

__all__ = ["evaluate", "finetune", "predict", "pretrain"]
