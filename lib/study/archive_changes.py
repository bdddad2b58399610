"""What has changed in a raw archive since it was last read, in words: which files, and by how many rows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from blake3 import blake3

from lib import locations, paths
from lib.data import parse, single_symbol, unpack
from lib.data.archive import Archive, PriceFile
from lib.data.members import Member, is_folder, open_members
from lib.locations import Url
from lib.storage.dataset import DatasetError, open_dataset
from lib.text import printable

_NAMED = 3  # changed files; their rows are counted, which takes reading them
# What the account of files calls several files of one symbol.
_SEVERAL = re.compile(r"(?P<first>.+?) \.\.\. (?P<last>.+) \((?P<count>[\d,]+) files\)( \(rows without a symbol\))?")


def summary(raw: Archive, study: paths.StudyPaths) -> str:
    """What has changed since ``study``'s account of its files.

    In a folder files of the same size are digested once more; in a zip a file counts as changed where its size has.

    Returns
    -------
    str
        Such as ``1 of 8,049 raw files changed: stocks/AAPL.csv, 1 row more``.
    """
    try:
        accounts = open_dataset(study.files).read(["file", "blake3", "bytes", "rows_read"])
    except (DatasetError, KeyError):
        return "raw archive changed"
    before = {row["file"]: row for row in accounts.to_pylist()}
    now = _files(raw)
    changed = {
        name
        for name in now.keys() & before.keys()
        if now[name][0].size != before[name]["bytes"]
        and not unpack.packing(now[name][0].name)  # its bytes are unpacked ones
    }
    if is_folder(raw.location):
        same = sorted((now.keys() & before.keys()) - changed)
        digests = _digests(raw, [now[name][0] for name in same])
        changed |= {name for name, digest in zip(same, digests, strict=True) if digest != before[name]["blake3"]}
    changed_groups, grouped = _groups(raw, now, before)
    words = []
    if changed_groups:
        words.append(f"raw files changed: {_listed(changed_groups[:_NAMED], len(changed_groups))}")
    if changed:
        named = [name + _more_rows(raw, now[name][1], before[name]) for name in sorted(changed)[:_NAMED]]
        words.append(f"{len(changed):,} of {len(now):,} raw files changed: {_listed(named, len(changed))}")
    gone = {name for name in before.keys() - now.keys() if not _SEVERAL.fullmatch(name)}
    for names, what in ((now.keys() - before.keys() - grouped, "new"), (gone, "gone")):
        if names:
            files = f"{len(names):,} raw file{'' if len(names) == 1 else 's'}"
            words.append(f"{files} {what}: {_listed(sorted(names)[:_NAMED], len(names))}")
    return (
        ". ".join(words)
        or "raw archive changed, but no price file: the names of its symbols, or files that are skipped"
    )


def _files(raw: Archive) -> dict[str, tuple[Member, PriceFile | None]]:
    """Each raw file, and how it is read where it holds one symbol, by its name in the account of files."""
    alone = {printable(file.name): (Member(raw.base + file.name, file.size, file.packed), file) for file in raw.files}
    return alone | {printable(found.member.name): (found.member, None) for found in raw.tables}


def _groups(
    raw: Archive, now: Mapping[str, tuple[Member, PriceFile | None]], before: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], set[str]]:
    """The accounts of several files of one symbol that have changed, and the names of the files of all such accounts."""
    labels = {label: found for label in before if (found := _SEVERAL.fullmatch(label))}
    others = sorted(now.keys() - before.keys()) if labels else []
    digests = dict(zip(others, _digests(raw, [now[name][0] for name in others]), strict=True))
    changed, grouped = [], set[str]()
    for label, found in labels.items():
        names = [name for name in others if found["first"] <= name <= found["last"]]
        grouped.update(names)
        digest = blake3("\n".join(digests[name] for name in names).encode()).hexdigest()
        # With more files between them, some are of other symbols alone.
        if len(names) == int(found["count"].replace(",", "")) and digest != before[label]["blake3"]:
            changed.append(label)
    return changed, grouped


def _digests(raw: Archive, members: Sequence[Member]) -> list[str]:
    """Of each file, as its account has it: empty where it cannot be read."""
    with open_members(raw.location) as read:

        def digest(member: Member) -> str:
            try:
                content = unpack.whole(raw.location, member) if unpack.packing(member.name) else read(member)
                return blake3(content).hexdigest()
            except OSError:
                return ""

        mapped = locations.ahead if isinstance(raw.location, Url) else map
        return list(mapped(digest, members))


def _listed(named: list[str], count: int) -> str:
    rest = count - len(named)
    return "; ".join([*named, *([f"and {rest:,} more"] if rest else [])])


def _more_rows(raw: Archive, file: PriceFile | None, before: Mapping[str, Any]) -> str:
    """By how many rows a file has changed, behind a comma; empty where that takes more than reading it."""
    rows = None if file is None else _rows(raw, file)
    if rows is None:
        return ""
    more = rows - before["rows_read"]
    if more == 0:
        return ", as many rows"
    return f", {abs(more):,} row{'' if abs(more) == 1 else 's'} {'more' if more > 0 else 'fewer'}"


def _rows(raw: Archive, file: PriceFile) -> int | None:
    if file.plan is None and file.refused is None:
        with contextlib.suppress(OSError), open_members(raw.location) as read:
            return parse.split_body(read(Member(raw.base + file.name, file.size, file.packed))).rows
        return None
    parsed = single_symbol.parse_contents([single_symbol.read(raw.location, raw.base, file)])
    return int(parsed[0].files["rows_read"][0].as_py())
