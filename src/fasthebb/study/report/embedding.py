"""Putting data, pictures and the chart library into a page that must not load anything."""

import base64
import json
import re
from html import escape
from typing import Any


def embedded_json(data: Any) -> str:
    r"""JSON that no text in it can end the script element around it.

    >>> embedded_json({"method": "</script>"})
    '{"method": "\\u003c/script>"}'
    """
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def plotly_script() -> str:
    """The source of plotly.js, without the pointer to a source map that a browser's tools would look for."""
    from plotly.offline import get_plotlyjs

    return re.sub(r"//# sourceMappingURL=\S*", "", str(get_plotlyjs()))


def image(png: bytes, alternative: str) -> str:
    """An ``<img>`` that holds its picture."""
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
