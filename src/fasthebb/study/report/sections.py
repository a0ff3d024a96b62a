"""The parts of the page that no control changes."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from fasthebb.study.report.cells import READOUTS, Failure
from fasthebb.study.report.embedding import image
from fasthebb.study.report.exciting import exciting_pictures
from fasthebb.study.report.filters import first_layers
from fasthebb.study.report.html_tables import table
from fasthebb.study.report.names import label
from fasthebb.study.report.overlays import overlay_pictures
from fasthebb.study.report.reproduction import COMMAND, versions
from fasthebb.study.report.results import Results


def filters_section(folder: Path, results: Results) -> str:
    """What each first layer learned, or why it is not shown."""
    layers = first_layers(folder, results)
    if not layers:
        return ""
    parts = []
    for method, found in layers.items():
        position = results.methods.index(method)
        if isinstance(found, str):
            parts.append(f'<p class="note" data-method="{position}">{escape(label(method))}: {escape(found)}.</p>')
        else:
            text = f"{label(method)}: {found.in_words()}"
            picture = image(found.png, f"First layer after pre-training by {text}")
            parts.append(f'<figure data-method="{position}">{picture}<figcaption>{escape(text)}</figcaption></figure>')
    return f"""<section>
<h2>What the first layers learned without labels</h2>
<p>Each square is one neuron's weights, divided by their largest magnitude; grey is zero. Methods that decorrelate
pixels see decorrelated images.</p>
<div class="pictures">{"".join(parts)}</div>
</section>"""


def exciting_section(folder: Path, results: Results) -> str:
    """The images that excite the neurons of each layer most, for the first seed of each pre-trained method."""
    parts = []
    for position, method in enumerate(results.methods):
        pictures = exciting_pictures(folder, results, method)
        figures = "".join(
            f"<figure>{image(png, f'Images that excite neurons of {name} most')}"
            f"<figcaption>{escape(name)}</figcaption></figure>"
            for name, png in pictures.items()
        )
        if figures:
            parts.append(
                f'<details data-method="{position}"><summary>{escape(label(method))}</summary>'
                f'<div class="pictures">{figures}</div></details>'
            )
    if not parts:
        return ""
    return f"""<section>
<h2>What excites the neurons</h2>
<p>A row is one neuron, with the pre-training images that it responds to most, at whatever place, the strongest
first.</p>
{"".join(parts)}
</section>"""


def overlays_section(folder: Path, results: Results) -> str:
    """Best, median and worst test image of each method, where pixels have classes; else nothing."""
    found = overlay_pictures(folder, results)
    if not found:
        return ""
    parts = []
    for cell, pictures in found:
        name = f"{label(cell.method)}, {READOUTS[cell.readout]}, {cell.labels} masks"
        shown = "".join(
            f"<figure>{image(png, f'{name}: {which} test image')}<figcaption>{which}</figcaption></figure>"
            for which, png in pictures.items()
        )
        parts.append(f'<h3>{escape(name)}</h3><div class="pictures">{shown}</div>')
    return f"""<section>
<h2>Best, median and worst</h2>
<p>Of the first seed with the fewest masks: test images by Dice, the prediction's contours left, those of the mask
right.</p>
{"".join(parts)}
</section>"""


def failures_section(failures: Sequence[Failure]) -> str:
    """Cells that ended in an error, with it."""
    if not failures:
        return "<section><h2>Failed cells</h2><p>None.</p></section>"
    rows = [
        _texts([label(one.method), one.amount, one.seed, one.draw, READOUTS.get(one.readout, one.readout), one.error])
        for one in failures
    ]
    caption = "1 cell failed" if len(rows) == 1 else f"{len(rows)} cells failed"
    head = ["method", "labels", "seed", "draw", "read-out", "error"]
    return f"""<section>
<h2>Failed cells</h2>
<p>No figure on this page counts them. The study's own command tries them again.</p>
{table(head, rows, caption, kind="texts")}
</section>"""


def reproduction_section(configured: str | None) -> str:
    """The command that repeats the study, and its options."""
    if configured is None:
        return """<section><h2>How to repeat this study</h2>
<p class="note">The folder has no config.yaml that could be read, so its options are not known.</p></section>"""
    return f"""<section>
<h2>How to repeat this study</h2>
<p>In the study's folder:</p>
<pre tabindex="0">{escape(COMMAND)}</pre>
<details><summary>Options (config.yaml)</summary><pre tabindex="0">{escape(configured)}</pre></details>
</section>"""


def cells_section(folder: Path, results: Results) -> str:
    """Every cell with its scores, its folder and the versions that ran it."""
    recorded = versions(folder, results.cells)
    counts = Counter(recorded).most_common()
    rows = []
    for cell, version in zip(results.cells, recorded, strict=True):
        scores = [f"{cell.scores[m]:.1f}" if m in cell.scores else "–" for m in results.measures]
        numbers = [str(cell.labels), str(cell.seed), str(cell.draw)]
        other = [version] if len(counts) > 1 else []
        rows.append(
            _texts([label(cell.method), *numbers, READOUTS[cell.readout], cell.select, *scores, cell.folder, *other])
        )
    head = ["method", "labels", "seed", "draw", "read-out", "epoch", *results.measures, "folder"]
    head += ["versions"] if len(counts) > 1 else []
    listed = "".join(f"<li>{escape(text)}: {count} {'cell' if count == 1 else 'cells'}</li>" for text, count in counts)
    caption = "1 finished cell" if len(rows) == 1 else f"{len(rows)} finished cells"
    return f"""<section>
<h2>Cells</h2>
<p>Each folder has the config.yaml, metrics.csv and result.json of its run. Versions:</p>
<ul>{listed}</ul>
<details><summary>{caption}</summary>{table(head, rows, caption, kind="texts")}</details>
</section>"""


def _texts(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in cells)}</tr>"
