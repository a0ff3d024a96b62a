"""The directive ``example``: a script of ``examples/`` as a page, its remarks as text and its cells as code."""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


class Example(SphinxDirective):
    """The script whose name is the argument, in the percent format that editors and jupytext know."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Where to get it, and its cells."""
        name = self.arguments[0]
        script = Path(self.env.srcdir).parent / "examples" / f"{name}.py"
        self.env.note_dependency(str(script))
        found: list[nodes.Node] = [self._links(name)]
        _, *parts = CELL.split(script.read_text(encoding="utf-8"))
        for remark, text in zip(parts[::2], parts[1::2], strict=True):
            if remark:
                found += self.parse_text_to_nodes(re.sub(r"\A# .*\n", "", text.strip().strip('"').strip()))
            else:
                found.append(nodes.literal_block(text.strip(), text.strip(), language="python"))
        return found

    def _links(self, name: str) -> nodes.paragraph:
        script, notebook = f"/../examples/{name}.py", f"/../examples/notebooks/{name}.ipynb"
        links = [
            addnodes.download_reference("", "", nodes.Text(text), reftarget=target, refdoc=self.env.docname)
            for text, target in (("script", script), ("notebook", notebook))
        ]
        return nodes.paragraph("", "", nodes.Text("Download: "), links[0], nodes.Text(" · "), links[1])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("example", Example)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
