"""The network of a study, for the images that were read."""

from typing import Any

from fasthebb.data import ImageData
from fasthebb.runs.options import PretrainOptions
from fasthebb.runs.saved import network_options
from fasthebb.study.options import StudyOptions


def network_of(options: PretrainOptions | StudyOptions, data: ImageData) -> dict[str, Any]:
    """The keywords of `build_model`, but for the classes."""
    _, channels, side, _ = data.train.images.shape
    return network_options(
        options.model, width=options.width, hidden=options.hidden, image_size=side, channels=channels
    )
