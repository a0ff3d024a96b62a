"""The commands as functions: each reads options, works in a run folder that resumes, and leaves its results there."""

from fasthebb.runs.evaluate import evaluate
from fasthebb.runs.finetune import finetune
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import EvaluateOptions, FinetuneOptions, PredictOptions, PretrainOptions
from fasthebb.runs.predict import predict
from fasthebb.runs.pretrain import pretrain
from fasthebb.runs.saved import SavedNetwork

__all__ = [
    "EvaluateOptions",
    "FinetuneOptions",
    "PredictOptions",
    "PretrainOptions",
    "RunError",
    "RunFolder",
    "SavedNetwork",
    "evaluate",
    "finetune",
    "predict",
    "pretrain",
]
