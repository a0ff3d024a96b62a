"""Run a study and keep its cells as results of the project.

    python benchmarks/study.py NAME [--from-seed N] --data PATH --out FOLDER [options of fasthebb study]

Writes ``docs/results/study_NAME.json``; called again with a grown grid, it does what is new. ``--from-seed`` leaves the
seeds before it out, which another machine has done.
"""

import json
import sys
from pathlib import Path

from record import save

from fasthebb.cli import main as fasthebb
from fasthebb.study import command, grid


def main() -> None:
    name, *options = sys.argv[1:]
    if options[0] == "--from-seed":
        first, options = int(options[1]), options[2:]
        whole = grid.make_grid
        command.make_grid = lambda *given: [cell for cell in whole(*given) if cell.seed >= first]
    status = fasthebb(["study", *options])
    if status:
        sys.exit(status)
    out = Path(options[options.index("--out") + 1])
    cells = json.loads((out / "summary.json").read_text())
    failed = json.loads((out / "failed.json").read_text())
    save(f"study_{name}", {"failed": failed, "cells": cells})


if __name__ == "__main__":
    main()
