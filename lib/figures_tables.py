"""Tables of the notebooks and pages, and how values are written in them."""

from __future__ import annotations

import datetime
import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, display
from pandas.api.types import is_bool_dtype, is_numeric_dtype


def show_table(frame: pd.DataFrame, caption: str, index: bool = False) -> None:
    """Display a small table in a notebook, numbers to the right and grouped by thousands.

    Parameters
    ----------
    frame : pandas.DataFrame
        Shown whole: pass ``frame.head(10)`` of a long one.
    caption : str
        What it shows, with units that the column names do not say.
    index : bool
        Show the index as row headings.
    """
    display(HTML(table_html(frame, caption, index)))


NUMBER = ' class="number"'


def table_html(frame: pd.DataFrame, caption: str, index: bool = False) -> str:
    """The HTML of `show_table`.

    Parameters
    ----------
    frame : pandas.DataFrame
    caption : str
    index : bool
        Show the index as row headings.

    Returns
    -------
    str
        A ``<table>``.

    Examples
    --------
    >>> table_html(pd.DataFrame({"rows": [12154]}), "Kept")
    '<table><caption>Kept</caption><thead><tr><th scope="col" class="number">rows</th></tr></thead>\
<tbody><tr><td class="number">12,154</td></tr></tbody></table>'
    """
    if index:
        frame = frame.rename_axis(index=str(frame.index.name or "")).reset_index()
    numeric = [is_numeric_dtype(dtype) and not is_bool_dtype(dtype) for dtype in frame.dtypes.tolist()]
    texts = [_spelt_column(frame.iloc[:, place].tolist()) for place in range(frame.shape[1])]
    head = "".join(
        f'<th scope="col"{NUMBER if is_number else ""}>{html.escape(str(name))}</th>' if str(name) else "<td></td>"
        for name, is_number in zip(frame.columns, numeric, strict=True)
    )
    rows = []
    for row in zip(*texts, strict=True):
        cells = []
        for place, text in enumerate(row):
            tag = 'th scope="row"' if index and place == 0 else "td"
            kind = NUMBER if numeric[place] else ' class="long"' if len(text) > 24 else ""
            cells.append(f"<{tag}{kind}>{html.escape(text)}</{tag[:2]}>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _spelt_column(values: Sequence[Any]) -> list[str]:
    """Each value `spelt`; floats of like size with the same number of decimals, so that the points align."""
    sizes = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    if len(sizes) < 2 or max(sizes) > 1000 * min(sizes):
        return [spelt(value) for value in values]
    size = min(sizes) if max(sizes) < 10 * min(sizes) else max(sizes)
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return [
        f"{value:,.{decimals}f}" if isinstance(value, float) and math.isfinite(value) else spelt(value)
        for value in values
    ]


def spelt(value: Any) -> str:
    """A value as readers like it: thousands grouped, four significant digits, ISO dates, a dash for none.

    Examples
    --------
    >>> spelt(12154), spelt(3.14159), spelt(1234567.8), spelt(None), spelt(datetime.date(2000, 3, 1))
    ('12,154', '3.142', '1,234,568', '–', '2000-03-01')
    """
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:,.0f}" if abs(float(value)) >= 1000 else f"{value:.4g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def share_text(share: float) -> str:
    """A share as a percentage that does not round something to nothing.

    Examples
    --------
    >>> share_text(0.5), share_text(0.0123), share_text(1e-7), share_text(0)
    ('50%', '1.2%', 'under 0.001%', '0%')
    """
    percent = 100 * share
    if percent == 0 or percent >= 10:
        return f"{percent:.0f}%"
    return "under 0.001%" if percent < 0.001 else f"{percent:.2g}%"
