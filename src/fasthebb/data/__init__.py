"""Images and labels as people have them, made into batches for a network."""

from fasthebb.data.augmentation import Augmentation
from fasthebb.data.batches import Batches
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
from fasthebb.data.preprocessing import Preprocessing
from fasthebb.data.subsets import labelled_subset

__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "Augmentation",
    "Batches",
    "DataError",
    "FeatureBatches",
    "ImageData",
    "ImageSet",
    "Preprocessing",
    "draw_labels",
    "labelled_subset",
    "load_folder_for_prediction",
    "load_for_scoring",
    "load_images",
]
