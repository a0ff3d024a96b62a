"""Every code block of README and docs runs, or is at least what Python and the command line understand."""

import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from fasthebb.cli import COMMANDS, _parsers, _spelled_out, main
from fasthebb.study import StudyOptions
from fasthebb.study.methods import method_named
from fasthebb.study.options import resolved

from .blocks import ROOT, Block, blocks, commands, inline_commands, pages

PAGES = pages()


def run_python(found: list[Block], where: str) -> None:
    """Run the Python blocks of a page, one after the other, in one namespace."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in found:
        if block.language not in ("python", "py"):
            continue
        lines = "\n" * block.line + block.text  # so that a traceback names the line of the page
        code = compile(lines, where, "exec")
        if block.wish != "compile":
            exec(code, namespace)


def parse(words: list[str]) -> None:
    """Let the real parser read a command; a study's methods and settings too must exist."""
    parser, known = _parsers()
    if words[0] not in known:
        raise ArgumentError(None, f"unknown command {words[0]}")
    for name, value in pairwise(words):
        if name == "--config":  # of a run that a reader has made
            Path(value).parent.mkdir(parents=True, exist_ok=True)
            Path(value).write_text("seed: 1\n")
    parsed = parser.parse_args(_spelled_out(words, known))
    if words[0] == "study":
        values = parser.instantiate(parsed)["study"]
        for method in resolved(StudyOptions(**{f.name: values[f.name] for f in fields(StudyOptions)})).methods or ():
            method_named(method)


def with_python(page: Path) -> bool:
    return any(block.language in ("python", "py") for block in blocks((ROOT / page).read_text()))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which blocks may write, modules too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("page", filter(with_python, PAGES), ids=str)
def test_python_blocks_run(page: Path, elsewhere: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_python(blocks((ROOT / page).read_text()), str(page))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_have_the_options_that_they_use(page: Path, elsewhere: Path) -> None:
    text = (ROOT / page).read_text()
    (elsewhere / "my_rules.py").write_text("from fasthebb import Hebb as MyRule\n")
    for words in (words for block in blocks(text) for words in commands(block)):
        parse(words)
    for words in inline_commands(text):  # where a sentence need not say everything
        if len(words) == 1 or "--help" in words:
            assert words[0] in COMMANDS
        else:
            parse(words if "--out" in words or words[0] == "report" else [*words, "--out", "runs/out"])


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page}:{block.line}")
        for page in PAGES
        for block in blocks((ROOT / page).read_text())
        if block.wish == "run"
    ],
)
def test_commands_run(page: Path, block: Block, elsewhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    called = commands(block)
    assert called, "nothing to run"
    for words in called:
        assert main(words) == 0, capfd.readouterr().err


def test_there_are_blocks_of_each_kind() -> None:
    every = [block for page in PAGES for block in blocks((ROOT / page).read_text())]
    assert sum(block.language == "python" for block in every) >= 10
    assert sum(len(commands(block)) for block in every) >= 20
    assert any(block.wish == "run" for block in every)


# --- a broken block does not pass ---------------------------------------------------------------------------------


def test_a_block_that_raises_fails() -> None:
    page = "<!-- setup\na = 1\n-->\n\n```python\nassert a == 1\n```\n\n```python\nfasthebb_attach(a)\n```\n"
    with pytest.raises(NameError, match="fasthebb_attach"):
        run_python(blocks(page), "page")


def test_a_block_that_only_compiles_still_needs_to_be_python() -> None:
    good = "<!-- compile -->\n\n```python\nraise SystemExit\n```\n"
    run_python(blocks(good), "page")
    with pytest.raises(SyntaxError):
        run_python(blocks(good.replace("SystemExit", "for")), "page")


@pytest.mark.parametrize(
    "line",
    [
        "fasthebb pretrain --epoks 3 --out runs/a",
        "fasthebb pretrain --rule hpka --out runs/a",
        "fasthebb pretrain",
        "fasthebb finetune --epochs many --out runs/a",
        "fasthebb pretain --out runs/a",
        "OMP_NUM_THREADS=1 fasthebb study --labels 3 \\\n  --nonsense 3 --out runs/a",
        "torchrun --nproc-per-node 4 -m fasthebb.cli pretrain --nonsense 3 --out runs/a",
        "fasthebb study --methods none,hpka --out runs/a",
        "fasthebb study --methods none,none --out runs/a",
    ],
)
def test_a_command_with_a_mistake_fails(line: str) -> None:
    found = [words for block in blocks(f"```\n{line}  # a remark\n```\n") for words in commands(block)]
    assert len(found) == 1
    with pytest.raises((ArgumentError, ValueError)):
        parse(found[0])


def test_a_command_within_a_sentence_is_found() -> None:
    assert inline_commands("Say `fasthebb study --seeds 3`, not `fasthebb finetune --init ...`.") == [
        ["study", "--seeds", "3"]
    ]


def test_blocks_run_in_a_folder_of_their_own(elsewhere: Path) -> None:
    assert Path.cwd() == elsewhere
    assert not list(elsewhere.iterdir())
