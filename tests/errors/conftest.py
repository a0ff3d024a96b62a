import os
import re
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fasthebb
from fasthebb import data, evaluation, exported, hub, models, sklearn, training
from fasthebb.cli import main

from . import situations
from .belongings import make_belongings

NAMES: dict[str, Any] = {"deepcopy": deepcopy, "Path": Path, "fasthebb": fasthebb, "nn": nn, "np": np, "torch": torch}
for module in (data, evaluation, exported, hub, models, sklearn, training):
    NAMES |= {name: getattr(module, name) for name in module.__all__}
NAMES |= vars(situations)
"""What the calls in the tables speak of."""


@pytest.fixture(scope="package")
def belongings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what users have, made once."""
    here, before = tmp_path_factory.mktemp("belongings"), Path.cwd()
    os.chdir(here)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so short a training leaves layers idle
            make_belongings(here)
    finally:
        os.chdir(before)
    return here


@pytest.fixture
def there(belongings: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory is that folder, and nothing asks the network."""
    monkeypatch.chdir(belongings)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    known = set(belongings.iterdir())
    yield belongings
    shutil.rmtree(belongings / "out", ignore_errors=True)
    assert set(belongings.iterdir()) == known  # what failed has changed nothing


def says(text: str, expected: str) -> bool:
    """Whether a text is the expected one, in which ``...`` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), text) is not None


@pytest.fixture
def mistake(there: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """What is said of a command: one line on stderr, with status 2."""

    def said(command: str) -> str:
        assert main(shlex.split(command)) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        lines = [line for line in lines if not line.startswith("warning:")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("fasthebb: ")
        return lines[0].removeprefix("fasthebb: ").replace(f"{there}/", "")

    return said
