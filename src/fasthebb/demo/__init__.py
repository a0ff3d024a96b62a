"""The main job in two minutes, on scikit-learn's digits."""

from fasthebb.demo.experiment import DemoOptions, demo

__all__ = ["DemoOptions", "demo"]
