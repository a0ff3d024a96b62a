"""The model card: what a shared network was made of, how good it is, and how it is used."""

import ast
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from fasthebb.hub.provenance import told_by
from fasthebb.runs.saved import Saved, SavedSegmentation

MAIN_SCORES = {
    "classification": ("top1", "image-classification", "accuracy"),
    "segmentation": ("dice", "image-segmentation", "dice"),
}
"""For each task the score that the Hub's metadata have, and how these call the task and the score."""
_UNITS = {"hausdorff95": "pixels"}
"""Of the scores that are not per cent."""
_PLACEHOLDER = "user/name"
_LIMITS = """## Limits

What it was trained on is all that it knows: images of another kind get {its_classes} all the same. Check it on
{labelled} images of your own before you rely on it."""


def card_text(saved: Saved, data: ModelCardData, *, name: str = _PLACEHOLDER, text: str = "", **metadata: Any) -> str:
    """The card in Markdown, with the Hub's metadata before it.

    Args:
        saved: the network.
        data: metadata of all of these models.
        name: of the model, as `from_pretrained` takes it.
        text: what else readers should know, in Markdown.
        metadata: further fields of the Hub's, such as ``license="mit"``.
    """
    told = told_by(saved.notes)
    fields: dict[str, Any] = {**data.to_dict(), **metadata}  # type: ignore[no-untyped-call]
    if not saved.classes:
        fields["pipeline_tag"] = "image-feature-extraction"
    scores = _scores(told)
    if MAIN_SCORES[saved.task][0] in scores and told.get("data"):
        fields |= {"model_name": _plain(name), "eval_results": [_result(saved, told, scores)]}
    header = ModelCardData(ignore_metadata_errors=True, **fields).to_yaml()
    parts = [
        f"---\n{header}\n---",
        f"# {_plain(name)}",
        _summary(saved, told),
        _usage(saved, name),
        _training(saved, told),
        _score_table(told, scores),
        text,
        _limits(saved) if saved.classes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(saved: Saved, told: Mapping[str, Any]) -> str:
    learned = _rule(saved.notes)
    hidden = f"whose hidden layers learned without labels, by {learned}" if learned else "trained from random weights"
    if "student" in told:
        hidden = "trained on its own answers for unlabelled images (self-training)"
    if not saved.classes:
        return f"An encoder of images, {hidden}."
    if isinstance(saved, SavedSegmentation):
        kind = "volumes" if saved.model["dims"] == 3 else "images"
        return (
            f"A segmentation network, which says for each pixel of {kind} to which of {len(saved.classes)} classes it "
            f"belongs, {hidden}. Made with fasthebb."
        )
    return f"A classifier of images into {len(saved.classes)} classes, {hidden}. Made with fasthebb."


def _limits(saved: Saved) -> str:
    if isinstance(saved, SavedSegmentation):
        return _LIMITS.format(its_classes="masks of its classes", labelled="segmented")
    return _LIMITS.format(its_classes="one of its classes", labelled="labelled")


def _usage(saved: Saved, name: str) -> str:
    opening = (
        "## Use\n\n```python\nfrom fasthebb.hub import HebbianModel\n\n"
        f"model = HebbianModel.from_pretrained({_plain(name)!r})\n"
    )
    if isinstance(saved, SavedSegmentation):
        return opening + _usage_of_segmenter(saved)
    call = (
        "model.predict(images)  # a class name an image; model(images) gives probabilities"
        if saved.classes
        else "model.features(images)  # (N, features)"
    )
    size, channels = saved.model["image_size"], saved.model["channels"]
    return (
        f"{opening}{call}\n```\n\n"
        "`images` is `(N, C, H, W)` of any size, uint8 or float in [0, 1]. They become "
        f"{size} x {size} pixels of {channels} channel{'s' if channels > 1 else ''}, by their shorter side and cropped "
        "to the centre square, and are preprocessed as in training."
    )


def _usage_of_segmenter(saved: SavedSegmentation) -> str:
    channels, axes = saved.model["channels"], "(N, C, H, W)" if saved.model["dims"] == 2 else "(N, C, D, H, W)"
    call = (
        "model.predict(images)  # a mask an image; model(images) gives probabilities (N, classes, *size)"
        if saved.classes
        else "model.features(images)  # (N, features, *size)"
    )
    return (
        f"{call}\n```\n\n`images` is `{axes}` of any size, uint8 or float in [0, 1], of {channels} "
        f"channel{'s' if channels > 1 else ''}. They keep their size, and are preprocessed as in training. In a mask 0 "
        "is the first class, the background."
    )


def _training(saved: Saved, told: Mapping[str, Any]) -> str:
    student = f", then {told['student']} by self-training" if "student" in told else ""
    labels = told.get("labels")
    spent = told.get("labels_spent")
    more = f" ({spent} counting those that chose among epochs)" if spent not in (None, labels) else ""
    network = ", ".join(f"{key} {value}" for key, value in saved.model.items() if key != "name")
    rows = {
        "network": f"{saved.model['name']} ({network})",
        "images": told.get("data") or saved.notes.get("data"),
        "more unlabelled images": ", ".join(str(one) for one in told.get("unlabelled", [])),
        "pre-training": _rule(saved.notes),
        "layers that it taught": saved.notes.get("layers"),
        "fine-tuning": f"{told['read_out']}{student}" if "read_out" in told else None,
        "rule of the fine-tuning": _shown(told.get("rule")),
        "images without masks": told.get("semi"),
        "masks" if saved.task == SavedSegmentation.task else "labels": None if labels is None else f"{labels}{more}",
        "classes": ", ".join(saved.classes),
        "pixels": "whitened" if saved.preprocessing.whitening is not None else "standardised by channel",
        "versions": ", ".join(f"{key} {value}" for key, value in told.get("versions", {}).items()),
    }
    return "## Data and training\n\n" + _table(rows)


def _score_table(told: Mapping[str, Any], scores: Mapping[str, float]) -> str:
    if not scores:
        return ""
    count = told.get("test_images")
    where = f"On {f'{count} ' if count else ''}{told.get('scored_by') or 'test images'}, in per cent:"
    rows = {f"{key} ({_UNITS[key]})" if key in _UNITS else key: f"{value:g}" for key, value in scores.items()}
    return f"## Scores\n\n{where}\n\n" + _table(rows)


def _scores(told: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): value for name, value in told.get("scores", {}).items() if isinstance(value, float)}


def _result(saved: Saved, told: Mapping[str, Any], scores: Mapping[str, float]) -> EvalResult:
    score, task, metric = MAIN_SCORES[saved.task]
    return EvalResult(
        task_type=task,
        dataset_type=_plain(told["data"]),
        dataset_name=_plain(told["data"]),
        dataset_split="test",
        metric_type=metric,
        metric_value=round(scores[score] / 100, 5),
    )


def _rule(notes: Mapping[str, str]) -> str:
    """The rule and the method of a pre-training, from its notes."""
    try:
        rule = ast.literal_eval(notes.get("rule", "None"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        rule = None
    method = notes.get("method", "")
    return ", ".join(part for part in (_shown(rule), "" if method == "hebbian" else method) if part)


def _shown(rule: Any) -> str:
    """A rule of a configuration as one would write it.

    >>> _shown({"class_path": "fasthebb.rules.wta.WTA", "init_args": {"k": 2, "classes": None}})
    'WTA(k=2)'
    """
    if not isinstance(rule, dict) or not isinstance(rule.get("init_args", {}), dict):
        return ""
    given = {key: value for key, value in rule.get("init_args", {}).items() if value is not None}
    fields = {key: _shown(value) or repr(value) for key, value in given.items()}
    arguments = ", ".join(f"{key}={value}" for key, value in fields.items())
    return f"{str(rule.get('class_path', '')).rpartition('.')[2]}({arguments})"


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {_plain(key)} | {_plain(value)} |" for key, value in rows.items() if value not in (None, "")]
    return "\n".join(["| | |", "|---|---|", *lines])


def _plain(text: Any) -> str:
    """Text that stays within a cell and means nothing to Markdown's tables or YAML."""
    return " ".join(str(text).split()).replace("|", "/").replace("<", "&lt;")
