"""Price files of one symbol in other layouts than Kaggle's, to prices: those that are read alike, together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from blake3 import blake3

from lib.data import headers, parse, plans, quarantine, text_files, unpack
from lib.data.archive import PriceFile
from lib.data.columns import Rows, no_rows
from lib.data.members import Member
from lib.data.plans import Plan
from lib.locations import Location
from lib.text import printable

_FEW = 50  # lines: of so short a file `lib.data.detect` has seen how its rows are written
_TOGETHER = 1 << 26  # bytes that are parsed at once


@dataclass(frozen=True)
class Content:
    """A file that was read.

    Parameters
    ----------
    content : bytes
        Unpacked.
    digest : str
        BLAKE3 of them.
    refused : str or None
        Why none of its rows can be used.
    """

    file: PriceFile
    content: bytes
    digest: str
    refused: str | None

    def described(self) -> str:
        """Everything that its rows are made of."""
        return f"{printable(self.file.name)}\t{self.file.symbol}\t{self.file.security_name}\t{self.digest}\t{self.refused}\t{self.file.plan}\n"


def read(location: Location, base: str, file: PriceFile) -> Content:
    """Read a file of an archive."""
    try:
        content = unpack.whole(location, Member(base + file.name, file.size, file.packed))
    except OSError as error:
        return Content(file, b"", "", f"{quarantine.UNREADABLE}: {error.strerror or error}")
    return Content(file, content, blake3(content).hexdigest(), file.refused)


def quoted(file: PriceFile, content: bytes) -> Content | None:
    """A file with Kaggle's header some of whose rows have quotes, as "1,234" has; None for another."""
    lines = content.count(b"\n")
    if lines < _FEW or 50 * content.count(b'"') < lines or plans.encoding_of(content) != "utf-8":
        return None
    try:
        plan = plans.plan_file(content).plan
    except headers.Refused:
        return None
    return Content(replace(file, plan=plan), content, blake3(content).hexdigest(), None)


def parse_contents(found: Sequence[Content]) -> list[parse.Parsed]:
    """Make prices of files, those with the same plan together."""
    groups: dict[Plan, list[list[Content]]] = {}
    parsed = []
    refused = []
    for content in found:
        plan = content.file.plan
        if content.refused is not None or plan is None:
            refused.append(content)
            continue
        batches = groups.setdefault(plan, [[]])
        if sum(len(other.content) for other in batches[-1]) + len(content.content) > _TOGETHER and batches[-1]:
            batches.append([])
        batches[-1].append(content)
    if refused:
        sources = [_refused(content) for content in refused]
        nothing = no_rows(0)
        parsed.append(parse.account(sources, nothing.table, {}, nothing.raw))
    for plan, batches in groups.items():
        for batch in batches:
            rows = text_files.read_rows([text_files.body_of(content.content, plan) for content in batch], plan)
            parsed.append(accounted(batch, rows))
    return parsed


def accounted(found: Sequence[Content], rows: Rows) -> parse.Parsed:
    """Make prices of the rows that were read of files."""
    file_of_row = np.delete(np.repeat(np.arange(len(found)), rows.counts), list(rows.bad))
    rounded = np.bincount(file_of_row[rows.rounded], minlength=len(found)).tolist()
    sources = [_source(content, rows, number, rounded[number]) for number, content in enumerate(found)]
    return parse.account(sources, rows.table.select(list(headers.VALUES)), rows.bad, rows.raw)


def _source(content: Content, rows: Rows, number: int, rounded: int) -> parse.Source:
    file = content.file
    body = parse.Body(
        b"",
        int(rows.counts[number]),
        rows.lines[number],
        unfinished=not content.content.endswith((b"\n", b"\r", b"\n\0")),
    )
    assert file.plan is not None
    return replace(
        _with_body(content, body),
        layout=" or ".join(file.plan.reading.titles),
        no_adjusted=bool(rows.no_adjusted[number]),
        rounded=rounded,
    )


def _with_body(content: Content, body: parse.Body) -> parse.Source:
    file = content.file
    return parse.Source(
        printable(file.name), file.symbol, file.security_name, content.digest, len(content.content), body, layout=""
    )


def _refused(content: Content) -> parse.Source:
    text = plans.to_utf8(content.content, plans.encoding_of(content.content)).decode("utf-8", "backslashreplace")
    lines = [(number, line[:10_000]) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    # What is above the rows is no row, and of a file that is no text nobody knows.
    rows = () if "\0" in text else tuple(lines[0 if (content.refused or "").startswith("no header") else 1 :])
    return _with_body(content, parse.Body(b"", refused=content.refused, set_aside=rows))
