"""The site builds without a warning, its links lead somewhere, and its reference names everything that is public."""

import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

import fasthebb
from fasthebb.cli import COMMANDS, RULES

from .blocks import ROOT

ELSEWHERE = ("kernels", "plasticity", "rules")
"""Packages whose public names are those of `fasthebb` itself, or nobody's business."""
PACKAGES = [one.name for one in pkgutil.iter_modules(fasthebb.__path__) if one.ispkg and one.name not in ELSEWHERE]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; fails at any warning."""
    out = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(out / "doctrees")]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(out / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    return out / "html"


def test_every_page_of_the_sources_is_built(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        if "_build" not in page.parts:
            assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file(), page


def test_no_internal_link_is_broken(site: Path) -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    broken = []
    for page, text in texts.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            if re.match(r"[a-z]+:|//", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in anchors and anchor not in anchors[target]):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken, broken


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="(https?:[^"]+)"', page.read_text(encoding="utf-8"))
        assert not loaded, (page, loaded)


def test_the_reference_names_everything_that_is_public(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {name for kind, names in inventory.data.items() if kind.startswith("py:") for name in names}
    modules = ["fasthebb", *(f"fasthebb.{name}" for name in PACKAGES)]
    public = [f"{module}.{name}" for module in modules for name in import_module(module).__all__]
    assert not [name for name in public if name not in known]


def test_the_command_line_is_described_whole(site: Path) -> None:
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f'id="command-{command}"' in page
    for option in ("pretrain-image-size", "finetune-ridge", "study-dry-run", "report-out"):
        assert f'id="option-{option}"' in page
    for rule in RULES:
        assert f'id="option-rule-{rule}"' in page


def test_every_file_of_results_is_listed(site: Path) -> None:
    page = (site / "results.html").read_text(encoding="utf-8")
    for file in (ROOT / "docs" / "results").glob("*.json"):
        assert file.name in page


def test_every_example_has_a_page(site: Path) -> None:
    scripts = list((ROOT / "examples").glob("*.py"))
    assert scripts
    for script in scripts:
        page = (site / "examples" / f"{script.stem}.html").read_text(encoding="utf-8")
        assert f"{script.stem}.py" in page
        assert f"{script.stem}.ipynb" in page
        assert f'examples/{script.stem}.html"' in (site / "index.html").read_text(encoding="utf-8")
