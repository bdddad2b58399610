"""The endpoint's OpenAPI document: what each path takes and answers, for programs and for tests made from it."""

from __future__ import annotations

import math
from typing import Any

from lib.evaluation.forecast_file import KEYS
from lib.features.definitions import AVERAGE_ROWS, BY_NAME, INPUTS, VOLUME_AVERAGE
from lib.models.table import LARGEST_VOLUME
from lib.serving.endpoint.answers import (
    CSV,
    FILTERS,
    FIRST_DAY,
    JSON,
    LAST_DAY,
    MAX_BODY,
    MAX_PAIRS,
    MAX_ROWS,
    MIN_ROWS,
    NEEDED,
    PRICES,
)
from lib.serving.endpoint.forecast_table import OF_SYMBOL

Schema = dict[str, Any]

_COUNT = {"type": "integer", "minimum": 0}
_DAY = {"type": "string", "format": "date"}
_TEXT = {"type": "string"}
_INPUTS: dict[str, Schema] = {
    name: {
        "description": f"{BY_NAME[name].label.capitalize()}, in {BY_NAME[name].unit}: {BY_NAME[name].text} "
        "(30 trading days unless the study says otherwise).",
        "schema": {"type": "number"}
        | ({"minimum": BY_NAME[name].low} if BY_NAME[name].low > -math.inf else {})
        | ({"maximum": BY_NAME[name].high} if BY_NAME[name].high < math.inf else {}),
        "example": BY_NAME[name].example,
    }
    for name in INPUTS
}
_RATIO = {"type": "number"}
_ANY_CASE = "in any letter case, where that leaves one symbol"
_FILTERS: dict[str, Schema] = {
    "symbols": {
        "description": f"These symbols alone, separated by commas; {_ANY_CASE}.",
        "schema": _TEXT,
        "example": "AAPL,MSFT",
    },
    "horizon": {
        "description": "Forecasts of this many sessions ahead alone.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999},
    },
    "min_ratio": {"description": "Smallest ratio of forecast to 30-day average.", "schema": _RATIO, "example": 1.2},
    "max_ratio": {"description": "Largest ratio of forecast to 30-day average.", "schema": _RATIO, "example": 0.8},
}
_FIELDS: dict[str, Schema] = {
    "symbol": _TEXT,
    "security_name": {"type": ["string", "null"]},
    "as_of": {**_DAY, "description": "The last day that the forecast knows"},
    "for_from": {**_DAY, "description": "The first session that it is for"},
    "for_to": {**_DAY, "description": "The last session that it is for"},
    "horizon": {"type": "integer", "minimum": 1, "description": "Sessions ahead"},
    "forecast": {**_COUNT, "description": "Mean shares a day over those sessions"},
    "low": {**_COUNT, "description": "Lower end of the 80 % range"},
    "high": {**_COUNT, "description": "Upper end of the 80 % range"},
    VOLUME_AVERAGE.name: {"type": "number", "minimum": 0},
    "ratio": {
        "type": ["number", "null"],
        "description": f"forecast / {VOLUME_AVERAGE.name}; null where the average is 0",
    },
    "stale": {"type": "boolean", "description": "Whether the symbol's last day is older than the archive's"},
    "judged": {
        "type": "boolean",
        "description": f"Whether the symbol has the {AVERAGE_ROWS} days of prices from which on forecasts were tested",
    },
}


def _object(properties: dict[str, Any], required: tuple[str, ...] | None = None) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def _list(items: Any, least: int = 0, most: int | None = None) -> Schema:
    return {"type": "array", "items": items, "minItems": least, **({"maxItems": most} if most else {})}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: dict[str, Any] = {
    "Prediction": _object(
        {
            "prediction": _COUNT,
            "interval": {**_list(_COUNT, 2, 2), "description": "Low and high"},
            "interval_level": {"type": "number", "description": "The share of days that the interval holds"},
            "in_training_range": {"type": "boolean"},
            "horizon": {**_COUNT, "description": "Sessions between the day the average ends on and the predicted day"},
            "for": {**_TEXT, "description": "The predicted day, in words"},
            "model_digest": _TEXT,
        }
    ),
    "Forecast": _object({key: _FIELDS[key] for key in KEYS}),
    "SymbolForecasts": _object(
        {
            **{key: _FIELDS[key] for key in OF_SYMBOL},
            "forecasts": _list(_object({key: _FIELDS[key] for key in KEYS if key not in OF_SYMBOL}), 1),
        }
    ),
    "Problems": _object(
        {
            "detail": _list(
                _object(
                    {
                        "type": {**_TEXT, "description": "A short name of what is wrong"},
                        "loc": {
                            **_list({"type": ["string", "integer"]}),
                            "description": "Where: query or body, then the name",
                        },
                        "msg": {**_TEXT, "description": "What is wrong and what is allowed"},
                        "input": {**_TEXT, "description": "The beginning of what was found"},
                    },
                    ("type", "loc", "msg"),
                ),
                1,
            )
        }
    ),
    "Refusal": _object({"detail": {**_TEXT, "description": "Why there is no answer, and what to do"}}),
    "Row": {
        **_object(
            {
                "Date": {
                    **_DAY,
                    "pattern": r"^(1[7-9]|2[01])\d{2}-\d{2}-\d{2}$",  # the years of both
                    "description": f"From {FIRST_DAY} to {LAST_DAY}, of one row alone",
                },
                **{name: {"type": "number", "minimum": -LARGEST_VOLUME, "maximum": LARGEST_VOLUME} for name in PRICES},
                "Volume": {**_COUNT, "maximum": LARGEST_VOLUME},
            },
            NEEDED,
        ),
        "additionalProperties": False,
    },
}


def _content(schema: Schema) -> Schema:
    return {"content": {JSON: {"schema": schema}}}


def _refusal(schema: str, description: str, header: str = "", meaning: str = "") -> Schema:
    headers = {header: {"description": meaning, "schema": _TEXT}}
    return {"description": description, **({"headers": headers} if header else {}), **_content(_ref(schema))}


_RESPONSES: dict[str, Schema] = {
    "400": _refusal("Refusal", "Not a valid HTTP request"),
    "401": _refusal("Refusal", "The server asks for its token", "WWW-Authenticate", "Bearer"),
    "404": _refusal("Problems", "There is no forecast of this symbol or horizon; `msg` names the nearest ones"),
    "409": _refusal("Problems", "Two rows are of the same day"),
    "413": _refusal("Problems", "The body is too large"),
    "421": _refusal("Refusal", "The Host header is not a name of this server; --allow-host adds names"),
    "422": _refusal("Problems", "An input is missing or wrong; `loc` names it"),
    "503": _refusal("Refusal", "Not made yet; the message names the command that makes it", "Retry-After", "Seconds"),
}
_HEADERS: Schema = {
    "X-Model-Digest": {"description": "The model that answered", "schema": _TEXT, "required": True},
    "X-In-Training-Range": {
        "description": "Whether all inputs lie between the smallest and the largest value that the model was trained on",
        "schema": {"type": "string", "enum": ["true", "false"]},
        "required": True,
    },
}
_ONE_HORIZON = {
    "operationId": "forecast",
    "parameters": {"symbol": "$response.body#/symbol", "horizon": "$response.body#/forecasts/0/horizon"},
}
_PAIR = {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [_INPUTS[name]["schema"] for name in INPUTS]}


def _parameter(name: str, about: Schema, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, **about}


_DETAIL = _parameter(
    "detail",
    {
        "description": "Answer with interval, training range, predicted day and model too.",
        "schema": {"type": "boolean"},
    },
)
_SYMBOL = _parameter("symbol", {"description": f"The symbol; {_ANY_CASE}.", "schema": _TEXT, "example": "AAPL"}, True)
_HORIZON = _parameter(
    "horizon", {**_FILTERS["horizon"], "description": "The forecast of this many sessions ahead alone."}
)


def _body(schema: Schema, description: str, example: Any) -> Schema:
    return {"required": True, "description": description, "content": {JSON: {"schema": schema, "example": example}}}


def _operation(name: str, summary: str, answer: Schema, refusals: str, **more: Any) -> Schema:
    responses = {
        status: {"$ref": f"#/components/responses/{status}"}
        for status in sorted({*refusals.split(), "400", "401", "421"})
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "The answer", **answer}, **responses},
        **more,
    }


# Of a forecast of own rows.
OF_ROWS = ("as_of", "for_from", "for_to", "horizon", "forecast", "low", "high", VOLUME_AVERAGE.name)


def document(token: bool) -> Schema:
    """The OpenAPI document."""
    paths = {
        "/predict": {
            "get": _operation(
                "predict",
                "Predict one volume",
                {"headers": _HEADERS, **_content({"oneOf": [_COUNT, _ref("Prediction")]})},
                "422 503",
                parameters=[*(_parameter(name, _INPUTS[name], True) for name in INPUTS), _DETAIL],
            ),
            "post": _operation(
                "predictMany",
                "Predict many volumes",
                {"headers": _HEADERS, **_content({"oneOf": [_list(_COUNT, 1), _list(_ref("Prediction"), 1)]})},
                "413 422 503",
                parameters=[_DETAIL],
                requestBody=_body(
                    _list(_PAIR, 1, MAX_PAIRS),
                    f"Pairs [{', '.join(INPUTS)}]: 1 to {MAX_PAIRS}, {MAX_BODY} bytes at most.",
                    [[12345, 25], [2500000, 41.5]],
                ),
            ),
        },
        "/forecast": {
            "get": _operation(
                "forecast",
                "The forecasts of one symbol",
                {**_content(_ref("SymbolForecasts")), "links": {"oneHorizon": _ONE_HORIZON}},
                "404 422 503",
                parameters=[_SYMBOL, _HORIZON],
            ),
            "post": _operation(
                "forecastRows",
                "The forecasts that follow a symbol's own recent rows",
                _content(_object({"forecasts": _list(_object({key: _FIELDS[key] for key in OF_ROWS}), 1)})),
                "409 413 422 503",
                requestBody=_body(
                    _list(_ref("Row"), MIN_ROWS, MAX_ROWS),
                    f"{MIN_ROWS} to {MAX_ROWS} rows, one a day, in any order.",
                    [{"Date": "2013-02-28", **dict.fromkeys(PRICES, 25.5), "Volume": 12345}],
                ),
            ),
        },
        "/forecasts": {
            "get": _operation(
                "forecasts",
                "The forecasts of all symbols, or of some",
                {"content": {JSON: {"schema": _list(_ref("Forecast"))}, CSV: {"schema": _TEXT}}},
                "404 422 503",
                parameters=[_parameter(name, _FILTERS[name]) for name in FILTERS],
            )
        },
        "/health": {"get": _operation("health", "The process answers", _content(_object({"status": _TEXT})), "")},
        "/ready": {
            "get": _operation(
                "ready",
                "The process can predict; names the model",
                _content(
                    _object(
                        {
                            "status": _TEXT,
                            "study": _TEXT,
                            "model": {"type": "object"},
                            "problems": {**_list(_TEXT), "description": "Newer files that cannot be used"},
                        }
                    )
                ),
                "503",
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics", "Counters and latencies, for Prometheus", {"content": {"text/plain": {"schema": _TEXT}}}, ""
            )
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Market study",
            "version": "1",
            "description": "Predicts a day's trading volume from its moving average and the rolling median of the price, and "
            "forecasts the volume of each symbol.",
        },
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "responses": _RESPONSES,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The text of SERVE_TOKEN"}
            },
        },
        "security": [{"token": []}] if token else [],
    }
