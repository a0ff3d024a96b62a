"""Mutated files of every kind that is read from others, for docs/reliability.md.

python benchmarks/fuzz.py --inputs 100000
"""

import argparse
import sys
from typing import Any

from record import ROOT, save

sys.path.insert(0, str(ROOT))
from tests.faults.fuzzing import fuzz
from tests.faults.kinds import COSTLY, KINDS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--first", type=int, default=0, help="number of the first of each kind")
    options = parser.parse_args()
    cheap = [kind for kind in KINDS if kind not in COSTLY]
    few = options.inputs // (100 * len(COSTLY))  # a hundredth of all
    many = -(-(options.inputs - few * len(COSTLY)) // len(cheap))
    results: dict[str, Any] = {}
    for kind in KINDS:
        found = fuzz({kind: few if kind in COSTLY else many}, options.first)[kind]
        results[kind] = {**vars(found), "findings": found.findings[:20], "findings_in_all": len(found.findings)}
        print(kind, {name: value for name, value in results[kind].items() if name != "findings"}, flush=True)
        for one in found.findings[:5]:
            print("   ", one, flush=True)
        total = sum(one["inputs"] for one in results.values())
        worst = sum(one["findings_in_all"] for one in results.values())
        save("fuzz", {"first": options.first, "inputs": total, "findings": worst, "kinds": results})


if __name__ == "__main__":
    main()
