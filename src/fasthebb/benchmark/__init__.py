"""Speed of a learning step: against the floor, backprop and the naive rules, side by side in one run."""

from fasthebb.benchmark.command import BenchmarkOptions, benchmark

__all__ = ["BenchmarkOptions", "benchmark"]
