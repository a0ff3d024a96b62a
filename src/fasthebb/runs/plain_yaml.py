"""YAML files that anybody may have written: plain values, and not more of them than a configuration has."""

from typing import Any

import yaml

MOST_VALUES = 10_000
"""A few lines of YAML can stand for billions of values, by names for lists of names."""


class YAMLError(ValueError):
    """A text is no YAML that is read here; the message is one line."""


def plain_yaml(text: str) -> Any:
    """Numbers, texts, lists and mappings.

    Raises:
        YAMLError: it is no YAML, or stands for too many values.

    >>> plain_yaml("epochs: 3")
    {'epochs': 3}
    >>> plain_yaml("epochs: 3: 4")
    Traceback (most recent call last):
    ...
    fasthebb.runs.plain_yaml.YAMLError: mapping values are not allowed here (line 1)
    """
    try:
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" (line {error.problem_mark.line + 1})"
        raise YAMLError(f"{error.problem or 'no YAML'}{line}") from error
    except Exception as error:  # numbers and dates that there are not, characters, too many brackets
        raise YAMLError((str(error).strip().splitlines() or [type(error).__name__])[0][:160]) from error
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise YAMLError(f"it stands for more than {MOST_VALUES} values")
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()][:MOST_VALUES]
        elif isinstance(one, list | tuple | set):
            waiting += list(one)[:MOST_VALUES]
    return value
