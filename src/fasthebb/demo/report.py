"""The demo's table, its sentence and its page."""

import base64
import html
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor

from fasthebb.demo.recipes import Recipe
from fasthebb.evaluation import mean_interval
from fasthebb.runs import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .9rem;border-bottom:1px solid #ccc;text-align:right}
th:first-child,td:first-child{text-align:left}img{max-width:100%}.lead{font-size:1.2rem}"""


@dataclass(frozen=True)
class Cell:
    """One recipe with one seed: accuracy for each number of labels, and seconds of both phases.

    Attributes:
        recipe: name of the recipe.
        seed: of weights, order and draw of labels.
        top1: per cent of the test images, by labels a class.
        pretrain_seconds: of the pre-training, batch norm included.
        finetune_seconds: of all fine-tunings together.
    """

    recipe: str
    seed: int
    top1: dict[int, float]
    pretrain_seconds: float
    finetune_seconds: float


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        recipes: what is compared, the rows; the first is backprop alone.
        cells: results, one a recipe and seed.
        labels: numbers of labels a class, the columns.
        filters: first-layer weights by recipe, ``(neurons, channels, height, width)``.
        sizes: the data in a few words.
    """

    recipes: Sequence[Recipe]
    cells: Sequence[Cell]
    labels: Sequence[int]
    filters: dict[str, Tensor]
    sizes: str

    def scores(self, recipe: str, amount: int) -> list[float]:
        """Accuracies of one recipe by seed."""
        return [cell.top1[amount] for cell in sorted(self.cells, key=lambda cell: cell.seed) if cell.recipe == recipe]

    def rows(self) -> list[dict[str, Any]]:
        """The table: one row a recipe, mean and half-width of the 95 % interval for each number of labels."""
        return [
            {
                "recipe": recipe.name,
                "learns": recipe.learns,
                "top1": {amount: mean_interval(self.scores(recipe.name, amount)) for amount in self.labels},
                "pretrain_seconds": statistics.median(
                    c.pretrain_seconds for c in self.cells if c.recipe == recipe.name
                ),
                "finetune_seconds": statistics.median(
                    c.finetune_seconds for c in self.cells if c.recipe == recipe.name
                ),
            }
            for recipe in self.recipes
        ]

    def gain(self, recipe: str, other: str, amount: int) -> tuple[float, float]:
        """Mean difference in points between two recipes, paired by seed, and its 95 % half-width."""
        pairs = zip(self.scores(recipe, amount), self.scores(other, amount), strict=True)
        return mean_interval([ours - theirs for ours, theirs in pairs])

    def sentences(self) -> list[str]:
        """By how much each pre-training helps, over backprop alone and over its control, whatever came out."""
        backprop = self.recipes[0]
        return [
            f"{recipe.name}, {amount} a class: {self._gain_in_words(recipe, backprop, amount)}, "
            f"{self._gain_in_words(recipe, recipe.control(), amount)}."
            for recipe in self.recipes
            if recipe.learns
            for amount in self.labels
        ]

    def _gain_in_words(self, recipe: Recipe, other: Recipe, amount: int) -> str:
        gain, half = self.gain(recipe.name, other.name, amount)
        chance = "" if abs(gain) > half else " (may be chance)"
        return f"{gain:+.1f} ± {half:.1f} points against {other.name}{chance}"


def accuracy_table(report: Report) -> Table:
    """The table for a terminal."""
    columns = ["labels a class", *(str(amount) for amount in report.labels), "pre-train", "fine-tune"]
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for row in report.rows():
        table.add_row(row["recipe"], *_accuracies(row), *_seconds(row))
    return table


def write_report(report: Report, folder: RunFolder) -> None:
    """Write ``report.html``, which needs no other file, and ``accuracy.png``."""
    accuracy = _png(_accuracy_figure(report))
    (folder.path / "accuracy.png").write_bytes(accuracy)
    head = "".join(f"<th>{amount}</th>" for amount in report.labels)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(v)}</td>" for v in [row["recipe"], *_accuracies(row), *_seconds(row)])
        + "</tr>"
        for row in report.rows()
    )
    pictures = "".join(
        f"<h3>{html.escape(name)}</h3>{_image(_png(_filters_figure(filters)), 'First-layer filters: ' + name)}"
        for name, filters in report.filters.items()
    )
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fasthebb: the demo</title><style>{_STYLE}</style>
<h1>Few labels, many images</h1>
<p class="lead">How much better is a classifier that starts from features learned on unlabelled images than one that has
the labels alone?</p>
<ul>{"".join(f"<li>{html.escape(sentence)}</li>" for sentence in report.sentences())}</ul>
<p>Top-1 accuracy on the test images in per cent, mean and 95 % confidence interval over seeds; {report.sizes}.
The rows named control do the same with learning rate 0: batch norm sees the unlabelled images, the weights stay.
Differences are paired by seed. Times are of one run on one core.</p>
<table><tr><th>labels a class</th>{head}<th>pre-train</th><th>fine-tune</th></tr>{body}</table>
{_image(accuracy, "Accuracy against labels a class")}
<h2>What the first layer learned without labels</h2>
<p>Each square is one neuron's weights, seed 0.</p>
{pictures}
</html>
"""
    folder.write("report.html", page)


def _accuracies(row: dict[str, Any]) -> list[str]:
    return [f"{mean:.1f} ± {half:.1f}" for mean, half in row["top1"].values()]


def _seconds(row: dict[str, Any]) -> list[str]:
    before = f"{row['pretrain_seconds']:.1f} s" if row["pretrain_seconds"] else ""
    return [before, f"{row['finetune_seconds']:.1f} s"]


def _accuracy_figure(report: Report) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for row in report.rows():
        means, halves = zip(*row["top1"].values(), strict=True)
        style = "-" if row["learns"] else "--"
        axes.errorbar(report.labels, means, halves, label=row["recipe"], capsize=3, marker="o", linestyle=style)
    axes.set_xscale("log")
    axes.set_xticks(report.labels, [str(amount) for amount in report.labels])
    axes.minorticks_off()
    axes.set_xlabel("labels a class")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_title(f"Digits: {report.sizes}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _filters_figure(filters: Tensor) -> "Figure":
    from matplotlib.figure import Figure

    columns = 12
    rows = -(-len(filters) // columns)
    figure = Figure(figsize=(columns * 0.6, rows * 0.6))
    for index, weights in enumerate(filters):
        axes = figure.add_subplot(rows, columns, index + 1)
        picture = weights.float().mean(0)
        limit = float(picture.abs().max()) or 1.0
        axes.imshow(picture.numpy(force=True), cmap="coolwarm", vmin=-limit, vmax=limit)
        axes.axis("off")
    return figure


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _image(png: bytes, text: str) -> str:
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
