"""What is installed: built without the network, looked into, and run from the wheel."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import entry_points, version
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
import yaml

import fasthebb

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # what pytest itself reads pyproject.toml with

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = ["pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"]
FILES += ["Makefile", "constraints.txt"]
FOLDERS = ["src", "tests", "examples", "benchmarks", "docs"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and source distribution, built from a copy: a build leaves folders beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in FILES:
        copy(ROOT / name, source / name)
    for name in FOLDERS:
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__", "*.egg-info", "_build"))
    built = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return built


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def sources() -> set[str]:
    """Every file of the package that is no rubbish, as a wheel names it."""
    package = ROOT / "src" / "fasthebb"
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / "src").as_posix() for path in found}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == sources()
    assert {"fasthebb/py.typed", "fasthebb/study/report/page.css", "fasthebb/study/report/page.js"} <= names


def test_the_source_distribution_can_be_tested_and_documented(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*FILES, "tests/test_packaging.py", "tests/core/reference.py", "examples/README.md"} <= names
    assert {"src/fasthebb/py.typed", "docs/design.md", "docs/results/speed.json"} <= names
    assert {f"src/{name}" for name in sources()} <= names
    strange = re.compile(r"__pycache__|\.pyc$|^runs/|^\.venv|docs/_build")
    assert not [name for name in names if strange.search(name)]


def test_both_would_be_taken_by_an_index(built: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(built.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_metadata_are_those_of_the_project(wheel: Path) -> None:
    said = metadata(wheel)
    assert said["Name"] == "fasthebb"
    assert said["Requires-Python"] == PROJECT["requires-python"]
    assert said["License-Expression"] == "MIT"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_all("Provides-Extra") == list(PROJECT["optional-dependencies"])
    needed = [one for one in said.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert needed == PROJECT["dependencies"]


def test_the_version_is_said_in_one_place(wheel: Path) -> None:
    """In pyproject.toml; everything else reads it, or is held to it here."""
    assert metadata(wheel)["Version"] == PROJECT["version"]
    assert fasthebb.__version__ == version("fasthebb") == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]
    assert f'"{PROJECT["version"]}"' not in "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))


def test_the_command_is_installed() -> None:
    (command,) = [one for one in entry_points(group="console_scripts") if one.name == "fasthebb"]
    assert command.value == PROJECT["scripts"]["fasthebb"] == "fasthebb.cli:main"


@pytest.mark.timeout(900)  # everything is compiled anew
def test_the_package_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """From the unpacked wheel, in a process that does not know of the sources."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch, fasthebb\n"
        "assert fasthebb.__file__.startswith(sys.argv[1]), fasthebb.__file__\n"
        "foreign = {'lightning', 'torchvision', 'sklearn', 'pandas', 'jsonargparse'} & set(sys.modules)\n"
        "assert not foreign, foreign\n"
        "layer = torch.nn.Linear(3, 2); plasticity = fasthebb.attach(layer, fasthebb.HPCA())\n"
        "layer(torch.ones(1, 3)); plasticity.write_grad(); print(fasthebb.__version__)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [PROJECT["version"]]


def test_pythons_are_declared_from_the_lowest_on(wheel: Path) -> None:
    said = metadata(wheel).get_all("Classifier", [])
    declared = [one.rpartition(" ")[2] for one in said if re.fullmatch(r".*Python :: 3\.\d+", one)]
    assert declared[0] == PROJECT["requires-python"].removeprefix(">=")
    assert declared == sorted(declared, key=lambda one: int(one.partition(".")[2]))
