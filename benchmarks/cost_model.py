"""Whether the forms of the products that the cost models choose are the fastest, layer by layer.

    python benchmarks/cost_model.py

Writes ``docs/results/cost_model.json``. Takes about five minutes on two cores, which nothing else should use.
"""

from typing import Any

import torch
from record import save

from fasthebb import HPCA
from fasthebb.benchmark.layers import forms_of, layer_subjects
from fasthebb.benchmark.subjects import subject

NETWORKS = {"cnn6": 64, "cnn10": 16, "vgg11_bn": 16, "resnet18": 16}
"""Names, with the images a batch."""


def explained(name: str, batch_size: int, repeats: int = 7) -> list[dict[str, Any]]:
    """For each layer and product the time of each form, and the chosen one's over the best's."""
    rows = []
    net = subject(name, batch_size, None, torch.device("cpu"))
    for layer, alone in layer_subjects(net, HPCA()).items():
        forms = forms_of(alone, torch.float32, repeats)
        for product in dict.fromkeys(form.product for form in forms):
            ways = [form for form in forms if form.product == product]
            chosen = next(form for form in ways if form.chosen)
            loss = chosen.seconds / min(form.seconds for form in ways)
            times = {form.name: round(1e3 * form.seconds, 3) for form in ways}
            rows.append(
                {"layer": layer, "product": product, "chosen": chosen.name, "milliseconds": times}
                | {"loss": round(loss, 2)}
            )
            print(name, *rows[-1].values(), flush=True)
    return rows


def main() -> None:
    results = {}
    for name, batch_size in NETWORKS.items():
        rows = explained(name, batch_size)
        results[name] = {"batch_size": batch_size, "worst_loss": max(row["loss"] for row in rows), "layers": rows}
    print({name: found["worst_loss"] for name, found in results.items()})
    save("cost_model", results)


if __name__ == "__main__":
    main()
