"""Memory does not grow with a set: each is opened and read by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.stream_sets import jpeg, write_shard

resource = pytest.importorskip("resource")

_READ = """
import json, resource, sys, time
import torch
from fasthebb.data import Preprocessing, StreamBatches, load_stream

torch.set_num_threads(1)
images = load_stream(sys.argv[1], image_size=8, workers=0, progress=False, need_labels=False).unlabelled
preprocessing = Preprocessing(torch.zeros(3), torch.ones(3), 8)
batches = StreamBatches(images, preprocessing, batch_size=16, shuffle=True, augment="hard")
iterator = iter(batches)
next(iterator)
state = batches.state_dict()
state["batches"] = len(batches) // 2
again = StreamBatches(images, preprocessing, batch_size=16, shuffle=True, augment="hard")
again.load_state_dict(state)
start = time.process_time()
next(iter(again))
print(json.dumps([len(images), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time() - start]))
"""


def _opened(data: Path) -> tuple[int, float, float]:
    """Images, peak in MB, seconds of a processor to go on in the middle of an epoch."""
    environment = {**os.environ, "FASTHEBB_CACHE": str(data / ".cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(data)], env=environment, capture_output=True, check=True, text=True
    )
    images, peak, seconds = json.loads(done.stdout)
    return images, peak, seconds


def _linked_shards(folder: Path, count: int, a_shard: int = 1000) -> Path:
    first = write_shard(folder / "0.tar", [(f"{row}.jpg", jpeg(row % 7, (8, 8))) for row in range(a_shard)])
    for number in range(1, count // a_shard):
        os.link(first, folder / f"{number}.tar")
    return folder


def test_fifty_times_the_images_take_few_bytes_each(tmp_path: Path) -> None:
    few = _opened(_linked_shards(tmp_path / "few", 1_000))
    many = _opened(_linked_shards(tmp_path / "many", 50_000))
    assert (few[0], many[0]) == (1_000, 50_000)
    # 100 MB for 1.3 million are 80 bytes an image; decoded to 8 x 8 these alone would be 9 MB, as objects 30 MB.
    assert many[1] - few[1] < 8
    assert many[2] - few[2] < 1.0
