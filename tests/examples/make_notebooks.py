"""Make the notebooks of ``examples/notebooks`` from the scripts of ``examples``.

python tests/examples/make_notebooks.py
"""

from pathlib import Path

import jupytext
import nbformat

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def notebook_of(script: Path) -> nbformat.NotebookNode:
    """The script's cells, without outputs, and nothing that would differ from one time to the next."""
    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = nbformat.NotebookNode()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def notebook_file(script: Path) -> Path:
    """Where the notebook of a script lies."""
    return EXAMPLES / "notebooks" / f"{script.stem}.ipynb"


if __name__ == "__main__":
    for one in SCRIPTS:
        notebook_file(one).write_text(nbformat.writes(notebook_of(one)) + "\n")
