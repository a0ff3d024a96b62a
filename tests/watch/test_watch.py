import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from torch.utils.tensorboard import SummaryWriter

from fasthebb.cli import main
from fasthebb.watch import WatchError, WatchOptions, watch
from fasthebb.watch import command as module

CODE = "import sys; from fasthebb.watch import WatchOptions, watch; watch(WatchOptions(port=0), sys.argv[1])"


def write_log(run: Path) -> None:
    with SummaryWriter(str(run / "tracking")) as writer:
        writer.add_scalar("train_loss", 0.5, 3)


def asked(address: str) -> str:
    with urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


def test_runs_are_shown_until_ctrl_c(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_log(tmp_path / name)
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"{tmp_path} is shown at http://localhost:"), process.communicate()
    page = line.split()[4]
    assert "autoReload: true" in asked(page)
    assert "<title>TensorBoard</title>" in asked(page.removesuffix("watch"))
    end, found = time.monotonic() + 20, {}
    while len(found) < 2 and time.monotonic() < end:  # the files are read in the background
        found = json.loads(asked(page.removesuffix("watch") + "data/plugin/scalars/tags"))
    assert {run: list(tags) for run, tags in found.items()} == {
        "first/tracking": ["train_loss"],
        "second/tracking": ["train_loss"],
    }
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, "")


def test_a_browser_opens_only_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path)
    opened: list[str] = []
    monkeypatch.setattr(module, "serve", lambda logs, port: f"http://localhost:{port}/watch")
    monkeypatch.setattr(module.webbrowser, "open", opened.append)

    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.threading.Event, "wait", interrupt)
    watch(WatchOptions(port=1), tmp_path)
    assert opened == []
    assert main(["watch", str(tmp_path), "--port", "2", "--browser"]) == 0
    assert opened == ["http://localhost:2/watch"]


def test_what_cannot_be_watched_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("command: pretrain\n")
    assert main(["watch", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        f"fasthebb: found no log in {tmp_path / 'run'}: pretrain and finetune write one from their first step on, "
        "unless they were given another --logger, or learn without steps\n"
    )
    with pytest.raises(WatchError, match=r"found no folder .*nowhere, expected that of a run, or of several"):
        watch(WatchOptions(), tmp_path / "nowhere")
    write_log(tmp_path / "run")
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port}") as error:
            watch(WatchOptions(port=port), tmp_path / "run")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(WatchError, match="needs the package tensorboard: pip install tensorboard"):
        watch(WatchOptions(), tmp_path / "run")
