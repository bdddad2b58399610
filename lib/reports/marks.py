"""What is said at the head of a page: that it is out of date, or beside newer prices. Replaced without rendering the page again."""

from __future__ import annotations

import hashlib
import html
from contextlib import suppress
from pathlib import Path

from lib import files
from lib.stage_records import OUT_OF_DATE

_BEGIN, _END = "<!-- status -->", "<!-- end of status -->"


def status(note: str) -> str:
    """The HTML of what is said; a page holds it, also where nothing is said."""
    kind = "out-of-date" if note.startswith(OUT_OF_DATE) else "kept"
    told = f'<p class="{kind}" role="note">{html.escape(note)}</p>' if note else ""
    return f"{_BEGIN}{told}{_END}"


def mark(page: Path, note: str) -> None:
    """Say something at the head of a page of `lib.reports.page`, if it is there.

    Parameters
    ----------
    note : str
        It replaces what is said there; empty: nothing is said.
    """
    with suppress(OSError, UnicodeDecodeError):
        text = page.read_text(encoding="utf-8")
        if (marked := _with_note(text, note)) != text:
            files.write_atomically(page, marked)


def mark_again(page: Path, before: str, sha256: str, note: str) -> bool:
    """Say something else at the head of a page, which is then what `lib.reports.page.write_report` would write with that note.

    Parameters
    ----------
    before, sha256 : str
        What was said when the page was written, and the digest of its bytes then.

    Returns
    -------
    bool
        Whether the page is what was written, but for what is said at its head; else it is left alone.
    """
    with suppress(OSError, UnicodeDecodeError):
        text = page.read_bytes().decode()
        if hashlib.sha256(_with_note(text, before).encode()).hexdigest() == sha256:
            files.write_atomically(page, _with_note(text, note))
            return True
    return False


def _with_note(page: str, note: str) -> str:
    head, _, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    return f"{head}{status(note)}{tail}" if end else page
