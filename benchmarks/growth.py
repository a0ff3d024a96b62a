"""How the cost of a step grows with the batch, the width and the image, beside the floor's own growth.

    python benchmarks/growth.py

Writes ``docs/results/growth.json``. Takes about eight minutes on two cores, which nothing else should use.
"""

from typing import Any

import torch
from record import save

from fasthebb import HPCA, SWTA
from fasthebb.benchmark.steps import floor_step, hebbian_step
from fasthebb.benchmark.subjects import Subject
from fasthebb.benchmark.timing import in_turns
from fasthebb.models import cnn6

ROUNDS = 7
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "batch": [{"batch": batch} for batch in (16, 64, 256, 1024)],
    "width": [{"width": width} for width in (0.25, 0.5, 1.0, 2.0)],
    "image_size": [{"image_size": size, "hidden": 0, "batch": 8} for size in (32, 64, 128, 224)],
}


def measured(batch: int = 64, image_size: int = 32, **network: Any) -> dict[str, Any]:
    """A step of each rule against the floor, of cnn6 with these keywords."""
    torch.manual_seed(0)
    model = cnn6(10, image_size=image_size, **network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    subject = Subject(model, model.features, images, torch.arange(batch) % 10)
    steps = {
        "floor": floor_step(subject, torch.float32),
        "hpca": hebbian_step(subject, HPCA(), torch.float32),
        "swta": hebbian_step(subject, SWTA(), torch.float32),
    }
    timings = in_turns(steps, ROUNDS, torch.device("cpu"))
    return {
        "milliseconds_an_image": {name: round(1e3 * timings.median(name) / batch, 3) for name in steps},
        "to_floor": {rule: round(timings.ratio(rule, "floor"), 3) for rule in ("hpca", "swta")},
    }


def main() -> None:
    results: dict[str, Any] = {}
    for what, settings in SETTINGS.items():
        rows = [{**setting, **measured(**setting)} for setting in settings]
        for row in rows:
            first = rows[0]["to_floor"]
            row["growth_over_floors"] = {rule: round(row["to_floor"][rule] / first[rule], 3) for rule in first}
            print(what, *row.values(), flush=True)
        results[what] = rows
    save("growth", results)


if __name__ == "__main__":
    main()
