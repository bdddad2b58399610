"""``python -m lib forecast``: the latest forecasts of some symbols, in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from lib import paths, stage_records
from lib.evaluation.judged_forecasts import calendar_note, verdicts
from lib.serving.endpoint import forecast_table
from lib.serving.forecast_words import expectation, warnings, when
from lib.serving.letter_case import LetterCases
from lib.serving.symbol_forecasts import ForecastsError, SymbolForecast, SymbolForecasts, load
from lib.stages import maker
from lib.text import day, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``forecast`` to ``parser``."""
    parser.add_argument(
        "symbols",
        nargs="*",
        metavar="SYMBOL",
        help="such as AAPL, in any letter case; every symbol of the study unless named",
    )
    parser.add_argument("--study", default="sample", metavar="NAME", help="whose forecasts; sample unless named")
    parser.add_argument("--horizon", type=int, metavar="N", help="only the forecast of the next N sessions' mean")


def main(options: argparse.Namespace) -> int:
    """Print the forecasts that `add_arguments` describes.

    Returns
    -------
    int
        0, or 2 where there is no such study, or it has no forecasts, or none of one of the symbols; nothing is printed then but why.
    """
    study = paths.StudyPaths(paths.named_study(options.study))
    if not study.folder.exists() and (unknown := paths.no_study(options.study)):
        print(f"error: {unknown}", file=sys.stderr)
        return 2
    try:
        lines = list(forecast_lines(study, options.symbols, options.horizon))
    except ForecastsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    if note := stage_records.shown_notes(study).get(maker("forecasts_csv")):
        print(note, file=sys.stderr)
    return 0


def forecast_lines(study: paths.StudyPaths, symbols: Sequence[str], horizon: int | None = None) -> Iterator[str]:
    """The latest forecasts of some symbols, line by line.

    Parameters
    ----------
    symbols : sequence of str
        In any letter case, where that leaves one symbol; empty for every symbol.
    horizon : int, optional
        Sessions; every horizon of the study unless given.

    Raises
    ------
    ForecastsError
        There are no forecasts, none of a symbol, or none for ``horizon``.
    """
    table = load(study.forecasts_csv)
    if table is None:
        raise ForecastsError(f"study {study.name} has no forecasts yet; make them first: bash run_all.sh {study.name}")
    if horizon is not None and horizon not in table.horizons:
        known = ", ".join(map(str, table.horizons))
        raise ForecastsError(f"--horizon is {horizon}; study {study.name} has forecasts for {known}")
    # All of them, before the first is printed.
    found = [_symbol(symbol, table, study) for symbol in symbols or sorted(table.symbols)]
    wanted = table.horizons if horizon is None else [horizon]
    width = max(len(f"{one.horizons[each].forecast:,}") for one in found for each in wanted)
    for one in found:
        name = f", {printable(one.security_name)}" if one.security_name else ""
        yield f"{printable(one.symbol)}{name}; prices to {day(one.as_of)}"
        for each in (one.horizons[horizon] for horizon in wanted):
            yield f"  {each.forecast:>{width},}  {when(each)}: {expectation(one, each)}"
        yield from (f"  {printable(warning)}" for warning in warnings(one))
    if note := calendar_note(study):
        yield note
    if any(one.judged for one in found):
        yield from (f"How good such forecasts were: {verdict}" for verdict in verdicts(study, wanted))


def _symbol(given: str, table: SymbolForecasts, study: paths.StudyPaths) -> SymbolForecast:
    meant = LetterCases(table.symbols).meant(given)
    if len(meant) == 1:
        return table.symbols[meant[0]]
    nearest = meant or forecast_table.nearest(given, sorted(table.symbols))
    hint = ", ".join(map(printable, nearest))
    known = ", ".join(map(printable, sorted(table.symbols)[:5])) + ", ..." * (len(table.symbols) > 5)
    raise ForecastsError(
        f"{printable(given)}: study {study.name} has no forecast of this symbol"
        + (f"; the nearest are {hint}" if hint else f"; it has {len(table.symbols):,}: {known}")
        + ". Another study: --study NAME"
    )
