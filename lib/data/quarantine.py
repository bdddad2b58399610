"""When what was set aside stops a run, and how that is said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.data.rows import ANOTHER_HEADER, code
from lib.data.schema import COLUMNS
from lib.text import shortened, visible

UNREADABLE = "unreadable file"  # how the reason begins
SUPERSEDED = 0.05  # of a file's rows may have a date that comes again further down, and count as good
_WORST, _SHOWN = 10, 20


class QuarantineError(RuntimeError):
    """More rows were quarantined than ``ingest.max_quarantined_share`` allows, or prices contradict each other."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))  # it quotes what files hold


def refusal(accounts: pa.Table, quarantined: Callable[[], Iterable[pa.Table]], most: float) -> str | None:
    """Say why an archive's rows cannot become prices.

    Parameters
    ----------
    accounts : pyarrow.Table
        Of `lib.data.schema.FILES`.
    quarantined : callable
        Gives the tables of `lib.data.schema.QUARANTINE`; called only if there are any rows in them.
    most : float
        The share of the rows that may be quarantined. A row whose date comes again further down does not count, unless
        they are more than `SUPERSEDED` of their file.

    Returns
    -------
    str or None
        Sentences with the files, a reason and a raw line; None where nothing stands in the way.
    """
    if message := contradictions(accounts):
        return message
    bad = bool(pc.any(pc.greater(accounts["rows_quarantined"], 0)).as_py())
    return (other_headers(quarantined()) if bad else None) or too_many(accounts, quarantined(), most)


def contradictions(accounts: pa.Table) -> str | None:
    """What `refusal` says of files whose prices contradict each other."""
    files = accounts.filter(pc.is_valid(accounts["contradiction"])).to_pylist()
    if not files:
        return None
    return (
        f"{len(files):,} price {'file contradicts itself' if len(files) == 1 else 'files contradict themselves'}; are the columns "
        f"in an order other than that of the header, {','.join(COLUMNS)}?\n"
        + _listed(map(_contradictions, files))
        + "\nFix the header or the columns, or take the files out of the archive"
    )


def other_headers(quarantined: Iterable[pa.Table]) -> str | None:
    """What `refusal` says of files with a second header that names other columns, or the same in another order."""
    found = []
    for part in quarantined:
        rows = part.filter(pc.equal(part["code"], code(ANOTHER_HEADER)))
        found += [
            f"{shortened(row['file'], 80)}, line {row['line']}: {row['reason']}: {shortened(row['raw'], 200)}"
            for row in rows.to_pylist()
        ]
    if not found:
        return None
    return f"a header within a file:\n{_listed(found)}\nSplit each file where its other header begins"


def too_many(accounts: pa.Table, quarantined: Iterable[pa.Table], most: float) -> str | None:
    """What `refusal` says of rows that are quarantined."""
    unreadable = accounts.filter(pc.starts_with(accounts["refused"], UNREADABLE))
    # Of a file that cannot be read nobody knows how many rows it has. One or a few are set aside; most are a broken disk or download.
    if 2 * len(unreadable) > len(accounts):
        return (
            f"{len(unreadable):,} of {len(accounts):,} price files cannot be read:\n"
            + _listed(f"{shortened(file['file'], 80)}: {file['refused']}" for file in unreadable.to_pylist())
            + "\nCopy or download the archive again, or make the files readable"
        )
    rows, kept_rows, quarantined_rows, repeated = (
        accounts[name].to_numpy() for name in ("rows_read", "rows_kept", "rows_quarantined", "rows_repeated")
    )
    read, kept = int(rows.sum()), int(kept_rows.sum())
    bad = int((quarantined_rows - np.where(repeated <= SUPERSEDED * rows, repeated, 0)).sum())
    share = bad / read if read else 0.0
    if share <= most and kept:
        return None
    files = accounts.to_pylist()
    reasons = Counter[str]()
    for part in quarantined:
        with_line = part.filter(pc.is_valid(part["line"])) if read else part
        for counted in pc.value_counts(with_line["code"]).to_pylist():
            reasons[counted["values"]] += counted["counts"]
    if not reasons:
        return "no price is left: no file has a row that is not blank\nSet archive.source to another archive"
    kind, count = reasons.most_common(1)[0]
    worst = sorted((file for file in files if file["commonest_reason"]), key=lambda file: -file["rows_quarantined"])
    commonest = f" The commonest reason: {kind.replace('_', ' ')} ({count:,}). Worst files:\n" + "\n".join(
        f"  {_why(file)}" for file in worst[:_WORST]
    )
    fix = "\nFix the files, or set archive.source to another archive"
    if kind == "fractional_volume":
        fix += (
            "; or set archive.volume: rounded, which rounds to whole shares, half to even; or archive.volume_unit: 0.001, which "
            "counts in thousandths (for markets that trade fractions)"
        )
    if kind == "repeated_date":
        fix += ". Where a file has several symbols, archive.columns: {Symbol: COLUMN} says which column names them"
    if not kept:
        return f"no price is left: {read:,} raw rows were read, and none can be kept.{commonest}{fix}"
    lost = [file for file in files if file["symbol"] and not file["rows_kept"]]
    if lost:
        fix += (
            "; to allow more (ingest.max_quarantined_share) would drop "
            f"{'this symbol' if len(lost) == 1 else 'these symbols'} entirely: {_some(shortened(file['symbol'], 40) for file in lost)}"
        )
    elif kind != "repeated_date":
        fix += f", or allow more: -p ingest.max_quarantined_share {min(1.0, round(share + 0.005, 2)):g}"
    return (
        f"{bad:,} of {read:,} raw rows would be quarantined, {share:.2%}; ingest.max_quarantined_share allows "
        f"{most:.2%}.{commonest}{fix}"
    )


# What `remarks` needs of `lib.data.schema.FILES`.
REMARKED = ("file", "rows_read", "rows_kept", "rows_quarantined", "commonest_reason", "example", "cut_volume")


def remarks(accounts: pa.Table) -> list[str]:
    """What a user should know of an archive that was read: the files of which no row was kept, and those that seem cut off."""
    lost = [_why(file) for file in accounts.filter(pc.equal(accounts["rows_kept"], 0)).to_pylist()]
    cut = [shortened(name, 80) for name in accounts.filter(pc.greater(accounts["cut_volume"], 0))["file"].to_pylist()]
    sentences = []
    if lost:
        sentences.append(f"{len(lost):,} of {len(accounts):,} price files were set aside entirely:\n{_listed(lost)}")
    if cut:
        sentences.append(
            f"{len(cut):,} of {len(accounts):,} price files end without a newline, in a volume far below those before: they seem cut "
            f"off, and that last row is kept as it is:\n{_listed(cut)}"
        )
    return sentences


def _contradictions(file: dict[str, Any]) -> str:
    found = [
        (file["high_below_low"], "High is below Low"),
        (file["outside_range"], "Open or Close is outside Low to High"),
    ]
    kinds = (
        " and ".join(f"{text} in {count:,}" for count, text in found if count)
        or "Adj Close looks like a volume, not a price"
    )
    return (
        f"{shortened(file['file'], 80)}: {file['contradictions']:,} of {file['rows_kept']:,} rows contradict themselves ({kinds}); "
        f"{file['contradiction']}"
    )


def _why(file: dict[str, Any]) -> str:
    example = f"; {file['example']}" if file["example"] else ""
    return (
        f"{shortened(file['file'], 80)}: {file['rows_quarantined']:,} of "
        f"{file['rows_read']:,} rows: {file['commonest_reason'] or 'no rows'}{example}"
    )


def _listed(lines: Iterable[str]) -> str:
    found = [f"  {line}" for line in lines]
    more = [f"  and {len(found) - _SHOWN:,} more"] * (len(found) > _SHOWN)
    return "\n".join([*found[:_SHOWN], *more])


def _some(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else "")
