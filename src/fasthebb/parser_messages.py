"""What the parser of the command line has to say, in the words of its users."""

import re

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "dict": "NAME: VALUE"}
_TYPE = r".*?Expected an? <class '(?P<kind>(?!NoneType)\w+)'>.*(?:Given value|Got value): ?(?P<found>.*)"
_RULE = r"Parser key \"rule\": "
_FIELD = _RULE + r"Problem with given class_path '[^']*': Parser key \"(?P<name>\w+)\": "
_REWORDED = {
    r"the following arguments are required: (?:\w+\.)?(?P<name>\w+)": "{option} is missing, which has no default",
    _FIELD + r".*?typing\.Literal\[(?P<known>[^]]*)\].* value: (?P<found>\S*)": (
        "--rule.{name}: found {found}, expected one of {known}"
    ),
    _FIELD + _TYPE: "--rule.{name}: found {found}, expected {kind}",
    _RULE + r"Import path (?P<found>\S+) does not correspond to a subclass of Rule": (
        "--rule: found {found}, which is no learning rule, expected a name such as hpca or the module.Class of a "
        "subclass of fasthebb.Rule"
    ),
    _RULE + r"Problem with given class_path '(?P<found>[^']*)': No module named '(?P<name>[^']*)'": (
        "--rule: found {found}, and there is no module {name}: check the spelling and the working directory"
    ),
    _RULE + r"Problem .* class_path '(?P<found>[^']*)': module '(?P<module>[^']*)' has no attribute '(?P<name>\w+)'": (
        "--rule: found {found}, and there is no {name} in the module {module}: check the spelling"
    ),
    r"argument --(?P<name>[\w.]+)(?:/\S+)?: expected one argument": (
        "{option}: found no value, expected one: give it, or leave the option out"
    ),
    r"Parser key \"config\": Path is not a file: '(?P<found>[^']*)'": (
        "--config: found the folder {found}, expected a file of options"
    ),
    r"Parser key \"config\": File does not exist: '(?P<found>[^']*)'": "--config: found no file {found}",
    r"Problems parsing config: (?P<found>.*)": "--config: found no YAML ({found}), expected NAME: VALUE in each line",
    r"Unexpected config: (?P<found>.{1,60}).*": "--config: found {found}, expected NAME: VALUE in each line",
    r"Parser key \"(?P<name>\w+)\": " + _TYPE: "{option}: found {found}, expected {kind}",
}
"""What the parser says, and what is said instead."""


def reworded(line: str) -> str:
    """A message of the parser on one line: what was found, what was expected.

    >>> reworded("the following arguments are required: pretrain.out")
    '--out is missing, which has no default'
    >>> reworded("Parser key \\"batch_size\\": Expected a <class 'int'>. Got value: many")
    '--batch-size: found many, expected a whole number'
    >>> reworded("anything else")
    'anything else'
    """
    for pattern, words in _REWORDED.items():
        if said := re.fullmatch(pattern, line):
            parts = said.groupdict()
            name = parts.get("name") or ""
            parts["option"] = f"--{name if '.' in name else name.replace('_', '-')}"
            parts["found"] = parts.get("found") or "nothing"
            if "kind" in parts:
                parts["kind"] = _KINDS.get(parts["kind"], parts["kind"])
            return words.format(**parts)
    return line
