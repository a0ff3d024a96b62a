"""Runs that are struck at random moments and started again: do they end as one that nothing befell?

``python -m tests.faults.campaign --seconds 20`` goes on until the time is over; each line of JSON is a run, the last
one counts. Nothing is simulated: processes are killed, files are cut short, and the system refuses to write.
"""

import argparse
import csv
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from fasthebb.cli import main as command_line
from fasthebb.training import TERMINATED

SMALL = ("--width", "0.1", "--hidden", "16", "--image-size", "24", "--batch-size", "4", "--logger", "none")
OFTEN = ("--checkpoint-minutes", "0.001")  # 60 ms
COMMANDS: dict[str, tuple[str, ...]] = {
    "pretrain": ("pretrain", "--epochs", "6", "--layers", "all"),
    "pretrain, greedy": (
        *("pretrain", "--epochs", "2", "--order", "greedy", "--layers", "all"),
        *("--rule", "swta", "--whiten", "false"),
    ),
    "finetune": ("finetune", "--epochs", "8", "--augment", "shift", "--select", "validation"),
}
ALLOWED = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGTERM: {TERMINATED}, signal.SIGINT: {130}}
DEADLINE = 300.0


@dataclass
class Struck:
    """What befell a run.

    Attributes:
        command: of `COMMANDS`.
        faults: one after the other.
        seconds: that all its parts took.
        undisturbed: seconds of the run that nothing befell.
        differences: between the two; empty as it should be.
    """

    command: str
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    undisturbed: float = 0.0
    differences: list[str] = field(default_factory=list)


class Campaign:
    """Strikes runs in a folder of their own.

    Args:
        folder: empty.
        seed: of the moments and faults.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self._rng = folder, random.Random(seed)
        self._images = folder / "images"
        _write_images(self._images)
        self._whole: dict[str, float] = {}
        self._number = 0

    def strike(self, name: str) -> Struck:
        """One run, struck one to three times and then let go."""
        if name not in self._whole:
            process = self._start(name, self._out(name))
            self._whole[name] = self._end(process, {0}).seconds
        out = self.folder / f"run{self._number}"
        self._number += 1
        struck = Struck(name, undisturbed=round(self._whole[name], 2))
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            if (out / "result.json").exists():
                break
            struck.seconds += self._fault(name, out, struck)
        last = self._end(self._start(name, out), {0})
        struck.seconds = round(struck.seconds + last.seconds, 2)
        struck.differences += [*last.complaints, *_differences(out, self._out(name))]
        return struck

    def _fault(self, name: str, out: Path, struck: Struck) -> float:
        """Strike once; the seconds until then."""
        kind = self._rng.choice(("kill", "kill", "terminate", "interrupt", "full", "cut", "flip"))
        if kind == "full":
            room = int(self._rng.uniform(0, 1) ** 2 * 400_000)
            ended = self._end(self._start(name, out, room), {0, 2})
            struck.faults.append(f"no file larger than {room} bytes")
        else:
            how = {"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}.get(kind, signal.SIGKILL)
            moment = self._rng.uniform(0, 1.05 * self._whole[name])
            process = self._start(name, out)
            time.sleep(moment)
            os.kill(process.number, how)
            # Before Python has come to its handlers, and after the last of them is gone, a signal ends it at once.
            ended = self._end(process, {0, -how, *ALLOWED[how]})
            struck.faults.append(f"{how.name} after {moment:.2f} s")
        struck.differences += ended.complaints
        checkpoint = out / "checkpoints" / "last.ckpt"
        if kind in ("cut", "flip") and checkpoint.exists():
            content = bytearray(checkpoint.read_bytes())
            place = self._rng.randrange(len(content))
            if kind == "cut":
                del content[place:]
            else:
                content[place] ^= 1 << self._rng.randrange(8)
            checkpoint.write_bytes(content)
            struck.faults.append(f"last.ckpt {'cut short' if kind == 'cut' else 'with a bit flipped'} at byte {place}")
        return ended.seconds

    def _out(self, name: str) -> Path:
        return self.folder / f"whole {name}"

    def _start(self, name: str, out: Path, room: int | None = None) -> "_Process":
        arguments = [*COMMANDS[name], "--data", str(self._images), "--out", str(out), *SMALL, *OFTEN]
        return _Process(arguments, self.folder / "said", room)

    @staticmethod
    def _end(process: "_Process", allowed: set[int]) -> "_Ended":
        return process.end(allowed)


@dataclass
class _Ended:
    seconds: float
    complaints: list[str]


class _Process:
    """A command in a child of this process, which has imported everything already."""

    def __init__(self, arguments: list[str], said: Path, room: int | None) -> None:
        self._said, self._since = said, time.monotonic()
        sys.stdout.flush()
        self.number = os.fork()
        if self.number:
            return
        handle = os.open(said, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = 70
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
            if room is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            status = command_line(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 71
        except KeyboardInterrupt:
            status = 130
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def end(self, allowed: set[int]) -> _Ended:
        """Wait, and see how it has ended."""
        while True:
            ended, status = os.waitpid(self.number, os.WNOHANG)
            if ended:
                break
            if time.monotonic() - self._since > DEADLINE:
                os.kill(self.number, signal.SIGKILL)
                os.waitpid(self.number, 0)
                return _Ended(DEADLINE, [f"it hung: {self._last_words()}"])
            time.sleep(0.005)
        code = os.waitstatus_to_exitcode(status)
        complaints = [] if code in allowed else [f"the status {code}: {self._last_words()}"]
        if "Traceback" in self._said.read_text(errors="replace"):
            complaints.append(f"a traceback: {self._last_words()}")
        return _Ended(time.monotonic() - self._since, complaints)

    def _last_words(self) -> str:
        return " ".join(self._said.read_text(errors="replace").split())[-500:]


def _write_images(folder: Path) -> None:
    """Two classes of noise with one bright quarter."""
    rng = np.random.default_rng(0)
    for kind in range(2):
        (folder / str(kind)).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 100, (24, 24), dtype=np.uint8)
            pixels[12 * kind : 12 * (kind + 1), :12] += 150
            Image.fromarray(pixels).save(folder / str(kind) / f"{number}.png")


def _differences(out: Path, whole: Path) -> list[str]:
    found = []
    if _rows(out) != _rows(whole):
        found.append("metrics.csv differs")
    for file in whole.glob("*.safetensors"):
        theirs, ours = load_file(file), load_file(out / file.name)
        if theirs.keys() != ours.keys() or not all(torch.equal(theirs[name], ours[name]) for name in theirs):
            found.append(f"{file.name} differs")
    return found


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def campaign(seed: int, go_on: Callable[[int], bool]) -> Iterator[Struck]:
    """Strike runs as long as `go_on`, which is told how many faults there were, says so."""
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        striking, names = Campaign(Path(folder), seed), list(COMMANDS)
        for number in range(10**6):
            if number and not go_on(faults):
                return
            struck = striking.strike(names[number % len(names)])
            faults += len(struck.faults)
            yield struck


def summary(struck: list[Struck]) -> dict[str, Any]:
    """Counts of what befell the runs."""
    words = Counter(" ".join(fault.split()[:1]) if fault.startswith("SIG") else fault.split(" at ")[0] for run in struck
                    for fault in run.faults)  # fmt: skip
    kinds: Counter[str] = Counter()
    for word, count in words.items():
        kinds["no room for files" if word.startswith("no file larger") else word] += count
    return {
        "runs": len(struck),
        "faults": sum(kinds.values()),
        "by_kind": dict(sorted(kinds.items())),
        "runs_that_differ": sum(bool(run.differences) for run in struck),
        "seconds_undisturbed": round(sum(run.undisturbed for run in struck), 1),
        "seconds_with_faults": round(sum(run.seconds for run in struck), 1),
    }


def main() -> None:
    """Strike runs until the time is over or there were enough faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--faults", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + options.seconds
    every = []
    for struck in campaign(options.seed, lambda faults: time.monotonic() < end and faults < options.faults):
        every.append(struck)
        print(json.dumps(vars(struck)), flush=True)
    print(json.dumps({"seed": options.seed, **summary(every)}), flush=True)


if __name__ == "__main__":
    main()
