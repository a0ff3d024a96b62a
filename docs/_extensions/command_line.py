"""The directive ``command-line``: every command and option, from the parser that reads them."""

import re
from argparse import SUPPRESS, Action
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from docutils import nodes
from jsonargparse import ArgumentParser, Namespace
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from fasthebb import Rule
from fasthebb.cli import COMMANDS, RULES, _parsers

HIDDEN = ("help", "command", "print_config", "rule.help")
"""Options of the parser's own that say nothing about a command."""


class CommandLine(SphinxDirective):
    """A section a command, and one of the fields that each rule adds."""

    def run(self) -> list[nodes.section]:
        """The sections."""
        _, commands = _parsers()
        sections = [*(_command(name, parser) for name, parser in commands.items()), _rules()]
        for section in sections:
            for node in section.findall(nodes.Element):
                self.set_source_info(node)
        return sections


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _command(name: str, parser: ArgumentParser) -> nodes.section:
    section = _section(f"fasthebb {name}", name)
    section += nodes.paragraph("", f"{COMMANDS[name][3][:1].upper()}{COMMANDS[name][3][1:]}.")
    listed = nodes.definition_list(classes=["fasthebb-options"])
    for action in parser._actions:
        if action.dest not in HIDDEN:
            listed += _option(name, action)
    section += listed
    return section


def _option(command: str, action: Action) -> nodes.definition_list_item:
    name = action.option_strings[0].replace("_", "-")
    kind = _kind(getattr(action, "_typehint", str))
    about = ", ".join(filter(None, [kind, _default(action.default, required=getattr(action, "required", False))]))
    return _item(f"{command}-{name[2:]}", name, about, action.help or "")


def _rules() -> nodes.section:
    section = _section("Options of each rule", "rules")
    section += nodes.paragraph(
        "",
        "They are given beside --rule NAME, and go into --rule.FIELD. What they mean is in the reference of the rules.",
    )
    listed = nodes.definition_list(classes=["fasthebb-options"])
    for name, rule in RULES.items():
        own = ", ".join(f"--rule.{one.name} ({_field_default(one)})" for one in fields(rule)) or "no options"
        listed += _item(f"rule-{name}", f"--rule {name}", rule.__name__, own)
    section += listed
    return section


def _section(title: str, identity: str) -> nodes.section:
    return nodes.section("", nodes.title("", title), ids=[f"command-{identity}"], names=[identity])


def _item(identity: str, name: str, about: str, text: str) -> nodes.definition_list_item:
    term = nodes.term("", "", nodes.literal("", name), ids=[f"option-{identity}"])
    item = nodes.definition_list_item("", term)
    if about:
        item += nodes.classifier("", about)
    item += nodes.definition("", nodes.paragraph("", "", *_literals(text)))
    return item


def _literals(text: str) -> list[nodes.Node]:
    """Text in which ``double backticks`` are code."""
    parts = re.split(r"``(.+?)``", " ".join(text.split()))
    return [nodes.literal("", part) if index % 2 else nodes.Text(part) for index, part in enumerate(parts) if part]


def _kind(hint: Any) -> str:
    """What a value looks like, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_kind(one) for one in inner if one is not NoneType)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin is list:
        return f"list of {_kind(inner[0])}"
    if origin is None and isinstance(hint, type) and issubclass(hint, Rule):
        return "rule"
    return {bool: "switch", int: "whole number", float: "number", str: "text"}.get(hint, "")


def _default(value: Any, *, required: bool) -> str:
    if required:
        return "required"
    if value is None or value is SUPPRESS or value in ([], False, ""):
        return ""
    if isinstance(value, Namespace):  # a rule
        given = {name: one for name, one in vars(value.init_args).items() if one != _usual(value.class_path, name)}
        said = "".join(f" with {name} {one}" for name, one in given.items())
        return f"default {value.class_path.rpartition('.')[2]}{said}"
    return f"default {value}"


def _usual(class_path: str, name: str) -> Any:
    rule = next(one for one in RULES.values() if one.__name__ == class_path.rpartition(".")[2])
    return next(one.default for one in fields(rule) if one.name == name)


def _field_default(one: Field[Any]) -> str:
    if one.default is MISSING:
        return "required"
    return type(one.default).__name__ if is_dataclass(one.default) else str(one.default)
