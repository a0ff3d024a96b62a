"""How Sphinx builds this site: ``make docs``, into ``docs/_build``."""

import re
import sys
import warnings
from pathlib import Path

from sphinx.application import Sphinx

import fasthebb

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
warnings.filterwarnings("ignore", category=DeprecationWarning)

project = "fasthebb"
author = "The fasthebb authors"
copyright = f"{author}, MIT licence"
version = release = fasthebb.__version__
html_title = f"fasthebb {version}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_line",
    "constants",
    "example",
    "results_table",
]
exclude_patterns = ["_build", "_extensions"]
highlight_language = "text"
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "py:obj"
trim_doctest_flags = True

# Every public name of fasthebb that the text refers to must exist; torch's and others' have no pages here, and neither
# have types that only signatures name, such as fasthebb.training.labelled_and_unlabelled.Loader.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!fasthebb\.).*"),
    (r"py:class", r"fasthebb(\.\w+){2,}\.\w+"),
    (r"py:obj", r"fasthebb\.runs(\.\w+){2,}"),  # what each command is made of
]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Let docstrings say ``|w|`` outside of code without meaning a substitution."""
    app.connect("autodoc-process-docstring", _escape_bars)


def _escape_bars(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    code = False  # within ``code`` that goes on over lines
    for index, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        parts = re.split("(``)", line)
        for position, part in enumerate(parts):
            if part == "``":
                code = not code
            elif not code:
                parts[position] = part.replace("|", "\\|")
        lines[index] = "".join(parts)
