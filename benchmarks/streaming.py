"""What reading a set from where it lies costs: memory and start against the size of the set, decoders, the loader.

    python benchmarks/streaming.py --data PATH_TO_IMAGENET_SHARDS [--entries 1300000] [--part PART]

- ``shards``, ``tables``, ``folders``: sets of 10,000 and of 1.3 million entries, of tiny JPEGs and mostly links to each
  other; each is opened in a process of its own, which reads 50 batches, stops, and goes on in the middle of an epoch.
- ``decoding``: seconds of Pillow, of Pillow at a reduced scale and of torchvision for photographs of several sizes, one
  after the other on each, and how far their pixels differ.
- ``loader``: images a second of the loader against those of its decoder alone, in turns.
- ``datasets``: whether the streaming of Hugging Face ``datasets`` can be shared and gone on with exactly.

What was made is removed again. Writes ``docs/results/streaming_PART.json``.
"""

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import save

from fasthebb.data import Preprocessing, StreamBatches, fit_on_sample, load_stream
from fasthebb.data.decoding import _fit, _plain, decode
from fasthebb.data.stream_decoding import decode_quickly, jpeg_size
from fasthebb.data.stream_sources import open_stream

FEW = 10_000
A_SHARD = 10_000
A_FOLDER = 1_300
RESTARTS = 2
ROUNDS = 3
LOADER_ROUNDS = 7


# --- scale ---


def tiny_jpegs(count: int) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    contents = []
    for one in pixels:
        stream = io.BytesIO()
        Image.fromarray(one).save(stream, "JPEG", quality=50)
        contents.append(stream.getvalue())
    return contents


def make_shards(where: Path, entries: int) -> None:
    """One shard, and links to it by other names."""
    import tarfile

    jpegs = tiny_jpegs(100)
    first = where / "train-000000.tar"
    with tarfile.open(first, "w") as tar:
        for row in range(A_SHARD):
            for suffix, content in (("jpg", jpegs[row % 100]), ("cls", str(row % 1000).encode())):
                member = tarfile.TarInfo(f"{row:08d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    for number in range(1, entries // A_SHARD):
        os.link(first, where / f"train-{number:06d}.tar")
    for split in ("validation", "test"):  # so that none are held out
        shutil.copy(first, where / f"{split}-000000.tar")


def make_tables(where: Path, entries: int) -> None:
    import pyarrow
    import pyarrow.parquet

    jpegs = tiny_jpegs(100)
    rows = pyarrow.table(
        {
            "image": [{"bytes": jpegs[row % 100], "path": None} for row in range(A_SHARD)],
            "label": [row % 1000 for row in range(A_SHARD)],
        }
    )
    names = [f"train-{number:05d}" for number in range(entries // A_SHARD)] + ["validation-0", "test-0"]
    for name in names:
        pyarrow.parquet.write_table(rows, where / f"{name}.parquet", row_group_size=500, use_dictionary=False)


def make_folders(where: Path, entries: int) -> None:
    """1,300 files a class, links to a few of them: a file may have some 60,000 names."""
    jpegs = tiny_jpegs(100)
    places = ["train"] * entries + ["validation"] * 1000 + ["test"] * 1000
    originals = []
    for number in range(100):
        originals.append(where / f".{number}")
        originals[-1].write_bytes(jpegs[number])
    made = set()
    for row, place in enumerate(places):
        folder = where / place / f"n{row // A_FOLDER % 1000:08d}"
        if folder not in made:
            folder.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        os.link(originals[row % 100], folder / f"n{row // A_FOLDER % 1000:08d}_{row}.JPEG")


MAKERS: dict[str, Callable[[Path, int], None]] = {
    "shards": make_shards,
    "tables": make_tables,
    "folders": make_folders,
}


def child(data: str) -> None:
    """Open a set, read some batches, go on in the middle of an epoch; tell the seconds and the memory."""
    torch.set_num_threads(1)
    resting = peak()
    start = time.perf_counter()
    images = load_stream(data, image_size=16, workers=0, progress=False, need_labels=False).unlabelled
    opened = time.perf_counter()
    preprocessing = fit_on_sample(images, whiten=False)
    fitted = time.perf_counter()

    def batches() -> StreamBatches:
        return StreamBatches(images, preprocessing, batch_size=32, shuffle=True, augment="shift")

    first = batches()
    iterator = iter(first)
    next(iterator)
    began = time.perf_counter()
    for _ in range(50):
        next(iterator)
    read = time.perf_counter()
    state = first.state_dict()
    state["batches"] = len(first) // 2
    again = batches()
    again.load_state_dict(state)
    next(iter(again))
    resumed = time.perf_counter()
    print(
        json.dumps(
            {
                "images": len(images),
                "open_seconds": opened - start,
                "fit_seconds": fitted - opened,
                "first_batch_seconds": began - fitted,
                "seconds_a_batch": (read - began) / 50,
                "resume_seconds": resumed - read,
                "peak_mb": peak(),
                "peak_before_mb": resting,
            }
        )
    )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scale(kind: str, entries: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for count in (FEW, entries):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            data.mkdir()
            MAKERS[kind](data, count)
            environment = {**os.environ, "FASTHEBB_CACHE": f"{folder}/cache"}
            command = [sys.executable, __file__, "--child", str(data)]
            # The first start makes the index, the others find it.
            starts = [
                json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
                for _ in range(1 + RESTARTS)
            ]
        middle = {name: round(statistics.median(one[name] for one in starts[1:]), 4) for name in starts[0]}
        found[str(count)] = {
            **middle,
            "first_open_seconds": round(starts[0]["open_seconds"], 3),
            "first_peak_mb": round(starts[0]["peak_mb"], 1),
        }
        print(kind, count, found[str(count)], flush=True)
    small, large = found[str(FEW)], found[str(entries)]
    measures = (
        "open_seconds",
        "first_batch_seconds",
        "resume_seconds",
        "peak_mb",
        "first_open_seconds",
        "first_peak_mb",
    )
    found["difference"] = {name: round(large[name] - small[name], 3) for name in measures}
    return found


# --- decoding ---


def photographs(data: str, count: int) -> list[bytes]:
    source = open_stream(data)
    return [bytes(source.item(row).read()) for row in np.linspace(0, len(source) - 1, count).astype(int)]


def enlarged(content: bytes, side: int) -> bytes:
    """The same photograph with a shorter side of so many pixels."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    factor = side / min(image.size)
    stream = io.BytesIO()
    size = (round(image.width * factor), round(image.height * factor))
    image.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def whole(content: bytes, size: int) -> np.ndarray:
    """Pillow without a reduced scale."""
    return _fit(_plain(Image.open(io.BytesIO(content))), size)


def torchvision_decodes(content: bytes, size: int) -> bool:
    """Whether ``decode_quickly`` goes another way than ``decode``."""
    sides = jpeg_size(content)
    return sides is not None and min(sides) < 4 * size and not (sides[0] - sides[1]) % 2


def seconds(work: Callable[[bytes, int], Any], contents: list[bytes], size: int) -> float:
    """Of the processor, an image: what else a machine does counts for little then."""
    start = time.process_time()
    for content in contents:
        work(content, size)
    return (time.process_time() - start) / len(contents)


def decoding(data: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    native = photographs(data, 100)
    sets = {"256": native, **{str(side): [enlarged(one, side) for one in native[:25]] for side in (375, 1000, 2000)}}
    ways = {"pillow": whole, "in_memory": decode, "stream": decode_quickly}
    rows = []
    for side, contents in sets.items():
        for size in (32, 64, 224):
            taken = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    taken[name].append(seconds(way, contents, size))
            best = {name: min(values) for name, values in taken.items()}
            apart = {
                name: float(np.mean([np.abs(way(c, size).astype(int) - decode(c, size)).mean() for c in contents]))
                for name, way in ways.items()
            }
            quick = [one for one in contents if torchvision_decodes(one, size)]
            both = [
                (seconds(decode, quick, size), seconds(decode_quickly, quick, size)) for _ in range(ROUNDS) if quick
            ]
            row = {
                "shorter_side": int(side),
                "image_size": size,
                "milliseconds": {name: round(1e3 * value, 3) for name, value in best.items()},
                "reduced_scale_gain": round(best["pillow"] / best["in_memory"], 2),
                "stream_gain": round(best["in_memory"] / best["stream"], 2),
                "share_that_torchvision_decodes": round(len(quick) / len(contents), 2),
                "gain_on_these": round(min(a for a, _ in both) / min(b for _, b in both), 2) if both else None,
                "mean_difference_of_a_reduced_scale": round(apart["pillow"], 3),
                "mean_difference_of_the_stream": round(apart["stream"], 3),
            }
            print(row, flush=True)
            rows.append(row)
    return {"rows": rows}


# --- loader ---


def processor() -> tuple[float, float]:
    """Seconds of this process, and of those that it has waited for."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


def loader(data: str) -> dict[str, Any]:
    """Wall time in turns, and the time of processors, which tells the same on a machine that does other things."""
    torch.set_num_threads(1)
    found = []
    for size in (64, 224):
        images = load_stream(data, image_size=size, workers=1, progress=False, need_labels=False).unlabelled
        contents = [bytes(images.source.item(int(row)).read()) for row in images.rows]
        preprocessing = Preprocessing(torch.full((3,), 0.5), torch.full((3,), 0.25), size)
        batches = StreamBatches(images, preprocessing, batch_size=32, shuffle=True)
        wall, alone, worker, main = [], [], [], []
        for _ in range(LOADER_ROUNDS):
            start = time.perf_counter()
            alone.append(seconds(decode_quickly, contents, size))
            decoder = time.perf_counter() - start
            before, start = processor(), time.perf_counter()
            seen = sum(len(batch) for batch, _ in batches)
            wall.append(decoder / (time.perf_counter() - start))
            after = processor()
            worker.append((after[1] - before[1]) / seen)
            main.append((after[0] - before[0]) / seen)
        found.append(
            {
                "image_size": size,
                "workers": 1,
                "images": len(images),
                "images_a_second_of_the_decoder": round(1 / statistics.median(alone)),
                "share_of_the_decoder": round(statistics.median(wall), 3),
                "shares": [round(one, 3) for one in wall],
                "decoding_of_a_worker_second": round(
                    statistics.median(a / w for a, w in zip(alone, worker, strict=True)), 3
                ),
                "images_a_second_that_the_main_process_prepares": round(1 / statistics.median(main)),
                "workers_that_it_keeps_busy": round(
                    statistics.median(w / m for w, m in zip(worker, main, strict=True)), 1
                ),
            }
        )
        print(found[-1], flush=True)
    return {"sizes": found}


# --- the streaming of Hugging Face datasets ---


def datasets_streaming() -> dict[str, Any]:
    """What `datasets` makes of 300 rows in three tables: shares of processes, going on, orders of workers."""
    import datasets
    import pyarrow
    import pyarrow.parquet
    from datasets.distributed import split_dataset_by_node

    with tempfile.TemporaryDirectory() as folder:
        for table in range(3):
            rows = pyarrow.table({"x": list(range(100 * table, 100 * table + 100))})
            pyarrow.parquet.write_table(rows, Path(folder) / f"{table}.parquet", row_group_size=25)
        stream = datasets.load_dataset("parquet", data_files=f"{folder}/*.parquet", split="train", streaming=True)
        shares = [[row["x"] for row in split_dataset_by_node(stream, rank=rank, world_size=2)] for rank in (0, 1)]

        def shuffled() -> Any:
            made = stream.shuffle(seed=1, buffer_size=50)
            made.set_epoch(0)
            return made

        whole = [row["x"] for row in shuffled()]
        first = shuffled()
        iterator = iter(first)
        head = [next(iterator)["x"] for _ in range(120)]
        again = shuffled()
        again.load_state_dict(first.state_dict())
        tail = [row["x"] for row in again]
        orders = []
        for workers in (1, 3):
            batches = torch.utils.data.DataLoader(shuffled(), batch_size=10, num_workers=workers)
            orders.append([batch["x"].tolist() for batch in batches])
    found = {
        "version": datasets.__version__,
        "rows": len(whole),
        "every_row_once_in_two_processes": sorted(shares[0] + shares[1]) == list(range(300)),
        "rows_never_seen_after_going_on_from_120": 300 - len(set(head + tail)),
        "goes_on_exactly": head + tail == whole,
        "order_does_not_depend_on_workers": orders[0] == orders[1],
    }
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--entries", type=int, default=1_300_000)
    parser.add_argument("--part", choices=[*MAKERS, "decoding", "loader", "datasets"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child)
        return
    for kind in MAKERS:
        if arguments.part in (None, kind):
            save(f"streaming_{kind}", scale(kind, arguments.entries))
    if arguments.part in (None, "decoding"):
        save("streaming_decoding", decoding(arguments.data))
    if arguments.part in (None, "loader"):
        save("streaming_loader", loader(arguments.data))
    if arguments.part in (None, "datasets"):
        save("streaming_datasets", datasets_streaming())


if __name__ == "__main__":
    main()
