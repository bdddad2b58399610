"""``bash run_all.sh --look PATH``: what is there, how it would be read, and a params file for it; nothing is written but that."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lib import files, locations, paths
from lib.data import archive, detect, parquet_files, plans, sources, text_files, unpack
from lib.data.columns import Rows
from lib.data.detect import Found
from lib.data.members import ArchiveError, Member
from lib.data.plans import VALUES, Options, Plan
from lib.data.quarantine import SUPERSEDED
from lib.data.rows import BLANK, code
from lib.data.schema import HEADER
from lib.data.text_files import Body
from lib.locations import Place
from lib.params import Params
from lib.text import printable

_SAMPLE = 300  # files whose rows are looked at
_MOST = 1 << 18  # bytes of each
_SHOWN = 5
_KAGGLE = Plan(
    "utf-8", ",", 1, VALUES, plans.recognised(tuple(HEADER.decode().strip().split(",")), "", ()), plain_dates=True
)
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


CHOICES = {
    "dates": ("day_first", "month_first", "dates such as 01/02/2021 can be read in two ways"),
    "decimal": ("point", "comma", "numbers such as 1,234 can be read in two ways"),
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
        The key that the user has to choose the value of, as both of `CHOICES` are possible; empty where nothing is open.
    refused : bool
        A run would stop, since too many rows would be set aside.
    """

    lines: list[str]
    params: dict[str, str]
    readable: bool = True
    undecided: str = ""
    refused: bool = False


def look(
    location: Place, options: Options | None = None, follow_links: bool = False, only_files: str | None = None
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
        rows, refused = _rows_of_sample(found, params, "Volume" in dict(options.columns))
        lines += rows + _not_read(found)
        if any(not file.refused for file in _found(found)):
            return Look(lines, params, refused=refused)
        return Look(lines, {}, readable=False, undecided=_undecided(file.refused or "" for file in _found(found)))


def _undecided(refusals: Iterable[str]) -> str:
    """The key whose value refusals ask for."""
    found = (re.search(r"archive\.(dates|decimal): ", refusal) for refusal in refusals)
    return next((one[1] for one in found if one), "")


def _found(listed: archive.Archive) -> list[Found]:
    alone = [
        Found(Member(listed.base + file.name, file.size, file.packed), file.symbol, file.plan, file.refused)
        for file in listed.files
    ]
    return [*alone, *listed.tables]


def _describe(listed: archive.Archive) -> list[str]:
    found = _found(listed)
    endings = Counter(
        "".join(
            Path(file.member.name).suffixes[-2:]
            if unpack.packing(file.member.name)
            else Path(file.member.name).suffixes[-1:]
        ).lower()
        for file in found
    )
    size = sum(file.member.size for file in found)
    lines = [
        f"{len(found):,} price file{'s' * (len(found) != 1)} ({', '.join(f'{count:,} {ending}' for ending, count in endings.most_common())}), {size / 1e6:,.1f} MB"
    ]
    groups: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for file in found:
        if not file.refused:
            groups[detect.titles(file)].append(file)
    for titles, several in groups.items():
        plan = several[0].plan or _KAGGLE
        columns = ", ".join(
            f"{ours} is {plan.header[index]!r}"
            for ours, index in plan.reading.columns.items()
            if ours != plan.header[index]
        )
        header = plan.delimiter.join(plan.header)[:150]
        by = "without a header" if plan.header == plans.numbered(len(plan.header)) else f"by the header {header!r}"
        lines.append(f"layout: {' or '.join(titles)} ({len(several):,} file{'s' * (len(several) != 1)}), {by}")
        if columns and not plan.tickers:
            lines.append(f"  columns: {columns}")
        if plan.reading.adjusted:
            lines.append(f"  adjusted: {plan.reading.adjusted}")
    lines += [f"note: {note}" for note in listed.notes]
    if listed.metadata:
        names = ", ".join(printable(member.name) for member in listed.metadata)
        lines.append(
            f"metadata: {names}, {listed.metadata_symbols:,} symbols; {len(listed.symbols_without_metadata):,} price files have no name there"
        )
    else:
        lines.append(f"metadata: {archive.NO_METADATA}")
    return lines


def _rows_of_sample(listed: archive.Archive, params: dict[str, str], volume_chosen: bool) -> tuple[list[str], bool]:
    """Read a sample of the rows as a run would: of some files, the beginning of each. And whether a run would refuse them.

    Where the user has said which column the volume is, fractions may mean that it is another: nothing is chosen for them.
    """
    found = [file for file in _found(listed) if not file.refused]
    step = max(1, len(found) // _SAMPLE)
    sample = found[::step][:_SAMPLE]
    tables: list[pa.Table] = []
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    read = rounded = bytes_read = 0
    for file in sample:
        try:
            rows, used = _read(listed.location, file)
        except (OSError, plans.Refused) as error:
            reasons["unreadable file"] += 1
            examples.setdefault("unreadable file", f"{printable(file.member.name)}: {error}")
            continue
        bytes_read += used
        read += int(rows.counts.sum())
        rounded += int(rows.rounded.sum())
        for row, reason in rows.bad.items():
            if reason == BLANK:
                read -= 1
                continue
            reasons[code(reason)] += 1
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
    whole = len(sample) == len(found) and bytes_read >= total
    lines = [
        "" if whole else f"based on a sample: the beginning of {len(sample):,} of {len(found):,} files, {read:,} rows"
    ]
    table = pa.concat_tables(tables) if tables else None
    if table is not None and table.num_rows:
        symbols = {file.symbol for file in found if file.symbol} | set(pc.unique(table["Symbol"]).to_pylist())
        span = pc.min_max(table["Date"]).as_py()
        estimate = "" if whole or not bytes_read else f", about {read * total / bytes_read:,.0f} rows in all"
        lines.append(
            f"symbols: {'' if whole else 'at least '}{len(symbols):,} ({', '.join(map(printable, sorted(symbols)[:_SHOWN]))}{', ...' * (len(symbols) > _SHOWN)})"
        )
        lines.append(f"dates: {span['min']} to {span['max']}; rows: {read:,} read, {table.num_rows:,} kept{estimate}")
        longest = pc.max(pc.value_counts(table["Symbol"]).field("counts")).as_py()
        window = Params().features.window
        if whole and longest <= window:
            lines.append(
                f"too short: no symbol has more than {longest:,} row{'s' * (longest != 1)}, and features.window is {window} days: provide a longer price history, a year or more"
            )
        lines.append(f"currency: {_currency(listed, sorted(symbols), found)}")
        lines.append("first rows as they would be kept:")
        lines += [f"  {line}" for line in table.slice(0, _SHOWN).to_pandas().to_string(index=False).splitlines()]
    if reasons:
        lines.append(f"would be set aside: {sum(reasons.values()):,} of {read:,} rows")
        lines += [
            f"  {kind.replace('_', ' ')} ({count:,}): {examples[kind]}" for kind, count in reasons.most_common(_SHOWN)
        ]
    if reasons["fractional_volume"] > 0.01 * max(1, read):
        if not volume_chosen:
            params["volume"] = "rounded"
        lines.append(
            "volumes have fractions: archive.volume: rounded rounds them; archive.volume_unit: 0.001 counts thousandths"
        )
    settled = ("unreadable_file", *(["fractional_volume"] if "volume" in params else []))
    share = sum(count for kind, count in reasons.items() if kind not in settled) / max(1, read)
    if share > 0.01:
        lines.append(f"that is {share:.1%}: a run stops above 1 % unless ingest.max_quarantined_share allows more")
    contradictions = _contradictions(table) if table is not None else []
    return [line for line in [*lines, *contradictions] if line], share > 0.01 or bool(contradictions)


def _contradictions(table: pa.Table) -> list[str]:
    """What of rows that can be kept stops a run all the same, if it is in more than 5 % of a file's: here, of all rows."""
    said = []
    repeated = len(table) - len(table.group_by(["Symbol", "Date"]).aggregate([]))
    if repeated > SUPERSEDED * len(table):
        said.append(
            f"repeated dates: {repeated:,} of {len(table):,} rows repeat a date of the same symbol, and a run would stop. Are "
            "there several symbols in a file, and does a column name them? Then archive.columns: {Symbol: COLUMN}"
        )
    crossed = pc.sum(pc.less(table["High"], table["Low"])).as_py() or 0
    if crossed > SUPERSEDED * len(table):
        said.append(
            f"contradictions: in {crossed:,} of {len(table):,} rows High is below Low, and a run would stop. Are the columns in another order?"
        )
    return said


def _read(location: Place, file: Found) -> tuple[Rows, int]:
    plan = file.plan or _KAGGLE
    if plan.parquet:
        packed = file.member.packed is not None
        source = locations.stream(location / file.member.name)
        if packed:
            source = pa.BufferReader(unpack.whole(location, file.member))
        rows = next(parquet_files.read_row_groups(source, [0], 0, plan, 5000))
        return rows, file.member.size
    header = len(plan.delimiter.join(plan.header))  # of thousands of symbols side by side, as long as many rows
    content, complete = unpack.beginning(location, file.member, max(_MOST, 20 * header))
    if not complete:
        content = content[: content.rfind(b"\n") + 1] or content
    body: Body = text_files.body_of(content, plan)
    return text_files.read_rows([body], plan), len(content)


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
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML, on one line


def write_params(name: str, given: str, found: Look, chosen: Mapping[str, Any]) -> Path:
    """Write the params file of a study of the archive; `ArchiveError` where there is one already.

    Parameters
    ----------
    given : str
        The archive's path, as ``archive.source`` will name it.
    chosen : dict of str to object
        Keys of the section ``archive`` that the look was told, by their values.
    """
    path = paths.params_file(name)
    if path.exists():
        raise ArchiveError(f"{path}: already exists; choose a name other than {name}, or remove it")
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
    lines += [f"  {key}: {_as_yaml(value)}" for key, value in {**found.params, **chosen}.items()]
    if found.undecided:
        first, second, why = CHOICES[found.undecided]
        lines += [
            f"  # {why}: uncomment one of these lines",
            *(f"  # {found.undecided}: {value}" for value in (first, second)),
        ]
    files.write_atomically(path, "\n".join(lines) + "\n")
    return path
