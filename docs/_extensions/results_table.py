"""The directive ``results-table``: every file of figures, with the script, day and commit that made it."""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLUMNS = ("figures", "made by", "on", "at commit")


class ResultsTable(SphinxDirective):
    """A row for each of ``results/*.json``."""

    def run(self) -> list[nodes.Node]:
        """The table."""
        folder = Path(self.env.srcdir) / "results"
        self.env.note_dependency(str(folder))
        body = nodes.tbody()
        for file in sorted(folder.glob("*.json")):
            made = json.loads(file.read_text(encoding="utf-8"))["made_by"]
            script = re.search(r"benchmarks/\w+\.py", made["command"])
            link = addnodes.download_reference(
                "", "", nodes.literal("", file.stem), reftarget=f"/results/{file.name}", refdoc=self.env.docname
            )
            body += _row(
                link,
                nodes.literal("", script[0]) if script else nodes.Text("trials by hand, see the file"),
                nodes.Text(made.get("date", "")),
                nodes.literal("", made.get("commit", "")[:7]),
            )
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in COLUMNS), cols=len(COLUMNS))
        group += nodes.thead("", _row(*map(nodes.Text, COLUMNS)))
        group += body
        return [nodes.table("", group)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("results-table", ResultsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))
