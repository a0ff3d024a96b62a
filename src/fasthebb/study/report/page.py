"""The page: everything about a study in one file that needs no other and no network."""

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from fasthebb.study.report.caveats import caveats
from fasthebb.study.report.cells import MEASURES, Failure
from fasthebb.study.report.charts import chart_data
from fasthebb.study.report.columns import columns
from fasthebb.study.report.controls import controls, select
from fasthebb.study.report.embedding import embedded_json, plotly_script
from fasthebb.study.report.findings import findings
from fasthebb.study.report.html_tables import gains_table, scores_table, speed_table
from fasthebb.study.report.reproduction import configuration, data_name
from fasthebb.study.report.results import Results, Setting
from fasthebb.study.report.sections import (
    cells_section,
    exciting_section,
    failures_section,
    filters_section,
    overlays_section,
    reproduction_section,
)
from fasthebb.study.report.speed import speeds

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)

_READING = """<details class="note"><summary>How to read the tables</summary>
<p>Each figure is a mean with half the width of its 95 % confidence interval by Student's t. Draws of labels are nested
in seeds: they are averaged within a seed first, and the interval is over seeds. With one seed there is no interval.</p>
<p>The best method of a column is bold if a paired t-test tells it from the second; otherwise none is bold. The test
pairs runs with the same seed and draw, averages a seed's differences, and is over seeds; significant means p below 0.05
with at least 5 seeds. The p in the tables are of single comparisons; those in the sentences at the top are multiplied
by the number of methods among which the best was picked.</p>
<p>Gains are over the control with the highest mean in the same column, and count only runs that both have. Controls
learn nothing without labels: backprop alone, or features whose pre-training has the learning rate 0.</p>
<p>The same tables are in table.md, table.csv and table.tex.</p></details>"""


def page(folder: Path, results: Results, failures: Sequence[Failure]) -> str:
    """The page's text.

    Args:
        folder: of the study; pictures, curves and versions are read from it.
        results: its finished cells.
        failures: its failed ones.
    """
    here = files("fasthebb.study.report")
    configured = configuration(folder)
    data = chart_data(folder, results)
    name = data_name(configured)
    heading = escape("Few labels, many images" + ("" if name is None else f": {name}"))
    pretrainings = [one["label"] for one in data["pretrainings"]]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="color-scheme" content="light dark">
<title>{heading}</title>
<style>
{here.joinpath("page.css").read_text(encoding="utf-8")}</style>
<noscript><style>.chart {{ display: none; }}</style></noscript>
</head>
<body>
<main>
<h1>{heading}</h1>
{_views(results, _findings)}
{"".join(f'<p class="note">{escape(sentence)}</p>' for sentence in caveats(results))}
{controls(results)}
<section>
<h2>Accuracy against labels</h2>
{_chart("labels", "Accuracy against number of labels, one line for each method with 95 % intervals")}
{_views(results, _tables)}
{_READING}
</section>
<section>
<h2>Accuracy against time</h2>
<p>Pre-training and training with labels together; each time is the median over runs.</p>
{_chart("time", "Accuracy against seconds spent, pre-training included, one point for each method and amount")}
{_timings(results)}
</section>
{overlays_section(folder, results)}
{filters_section(folder, results)}
{exciting_section(folder, results)}
<section>
<h2>Training</h2>
<h3>Loss of the training with labels</h3>
{_chart("loss", "Training loss by epoch, averaged over runs, one line for each method")}
{_pretrainings(pretrainings)}
</section>
{failures_section(failures)}
{reproduction_section(configured)}
{cells_section(folder, results)}
</main>
<script type="application/json" id="data">{embedded_json(data)}</script>
<script>{plotly_script()}</script>
<script>
{here.joinpath("page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _views(results: Results, view: Callable[[Results, Setting, str], str]) -> str:
    """One part for each way of using labels and each measure, of which the script shows one."""
    parts = []
    for row, setting in enumerate(results.settings):
        for column, measure in enumerate(results.measures):
            hidden = " hidden" if row or column else ""
            content = view(results, setting, measure)
            parts.append(f'<div data-setting="{row}" data-measure="{column}"{hidden}>{content}</div>')
    return "\n".join(parts)


def _findings(results: Results, setting: Setting, measure: str) -> str:
    found = findings(results, setting, measure)
    if not found:
        return f'<p class="lead">{_not_measured(results, setting, measure)}</p>'
    lead = f'<p class="lead">{escape(found[0])}</p>'
    if len(found) == 1:
        return lead
    others = "".join(f"<li>{escape(sentence)}</li>" for sentence in found[1:])
    opened = " open" if len(found) <= 3 else ""  # on a phone more of them would hide everything else
    return f"{lead}<details{opened}><summary>With more labels</summary><ul>{others}</ul></details>"


def _tables(results: Results, setting: Setting, measure: str) -> str:
    found = columns(results, setting, measure)
    if not found:
        return f"<p>{_not_measured(results, setting, measure)}</p>"
    name = f"{MEASURES[measure]}, {results.name(setting)}"
    scores = scores_table(results, found, f"{name}: mean ± 95 % interval, in per cent")
    return scores + gains_table(results, found, f"{name}: gain over the best control, in points")


def _timings(results: Results) -> str:
    """The speed table of each way of using labels, of which the script shows one."""
    return "\n".join(
        f'<div data-setting="{row}"{" hidden" if row else ""}>'
        + speed_table(results, speeds(results, setting), f"Time, {results.name(setting)}, median over runs")
        + "</div>"
        for row, setting in enumerate(results.settings)
    )


def _pretrainings(labels: Sequence[str]) -> str:
    if not labels:
        return ""
    return f"""<h3>Pre-training</h3>
<div class="controls" hidden>{select("pretraining", "Method", list(labels))}</div>
{_chart("pretraining", "Pre-training by epoch, averaged over seeds, one line for each layer")}"""


def _not_measured(results: Results, setting: Setting, measure: str) -> str:
    return escape(f"There is no {MEASURES[measure]} for the read-out: {results.name(setting)}.")


def _chart(name: str, alternative: str) -> str:
    """A place for a chart and its legend."""
    return (
        f'<figure class="chart"><div id="chart-{name}" role="img" aria-label="{escape(alternative)}"></div>'
        f'<ul id="legend-{name}" class="legend"></ul></figure>'
    )
