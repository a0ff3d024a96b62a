"""The command line, made from the typed options of each command; no logic of its own."""

import json
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser, set_loader
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import fasthebb
from fasthebb import runs
from fasthebb.benchmark import BenchmarkOptions, benchmark
from fasthebb.demo import DemoOptions, demo
from fasthebb.parser_messages import reworded
from fasthebb.rules.names import GRADIENT_NAMES, NAMES
from fasthebb.runs.folder import settings
from fasthebb.runs.launch import launch
from fasthebb.runs.plain_yaml import YAMLError, plain_yaml
from fasthebb.runs.processes import leave, lost_others, said_by_one, speaks
from fasthebb.study import ReportOptions, StudyOptions, report, study
from fasthebb.training import TERMINATED, Terminated, ended_by_sigterm
from fasthebb.watch import WatchOptions, watch

COMMANDS: dict[str, tuple[type, Callable[..., Any], bool, str]] = {
    "demo": (DemoOptions, demo, True, "the main job in two minutes, on scikit-learn's digits: table and report.html"),
    "pretrain": (runs.PretrainOptions, runs.pretrain, True, "let hidden layers learn from unlabelled images"),
    "finetune": (runs.FinetuneOptions, runs.finetune, True, "train a classifier on the labelled ones"),
    "evaluate": (runs.EvaluateOptions, runs.evaluate, False, "score a classifier on labelled images"),
    "predict": (runs.PredictOptions, runs.predict, False, "the class of new images, or of each of their pixels"),
    "study": (StudyOptions, study, True, "compare methods with few labels; stopped, it goes on where it was"),
    "report": (ReportOptions, report, True, "one page of a study, and its tables"),
    "watch": (WatchOptions, watch, True, "look at a run while it learns, in the browser"),
    "benchmark": (BenchmarkOptions, benchmark, False, "how fast a step is, against the floor and backprop"),
}
"""Options, function, whether it needs ``--out``, and what it does."""
RULES = {**NAMES, **GRADIENT_NAMES}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status: 0, 2 after a user's mistake, 130 after Ctrl-C, 143 after SIGTERM."""
    warnings.showwarning = _one_line_warning
    given = sys.argv[1:] if arguments is None else arguments
    parser, commands = _parsers()
    if not given:
        parser.print_help()
        return 0
    try:
        parsed = parser.parse_args(_spelled_out(given, commands))
    except UnicodeDecodeError:
        return _mistake("the file that --config names is no text in UTF-8, expected YAML: NAME: VALUE in each line")
    except ArgumentError as error:
        return _mistake(_explained(str(error), given, commands))
    try:
        command = parsed.subcommand
        values = parser.instantiate(parsed)[command]
        options_class, run, _, _ = COMMANDS[command]
        _refuse_unusable(options_class, values)
        options = options_class(**{f.name: values[f.name] for f in fields(options_class)})
        status = launch(options, given)
        if status is not None:
            return status
        with ended_by_sigterm():
            result = run(options, values["out"])
        if speaks():
            _print_result(command, result, values["out"])
        leave()
    except (ValueError, OSError, fasthebb.NonFiniteError) as error:
        if not _is_users(error):
            raise
        return _mistake(str(error))
    except RuntimeError as error:
        lost = lost_others(error)
        if lost is None:
            raise
        print(f"fasthebb: {lost}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if speaks():
            print("\ninterrupted: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except Terminated as end:
        if speaks():
            print(f"\nended by SIGTERM: {end}", file=sys.stderr)
        return TERMINATED
    return 0


class _Parser(ArgumentParser):
    """Shows options with hyphens, as messages and documentation do; both spellings are taken."""

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        return re.sub(r"--\w+", lambda option: option[0].replace("_", "-"), super().format_help(*args, **kwargs))


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    set_loader("fasthebb", _load_yaml, (YAMLError,))
    description = "Hebbian learning at matrix-product speed."
    parser = _Parser(prog="fasthebb", description=description, exit_on_error=False, parser_mode="fasthebb")
    parser.add_argument("--version", action="version", version=fasthebb.__version__)
    subcommands = parser.add_subcommands()
    commands = {}
    for name, (options, _, needs_out, purpose) in COMMANDS.items():
        usage = f"fasthebb {name}{' --out OUT' if needs_out else ''} [--OPTION VALUE ...]"
        command = _Parser(usage=usage, description=purpose, exit_on_error=False, parser_mode="fasthebb")
        command.add_argument("--config", action="config", help="YAML file of options, such as a run's config.yaml")
        if needs_out:
            command.add_argument("--out", type=str, required=True, help="folder of this run")
        else:
            command.add_argument("--out", type=str | None, default=None, help="folder that keeps the result")
        command.add_class_arguments(options, as_group=False)
        if options is runs.PretrainOptions:
            command.set_defaults(rule=settings(runs.PretrainOptions())["rule"])  # so that --rule.FIELD alone changes it
        command.add_argument(
            "--command", type=str | None, default=name, help="ignored; so that config.yaml can be read"
        )
        subcommands.add_subcommand(name, command, help=purpose)
        commands[name] = command
    return parser, commands


def _load_yaml(text: str) -> Any:
    """YAML, with rules by their short names."""
    value = plain_yaml(text)
    if isinstance(value, dict) and isinstance(value.get("rule"), str):
        value["rule"] = _class_path(value["rule"])
    return value


def _class_path(name: str) -> str:
    rule = RULES.get(name.lower())
    return name if rule is None else f"{rule.__module__}.{rule.__name__}"


def _spelled_out(given: list[str], commands: dict[str, _Parser]) -> list[str]:
    """Options as the parser wants them: underscores, flags with a value, repeatable options, rules by class."""
    if given[0] not in commands:
        return given
    options = fields(COMMANDS[given[0]][0])
    switches = {f.name for f in options if f.type in (bool, bool | None)}
    lists = {f.name for f in options if "list[" in str(f.type)} - {"unlabelled"}
    spelled = [given[0]]
    rest = given[1:]
    if given[0] in ("report", "watch") and rest and not rest[0].startswith("-"):
        rest = ["--out", *rest]
    for index, word in enumerate(rest):
        previous = rest[index - 1] if index else ""
        if not word.startswith("--"):
            listed = previous[2:].replace("-", "_") in lists
            named = previous in ("--rule", "--rule.rule")
            spelled.append(_class_path(word) if named else _as_list(word) if listed else word)
            continue
        name, equals, value = word.partition("=")
        name = name[2:].replace("-", "_")
        if name in ("rule", "rule.rule") and equals:
            value = _class_path(value)
        if name in lists and equals:
            value = _as_list(value)
        alone = index + 1 == len(rest) or rest[index + 1].startswith("--")
        if name in switches and not equals and alone:
            equals, value = "=", "true"
        spelled.append(f"--{name}{'+' if name == 'unlabelled' else ''}{equals}{value}")
    return spelled


def _refuse_unusable(options_class: type, values: Any) -> None:
    """Refuse what the parser takes: ``NAME:`` without a value in a file, empty texts, and numbers beyond 64 bits."""
    for one in fields(options_class):
        if values[one.name] == "" or (values[one.name] is None and type(None) not in get_args(one.type)):
            name = one.name.replace("_", "-")
            raise ValueError(f"--{name}: found no value, expected one: give it, or leave the option out")
        if isinstance(values[one.name], int) and abs(values[one.name]) >= 2**63:
            raise ValueError(f"--{one.name.replace('_', '-')}: found {values[one.name]}, expected fewer digits")


def _as_list(text: str) -> str:
    """``a,b`` as the YAML list that the parser wants, of texts."""
    return text if text.startswith("[") else json.dumps([one.strip() for one in text.split(",")])


def _explained(message: str, given: list[str], commands: dict[str, _Parser]) -> str:
    """One line from the parser's message, with the nearest names where one is unknown."""
    line = " ".join(message.split())
    if given[0] not in commands and not given[0].startswith("-"):
        return f"unknown command {given[0]!r}{_meant(given[0], list(commands))}"
    names = [f.name for f in fields(COMMANDS[given[0]][0])] if given[0] in commands else []
    if "unrecognized arguments" in line:
        word = line.split("unrecognized arguments:")[1].split()[0]
        if not word.startswith("-"):
            return f"found {word!r}, expected options alone: each begins with --, and is followed by one value"
        unknown = word.lstrip("-").split("=")[0]
        options = [f"--{name.replace('_', '-')}" for name in [*names, "out", "config"]]
        return f"unknown option --{unknown}{_meant('--' + unknown.replace('_', '-'), options)}"
    if 'key "rule"' in line and "--rule" in given:
        position = given.index("--rule") + 1
        rule = given[position] if position < len(given) else ""
        if "." not in rule and rule.lower() not in RULES:
            return f"unknown rule {rule!r}{_meant(rule.lower(), list(RULES))}; or the module.Class of your own"
        if "is not accepted" in line and rule.lower() in RULES:
            wrong = line.split("Option '")[1].split("'")[0]
            own = [f"--rule.{f.name}" for f in fields(RULES[rule.lower()])]
            return f"unknown option --rule.{wrong} of {rule}{_meant('--rule.' + wrong, own)}"
    if choice := re.fullmatch(
        r'Parser key "(?!rule")(\w+)": .*?typing\.Literal\[([^]]*)\].*? (?:Got|Given) value: ?(\S*).*', line
    ):
        name, known, found = choice.groups()
        return f"--{name.replace('_', '-')}: found {found or 'nothing'}, expected one of {known}"
    if unknown_key := re.search(r"does not accept option '(\w+)'", line):
        return f"unknown option {unknown_key[1]} in the file of --config{_meant(unknown_key[1], names)}"
    return reworded(line)


def _meant(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return (f": did you mean {close[0]}?" if close else "") + f" (known: {', '.join(known)})"


def _is_users(error: Exception) -> bool:
    """Whether an error is worded for users, as all that fasthebb raises itself are; others keep their traceback."""
    if isinstance(error, (OSError, fasthebb.NonFiniteError)):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return raised_in.partition(".")[0] == "fasthebb"


def _mistake(message: str) -> int:
    print(f"fasthebb: {said_by_one(' '.join(message.split()))}", file=sys.stderr)
    return 2


def _one_line_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    if issubclass(category, (DeprecationWarning, FutureWarning)) or not speaks():
        return
    print(f"warning: {message}", file=sys.stderr)


def _print_result(command: str, result: Any, out: str | None) -> None:
    if command == "watch":
        return
    console = Console()
    if command == "predict":
        table = Table(*(result[0] if result else ["file"]))
        for row in result[:20]:
            values = (f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values())
            table.add_row(*map(escape, values))
        console.print(table)
        if len(result) > 20:
            console.print(f"and {len(result) - 20} more" + ("" if out else "; --out keeps all of them"))
    elif command not in ("demo", "benchmark", "study", "report"):
        console.print(_numbers(command, result))
        if command == "evaluate" and "layers" in result:
            console.print(_layers(result["layers"]))
    if out is not None and Path(out).exists():  # a dry run leaves nothing
        console.print(f"in {out}", highlight=False)


def _numbers(command: str, result: dict[str, Any]) -> Table:
    """The single values of a result, with their intervals, and the recall of each class where these are few."""
    table = Table(command, "")
    intervals = result.get("interval", {})
    for name, value in result.items():
        if isinstance(value, (int, float, str)) and name != "command":
            shown = f"{value:.2f}" if isinstance(value, float) else escape(str(value))
            ends = " ({:.2f} to {:.2f})".format(*intervals[name]) if name in intervals else ""
            table.add_row(name.replace("_", " "), shown + ends)
    recall = result.get("recall", {})
    if len(recall) <= 20:
        for name, value in recall.items():
            table.add_row(escape(f"recall of {name}"), "no images" if value is None else f"{value:.2f}")
    return table


def _layers(rows: list[dict[str, Any]]) -> Table:
    table = Table("layer", "features", "kNN", "SVM", "precision at 100", "mAP at 100", "binary mAP at 100")
    for row in rows:
        scores = (
            row["knn"],
            row["svm"],
            row["retrieval"]["precision_at_100"],
            row["retrieval"]["map_at_100"],
            row["binary_retrieval"]["map_at_100"],
        )
        table.add_row(row["layer"].removeprefix("features."), str(row["size"]), *(f"{score:.2f}" for score in scores))
    return table


if __name__ == "__main__":
    sys.exit(main())
