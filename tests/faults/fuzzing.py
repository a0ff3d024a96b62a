"""Reads mutated files in a process of its own, and gathers what it says."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Found:
    """What the files of a kind have shown.

    Attributes:
        inputs: how many files were read.
        refused: how many of them were refused.
        findings: number of the file, what happened ("error", "nonsense", "slow", "outside", "hang", "crash"), detail.
        slowest: processor seconds of the slowest.
        grown_mib: by how much the peak memory grew.
    """

    inputs: int = 0
    refused: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    grown_mib: int = 0


def fuzz(counts: Mapping[str, int], first: int) -> dict[str, Found]:
    """Read so many files of each kind, from number `first` on."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-m", "tests.faults.fuzz_worker", folder, str(first), json.dumps(dict(counts))],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TMPDIR": folder},
            check=False,
        )
    if run.returncode:
        raise RuntimeError(f"the process that reads has ended with {run.returncode}: {run.stderr[-3000:]}")
    every: dict[str, Found] = {}
    found = Found()
    for line in run.stdout.splitlines():
        said = json.loads(line)
        if "kind" in said:
            found.inputs = counts[said["kind"]]
            every[said["kind"]], found = found, Found()
        elif "refused" in said:
            found.refused += said["refused"]
            found.slowest = max(found.slowest, said["slowest"])
            found.grown_mib = max(found.grown_mib, said["grown_mib"])
        else:
            found.findings.append(said)
    return every
