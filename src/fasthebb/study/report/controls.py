"""What a reader can choose on the page. Without its script the page shows the first choice of each."""

from html import escape

from fasthebb.study.report.cells import MEASURES
from fasthebb.study.report.names import label
from fasthebb.study.report.results import Results


def controls(results: Results) -> str:
    """Selectors of measure, read-out and amount of labels, and a box for each method."""
    amounts = [f"{amount.heading()} labels" for amount in results.amounts]
    boxes = "".join(
        f'<label><input type="checkbox" name="method" value="{position}" checked>'
        f'<span class="key" data-key="{position}"></span>{escape(label(method))}</label>'
        for position, method in enumerate(results.methods)
    )
    return f"""<form class="controls" hidden aria-label="What the page shows">
{select("measure", "Measure", [MEASURES[measure] for measure in results.measures])}
{select("setting", "Read-out", [results.name(setting) for setting in results.settings])}
{select("amount", "Labels (charts of time and training)", [*amounts, "every amount"])}
<fieldset><legend>Methods</legend>{boxes}</fieldset>
</form>
<noscript><p class="note">The charts need JavaScript; the tables do not.</p></noscript>"""


def select(name: str, text: str, choices: list[str]) -> str:
    """A labelled selector whose values are positions."""
    options = "".join(
        f'<option value="{position}">{escape(choice)}</option>' for position, choice in enumerate(choices)
    )
    return f'<label class="choice">{escape(text)}<select name="{name}" autocomplete="off">{options}</select></label>'
