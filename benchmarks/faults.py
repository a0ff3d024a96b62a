"""Runs that are struck at random moments, for docs/reliability.md: how many, by what, and what was lost.

python benchmarks/faults.py --faults 60
"""

import argparse
import sys

import torch
from record import ROOT, save

sys.path.insert(0, str(ROOT))
from tests.faults.campaign import campaign, summary


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    every = []
    for struck in campaign(options.seed, lambda faults: faults < options.faults):
        every.append(struck)
        print(vars(struck), flush=True)
        save("faults", {"seed": options.seed, **summary(every), "struck": [vars(one) for one in every]})


if __name__ == "__main__":
    main()
