"""Networks: a `features` part that learns without labels and a `classifier` part that needs them."""

from fasthebb.models.cnn6 import cnn6
from fasthebb.models.cnn8 import cnn8
from fasthebb.models.cnn10 import cnn10
from fasthebb.models.network import Network
from fasthebb.models.registry import MODELS, build_model, usual
from fasthebb.models.relative_variance import RelativeVarianceBatchNorm1d, RelativeVarianceBatchNorm2d
from fasthebb.models.segmentation_registry import SEGMENTATION_MODELS, build_segmentation
from fasthebb.models.triangle import Triangle, softhebb, triangle2
from fasthebb.models.unet import SegmentationNetwork, unet
from fasthebb.models.vae import VAE, Posterior
from fasthebb.models.vgg import vgg

__all__ = [
    "MODELS",
    "SEGMENTATION_MODELS",
    "VAE",
    "Network",
    "Posterior",
    "RelativeVarianceBatchNorm1d",
    "RelativeVarianceBatchNorm2d",
    "SegmentationNetwork",
    "Triangle",
    "build_model",
    "build_segmentation",
    "cnn6",
    "cnn8",
    "cnn10",
    "softhebb",
    "triangle2",
    "unet",
    "usual",
    "vgg",
]
