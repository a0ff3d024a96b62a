"""Run the tests with the lowest, or the newest, versions of everything that pyproject.toml allows.

    python tests/packaging/check_versions.py lowest
    python tests/packaging/check_versions.py newest --python python3.13
    python tests/packaging/check_versions.py lowest tests/core/test_conformance.py -q

Makes a fresh virtual environment in a temporary folder, installs fasthebb into it and runs pytest, on `TESTS` or on
what is named. It needs the network, some gigabytes and, for all of `TESTS`, half an hour of a core; so it is no test.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = [
    "src",
    "tests/core/test_conformance.py",
    "tests/core/test_compile.py",
    "tests/data",
    "tests/evaluation",
    "tests/exported",
    "tests/hub",
    "tests/models",
    "tests/sklearn",
    "tests/training",
    "tests/test_cli.py",
]
EXTRAS = ("train", "medical", "export")
TOOLS = ["pytest", "pytest-timeout", "hypothesis", "timm"]
"""What tests need and fasthebb does not, in any version."""


def requirements() -> list[str]:
    """What fasthebb needs with `EXTRAS`, as pyproject.toml says it: ``name[extra]>=version``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]


def lowest(requirement: str) -> str:
    """The requirement, pinned to its lower bound.

    >>> lowest("jsonargparse[signatures]>=4.50")
    'jsonargparse[signatures]==4.50'
    """
    found = re.fullmatch(r"([\w.\[\]-]+)>=([\w.]+)", requirement)
    if found is None:
        sys.exit(f"found the requirement {requirement!r}, expected name>=version: give it a lower bound alone")
    return f"{found[1]}=={found[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="interpreter to make the environment with")
    parser.add_argument("--keep", type=Path, help="folder for the environment, used again if it is there")
    asked, pytest_arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.keep or Path(temporary) / "environment").resolve()
        python = folder / "bin" / "python"
        if not python.exists():
            subprocess.run([asked.python, "-m", "venv", str(folder)], check=True)
        wanted = requirements() if asked.which == "newest" else [lowest(one) for one in requirements()]
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *wanted, *TOOLS, "-e", str(ROOT)], check=True)
        names = [re.split(r"[\[><=]", one)[0] for one in wanted]
        version = (
            "import sys, importlib.metadata as m; print('python', sys.version.split()[0], *(f'{n}=={m.version(n)}'"
        )
        subprocess.run([str(python), "-c", f"{version} for n in {names}))"], check=True)
        tests = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *(pytest_arguments or TESTS)]
        sys.exit(subprocess.run(tests, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
