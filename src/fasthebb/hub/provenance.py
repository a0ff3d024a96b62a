"""Where a network comes from, as far as its run says: kept in the notes of its file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fasthebb.runs import RunError

TRAINING = "training"
"""Name of the note."""


_KINDS: dict[str, type] = {
    "command": str,
    "data": str,
    "unlabelled": list,
    "images": int,
    "labels": int,
    "labels_spent": int,
    "read_out": str,
    "student": str,
    "semi": str,
    "rule": dict,
    "scores": dict,
    "scored_by": str,
    "test_images": int,
    "versions": dict,
}


def provenance(notes: Mapping[str, str], run: Path) -> dict[str, str]:
    """A network's notes with what its run folder says of data, training and scores.

    A path says much that is nobody's business: of paths to data only the last part is kept.

    Args:
        notes: of the network's file.
        run: its folder; files that are not there say nothing.

    Raises:
        RunError: a file is damaged.
    """
    config, result = _read(run / "config.yaml"), _read(run / "result.json")
    told: dict[str, Any] = {
        "command": result.get("command"),
        "data": _last_part(config.get("data")),
        "unlabelled": [_last_part(path) for path in config.get("unlabelled") or []],
        "images": result.get("images"),
        "labels": result.get("labels"),
        "labels_spent": result.get("labels_spent"),
        "read_out": _read_out(config),
        "student": config.get("student"),
        "semi": None if config.get("semi") == "none" else config.get("semi"),
        "rule": config.get("rule") if config.get("command") == "finetune" else None,
        "scores": {
            name: value for name, value in result.items() if isinstance(value, float) and not name.endswith("_seconds")
        },
        "scored_by": result.get("scored_by"),
        "test_images": result.get("test_images"),
        "versions": result.get("versions"),
    }
    kept = {name: value for name, value in told.items() if value not in (None, "", [], {})}
    known = dict(notes)
    if "data" in known:
        known["data"] = _last_part(known["data"])
    return {**known, TRAINING: json.dumps(kept)} if kept else known


def told_by(notes: Mapping[str, str]) -> dict[str, Any]:
    """What `provenance` has noted; nothing that is none of ours."""
    try:
        found = json.loads(notes.get(TRAINING, "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found[name] for name, kind in _KINDS.items() if isinstance(found.get(name), kind)}


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML too
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{file} cannot be read: run the command that wrote it again") from error
    return found if isinstance(found, dict) else {}


def _last_part(path: Any) -> str:
    return Path(str(path or "")).name


def _read_out(config: Mapping[str, Any]) -> str | None:
    if config.get("command") != "finetune":
        return None
    chosen = [name for name in ("ridge", "taught", "probe") if config.get(name)]
    return {"ridge": "ridge regression", "taught": "a Hebbian rule with labels", "probe": "a linear probe"}.get(
        chosen[0] if chosen else "", "backprop through all layers"
    )
