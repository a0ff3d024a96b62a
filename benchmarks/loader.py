"""How much of a CIFAR-10 pre-training epoch goes into reading and preparing its batches.

    python benchmarks/loader.py --data PATH_TO_CIFAR10

The epoch is that of ``fasthebb pretrain`` without options; the loader is timed alone just before and after it, in the
same process. Writes ``docs/results/loader.json``.
"""

import argparse
import time
from collections.abc import Callable

from record import save

from fasthebb import HPCA
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

    read()
    before, epoch, after = seconds(read), seconds(train), seconds(read)
    share = max(before, after) / epoch
    print(f"loader {100 * share:.2f} % of an epoch")
    save(
        "loader",
        {"images": len(data.unlabelled), "share": share, "seconds": {"loader": [before, after], "epoch": epoch}},
    )


if __name__ == "__main__":
    main()
