"""The code blocks of Markdown pages, and what HTML comments before them ask for.

A page reads well on GitHub, where comments do not show:

- ``<!-- setup`` and lines of Python up to ``-->`` run before the next block: what a reader has at hand;
- ``<!-- compile -->``: the next Python block cannot run here (several GPUs, a download), and is only compiled;
- ``<!-- run -->``: the commands of the next block are really run, not only parsed.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
SETUP = re.compile(r"<!--\s*setup\n(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        language: the first word behind the fence.
        text: its lines.
        line: where it begins, counted from 1.
        wish: "run", "compile" or nothing.
    """

    language: str
    text: str
    line: int
    wish: str = ""


def pages() -> list[Path]:
    """README and every page of the site, relative to the root."""
    found = [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    return [Path("README.md"), *sorted(path.relative_to(ROOT) for path in found)]


def blocks(text: str) -> list[Block]:
    """Fenced blocks in order, and setups as blocks of Python."""
    found = []
    wish = ""
    for token in MarkdownIt().parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            if setup := SETUP.search(token.content):
                found.append(Block("python", setup[1], line))
            elif asked := re.search(r"<!--\s*(run|compile)\s*-->", token.content):
                wish = asked[1]
        elif token.type == "fence":
            found.append(Block((token.info.split() or [""])[0], token.content, line, wish))
            wish = ""
    return found


def commands(block: Block) -> list[list[str]]:
    """What each line of a shell block gives to fasthebb, also where something else starts it, such as torchrun."""
    if block.language not in ("", "sh", "bash", "text"):
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    called = [line for line in lines if re.match(r"\s*((\w+=\S* )*fasthebb|torchrun|srun|python) ", line)]
    found = []
    for words in (shlex.split(line, comments=True) for line in called):
        start = next((place for place, word in enumerate(words) if word in ("fasthebb", "fasthebb.cli")), None)
        if start is not None:
            found.append(words[start + 1 :])
    return found


def inline_commands(text: str) -> list[list[str]]:
    """The same of commands within sentences, but those that leave something out."""
    spans = [
        child.content
        for token in MarkdownIt().parse(text)
        for child in token.children or []
        if child.type == "code_inline"
    ]
    return [shlex.split(span)[1:] for span in spans if span.startswith("fasthebb ") and "..." not in span]
