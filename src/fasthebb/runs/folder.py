"""A run's folder: one configuration, results whole or absent, and the same command goes on where it stopped."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from fasthebb import Rule
from fasthebb.runs.plain_yaml import YAMLError, plain_yaml
from fasthebb.training import last_checkpoint, rollbacks
from fasthebb.training.processes import first_alone
from fasthebb.training.weights import write_atomically

FREE = ("logger", "logger_options", "checkpoint_minutes", "on_divergence")
"""Options that a run may be gone on with another value of: they change nothing in what it learns."""
_PACKAGES = ("fasthebb", "torch", "torchvision", "lightning")


class RunError(ValueError):
    """A user's mistake about a run, in one line: what was found, what was expected, what to do."""


def settings(options: Any) -> dict[str, Any]:
    """Options as plain values, in the form that ``--config`` reads.

    >>> from fasthebb.runs import PretrainOptions
    >>> settings(PretrainOptions())["rule"]["class_path"]
    'fasthebb.rules.hpca.HPCA'
    """
    return {f.name: _plain(getattr(options, f.name)) for f in fields(options)}


def _plain(value: Any) -> Any:
    """A rule, and one within it, as ``--config`` reads it."""
    if not isinstance(value, Rule):
        return value
    return {"class_path": f"{type(value).__module__}.{type(value).__name__}", "init_args": settings(value)}


def shown(value: Any) -> str:
    """The value of an option as the command line takes it.

    >>> shown(True), shown(["conv1", "conv2"]), shown(None), shown("my images")
    ('true', 'conv1,conv2', 'left out', "'my images'")
    """
    if value is None:
        return "left out"
    if isinstance(value, bool):
        return str(value).lower()
    return quote(",".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def given(name: str, value: Any) -> str:
    """An option and its value as the command line takes them.

    >>> given("batch_size", 8), given("rule.max_lr", 0.1)
    ('--batch-size 8', '--rule.max_lr 0.1')
    """
    return f"{_option(name)} {shown(value)}"


def _option(name: str) -> str:
    return f"--{name if '.' in name else name.replace('_', '-')}"


def differences(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """How options differ from those that are asked for; rules by the fields that do.

    >>> rule = {"class_path": "fasthebb.HPCA", "init_args": {"max_lr": 0.1}}
    >>> differences({"seed": 0, "rule": rule}, {"seed": 1, "rule": {**rule, "init_args": {"max_lr": 0.2}}})
    ['--seed is 0, asked for 1', '--rule.max_lr is 0.1, asked for 0.2']
    """
    listed = []
    for name, value in asked.items():
        other = found.get(name)
        rules = [one for one in (other, value) if isinstance(one, Mapping) and "class_path" in one]
        fields_known = all(isinstance(one.get("init_args") or {}, Mapping) for one in rules)
        if len(rules) == 2 and fields_known and rules[0]["class_path"] == rules[1]["class_path"]:
            inner = [{f"{name}.{key}": one for key, one in (rule.get("init_args") or {}).items()} for rule in rules]
            listed += differences(*inner)
        elif other != value:
            was, now = (one["class_path"] if one in rules else shown(one) for one in (other, value))
            what = "the command" if name == "command" else _option(name)
            known = f"{what} was left out" if other is None else f"{what} is {was}"
            listed.append(f"{known}, now left out" if value is None else f"{known}, asked for {now}")
    return listed


def left_out(options: Any) -> dict[str, Any]:
    """What each option is that is not given, as plain values; those that must be given are missing."""
    plain = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(options)}
    return {name: _plain(value) for name, value in plain.items() if value is not MISSING}


class RunFolder:
    """The folder given by ``--out``. Of several processes the first alone reads and writes it, for all of them.

    Args:
        path: made if it does not exist.
        command: the command that works in it.
        options: dataclass of the command's options.

    Raises:
        RunError: if the folder holds another run or other files; nothing in it is changed then.
    """

    def __init__(self, path: str | Path, command: str, options: Any) -> None:
        self.path, self._options = Path(path), options
        first_alone(lambda: self._claim({"command": command, **settings(options)}))

    def _claim(self, config: Mapping[str, Any]) -> None:
        """Make the folder this run's own."""
        held = {file.name for file in self.path.iterdir()} if self.path.is_dir() else set()
        if "config.yaml" in held:
            self._refuse_other(config, started=held != {"config.yaml"})
        elif held or (self.path.exists() and not self.path.is_dir()):
            raise RunError(f"{self.path} exists and is not a run of fasthebb: choose another --out")
        self.write("config.yaml", yaml.safe_dump(config, sort_keys=False))

    def _refuse_other(self, config: Mapping[str, Any], started: bool) -> None:
        """Refuse a folder of another configuration, unless that run ended before it left anything."""
        known = self.path / "config.yaml"
        try:
            found = plain_yaml(known.read_text("utf-8"))
        except (YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{known} cannot be read: choose another --out") from error
        if not isinstance(found, dict) or "command" not in found:
            raise RunError(f"{known} is not of a run of fasthebb: choose another --out")
        found = {**left_out(self._options), **found}  # an option that a later version has brought
        differing = [name for name in config if name not in FREE and found.get(name) != config[name]]
        if differing and started:
            listed = "; ".join(differences(found, {name: config[name] for name in differing})[:3])
            raise RunError(
                f"{self.path} holds a run of another configuration ({listed}): choose another --out, or repeat that run"
            )

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to go on from, if there is one."""
        return first_alone(lambda: last_checkpoint(self.path / "checkpoints"))

    def result(self) -> dict[str, Any] | None:
        """The results of a run that is finished."""
        return first_alone(self._result)

    def _result(self) -> dict[str, Any] | None:
        file = self.path / "result.json"
        if not file.is_file():
            return None
        try:
            return dict(json.loads(file.read_text()))
        except (ValueError, TypeError):  # cut short, by a full disk say
            warnings.warn(f"{file} is damaged: its last step is done again", UserWarning, stacklevel=2)
            return None

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write ``result.json``, the last file of a run, and give its content."""
        versions = {name: version(name) for name in _PACKAGES}

        def write() -> dict[str, Any]:
            went_back = rollbacks(self.path / "checkpoints")
            complete = {**result, **({"rollbacks": went_back} if went_back else {}), "versions": versions}
            self.write("result.json", json.dumps(complete, indent=2) + "\n")
            return complete

        return first_alone(write)

    def write(self, name: str, text: str) -> None:
        """Write a text file of the folder, whole or not at all."""
        try:
            write_atomically(self.path / name, lambda file: file.write(text.encode()))
        except OSError as error:
            raise RunError(f"cannot write {self.path / name}: {error.strerror or error}") from error
