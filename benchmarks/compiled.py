"""When compiling pays: steps eager and through ``torch.compile``, side by side.

    python benchmarks/compiled.py

Writes ``docs/results/compiled.json``. Takes about five minutes on two cores, which nothing else should use.
"""

from record import save

from fasthebb.benchmark import BenchmarkOptions, benchmark


def main() -> None:
    results = {}
    for network, batch_size, image_size in (("cnn6", 64, None), ("cnn6", 8, None), ("resnet18", 16, 64)):
        options = BenchmarkOptions(
            network, batch_size=batch_size, image_size=image_size, repeats=15, compile=True, noise=0.5
        )
        results[f"{network}, batch {batch_size}"] = benchmark(options)
    save("compiled", results)


if __name__ == "__main__":
    main()
