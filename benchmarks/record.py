"""What every result file says about its making: command, commit, machine, versions."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"


def provenance() -> dict[str, Any]:
    """How the results at hand were made."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    changes = subprocess.run(
        ["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return {
        "command": shlex.join(["python", str(script), *sys.argv[1:]]),
        "commit": commit.strip() + (" with uncommitted changes" if changes.strip() else ""),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": {"processor": _processor(), "threads": torch.get_num_threads(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "lightning", "numpy")},
        },
    }


def save(name: str, results: dict[str, Any]) -> None:
    """Write ``docs/results/<name>.json``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"made_by": provenance(), **results}, indent=1) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
