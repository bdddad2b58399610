"""What is said at the head of a page: that it is out of date, or beside newer prices."""

from __future__ import annotations

import html
from contextlib import suppress
from pathlib import Path

from lib import files
from lib.stage_records import OUT_OF_DATE

_BEGIN, _END = "<!-- status -->", "<!-- end of status -->"


def status(note: str) -> str:
    """The HTML of what is said; a page holds it, also where nothing is said."""
    kind = "out-of-date" if note.startswith(OUT_OF_DATE) else "kept"
    paragraph = f'<p class="{kind}" role="note">{html.escape(note)}</p>' if note else ""
    return f"{_BEGIN}{paragraph}{_END}"


def mark(page: Path, note: str) -> None:
    """Replace what is said at the head of a page of `lib.reports.page`, if any; an empty ``note`` says nothing."""
    with suppress(OSError, UnicodeDecodeError):
        head, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
        _, end, tail = rest.partition(_END)
        if end:
            files.write_atomically(page, f"{head}{status(note)}{tail}")
