"""Images and labels as people have them, made into batches for a network."""

from fasthebb.data.augmentation import Augmentation
from fasthebb.data.batches import Batches
from fasthebb.data.crops import Crops
from fasthebb.data.errors import DataError
from fasthebb.data.feature_batches import FeatureBatches
from fasthebb.data.images import ImageData, ImageSet
from fasthebb.data.loading import (
    DEFAULT_IMAGE_SIZE,
    draw_labels,
    load_folder_for_prediction,
    load_for_scoring,
    load_images,
)
from fasthebb.data.masked import IGNORE, MaskedData, MaskedSet
from fasthebb.data.masked_loading import draw_masks, load_masked
from fasthebb.data.masked_prediction import load_for_segmentation
from fasthebb.data.preprocessing import Preprocessing
from fasthebb.data.subsets import labelled_subset

__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "IGNORE",
    "Augmentation",
    "Batches",
    "Crops",
    "DataError",
    "FeatureBatches",
    "ImageData",
    "ImageSet",
    "MaskedData",
    "MaskedSet",
    "Preprocessing",
    "draw_labels",
    "draw_masks",
    "labelled_subset",
    "load_folder_for_prediction",
    "load_for_scoring",
    "load_for_segmentation",
    "load_images",
    "load_masked",
]
