"""The endpoint: ``GET /predict?vol_moving_avg=12345&adj_close_rolling_med=25`` -> an integer.

FastAPI describes every path and answers all but one: ``GET /predict`` is answered in front of it, by `Service`, in a
third of the time (benchmarks/serving.py measures it). Both ways run the same function, `answer_query`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Annotated, Any
from urllib.parse import parse_qsl

import numpy as np
import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError

from lib import paths
from lib.access import Access
from lib.current_model import CurrentModel, NoModelError
from lib.inputs import INPUTS, InputError, number
from lib.predictor import PredictionInputError, Predictor

MAX_SHOWN = 64  # characters of a wrong input that an answer repeats
MODEL_DIGEST = "x-model-digest"  # the header that names the model that answered
MAX_PAIRS = 10_000  # pairs in one POST
MAX_BODY = 1_000_000  # bytes of one POST
RELOAD_SECONDS = 1.0  # between two looks at the model's file

_FLAGS = {"true": True, "1": True, "false": False, "0": False}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Problem(BaseModel):
    """One thing wrong with a request."""

    type: str
    loc: list[str | int]
    msg: str
    input: str | None = None


class Problems(BaseModel):
    """Why a request was refused."""

    detail: list[Problem]


class Unavailable(BaseModel):
    """Why there is no answer yet."""

    detail: str


class Prediction(BaseModel):
    """A prediction with what is known about it."""

    prediction: int
    interval: tuple[int, int]
    interval_level: float
    in_training_range: bool
    model_digest: str


class RequestError(Exception):
    """A request that is refused: an HTTP status and the problem.

    Parameters
    ----------
    kind : str
        A short name of what is wrong, such as ``missing``.
    place : list of str or int
        Where: ``query`` or ``body``, then the parameter, or the pair and its input.
    message : str
        What is wrong, in full.
    found : object, optional
        What was there; the answer repeats its first `MAX_SHOWN` characters.
    status : int
        The HTTP status.
    """

    def __init__(
        self, kind: str, place: list[str | int], message: str, found: object = None, status: int = 422
    ) -> None:
        super().__init__(message)
        self.status = status
        shown = None if found is None else str(found)[:MAX_SHOWN]
        self.problem = Problem(type=kind, loc=place, msg=message, input=shown)


def answer_query(predictor: Predictor, query: bytes) -> bytes:
    """The body that answers ``GET /predict``.

    Parameters
    ----------
    predictor : Predictor
    query : bytes
        The URL's query string: both inputs once, and perhaps ``detail``.

    Returns
    -------
    bytes
        JSON: the integer, or with ``detail=true`` a `Prediction`.

    Raises
    ------
    RequestError
        A parameter is missing, repeated, unknown, or not a number that the model takes.
    """
    given: dict[str, str] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise RequestError("repeated", ["query", name], f"{name} is given more than once", text)
        if name not in INPUTS and name != "detail":
            allowed = ", ".join((*INPUTS, "detail"))
            raise RequestError(
                "unknown", ["query", name[:MAX_SHOWN]], f"unknown parameter; the parameters are {allowed}", text
            )
        given[name] = text
    for name in INPUTS:
        if name not in given:
            raise RequestError("missing", ["query", name], f"{name} is missing")
    volume, price = (_number(name, given[name]) for name in INPUTS)
    flag = given.get("detail", "false").lower()
    if flag not in _FLAGS:
        raise RequestError("not_a_flag", ["query", "detail"], "detail must be true or false", given["detail"])
    try:
        prediction = predictor.predict(volume, price)
    except PredictionInputError as error:
        raise RequestError("not_allowed", ["query", error.field], str(error), given[error.field]) from None
    if not _FLAGS[flag]:
        return str(prediction).encode()
    return json.dumps(details(predictor, np.array([volume]), np.array([price]))[0]).encode()


def _number(name: str, text: str) -> float:
    try:
        return number(name, text)
    except InputError as error:
        raise RequestError(error.kind, ["query", name], str(error), text) from None


def details(predictor: Predictor, volumes: np.ndarray, prices: np.ndarray) -> list[dict[str, Any]]:
    """Predictions with intervals and range flags.

    Parameters
    ----------
    predictor : Predictor
    volumes, prices : ndarray of float64, shape (n,)
        vol_moving_avg, in shares a day, and adj_close_rolling_med, in dollars.

    Returns
    -------
    list of dict
        A `Prediction` for each pair.

    Raises
    ------
    PredictionInputError
        An input is not finite, or outside what `Predictor.predict` takes.
    """
    low, high = predictor.predict_interval(volumes, prices)
    information = predictor.information
    return [
        {
            "prediction": prediction,
            "interval": interval,
            "interval_level": information["interval_level"],
            "in_training_range": inside,
            "model_digest": information["digest"],
        }
        for prediction, interval, inside in zip(
            predictor.predict(volumes, prices).tolist(),
            zip(low.tolist(), high.tolist(), strict=True),
            predictor.in_training_range(volumes, prices).tolist(),
            strict=True,
        )
    ]


_PAIRS = TypeAdapter(list[tuple[FiniteFloat, FiniteFloat]])


def answer_pairs(predictor: Predictor, body: bytes, detail: bool) -> bytes:
    """The body that answers ``POST /predict``.

    Parameters
    ----------
    predictor : Predictor
    body : bytes
        JSON: ``[[vol_moving_avg, adj_close_rolling_med], ...]``, at most `MAX_PAIRS` pairs.
    detail : bool
        Intervals and range flags too.

    Returns
    -------
    bytes
        JSON: a list as long as ``body``'s, of integers, or of `Prediction` with ``detail``.

    Raises
    ------
    RequestError
        Not JSON, not pairs of finite numbers, too many, or a pair that the model does not take: it names the pair.
    """
    try:
        pairs = _PAIRS.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = list(first["loc"])
        if len(place) == 2 and place[1] in (0, 1):
            place[1] = INPUTS[place[1]]
        raise RequestError(first["type"], ["body", *place], first["msg"], first["input"]) from None
    if not 0 < len(pairs) <= MAX_PAIRS:
        raise RequestError(
            "too_many" if pairs else "empty", ["body"], f"{len(pairs)} pairs; 1 to {MAX_PAIRS} are allowed"
        )
    volumes, prices = np.array(pairs, dtype="float64").T
    try:
        if detail:
            return json.dumps(details(predictor, volumes, prices)).encode()
        return json.dumps(predictor.predict(volumes, prices).tolist()).encode()
    except PredictionInputError as error:
        raise _first_refused(predictor, pairs, error) from None


def _first_refused(predictor: Predictor, pairs: list[tuple[float, float]], error: PredictionInputError) -> RequestError:
    for row, pair in enumerate(pairs):
        try:
            predictor.predict(*pair)
        except PredictionInputError as found:
            return RequestError("not_allowed", ["body", row, found.field], str(found), pair[INPUTS.index(found.field)])
    return RequestError("not_allowed", ["body"], str(error))


class Metrics:
    """What ``/metrics`` shows, in Prometheus' terms."""

    # Latencies of interest: a lookup takes a fraction of a millisecond, a batch some.
    _BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "http_requests_total", "Requests answered.", ["method", "path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "http_request_seconds", "Time to answer.", ["path"], registry=self.registry, buckets=self._BUCKETS
        )
        self.loaded = Gauge("model_loaded", "1 for the model in use.", ["study", "digest"], registry=self.registry)

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Parameters
        ----------
        method, path : str
            Of the request; ``other`` for one that this server does not know.
        status : int
            The HTTP status of the answer.
        seconds : float
            Time to answer.
        """
        self.requests.labels(method, path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)


_JSON = "application/json"
_OPENAPI_BODY = {
    "requestBody": {
        "required": True,
        "description": f"Pairs [vol_moving_avg, adj_close_rolling_med]: 1 to {MAX_PAIRS}, {MAX_BODY} bytes at most.",
        "content": {
            _JSON: {
                "schema": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_PAIRS,
                    "items": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "prefixItems": [{"type": "number", "minimum": 0}, {"type": "number"}],
                    },
                    "example": [[12345, 25], [2500000, 41.5]],
                }
            }
        },
    }
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Unavailable, "description": "The server asks for a bearer token (SERVE_TOKEN)"},
    422: {"model": Problems, "description": "An input is missing or wrong; `loc` names it"},
    503: {"model": Unavailable, "description": "The study has no model yet; says which command makes one"},
}
_VOLUME = Query(
    ge=0,
    allow_inf_nan=False,
    description="Moving average of daily volume over the study's window (30 trading days unless said), in shares a day.",
    examples=[12345],
)
_PRICE = Query(
    allow_inf_nan=False,
    description="Rolling median of the adjusted close over the same window, in dollars.",
    examples=[25],
)


def make_app(current: CurrentModel, metrics: Metrics) -> FastAPI:
    """FastAPI's application: every path, described and answered.

    Parameters
    ----------
    current : CurrentModel
    metrics : Metrics

    Returns
    -------
    fastapi.FastAPI
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async def keep_current() -> None:
            while True:
                # In a thread: a file system that hangs must not stop answers from the model in memory.
                if await asyncio.to_thread(current.refresh):
                    metrics.loaded.clear()
                    metrics.loaded.labels(current.study, current.predictor.information["digest"]).set(1)
                await asyncio.sleep(RELOAD_SECONDS)

        if current.refresh():
            metrics.loaded.labels(current.study, current.predictor.information["digest"]).set(1)
        task = asyncio.create_task(keep_current())
        try:
            yield
        finally:
            task.cancel()

    app = FastAPI(
        title="Market study",
        description="Predicts a day's trading volume from its moving average and the rolling median of the price.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return Response(_refusal(error), error.status, media_type=_JSON)

    @app.exception_handler(NoModelError)
    async def no_model(_: Request, error: NoModelError) -> Response:
        return Response(json.dumps({"detail": str(error)}), 503, {"retry-after": "5"}, media_type=_JSON)

    @app.get("/predict", response_model=int | Prediction, responses=_REFUSALS, summary="Predict one volume")
    async def predict(
        request: Request,
        vol_moving_avg: Annotated[float, _VOLUME],
        adj_close_rolling_med: Annotated[float, _PRICE],
        detail: Annotated[
            bool, Query(description="Give the interval, the range flag and the model's digest too.")
        ] = False,
    ) -> Response:
        # The signature is for the OpenAPI page; the strict reading of the query is answer_query's.
        return Response(answer_query(current.predictor, request.scope["query_string"]), media_type=_JSON)

    @app.post(
        "/predict",
        response_model=list[int] | list[Prediction],
        responses={**_REFUSALS, 413: {"model": Problems, "description": "The body is too large"}},
        openapi_extra=_OPENAPI_BODY,
        summary="Predict many volumes",
    )
    async def predict_many(request: Request, detail: bool = False) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise RequestError(
                    "too_large", ["body"], f"the body is over {MAX_BODY} bytes; send fewer pairs", status=413
                )
        predictor = current.predictor
        answer = await asyncio.to_thread(answer_pairs, predictor, bytes(body), detail)
        return Response(answer, headers={MODEL_DIGEST: predictor.information["digest"]}, media_type=_JSON)

    @app.get("/health", summary="The process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", responses={503: _REFUSALS[503]}, summary="The process can predict; says with which model")
    async def ready() -> dict[str, Any]:
        answer = {"status": "ready", "study": current.study, "model": current.predictor.information}
        return answer | ({"refused": current.refused} if current.refused else {})

    @app.get("/metrics", response_class=Response, summary="Counters and latencies, for Prometheus")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse((paths.TEMPLATES / "docs.html").read_text(encoding="utf-8"))

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")

    return app


def _refusal(error: RequestError) -> bytes:
    return Problems(detail=[error.problem]).model_dump_json(exclude_none=True).encode()


class Service:
    """The whole endpoint as an ASGI application: access, counting, ``GET /predict``, and FastAPI for the rest.

    Parameters
    ----------
    study : str
        The study whose model predicts.
    access : Access
        Who may ask.
    """

    def __init__(self, study: str, access: Access) -> None:
        self.current = CurrentModel(study)
        self.metrics = Metrics()
        self.access = access
        self.app = make_app(self.current, self.metrics)
        self.paths = {"/", "/docs", "/openapi.json", "/predict", "/health", "/ready", "/metrics"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(message["headers"])]
            await send(message)

        method, path = scope["method"], scope["path"]
        try:
            if self.access.required and not self._allowed(scope):
                await _respond(
                    send_with_headers, 401, b'{"detail":"this server asks for a token: Authorization: Bearer ..."}'
                )
            elif path == "/predict" and method == "GET":
                await self._predict(scope["query_string"], send_with_headers)
            else:
                await self.app(scope, receive, send_with_headers)
        finally:
            # Only known names become labels, or anyone could fill the memory with them.
            known = path if path in self.paths else "other"
            self.metrics.count(
                method if method in ("GET", "POST", "HEAD") else "other", known, status, perf_counter() - started
            )

    async def _predict(self, query: bytes, send: Send) -> None:
        digest = ""
        try:
            # Once: a new model may be loaded at any moment, and the header names the one that answered.
            predictor = self.current.predictor
            digest = predictor.information["digest"]
            status, body = 200, answer_query(predictor, query)
        except RequestError as error:
            status, body = error.status, _refusal(error)
        except NoModelError as error:
            status, body = 503, json.dumps({"detail": str(error)}).encode()
        await _respond(send, status, body, digest)

    def _allowed(self, scope: Scope) -> bool:
        sent = {name: value.decode("latin-1") for name, value in scope["headers"]}
        return self.access.allows(sent.get(b"authorization", ""), sent.get(b"cookie", ""))

    def _headers(self, sent: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-content-type-options", b"nosniff")]
        if all(name != MODEL_DIGEST.encode() for name, _ in sent):
            with suppress(NoModelError):
                headers.append((MODEL_DIGEST.encode(), self.current.predictor.information["digest"].encode()))
        return headers


async def _respond(send: Send, status: int, body: bytes, digest: str = "") -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if digest:
        headers.append((MODEL_DIGEST.encode(), digest.encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the endpoint's options to ``parser``."""
    parser.add_argument("study", nargs="?", default="sample", help="the study whose model predicts (default: sample)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop: ``python -m lib.api [STUDY] [--host HOST] [--port PORT]``."""
    parser = argparse.ArgumentParser(prog="python -m lib.api", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="api: %(message)s")
    uvicorn.run(
        Service(options.study, Access.from_environment()),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=1000,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
