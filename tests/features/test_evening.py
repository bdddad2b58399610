"""What is known the evening before depends on the rows up to that evening, and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from lib.features import definitions, evening
from lib.features.sessions import Calendar, calendar_for

DAYS = calendar_for("XNYS", np.array([10_959, 12_998], dtype=np.int32)).sessions  # sessions of 2000 to 2005 and around
Columns = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return calendar_for("XNYS", np.array([10_959, 12_998], dtype=np.int32))


def symbol_rows(rows: int, seed: int) -> dict[str, NDArray[Any]]:
    """Plausible prices and volumes of one symbol, some days without trade among them."""
    chance = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(chance.normal(0, 0.02, rows)))
    low, high = close * chance.uniform(0.97, 1, rows), close * chance.uniform(1, 1.03, rows)
    volume = (1e5 * np.exp(chance.normal(0, 0.6, rows))).astype(np.int64)
    volume[chance.random(rows) < 0.02] = 0
    return {"Open": chance.uniform(low, high), "High": high, "Low": low, "Close": close, "Volume": volume}


def known_of(symbols: list[tuple[Columns, NDArray[np.int32]]], calendar: Calendar) -> list[NDArray[np.float32]]:
    """The features of each symbol, computed together."""
    starts = np.cumsum([0, *(len(days) for _, days in symbols[:-1])])
    columns = {name: np.concatenate([one[name] for one, _ in symbols]) for name in definitions.COLUMNS}
    made = evening.evenings(columns, starts, np.concatenate([days for _, days in symbols]), calendar)
    return np.split(made.known, starts[1:], axis=1)


def changed_after(columns: Columns, row: int) -> dict[str, NDArray[Any]]:
    """The same rows, but for what comes after one of them: other prices, a thousand times the volume."""
    changed = {name: values.copy() for name, values in columns.items()}
    for name, values in changed.items():
        values[row + 1 :] = values[row + 1 :] * (1000 if name == "Volume" else 3) + 7
    return changed


def leak_found(features_of: Any, calendar: Calendar) -> bool:
    """Whether any feature of an evening changes, to the bit, when later rows are cut off, changed or moved by a month."""
    columns, days = symbol_rows(420, 1), DAYS[100:520]
    whole = features_of([(columns, days)], calendar)[0]
    for row in (0, 1, 29, 62, 130, 251, 300, 418):
        kept = slice(0, row + 1)
        cut = {name: values[kept] for name, values in columns.items()}
        later = np.append(days[kept], DAYS[100 + row + 22 :][: len(days) - row - 1])
        for other in (
            features_of([(cut, days[kept])], calendar)[0],
            features_of([(changed_after(columns, row), days)], calendar)[0],
            features_of([({name: values[: len(later)] for name, values in columns.items()}, later)], calendar)[0],
        ):
            if not np.array_equal(whole[:, kept], other[:, kept], equal_nan=True):
                return True
    return False


def test_nothing_after_the_evening_changes_what_is_known(calendar: Calendar) -> None:
    assert not leak_found(known_of, calendar)


def test_a_planted_leak_is_found(calendar: Calendar) -> None:
    def leaking(symbols: list[tuple[Columns, NDArray[np.int32]]], calendar: Calendar) -> list[NDArray[np.float32]]:
        made = known_of(symbols, calendar)
        for known, (columns, _) in zip(made, symbols, strict=True):
            known[0, :-1] = np.log(columns["Volume"][1:] + 1)  # tomorrow's volume
        return made

    assert leak_found(leaking, calendar)


def test_the_symbols_before_and_the_rows_long_ago_leave_every_bit_as_it_is(calendar: Calendar) -> None:
    columns, days = symbol_rows(700, 2), DAYS[100:800]
    alone = known_of([(columns, days)], calendar)[0]
    other = symbol_rows(333, 3)
    beside = known_of([(other, DAYS[50:383]), (columns, days), (other, DAYS[50:383])], calendar)[1]
    np.testing.assert_array_equal(alone, beside)
    recent = {name: values[-definitions.LONGEST :] for name, values in columns.items()}
    np.testing.assert_array_equal(known_of([(recent, days[-definitions.LONGEST :])], calendar)[0][:, -1], alone[:, -1])


def test_the_features_are_what_pandas_computes(calendar: Calendar) -> None:
    columns, days = symbol_rows(400, 4), DAYS[100:500]
    known = dict(zip(definitions.NAMES, known_of([(columns, days)], calendar)[0], strict=True))
    volume = pd.Series(columns["Volume"]).astype(float)
    average = volume.rolling(30, 1).mean()
    logs = np.log(np.maximum(volume, evening.FLOOR * average))
    level = np.log(average)
    close = np.log(pd.Series(columns["Close"]))
    spread = np.log(columns["High"]) - np.log(columns["Low"])
    expected = {
        "volume_lag_1": logs - level,
        "volume_lag_5": logs.shift(4) - level,
        "volume_mean_21": logs.rolling(21, 1).mean() - level,
        "volume_mean_252": logs.rolling(252, 1).mean() - level,
        "volume_decay_30": logs.ewm(alpha=0.3).mean() - level,
        "volume_spread_63": logs.rolling(63, 1).std(ddof=0),
        "volume_peak_21": logs.rolling(21, 1).max() - level,
        "volume_quarter_ago": logs.shift(60).rolling(5).mean() - level,
        "quiet_share": (volume == 0).rolling(63, 1).mean(),
        "return": close.diff(),
        "return_21": close.diff(21),
        "range_mean_21": spread.rolling(21, 1).mean()
        if isinstance(spread, pd.Series)
        else pd.Series(spread).rolling(21, 1).mean(),
    }
    for name, values in expected.items():
        some = np.arange(400) >= 70
        np.testing.assert_allclose(known[name][some], values[some], rtol=0, atol=3e-6, err_msg=name)


def test_the_same_weekday_is_that_of_the_day_forecast(calendar: Calendar) -> None:
    columns, days = symbol_rows(200, 5), DAYS[100:300]
    known = known_of([(columns, days)], calendar)[0][definitions.NAMES.index("volume_weekday")]
    frame = pd.DataFrame({"volume": columns["Volume"].astype(float), "weekday": (days + 3) % 7})
    average = frame["volume"].rolling(30, 1).mean()
    frame["logs"] = np.log(np.maximum(frame["volume"], evening.FLOOR * average))
    for row in (60, 61, 62, 150, 199):
        target = (calendar.sessions[calendar.next_session(days[row : row + 1])][0] + 3) % 7
        past = frame["logs"][: row + 1][frame["weekday"][: row + 1] == target][-4:]
        assert known[row] == pytest.approx(past.mean() - np.log(average[row]), abs=3e-6)


def test_days_without_trade_and_absurd_prices_give_numbers_within_bounds(calendar: Calendar) -> None:
    columns = symbol_rows(60, 6)
    columns["Volume"][:] = 0
    columns["Volume"][-1] = np.iinfo(np.int64).max // 40
    columns["High"][5], columns["Low"][6], columns["Close"][7] = 1e300, -3.0, 0.0
    known = known_of([(columns, DAYS[100:160])], calendar)[0]
    for feature, values in zip(definitions.FEATURES, known, strict=True):
        finite = values[~np.isnan(values)]
        assert ((finite >= np.float32(feature.low)) & (finite <= np.float32(feature.high))).all(), feature.name


def test_every_feature_is_described() -> None:
    assert len(set(definitions.NAMES)) == len(definitions.FEATURES)
    for feature in definitions.FEATURES:
        assert feature.unit and feature.label and feature.text.endswith(".") and feature.low < feature.high
        assert set(feature.source) <= set(definitions.COLUMNS)
