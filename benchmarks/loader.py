"""What a CIFAR-10 pre-training epoch costs beside its steps, and how much of it the reading of batches is.

    python benchmarks/loader.py --data PATH_TO_CIFAR10

The epoch is that of ``fasthebb pretrain`` without options; the loader alone and the bare step are timed just before and
after it, in the same process. Writes ``docs/results/loader.json``.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from record import save

from fasthebb import HPCA
from fasthebb.benchmark.steps import hebbian_step
from fasthebb.benchmark.subjects import subject
from fasthebb.data import Batches, Preprocessing, load_images
from fasthebb.models import cnn6
from fasthebb.training import HebbianPretraining, fit, make_trainer


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    arguments = parser.parse_args()

    data = load_images(arguments.data)
    preprocessing = Preprocessing.fit(data.unlabelled.images, whiten=False)
    batches = Batches(data.unlabelled, preprocessing, batch_size=64, shuffle=True, seed=0)
    module = HebbianPretraining(cnn6(len(data.classes)), HPCA(max_lr=0.1), lr=0.1, epochs=1)

    def read() -> None:
        for _ in batches:
            pass

    def train() -> None:
        fit(make_trainer(epochs=1, out=None, progress=True), module, batches)

    step = hebbian_step(subject("cnn6", 64, None, torch.device("cpu")), HPCA(max_lr=0.1), torch.float32)
    read()
    for _ in range(5):
        step()
    loader, steps = [seconds(read)], [seconds(step) for _ in range(60)]
    epoch = seconds(train)
    loader, steps = [*loader, seconds(read)], [*steps, *(seconds(step) for _ in range(60))]
    bare = statistics.median(steps)
    to_steps = epoch / (len(batches) * bare)
    print(f"an epoch takes {to_steps:.3f} of its steps, the loader {100 * max(loader) / epoch:.2f} % of it")
    save(
        "loader",
        {
            "images": len(data.unlabelled),
            "share": max(loader) / epoch,
            "epoch_over_steps": round(to_steps, 3),
            "seconds": {"loader": loader, "epoch": epoch, "step": bare, "steps": len(batches)},
        },
    )


if __name__ == "__main__":
    main()
