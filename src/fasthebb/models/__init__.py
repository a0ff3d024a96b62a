"""Networks: a `features` part that learns without labels and a `classifier` part that needs them."""

from fasthebb.models.cnn6 import CNN6, cnn6
from fasthebb.models.registry import MODELS, build_model
from fasthebb.models.relative_variance import RelativeVarianceBatchNorm1d, RelativeVarianceBatchNorm2d

__all__ = ["CNN6", "MODELS", "RelativeVarianceBatchNorm1d", "RelativeVarianceBatchNorm2d", "build_model", "cnn6"]
