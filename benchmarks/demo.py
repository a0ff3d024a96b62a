"""The table and the picture of the README: what ``fasthebb demo`` makes.

    python benchmarks/demo.py

Writes ``docs/results/demo.json`` and ``docs/demo.png``; killed, the same command goes on.
"""

import shutil
from pathlib import Path

from record import RESULTS, save

from fasthebb.demo import DemoOptions, demo


def main() -> None:
    out = Path("runs/demo-of-the-readme")
    result = demo(DemoOptions(), out)
    shutil.copy(out / "accuracy.png", RESULTS.parent / "demo.png")
    save("demo", {name: result[name] for name in ("rows", "sentences", "cells")})


if __name__ == "__main__":
    main()
