"""The commands as functions: each reads options, works in a run folder that resumes, and leaves its results there."""

from fasthebb.runs.commands import evaluate, finetune, predict, pretrain
from fasthebb.runs.folder import RunError, RunFolder
from fasthebb.runs.options import EvaluateOptions, FinetuneOptions, PredictOptions, PretrainOptions
from fasthebb.runs.saved import SavedNetwork, SavedSegmentation

__all__ = [
    "EvaluateOptions",
    "FinetuneOptions",
    "PredictOptions",
    "PretrainOptions",
    "RunError",
    "RunFolder",
    "SavedNetwork",
    "SavedSegmentation",
    "evaluate",
    "finetune",
    "predict",
    "pretrain",
]
