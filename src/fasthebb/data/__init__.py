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
from fasthebb.data.stream_batches import StreamBatches, make_batches
from fasthebb.data.stream_loading import load_stream
from fasthebb.data.stream_preprocessing import fit_on_sample
from fasthebb.data.stream_set import AnyData, AnySet, StreamData, StreamSet
from fasthebb.data.subsets import labelled_subset

__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "IGNORE",
    "AnyData",
    "AnySet",
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
    "StreamBatches",
    "StreamData",
    "StreamSet",
    "draw_labels",
    "draw_masks",
    "fit_on_sample",
    "labelled_subset",
    "load_folder_for_prediction",
    "load_for_scoring",
    "load_for_segmentation",
    "load_images",
    "load_masked",
    "load_stream",
    "make_batches",
]
