"""The directive ``constants``: what a package lists as public beside classes and functions; autodoc leaves it out."""

import inspect
import pkgutil
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

LONGEST = 100
"""Characters of a value that are shown."""


class Constants(SphinxDirective):
    """Name, value and docstring of each, for the package that is the argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One description each."""
        package = import_module(self.arguments[0])
        known = ModuleAnalyzer.for_module(package.__name__).find_attr_docs()
        values = {name: getattr(package, name) for name in package.__all__ if ("", name) not in known}
        parts = [_described(package, name, value) for name, value in values.items() if not _is_known(value)]
        return self.parse_text_to_nodes("\n".join([f".. currentmodule:: {package.__name__}\n", *parts]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("constants", Constants)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _is_known(value: Any) -> bool:
    """Whether autodoc describes such a thing by itself."""
    return inspect.isclass(value) or inspect.isfunction(value) or isinstance(value, partial)


def _described(package: ModuleType, name: str, value: Any) -> str:
    text = " ".join(repr(value).replace("typing.", "").split())
    shown = f"   :value: {text}\n" if len(text) <= LONGEST and " at 0x" not in text else ""
    return f".. py:data:: {name}\n{shown}\n   {_docstring(package, name)}\n"


def _docstring(package: ModuleType, name: str) -> str:
    """The text below its definition, wherever in the package that is."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        found = ModuleAnalyzer.for_module(module.name).find_attr_docs().get(("", name))
        if found:
            return " ".join(found).strip()
    return ""
