"""The process that reads mutated files, in children of its own, so that whatever happens to one happens to nobody else.

Its standard output is a line of JSON for each file that was neither read nor refused as it should be, and one at the
end of each kind.
"""

import faulthandler
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from .kinds import KINDS, Kind, NotRefusedError
from .refusals import is_refusal

telling = os.dup(1)
os.dup2(2, 1)  # libraries print
SLOW_SECONDS = 2.0
HANGS_AFTER = 60.0
"""Seconds on the clock, which on a busy machine are many more than those of the processor."""
MEMORY = 3 * 2**30
"""Address space beyond what the process has when it starts to read."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove": 1,
    "os.rename": 2,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
}
_NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class")


class Watch:
    """Notes what is written outside a folder, and whatever is run, connected to or unpickled."""

    def __init__(self, box: Path) -> None:
        self._root = str(box.resolve()) + os.sep
        self.on = False
        self.offences: list[str] = []
        sys.addaudithook(self._audit)

    def _inside(self, path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return True
        absolute = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links are not followed
        return absolute.startswith(self._root) or absolute == os.devnull

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and not self._inside(path):
                self.offences.append(f"opened {path!r} for writing")
        elif event in _CHANGES:
            if not all(self._inside(path) for path in arguments[: _CHANGES[event]]):
                self.offences.append(f"{event} {arguments}")
        elif event in _NEVER:
            self.offences.append(f"{event} {arguments}"[:200])


def tell(**found: Any) -> None:
    os.write(telling, (json.dumps(found) + "\n").encode())


def read_one(name: str, kind: Kind, valid: list[bytes], number: int, box: Path, watch: Watch) -> tuple[bool, float]:
    """Read one file, and tell what went wrong; whether it was refused, and in how many seconds."""
    rng = random.Random(f"{name} {number}")
    content = kind.change(rng.choice(valid), rng)
    (box / "in").mkdir()
    refused = False
    start, watch.on = time.process_time(), True
    try:
        kind.read(content, box / "in")
    except NotRefusedError as error:
        tell(number=number, what="nonsense", detail=str(error)[:300])
    except BaseException as error:
        watch.on = False
        refused = is_refusal(error)
        if not refused:
            where = traceback.extract_tb(error.__traceback__)
            ours = [f"{Path(one.filename).name}:{one.lineno}" for one in where if "fasthebb" in one.filename]
            tell(
                number=number,
                what="error",
                detail=f"{type(error).__name__}: {error}"[:300] + f" ({' '.join(ours[-2:])})",
            )
    watch.on = False
    seconds = time.process_time() - start
    if seconds > SLOW_SECONDS:
        tell(number=number, what="slow", detail=f"{seconds:.1f} s")
    if watch.offences:
        tell(number=number, what="outside", detail="; ".join(watch.offences[:3]))
        watch.offences.clear()
    shutil.rmtree(box / "in")
    return refused, seconds


def child(name: str, kind: Kind, valid: list[bytes], first: int, end: int, box: Path, progress: int) -> None:
    """Read files until the end, with little memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    watch = Watch(box)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, slowest = 0, 0.0
    for number in range(first, end):
        os.pwrite(progress, number.to_bytes(8, "little"), 0)
        one, seconds = read_one(name, kind, valid, number, box, watch)
        refused, slowest = refused + one, max(slowest, seconds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    tell(refused=refused, slowest=round(slowest, 3), grown_mib=grown)


def read_kind(name: str, first: int, end: int, box: Path) -> None:
    """Read the files `first` to `end` of a kind; one that ends the child is told, and passed over."""
    kind = KINDS[name]
    (box / "make").mkdir(parents=True)
    valid = list(kind.make(box / "make"))
    for content in valid:  # imports what is needed
        (box / "in").mkdir()
        try:
            kind.read(content, box / "in")
        except Exception as error:
            if not is_refusal(error):
                raise
        shutil.rmtree(box / "in")
    with tempfile.TemporaryFile() as progress, tempfile.TemporaryFile() as errors:
        while first < end:
            os.pwrite(progress.fileno(), first.to_bytes(8, "little"), 0)
            errors.seek(0)
            errors.truncate()
            process = os.fork()
            if not process:
                os.dup2(errors.fileno(), 2)
                faulthandler.enable(file=2, all_threads=False)
                child(name, kind, valid, first, end, box, progress.fileno())
                os._exit(0)
            status, at = wait(process, progress.fileno())
            if status == 0:
                break
            said = " ".join(os.pread(errors.fileno(), 2000, 0).decode("utf-8", "replace").split())
            tell(number=at, what="hang" if status is None else "crash", detail=f"status {status}: {said[:400]}")
            shutil.rmtree(box / "in", ignore_errors=True)
            first = at + 1
    tell(kind=name)


def wait(process: int, progress: int) -> tuple[int | None, int]:
    """Until a child has ended, or hangs and is ended (None); the number of the file that it was at."""
    at, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        number = int.from_bytes(os.pread(progress, 8, 0), "little")
        if ended:
            return os.waitstatus_to_exitcode(status), number
        if number != at:
            at, since = number, time.monotonic()
        elif time.monotonic() - since > HANGS_AFTER:
            os.kill(process, 9)
            os.waitpid(process, 0)
            return None, number
        time.sleep(0.02)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    where, start = Path(sys.argv[1]), int(sys.argv[2])
    for index, (kind_name, count) in enumerate(json.loads(sys.argv[3]).items()):
        read_kind(kind_name, start, start + count, where / str(index))
