"""Runs that are struck at random moments end as those that nothing befell.

``FASTHEBB_FAULT_SECONDS`` is how long this goes on, ``FASTHEBB_FAULT_SEED`` chooses moments and faults.
"""

import json
import os
import subprocess
import sys

import pytest

from .fuzzing import ROOT

SECONDS = os.environ.get("FASTHEBB_FAULT_SECONDS", "20")
SEED = os.environ.get("FASTHEBB_FAULT_SEED", "0")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are started as children of a process, as POSIX systems do")
def test_nothing_is_lost_when_runs_are_struck() -> None:
    print(f"{SECONDS} s from seed {SEED} (FASTHEBB_FAULT_SECONDS, FASTHEBB_FAULT_SEED)")
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.campaign", "--seconds", SECONDS, "--seed", SEED],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    *struck, total = map(json.loads, run.stdout.splitlines())
    assert [one for one in struck if one["differences"]] == []
    assert total["faults"] >= 1
    assert total["runs_that_differ"] == 0
