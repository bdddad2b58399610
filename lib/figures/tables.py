"""Tables of the notebooks and pages, and how values are written in them."""

from __future__ import annotations

import html

import pandas as pd
from IPython.display import HTML, display
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from lib.text import column_as_text


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
    """The HTML of `show_table`: a ``<table>``.

    Examples
    --------
    >>> table_html(pd.DataFrame({"rows": [12154]}), "Kept")
    '<table><caption>Kept</caption><thead><tr><th scope="col" class="number">rows</th></tr></thead>\
<tbody><tr><td class="number">12,154</td></tr></tbody></table>'
    """
    if index:
        frame = frame.rename_axis(index=str(frame.index.name or "")).reset_index()
    numeric = [is_numeric_dtype(dtype) and not is_bool_dtype(dtype) for dtype in frame.dtypes.tolist()]
    texts = [column_as_text(frame.iloc[:, column].tolist()) for column in range(frame.shape[1])]
    head = "".join(
        f'<th scope="col"{NUMBER if is_number else ""}>{html.escape(str(name))}</th>' if str(name) else "<td></td>"
        for name, is_number in zip(frame.columns, numeric, strict=True)
    )
    rows = []
    for row in zip(*texts, strict=True):
        cells = []
        for column, text in enumerate(row):
            tag = 'th scope="row"' if index and column == 0 else "td"
            kind = NUMBER if numeric[column] else ' class="long"' if len(text) > 24 else ""
            cells.append(f"<{tag}{kind}>{html.escape(text)}</{tag[:2]}>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
