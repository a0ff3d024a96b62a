"""When compiling pays: steps of cnn6 eager and through ``torch.compile``, side by side.

    python benchmarks/compiled.py

Writes ``docs/results/compiled.json``. Takes about eight minutes on two cores, which nothing else should use.
"""

from record import save

from fasthebb.benchmark import BenchmarkOptions, benchmark


def main() -> None:
    results = {}
    for batch_size in (64, 8):
        options = BenchmarkOptions(batch_size=batch_size, repeats=10, compile=True, noise=0.5)
        results[f"batch {batch_size}"] = benchmark(options)
        save("compiled", results)


if __name__ == "__main__":
    main()
