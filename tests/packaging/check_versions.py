"""Run the tests with the lowest, or the newest, versions of everything that pyproject.toml allows.

    python tests/packaging/check_versions.py lowest --python python3.10
    python tests/packaging/check_versions.py newest --python python3.13
    python tests/packaging/check_versions.py lowest --pin torch==2.14.1 tests/core/test_conformance.py -x

Makes a fresh virtual environment in a temporary folder, installs fasthebb into it and runs pytest, on `TESTS` or on
what is named. The last line says what was found. It needs the network, some gigabytes and, for all of `TESTS`, hours of
a core; so it is no test.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TESTS = ["src", "tests"]
NOT_RUN = ["tests/docs/test_site.py", "tests/examples", "tests/test_packaging.py"]
"""They look at the documentation, the notebooks and the archives, which are made with tools of one version."""
EXTRAS = ("train", "medical", "export")
TOOLS = ["pytest", "pytest-timeout", "hypothesis", "timm"]
"""What tests need and fasthebb does not, in any version."""


def requirements() -> list[str]:
    """What fasthebb needs with `EXTRAS`, as pyproject.toml says it: ``name[extra]>=version``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]


def name_of(requirement: str) -> str:
    """The package alone.

    >>> name_of("jsonargparse[signatures]>=4.50")
    'jsonargparse'
    """
    return re.split(r"[\[><=]", requirement)[0]


def lowest(requirement: str) -> str:
    """The requirement, pinned to its lower bound.

    >>> lowest("jsonargparse[signatures]>=4.50")
    'jsonargparse[signatures]==4.50'
    """
    found = re.fullmatch(r"([\w.\[\]-]+)>=([\w.]+)", requirement)
    if found is None:
        sys.exit(f"found the requirement {requirement!r}, expected name>=version: give it a lower bound alone")
    return f"{found[1]}=={found[2]}"


def wanted(which: str, pins: list[str]) -> list[str]:
    """What is to be installed; a pin takes the place of what pyproject.toml says of its package."""
    pinned = {name_of(pin) for pin in pins}
    others = [one for one in requirements() if name_of(one) not in pinned]
    return [*pins, *(map(lowest, others) if which == "lowest" else others)]


def installed(python: Path, names: list[str]) -> str:
    """Python and the packages with the versions that the environment has."""
    code = (
        "import platform, sys; from importlib.metadata import version; "
        "print('Python', platform.python_version() + ',', *(f'{name} {version(name)},' for name in sys.argv[1:]))"
    )
    done = subprocess.run([str(python), "-c", code, *names], check=True, capture_output=True, text=True)
    return done.stdout.strip(" ,\n")


def last_line(command: list[str]) -> tuple[int, str]:
    """Run it, show what it writes, and keep the end of that."""
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            last = line.strip(" =\n") or last
    return running.returncode, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="interpreter to make the environment with")
    parser.add_argument("--keep", type=Path, help="folder for the environment, used again if it is there")
    parser.add_argument("--pin", action="append", default=[], help="name==version, in the place of the bound")
    asked, pytest_arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.keep or Path(temporary) / "environment").resolve()
        python = folder / "bin" / "python"
        if not python.exists():
            subprocess.run([asked.python, "-m", "venv", str(folder)], check=True)
        packages = wanted(asked.which, asked.pin)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *packages, *TOOLS, "-e", str(ROOT)], check=True)
        versions = installed(python, [name_of(one) for one in packages])
        print(versions, flush=True)
        ignored = [f"--ignore={one}" for one in NOT_RUN]
        tests = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *ignored, *(pytest_arguments or TESTS)]
        code, said = last_line(tests)
        print(f"{asked.which}: {said} ({versions})")
        sys.exit(code)


if __name__ == "__main__":
    main()
