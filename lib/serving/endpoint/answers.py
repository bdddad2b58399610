"""What the endpoint answers: pure functions from a request's query and body to an answer's body."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from lib.features.definitions import INPUTS
from lib.features.inputs import InputError, number
from lib.models.predictor import PredictionInputError, Predictor
from lib.models.table import LARGEST_VOLUME
from lib.serving.endpoint.forecast_table import ForecastTable, UnknownSymbolError
from lib.serving.prediction_day import predicted_day

MAX_SHOWN = 64  # characters of a wrong input that an answer repeats
MAX_PAIRS = 10_000  # pairs in one POST
MAX_BODY = 1_000_000  # bytes of one POST
MIN_ROWS, MAX_ROWS = 30, 400  # of a symbol's own rows
# Of rows: pandas' timestamps, which calendars are made of, end soon after.
FIRST_DAY, LAST_DAY = date(1700, 1, 1), date(2199, 12, 31)
PRICES = ("Open", "High", "Low", "Close", "Adj Close")
ROW = ("Date", *PRICES, "Volume")
NEEDED = tuple(name for name in ROW if name != "Adj Close")  # which no forecast is made of
FILTERS = ("symbols", "horizon", "min_ratio", "max_ratio")  # the parameters of GET /forecasts
CSV, JSON = "text/csv", "application/json"

_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)  # date.fromisoformat reads 20130104 and 2013-W01-5 too
_HORIZON = re.compile(r"[1-9]\d{0,2}", re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_PAIRS_WANTED = f"send a list of pairs, such as [[12345, 25], [2500000, 41.5]]: [{', '.join(INPUTS)}]"
_ROWS_WANTED = (
    f"send a list of {MIN_ROWS} to {MAX_ROWS} objects with the keys {', '.join(NEEDED)} (Adj Close may be there too)"
)


class Answer(NamedTuple):
    """An answer's body, and whether all inputs lie inside the training range."""

    body: bytes
    inside: bool


class RequestError(Exception):
    """A request that is refused: an HTTP status and the problem.

    Parameters
    ----------
    kind : str
        A short name of what is wrong, such as ``missing``.
    where : list of str or int
        ``query`` or ``body``, then the parameter, or the pair or row and its input.
    message : str
        What is wrong, in full.
    found : object, optional
        What was there; the answer repeats its first `MAX_SHOWN` characters.
    status : int
        The HTTP status.
    """

    def __init__(
        self, kind: str, where: list[str | int], message: str, found: object = None, status: int = 422
    ) -> None:
        super().__init__(message)
        self.status = status
        problem = {"type": kind, "loc": where, "msg": message}
        if found is not None:
            problem["input"] = str(found)[:MAX_SHOWN]
        self.body = json.dumps({"detail": [problem]}).encode()


def read_query(query: bytes, allowed: Sequence[str]) -> dict[str, str]:
    """The parameters of a URL's query string, each given once.

    Raises
    ------
    RequestError
        A parameter is repeated, or not one of ``allowed``.

    Examples
    --------
    >>> read_query(b"symbol=AAPL&horizon=5", ["symbol", "horizon"])
    {'symbol': 'AAPL', 'horizon': '5'}
    """
    given: dict[str, str] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise RequestError("repeated", ["query", name], f"{name} is given more than once", text)
        if name not in allowed:
            message = f"unknown parameter; the parameters are {', '.join(allowed)}"
            raise RequestError("unknown", ["query", name[:MAX_SHOWN]], message, text)
        given[name] = text
    return given


def _required(given: dict[str, str], name: str) -> str:
    if name not in given:
        raise RequestError("missing", ["query", name], f"{name} is missing")
    return given[name]


def _number(given: dict[str, str], name: str) -> float:
    text = _required(given, name)
    try:
        return number(name, text)
    except InputError as error:
        raise RequestError(error.kind, ["query", name], str(error), text) from None


def read_flag(given: dict[str, str], name: str) -> bool:
    """Whether the parameter ``name`` is true; `RequestError` when it is neither true nor false, 1 nor 0."""
    flag = given.get(name, "false")
    if flag.lower() not in _FLAGS:
        raise RequestError("not_a_flag", ["query", name], f"{name} must be true or false", flag)
    return _FLAGS[flag.lower()]


def answer_query(predictor: Predictor, query: bytes) -> Answer:
    """Answer ``GET /predict``: JSON, the integer, or with ``detail=true`` one object of `details`.

    Raises
    ------
    RequestError
        A parameter is missing, repeated, unknown, or not a number that the model takes.
    """
    given = read_query(query, (*INPUTS, "detail"))
    volume, price = (_number(given, name) for name in INPUTS)
    detail = read_flag(given, "detail")
    try:
        prediction = predictor.predict(volume, price)
    except PredictionInputError as error:
        raise RequestError("not_allowed", ["query", error.field], str(error), given[error.field]) from None
    inside = predictor.in_training_range(volume, price)
    if not detail:
        return Answer(str(prediction).encode(), inside)
    return Answer(json.dumps(details(predictor, np.array([volume]), np.array([price]))[0]).encode(), inside)


def details(predictor: Predictor, volumes: np.ndarray, prices: np.ndarray) -> list[dict[str, Any]]:
    """Predictions with what is known about them.

    Parameters
    ----------
    volumes, prices : ndarray of float64, shape (n,)
        vol_moving_avg, in shares a day, and adj_close_rolling_med, in dollars.

    Returns
    -------
    list of dict
        For each pair: prediction, interval, interval_level, in_training_range, horizon, for (the day in words), model_digest.

    Raises
    ------
    PredictionInputError
        An input is not finite, or outside what `Predictor.predict` takes.
    """
    low, high = predictor.predict_interval(volumes, prices)
    information = predictor.information
    horizon = information["horizon"]
    same = {"horizon": horizon, "for": predicted_day(horizon), "model_digest": information["digest"]}
    return [
        {
            "prediction": prediction,
            "interval": interval,
            "interval_level": information["interval_level"],
            "in_training_range": inside,
            **same,
        }
        for prediction, interval, inside in zip(
            predictor.predict(volumes, prices).tolist(),
            zip(low.tolist(), high.tolist(), strict=True),
            predictor.in_training_range(volumes, prices).tolist(),
            strict=True,
        )
    ]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise RequestError("repeated", ["body"], "an object has a key more than once", twice)
    return found


def read_json(body: bytes | bytearray, most: int) -> Any:
    """The value of a JSON text in UTF-8 with at most ``most`` values; `RequestError` for anything else, and for an object that repeats a key.

    Values are counted first, by their separators: while Python reads JSON nothing else of the process is answered.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > most:
        raise RequestError("too_many", ["body"], f"more than {most} values, lists and objects; send fewer")
    try:
        return json.loads(body.decode(), object_pairs_hook=_object)
    except RecursionError:
        message = "the JSON is nested too deeply"
    except UnicodeDecodeError as error:
        message = f"not UTF-8: byte {error.start}"
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg}, at character {error.pos}"
    except ValueError:
        # Python converts at most 4,300 digits (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits).
        message = "a number has too many digits"
    raise RequestError("json_invalid", ["body"], message)


def _shape(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def read_pairs(body: bytes | bytearray) -> list[list[float]]:
    """The pairs of numbers in a POST; `RequestError` names the first that is none."""
    pairs = read_json(body, most=4 * MAX_PAIRS)
    if type(pairs) is not list:
        raise RequestError("not_a_list", ["body"], f"found {_shape(pairs)}; {_PAIRS_WANTED}")
    if not 0 < len(pairs) <= MAX_PAIRS:
        message = f"{len(pairs)} pairs; 1 to {MAX_PAIRS} are allowed"
        raise RequestError("too_many" if pairs else "empty", ["body"], message)
    for row, pair in enumerate(pairs):
        if type(pair) is not list or len(pair) > 2:
            found = "more than two values" if type(pair) is list else _shape(pair)
            raise RequestError("not_a_pair", ["body", row], f"found {found}; {_PAIRS_WANTED}")
        for name, value in zip(INPUTS, pair, strict=False):
            if type(value) not in (int, float):
                raise RequestError(
                    "not_a_number", ["body", row, name], f"found {_shape(value)}; {name} must be a number"
                )
        if len(pair) < 2:
            name = INPUTS[len(pair)]
            raise RequestError("missing", ["body", row, name], f"{name} is missing; {_PAIRS_WANTED}")
    return pairs


def answer_pairs(predictor: Predictor, body: bytes | bytearray, detail: bool) -> Answer:
    """Answer ``POST /predict``: a JSON list as long as `read_pairs` of the body, of integers or of `details`.

    Raises
    ------
    RequestError
        Not JSON, not pairs of finite numbers, too many, or a pair that the model does not take: it names the pair.
    """
    pairs = read_pairs(body)
    try:
        volumes, prices = np.array(pairs, dtype="float64").T
        found = details(predictor, volumes, prices) if detail else predictor.predict(volumes, prices).tolist()
    except (PredictionInputError, OverflowError) as error:
        raise _first_refused(predictor, pairs, error) from None
    # One by one: within one call of json.dumps no other thread of the process can answer.
    text = ", ".join(map(json.dumps, found))
    return Answer(f"[{text}]".encode(), bool(predictor.in_training_range(volumes, prices).all()))


def _first_refused(predictor: Predictor, pairs: list[list[float]], error: Exception) -> RequestError:
    for row, pair in enumerate(pairs):
        try:
            predictor.predict(*pair)
        except PredictionInputError as found:
            return RequestError("not_allowed", ["body", row, found.field], str(found), pair[INPUTS.index(found.field)])
    return RequestError("not_allowed", ["body"], str(error))


def _horizon(given: dict[str, str], table: ForecastTable) -> int | None:
    if "horizon" not in given:
        return None
    text = given["horizon"]
    if not _HORIZON.fullmatch(text):
        message = "horizon must be a whole number of sessions ahead, 1 to 999"
        raise RequestError("not_a_horizon", ["query", "horizon"], message, text)
    if int(text) not in table.horizons:
        message = f"there are no forecasts for this horizon; there are for {', '.join(map(str, table.horizons))}"
        raise RequestError("unknown_horizon", ["query", "horizon"], message, text, 404)
    return int(text)


def _unknown(error: UnknownSymbolError, name: str) -> RequestError:
    return RequestError("unknown_symbol", ["query", name], str(error), error.symbol, 404)


def answer_forecast(table: ForecastTable, query: bytes) -> bytes:
    """Answer ``GET /forecast``: JSON of one symbol's forecasts, of every horizon or of one.

    Raises
    ------
    RequestError
        A wrong parameter, or (404) a symbol without a forecast; the message has the nearest ones.
    """
    given = read_query(query, ("symbol", "horizon"))
    symbol, horizon = _required(given, "symbol"), _horizon(given, table)
    try:
        return table.of(symbol, horizon)
    except UnknownSymbolError as error:
        raise _unknown(error, "symbol") from None


def answer_forecasts(table: ForecastTable, query: bytes, media_type: str) -> bytes:
    """Answer ``GET /forecasts``: the rows that pass the filters, as CSV or JSON.

    Raises
    ------
    RequestError
        A wrong parameter, or (404) a symbol without a forecast.
    """
    given = read_query(query, FILTERS)
    ratios = [_number(given, name) if name in given else None for name in ("min_ratio", "max_ratio")]
    symbols = given["symbols"].split(",") if "symbols" in given else None
    try:
        rows = table.select(symbols, _horizon(given, table), *ratios)
    except UnknownSymbolError as error:
        raise _unknown(error, "symbols") from None
    return table.csv(rows) if media_type == CSV else table.json(rows)


def read_rows(body: bytes | bytearray) -> list[dict[str, Any]]:
    """A symbol's own rows in a POST.

    Returns
    -------
    list of dict
        `MIN_ROWS` to `MAX_ROWS`, with the keys `NEEDED`, or `ROW`, in the order of their dates: Date a `datetime.date`, Volume an int of 0 or more, the others
        floats.

    Raises
    ------
    RequestError
        Something else; it names the row and the field.
    """
    rows = read_json(body, most=MAX_ROWS * (len(ROW) + 2))
    if type(rows) is not list or not MIN_ROWS <= len(rows) <= MAX_ROWS:
        found = f"{len(rows)} rows" if type(rows) is list else _shape(rows)
        raise RequestError("not_rows", ["body"], f"found {found}; {_ROWS_WANTED}")
    days: dict[date, int] = {}
    for index, row in enumerate(rows):
        if type(row) is not dict:
            raise RequestError("not_a_row", ["body", index], f"found {_shape(row)}; {_ROWS_WANTED}")
        for name in NEEDED:
            if name not in row:
                raise RequestError("missing", ["body", index, name], f"{name} is missing")
        if unknown := row.keys() - set(ROW):
            name = min(unknown)
            raise RequestError("unknown", ["body", index, name[:MAX_SHOWN]], f"unknown key; {_ROWS_WANTED}")
        row["Date"] = _date(row["Date"], index)
        if row["Date"] in days:
            message = f"{row['Date']} is also the Date of row {days[row['Date']]}; send one row a day"
            raise RequestError("repeated", ["body", index, "Date"], message, row["Date"], status=409)
        days[row["Date"]] = index
        for name in (*PRICES, "Volume"):
            if name in row:
                row[name] = _cell(row[name], index, name)
    return sorted(rows, key=lambda row: row["Date"])


def _date(value: object, index: int) -> date:
    try:
        if (
            type(value) is str
            and _ISO_DATE.fullmatch(value)
            and FIRST_DAY <= (day := date.fromisoformat(value)) <= LAST_DAY
        ):
            return day
    except ValueError:
        pass
    message = f"Date must be a day of the calendar as YYYY-MM-DD, from {FIRST_DAY} to {LAST_DAY}"
    raise RequestError("not_a_date", ["body", index, "Date"], message, value if type(value) is str else _shape(value))


def _cell(value: object, index: int, name: str) -> float:
    whole = name == "Volume"
    if isinstance(value, int | float) and type(value) is not bool and abs(value) <= LARGEST_VOLUME:  # False for NaN
        if not whole:
            return float(value)
        if value >= 0 and value == int(value):
            return int(value)
    message = f"{name} must be {'a whole number from 0' if whole else 'a number'} to {LARGEST_VOLUME:g}"
    raise RequestError("not_allowed", ["body", index, name], message, json.dumps(value)[:MAX_SHOWN])
