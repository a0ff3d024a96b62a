"""Images in memory where they fit, from where they lie where they do not."""

import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fasthebb.data import Preprocessing, fit_on_sample, load_images, load_stream
from fasthebb.data.reading import TooLargeError
from fasthebb.data.stream_set import AnyData, AnySet, StreamSet
from fasthebb.runs.folder import RunError
from fasthebb.runs.options import DataOptions
from fasthebb.training.processes import first_alone, process_count
from fasthebb.training.weights import write_atomically

STREAMED = "streamed.txt"
"""File of a run that began on a stream, and goes on on one."""
PREPARED = "preprocessing.safetensors"
"""File of a run on a stream: what its images were prepared with from the beginning."""


def load(options: DataOptions, out: Path, *, testing: bool = True, **how: Any) -> AnyData:
    """The images that options name: a stream if they ask for it, if the run began so, or if memory does not suffice.

    Args:
        options: of a pre-training or fine-tuning.
        out: its folder.
        testing: as for `load_images`.
        how: what `load_images` and `load_stream` both take.

    Raises:
        ValueError: for a user's mistake, in one line.
    """
    how |= {"unlabelled": options.unlabelled, "seed": options.seed, "strict": options.strict} | how
    if not (options.stream or first_alone((out / STREAMED).exists)):
        if options.workers is not None:
            raise RunError(
                f"found --workers {options.workers}, which decode a stream: give --stream too, or leave it out"
            )
        try:
            return load_images(options.data, label_file=options.label_file, group=options.group, testing=testing, **how)
        except TooLargeError as error:
            # Several processes might not come to the same decision.
            if options.label_file or options.group or not testing or process_count() > 1:
                raise
            warnings.warn(
                f"{str(error).partition(': ')[0]}: they are read anew in every epoch instead, as with --stream",
                UserWarning,
                stacklevel=2,
            )
    if options.label_file or options.group:
        raise RunError(
            "--stream reads labels and splits from folders, tables and shards alone: leave out --label-file and "
            "--group, or --stream"
        )
    if not testing:
        raise RunError("--stream has no --cv: give images for validation and test, or leave out --stream")
    data = load_stream(options.data, workers=options.workers, **how)
    said = f"{len(data.unlabelled)} images were left where they are\n".encode()
    first_alone(lambda: write_atomically(out / STREAMED, lambda file: file.write(said)))
    return data


def prepared(images: AnySet, whiten: bool, out: Path | None) -> Preprocessing:
    """The preprocessing of these images; that of a stream is kept in the run's folder, for when it goes on.

    Raises:
        ValueError: the kept one cannot be read.
    """
    if not isinstance(images, StreamSet):
        return Preprocessing.fit(images.images, whiten=whiten)
    if out is None:
        return fit_on_sample(images, whiten=whiten)
    file = out / PREPARED
    if file.exists():
        try:
            with safe_open(file, framework="pt") as kept:
                return Preprocessing.from_saved(kept.metadata(), {name: kept.get_tensor(name) for name in kept.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise RunError(f"{file} cannot be read ({error}): remove it, or choose another --out") from error
    fitted = fit_on_sample(images, whiten=whiten)
    content = save(fitted.tensors(), fitted.metadata())
    write_atomically(file, lambda stream: stream.write(content))
    return fitted


def channels_of(images: AnySet) -> int:
    """Channels of each image."""
    return images.channels if isinstance(images, StreamSet) else images.images.shape[1]
