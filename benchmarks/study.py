"""Run a study and keep its cells as results of the project.

    python benchmarks/study.py NAME --data PATH --out FOLDER [options of fasthebb study]

Writes ``docs/results/study_NAME.json``; called again with a grown grid, it does what is new.
"""

import json
import sys
from pathlib import Path

from record import save

from fasthebb.cli import main as fasthebb


def main() -> None:
    name, *options = sys.argv[1:]
    status = fasthebb(["study", *options])
    if status:
        sys.exit(status)
    out = Path(options[options.index("--out") + 1])
    cells = json.loads((out / "summary.json").read_text())
    failed = json.loads((out / "failed.json").read_text())
    save(f"study_{name}", {"failed": failed, "cells": cells})


if __name__ == "__main__":
    main()
