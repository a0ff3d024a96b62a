"""What ``--deterministic`` costs: steps with and without it in turns, on this machine.

python benchmarks/determinism.py
"""

from collections.abc import Callable

import torch
from record import save

from fasthebb import HPCA, SWTA
from fasthebb.benchmark.steps import backprop_step, hebbian_step
from fasthebb.benchmark.subjects import Subject
from fasthebb.benchmark.timing import in_turns
from fasthebb.models import cnn6

ROUNDS = 30


def deterministic(step: Callable[[], None]) -> Callable[[], None]:
    """The same step by operations that give the same result on every run."""

    def run() -> None:
        torch.use_deterministic_algorithms(True)
        try:
            step()
        finally:
            torch.use_deterministic_algorithms(False)

    return run


def main() -> None:
    torch.manual_seed(0)
    model = cnn6(10, hidden=1024).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    subject = Subject(model, model.features, images, torch.arange(64) % 10)
    steps: dict[str, Callable[[], None]] = {
        "hpca": hebbian_step(subject, HPCA(), torch.float32),
        "swta": hebbian_step(subject, SWTA(), torch.float32),
        "backprop": backprop_step(subject, torch.float32),
    }
    steps |= {f"{name}, deterministic": deterministic(step) for name, step in list(steps.items())}
    timings = in_turns(steps, ROUNDS, torch.device("cpu"))
    save(
        "determinism",
        {
            "device": "cpu",
            "rounds": ROUNDS,
            "milliseconds": {name: round(1e3 * timings.median(name), 2) for name in steps},
            "cost": {
                name: round(timings.ratio(f"{name}, deterministic", name), 3) for name in ("hpca", "swta", "backprop")
            },
        },
    )


if __name__ == "__main__":
    main()
