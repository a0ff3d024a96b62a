"""``fasthebb watch``: a page in the browser on which one sees a run learn."""

from fasthebb.watch.command import WatchError, WatchOptions, watch

__all__ = ["WatchError", "WatchOptions", "watch"]
