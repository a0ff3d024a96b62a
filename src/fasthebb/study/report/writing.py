"""Writing a study's report into its folder."""

from pathlib import Path

from fasthebb.study.report.cells import read_cells, read_failures
from fasthebb.study.report.latex import latex
from fasthebb.study.report.markdown import markdown
from fasthebb.study.report.page import page
from fasthebb.study.report.results import Results
from fasthebb.study.report.spreadsheet import spreadsheet
from fasthebb.training.weights import write_atomically


def write_report(folder: Path) -> Path:
    """Write ``report.html``, which needs no other file and no network, ``table.md``, ``table.csv`` and ``table.tex``.

    Args:
        folder: of a study, with ``summary.json`` and perhaps ``failed.json``, ``config.yaml``, ``pretrained/`` and
            ``cells/``. What is absent of these is named on the page.

    Returns:
        The path of ``report.html``.

    Raises:
        ValueError: ``summary.json`` or ``failed.json`` is absent, empty, truncated or of another form; one line.
        OSError: a file cannot be written.
    """
    folder = Path(folder)
    results = Results(read_cells(folder))
    failures = read_failures(folder)
    texts = {
        "table.md": markdown(results),
        "table.csv": spreadsheet(results),
        "table.tex": latex(results),
        "report.html": page(folder, results, failures),
    }
    for name, text in texts.items():
        _write(folder / name, text.encode("utf-8", errors="replace"))  # JSON can hold halves of surrogate pairs
    return folder / "report.html"


def _write(file: Path, content: bytes) -> None:
    write_atomically(file, lambda opened: opened.write(content))
