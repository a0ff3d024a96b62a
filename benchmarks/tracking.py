"""What it costs a training to be tracked with TensorBoard, and a process to import its writer.

    python benchmarks/tracking.py --data PATH_TO_CIFAR10

Two epochs of ``fasthebb pretrain --precision bf16-mixed`` at the given width, in which the time within every call of
the tracking is taken: a share of the same epochs, so that other work on the machine does not blur it. Writes
``docs/results/tracking.json``.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from record import save

from fasthebb import HPCA
from fasthebb.data import Batches, Preprocessing, load_images
from fasthebb.models import cnn6
from fasthebb.training import HebbianPretraining, fit, make_trainer, open_logger, trained_seconds
from fasthebb.training.tracking import Tracking
from fasthebb.training.tracking_loggers import EventFiles

IMPORTS = 5


def timed(spent: list[float], work: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - start)

    return call


def import_seconds(code: str) -> float:
    """Of the processor, which other work on the machine blurs less than those of the clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def share_of_epochs(data: str, width: float) -> dict[str, Any]:
    images = load_images(data)
    preprocessing = Preprocessing.fit(images.unlabelled.images, whiten=False)
    batches = Batches(images.unlabelled, preprocessing, batch_size=64, shuffle=True, seed=0)
    within: list[float] = []
    for method in ("on_train_start", "on_train_epoch_start", "on_train_batch_end", "on_train_epoch_end"):
        setattr(Tracking, method, timed(within, getattr(Tracking, method)))
    by_lightning: list[float] = []  # the metrics of an epoch, which go to every logger
    EventFiles.log_metrics = timed(by_lightning, EventFiles.log_metrics)  # type: ignore[method-assign]
    module = HebbianPretraining(cnn6(len(images.classes), width=width), HPCA(max_lr=0.1), lr=0.1, epochs=2)
    with TemporaryDirectory() as folder:
        loggers = open_logger("tensorboard", {}, folder, {})
        fit(make_trainer(epochs=2, out=folder, precision="bf16-mixed", loggers=loggers), module, batches)
        seconds = trained_seconds(folder)
        size = sum(file.stat().st_size for file in Path(folder).rglob("events.*"))
    return {
        "width": width,
        "steps": 2 * len(batches),
        "epochs_seconds": round(seconds, 1),
        "tracking_seconds": round(sum(within), 2),  # those of EventFiles that Tracking calls are within it
        "all_logging_calls_seconds": round(sum(by_lightning), 2),
        "share": round(sum(within) / seconds, 4),
        "bytes_an_epoch": size // 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--width", type=float, default=1.0)
    arguments = parser.parse_args()

    bare, more = "import lightning", "import lightning; from torch.utils.tensorboard import SummaryWriter"
    pairs = [(import_seconds(bare), import_seconds(more)) for _ in range(IMPORTS)]
    results = {
        "import_processor_seconds": {
            "lightning": round(statistics.median(one for one, _ in pairs), 2),
            "with_tensorboard": round(statistics.median(other for _, other in pairs), 2),
            "median_difference": round(statistics.median(other - one for one, other in pairs), 2),
        },
        "training": share_of_epochs(arguments.data, arguments.width),
    }
    print(results)
    save("tracking", results)


if __name__ == "__main__":
    main()
