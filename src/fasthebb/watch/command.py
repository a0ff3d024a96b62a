"""``fasthebb watch``: look at a run, or at all runs in a folder, while they learn and afterwards."""

import threading
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fasthebb.watch.page import serve


class WatchError(ValueError):
    """A user's mistake about watching, in one line: what was found, what was expected, what to do."""


@dataclass(frozen=True)
class WatchOptions:
    """Options of ``fasthebb watch``.

    Args:
        port: of the page's address on this machine; if left out 6006, or the next that is free.
        browser: open the page in a browser, instead of only printing its address.
    """

    port: int | None = None
    browser: bool = False


def watch(options: WatchOptions, out: str | Path) -> None:
    """Show on a page of TensorBoard what the runs in a folder have logged, until Ctrl-C.

    Args:
        options: what to do.
        out: run folder, or a folder of runs, which are shown together.

    Raises:
        WatchError: there is no log, or TensorBoard is not installed.
        OSError: the port is taken.
    """
    if find_spec("tensorboard") is None:
        raise WatchError("fasthebb watch needs the package tensorboard: pip install tensorboard")
    _refuse_without_logs(Path(out))
    address = serve(Path(out), options.port)
    print(f"{out} is shown at {address} until Ctrl-C", flush=True)
    if options.browser:
        webbrowser.open(address)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


def _refuse_without_logs(out: Path) -> None:
    if not out.is_dir():
        raise WatchError(f"found no folder {out}, expected that of a run, or of several")
    if not any(out.rglob("events.out.tfevents.*")):
        raise WatchError(
            f"found no log in {out}: pretrain and finetune write one from their first step on, unless they were given "
            "another --logger, or learn without steps"
        )
