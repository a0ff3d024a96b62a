"""TensorBoard's own server and page, which looks for news by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ADDRESS = "/watch"
"""Page of the server that sets the browser up and leads on to TensorBoard's own."""
_SECONDS = 5
"""Between two looks at the files."""
_PICTURES = 100
"""Pictures that are kept of each kind; TensorBoard's own number is 10."""
_STARTING_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>fasthebb watch</title></head><body><script>
const key = "_tb_global_settings";
const settings = JSON.parse(localStorage.getItem(key) || "{}");
if (settings.autoReload === undefined) {
  localStorage.setItem(key, JSON.stringify({...settings, autoReload: true}));
}
location.replace("/#timeseries");
</script><a href="/">TensorBoard</a></body></html>
"""

App = Callable[[Any, Any], Iterable[bytes]]


def serve(logs: Path, port: int | None) -> str:
    """Start to show the logs below a folder, for as long as this process lives; the address of the page.

    The page is for this machine alone. TensorBoard reloads what it shows only where a user has said so in its settings:
    our first page does that, unless the user has said otherwise.

    Args:
        logs: folder of event files, or of runs that have some.
        port: of the address; if left out, 6006 or the next that is free.

    Raises:
        OSError: the port is taken.
    """
    from tensorboard import program

    for name in ("tensorboard", "werkzeug"):
        logging.getLogger(name).setLevel(logging.ERROR)
    board = program.TensorBoard(
        server_class=lambda app, flags: program.create_port_scanning_werkzeug_server(_with_first_page(app), flags)
    )
    board.configure(
        argv=[
            "fasthebb",
            f"--logdir={logs}",
            f"--reload_interval={_SECONDS}",
            f"--samples_per_plugin=images={_PICTURES}",
            "--load_fast=false",  # the other reader keeps what an abandoned run had logged
            *([] if port is None else [f"--port={port}"]),
        ]
    )
    try:
        address = str(board.launch())
    except program.TensorBoardServerException as error:
        raise OSError(" ".join(error.msg.split())) from error
    return address.rstrip("/") + ADDRESS


def _with_first_page(app: App) -> App:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != ADDRESS:
            return app(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(_STARTING_PAGE)))])
        return [_STARTING_PAGE]

    return answer
