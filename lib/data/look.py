"""``bash run_all.sh --look PATH``: what is there, how it would be read, and a params file for it; nothing is written but that."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib import files, paths
from lib.data import (
    archive,
    detect,
    headers,
    multi_symbol,
    parquet_files,
    plans,
    quarantine,
    single_symbol,
    sources,
    text_files,
    unpack,
)
from lib.data.columns import Rows
from lib.data.dates_and_numbers import parse_number
from lib.data.detect import Found
from lib.data.headers import VALUES, Options
from lib.data.members import ArchiveError, Member
from lib.data.rows import BLANK, code
from lib.locations import Location
from lib.params import Params
from lib.text import printable

_SAMPLE = 300  # files whose rows are looked at
_MOST = 1 << 18  # bytes of each
_DAILY_WITHIN = 5  # days from one row to the next, as a rule: rarely traded shares have some, too
_SHOWN = 5
# How the lines begin that a params file repeats.
_IN_PARAMS = ("layout: ", "note: ", "symbols: ", "dates: ", "currency: ")
_CURRENCIES = {"$": "dollars ($)", "€": "euros", "£": "pounds", "¥": "yen or yuan", "₹": "rupees"}
_PLACES = {
    ".L": "pounds or pence",
    ".DE": "euros",
    ".PA": "euros",
    ".T": "yen",
    ".HK": "Hong Kong dollars",
    ".NS": "rupees",
    ".TO": "Canadian dollars",
}


_SMALL_VOLUME = 100  # rounding changes smaller ones by half a percent and more
CHOICES = {
    "dates": ("dates such as these can be read in several ways", "day_first", "month_first", "year_first"),
    "decimal": ("numbers such as 1,234 can be read in two ways", "point", "comma"),
}


@dataclass
class Look:
    """What a look at an archive found.

    Parameters
    ----------
    lines : list of str
        The message, line by line.
    params : dict of str to str
        Keys of the params file's section ``archive`` that the archive needs, as YAML has them, beside the source.
    readable : bool
        A run would get further than this.
    undecided : str
        The key that the user has to choose the value of, as several of `CHOICES` are possible; empty where nothing is open.
    refused : bool
        A run would stop, for what the lines say.
    """

    lines: list[str]
    params: dict[str, str]
    readable: bool = True
    undecided: str = ""
    refused: bool = False


def look(
    location: Location, options: Options | None = None, follow_links: bool = False, only_files: str | None = None
) -> Look:
    """Look at an archive: a folder, ``.zip``, ``.tar`` or price file, with the options of `lib.data.sources.open_archive`."""
    options = options or Options()
    with tempfile.TemporaryDirectory() as scratch:
        if isinstance(location, Path) and location.is_file() and location.name.lower().endswith(sources.TARS):
            location = sources.unpack_tar(location, Path(scratch))
        params: dict[str, str] = {}
        try:
            found = archive.list_archive(location, follow_links, options, only_files or "")
        except ArchiveError as error:
            return Look([str(error)], {}, readable=False, undecided=_undecided([str(error)]))
        lines = _describe(found)
        rows, refused = _rows_of_sample(found, params, "Volume" in dict(options.columns), Path(scratch))
        lines += rows + _not_read(found)
        if any(not file.refused for file in _found(found)):
            return Look(lines, params, refused=refused)
        return Look(lines, {}, readable=False, undecided=_undecided(file.refused or "" for file in _found(found)))


def _undecided(refusals: Iterable[str]) -> str:
    """The key whose value refusals ask for."""
    return next((key for refusal in refusals for key in CHOICES if f"archive.{key}: " in refusal), "")


def _found(listed: archive.Archive) -> list[Found]:
    alone = [
        Found(Member(listed.base + file.name, file.size, file.packed), file.symbol, file.plan, file.refused)
        for file in listed.files
    ]
    return [*alone, *listed.tables]


def _describe(listed: archive.Archive) -> list[str]:
    found = _found(listed)
    endings = Counter(archive.ending(file.member.name) for file in found)
    size = sum(file.member.size for file in found)
    lines = [
        f"{len(found):,} price file{'s' * (len(found) != 1)} ({', '.join(f'{count:,} {ending}' for ending, count in endings.most_common())}), {size / 1e6:,.1f} MB"
    ]
    groups: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for file in found:
        if not file.refused:
            groups[(file.plan or plans.KAGGLE).reading.titles].append(file)
    for titles, several in groups.items():
        plan = several[0].plan or plans.KAGGLE
        columns = ", ".join(
            f"{ours} is {plan.header[index]!r}"
            for ours, index in plan.reading.columns.items()
            if ours != plan.header[index]
        )
        header = plan.delimiter.join(plan.header)[:150]
        by = "without a header" if plan.header == headers.numbered(len(plan.header)) else f"by the header {header!r}"
        lines.append(f"layout: {' or '.join(titles)} ({len(several):,} file{'s' * (len(several) != 1)}), {by}")
        if columns and not plan.tickers:
            lines.append(f"  columns: {columns}")
        if plan.reading.adjusted:
            lines.append(f"  adjusted: {plan.reading.adjusted}")
    if joined := [symbol for symbol, count in Counter(file.symbol for file in found if file.key).items() if count > 1]:
        members = [printable(file.member.name) for file in found if file.symbol == joined[0]]
        shown = ", ".join(members[:_SHOWN]) + ", ..." * (len(members) > _SHOWN)
        lines.append(f"joined: the files of {len(joined):,} symbol{'s' * (len(joined) != 1)}, such as {shown}")
    lines += [f"note: {note}" for note in listed.notes]
    if listed.metadata:
        names = ", ".join(printable(member.name) for member in listed.metadata)
        lines.append(
            f"metadata: {names}, {listed.metadata_symbols:,} symbols; {len(listed.symbols_without_metadata):,} price files have no name there"
        )
    else:
        lines.append(f"metadata: {archive.NO_METADATA}")
    return lines


@dataclass(frozen=True)
class _Read:
    """What was read of a file: its beginning, unpacked, unless it is Parquet, the rows there, how many bytes of the file they are, and whether they are all."""

    file: Found
    content: bytes
    rows: Rows
    used: int
    complete: bool


def _rows_of_sample(
    listed: archive.Archive, params: dict[str, str], volume_chosen: bool, scratch: Path
) -> tuple[list[str], bool]:
    """Read a sample of the rows as a run would: of some files, the beginning of each. And whether a run would refuse them.

    Where the user has said which column the volume is, fractions may mean that it is another: nothing is chosen for them.
    """
    found = [file for file in _found(listed) if not file.refused]
    step = max(1, len(found) // _SAMPLE)
    sample = found[::step][:_SAMPLE]
    beginnings: list[_Read] = []
    tables: list[pa.Table] = []
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    fractions: list[float] = []
    read = bytes_read = 0
    stops = False
    refused = [file for file in _found(listed) if file.refused][::step][:_SAMPLE]
    for file in sample:
        try:
            beginning = _read(listed.location, file)
        except (OSError, UnicodeDecodeError, pa.ArrowException, headers.Refused) as error:
            reasons["unreadable file"] += 1
            examples.setdefault("unreadable file", f"{printable(file.member.name)}: {error}")
            refused.append(replace(file, plan=None, refused=f"{quarantine.UNREADABLE}: {error}"))
            continue
        beginnings.append(beginning)
        rows = beginning.rows
        bytes_read += beginning.used
        read += int(rows.counts.sum())
        for row, reason in rows.bad.items():
            if reason == BLANK:
                read -= 1
                continue
            reasons[code(reason)] += 1
            if code(reason) == "fractional_volume":
                text = reason.partition(": ")[2].strip("'")
                fractions.append(float(parse_number(text, (file.plan or plans.KAGGLE).mark) or 0))
            if code(reason) not in examples:
                text = rows.raw(0, row)
                examples[code(reason)] = (
                    f"{printable(file.member.name)}, line {int(rows.lines[0][row]):,}: {reason}; {text[:120]!r}"
                )
        table = rows.table
        if "Symbol" not in table.schema.names:
            table = table.append_column("Symbol", pa.array([file.symbol] * table.num_rows, pa.string()))
        tables.append(table.select(["Symbol", *VALUES]).set_column(0, "Symbol", table["Symbol"].cast(pa.string())))
    total = sum(file.member.size for file in found if not unpack.packing(file.member.name))
    whole = len(sample) == len(found) and all(own.complete for own in beginnings)
    lines = [
        "" if whole else f"based on a sample: the beginning of {len(sample):,} of {len(found):,} files, {read:,} rows"
    ]
    table = pa.concat_tables(tables) if tables else None
    if table is not None and table.num_rows:
        estimate = (
            "" if whole or not bytes_read or not total else f", about {read * total / bytes_read:,.0f} rows in all"
        )
        kept, stops = _of_rows_kept(table, listed, f"{read:,} read, {table.num_rows:,} kept{estimate}", whole)
        lines += kept
    if reasons:
        lines.append(f"would be set aside: {sum(reasons.values()):,} of {read:,} rows")
        lines += [
            f"  {kind.replace('_', ' ')} ({count:,}): {examples[kind]}" for kind, count in reasons.most_common(_SHOWN)
        ]
    if reasons["fractional_volume"] > 0.01 * max(1, read):
        usual = float(np.median(fractions))
        if usual >= _SMALL_VOLUME and not volume_chosen:
            params["volume"] = "rounded"
        lines.append(_of_fractions(usual))
    if "volume" in params:
        as_rounded = [
            replace(own.file, plan=replace(own.file.plan or plans.KAGGLE, rounded=True)) for own in beginnings
        ]
        beginnings = [_read(listed.location, file) for file in as_rounded]
    for stop in _stops(listed, beginnings, refused, scratch) if read or whole else []:
        first, *rest = stop.splitlines()
        lines += [f"a run would stop: {first}", *rest]
        stops = True
    return [line for line in lines if line], stops


def _of_rows_kept(table: pa.Table, listed: archive.Archive, counted: str, whole: bool) -> tuple[list[str], bool]:
    """What the rows are that would be kept, and whether they are too few for a study."""
    found = [file for file in _found(listed) if not file.refused]
    symbols = sorted({file.symbol for file in found if file.symbol} | set(pc.unique(table["Symbol"]).to_pylist()))
    shown = f"{', '.join(map(_shown, symbols[:_SHOWN]))}{', ...' * (len(symbols) > _SHOWN)}"
    span = pc.min_max(table["Date"]).as_py()
    lines = [
        f"symbols: {'' if whole else 'at least '}{len(symbols):,} ({shown})",
        f"dates: {span['min']} to {span['max']}; rows: {counted}",
    ]
    longest = pc.max(pc.value_counts(table["Symbol"]).field("counts")).as_py()
    window = Params().features.window
    if short := whole and longest <= window:
        lines.append(
            f"too short: no symbol has more than {longest:,} row{'s' * (longest != 1)}, and features.window is {window} days: provide a longer price history, a year or more"
        )
    if (apart := _days_apart(table)) > _DAILY_WITHIN:
        lines.append(
            f"note: as a rule {apart:.0f} days from one row of a symbol to the next: the data seem to be weekly or monthly, so that a window of {window} rows covers "
            f"{window} weeks or months, and a next-session forecast is one for the next week or month"
        )
    lines += [f"currency: {_currency(listed, symbols, found)}", "first rows as they would be kept:"]
    return [
        *lines,
        *(f"  {line}" for line in table.slice(0, _SHOWN).to_pandas().to_string(index=False).splitlines()),
    ], short


def _days_apart(table: pa.Table) -> float:
    """The median of the days from one row of a symbol to the next; 0 with one row each."""
    rows = table.select(["Symbol", "Date"]).sort_by([("Symbol", "ascending"), ("Date", "ascending")])
    days = np.diff(rows["Date"].cast(pa.int32()).to_numpy())
    same = pc.equal(rows["Symbol"][1:], rows["Symbol"][:-1]).to_numpy()
    return float(np.median(days[same])) if same.any() else 0.0


def _of_fractions(usual: float) -> str:
    """What to do about volumes with a fraction, whose median is ``usual``."""
    if usual >= _SMALL_VOLUME:
        return (
            "volumes have fractions: archive.volume: rounded rounds them; archive.volume_unit: 0.001 counts thousandths"
        )
    unit = 10.0 ** np.floor(np.log10(max(usual, 1e-9) / _SMALL_VOLUME))
    return (
        f"volumes have fractions and are small, {usual:.3g} as a rule: rounding them would lose what they say. archive.volume_unit: {unit:g} "
        "counts them in such units, and archive.volume: rounded rounds what is left"
    )


def _shown(symbol: str) -> str:
    return symbol if symbol.isprintable() else printable(symbol)  # one from a file's name has its escapes already


def _stops(
    listed: archive.Archive, beginnings: Sequence[_Read], refused: Sequence[Found], scratch: Path
) -> Iterator[str]:
    """What a run would stop for, if what was read were all: by the accounts that a run gives of it."""
    parsed, contents = [], []
    for file in refused:
        content = b""
        with contextlib.suppress(OSError):
            content = unpack.beginning(listed.location, file.member, _MOST)[0]
        contents.append(_content(file, content))
    for own in beginnings:
        if not detect.is_table(own.file):
            parsed.append(single_symbol.accounted([_content(own.file, own.content)], own.rows))
    parsed += single_symbol.parse_contents(contents)
    if tables := [own for own in beginnings if detect.is_table(own.file)]:
        found, rows, texts = zip(*((own.file, own.rows, own.content) for own in tables), strict=True)
        stage = multi_symbol.stage_beginnings(listed.location, found, rows, texts, scratch)
        try:
            stage.refuse_symbols_of({file.symbol: file.name for file in listed.files})
            parsed.append(stage.part(stage.symbols or [""], first=True).parsed({}))
        except quarantine.QuarantineError as error:
            yield str(error)
    if parsed:
        accounts = pa.concat_tables(part.files for part in parsed)
        quarantined = [part.quarantine for part in parsed]
        most = Params().ingest.max_quarantined_share
        others = quarantine.other_headers(quarantined) or quarantine.too_many(accounts, quarantined, most)
        yield from filter(None, (quarantine.contradictions(accounts), others))


def _content(file: Found, content: bytes) -> single_symbol.Content:
    plan = None if file.refused else file.plan or plans.KAGGLE
    own = archive.PriceFile(file.member.name, file.symbol, None, file.member.size, plan=plan, refused=file.refused)
    return single_symbol.Content(own, content, "", file.refused)


def _read(location: Location, file: Found) -> _Read:
    plan = file.plan or plans.KAGGLE
    if plan.parquet:
        source = unpack.source(location, file.member)
        total = pq.read_metadata(source).num_rows
        rows = next(parquet_files.read_row_groups(source, [0], 0, plan, 5000))
        read = int(rows.counts.sum())
        return _Read(file, b"", rows, file.member.size * read // max(1, total), read >= total)
    header = len(plan.delimiter.join(plan.header))  # of thousands of symbols side by side, as long as many rows
    content, complete = unpack.beginning(location, file.member, max(_MOST, 20 * header))
    if complete and unpack.packing(file.member.name):
        unpack.whole(location, file.member)  # which finds a damaged end
    if not complete:
        content = content[: max(content.rfind(b"\n"), content.rfind(b"\r")) + 1] or content
    return _Read(file, content, text_files.read_rows([text_files.body_of(content, plan)], plan), len(content), complete)


def _currency(listed: archive.Archive, symbols: Sequence[str], found: Sequence[Found]) -> str:
    """What hints at the currency: a sign before prices, or the symbols' endings."""
    texts = [file for file in found if file.plan is None or not file.plan.parquet]
    head = unpack.beginning(listed.location, texts[0].member, 2000)[0] if texts else b""
    text = plans.to_utf8(head, plans.encoding_of(head, False)).decode("utf-8", "replace")
    signs = [name for sign, name in _CURRENCIES.items() if sign in text]
    endings = Counter(name for symbol in symbols for ending, name in _PLACES.items() if symbol.endswith(ending))
    hints = [*signs, *(f"{name} ({count:,} symbols, by their endings)" for name, count in endings.most_common(3))]
    return ", ".join(hints) or "unknown; reports assume dollars"


def _not_read(listed: archive.Archive) -> list[str]:
    lines = []
    refused = [file for file in listed.files if file.refused]
    if refused:
        lines.append(f"cannot be read: {len(refused):,} price file{'s' * (len(refused) != 1)}")
        lines += _some((printable(file.name), file.refused or "") for file in refused)
    if listed.ignored:
        lines.append(f"skipped: {len(listed.ignored):,} other files")
        lines += _some((printable(file.name), file.why) for file in listed.ignored)
    return lines


def _some(entries: Iterable[tuple[str, str]]) -> list[str]:
    """The entries grouped by the message about them, with the first entry of each group."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, why in entries:
        groups[why].append(name)
    shown = [
        f"  {names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {why}"
        for why, names in groups.items()
    ]
    return [*shown[:10], *([f"  and {len(shown) - 10:,} other reasons"] if len(shown) > 10 else [])]


def _as_yaml(value: Any) -> str:
    """A value on one line: JSON is YAML, but for some characters that YAML forbids, or reads as the end of a line."""
    written = json.dumps(value, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" for character in written):
        raise ArchiveError(
            f"{printable(written)}: a byte that is not UTF-8, which no params file can hold; rename the file or folder first"
        )
    return "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in written)


def write_params(name: str, given: str, found: Look, chosen: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the params file of a study of the archive.

    Parameters
    ----------
    given : str
        The archive's path, as ``archive.source`` will name it.
    chosen : dict of str to dict of str to object
        What the look was told, by section and key.

    Raises
    ------
    ArchiveError
        A name has a byte that is not UTF-8.
    """
    path = paths.params_file(name)
    lines = [
        f"# A study of {printable(given)}, as bash run_all.sh --look found it. What is not set here has its default:",
        "# params/sample.yaml lists every key.",
        "#",
        *(f"#   {printable(line)}" for line in found.lines if line.startswith(_IN_PARAMS)),
        "",
        "archive:",
        f"  source: {_as_yaml(given)}",
    ]
    if "volume" in found.params:
        lines.append(
            "  # volumes with a fraction: rounded to whole ones, half to even; or set volume_unit: 0.001 instead"
        )
    lines += [f"  {key}: {_as_yaml(value)}" for key, value in {**found.params, **chosen.get("archive", {})}.items()]
    if found.undecided:
        why, *values = CHOICES[found.undecided]
        lines += [
            f"  # {why}: uncomment one of these lines",
            *(f"  # {found.undecided}: {value}" for value in values),
        ]
    for section in sorted(chosen.keys() - {"archive"}):
        lines += ["", f"{section}:", *(f"  {key}: {_as_yaml(value)}" for key, value in chosen[section].items())]
    files.write_atomically(path, "\n".join(lines) + "\n")
    return path
