"""The endpoint: ``GET /predict?vol_moving_avg=12345&adj_close_rolling_med=25`` -> an integer.

Starlette's routes call the pure functions of `lib.serving.endpoint.answers`; `lib.serving.endpoint.openapi` describes them. FastAPI's reading of parameters would take
what must be refused (repeated and unknown names, ``1_000``), and three fifths of the requests a second (benchmarks/serving.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from functools import cache, lru_cache, partial
from html import escape
from pathlib import Path
from string import Template
from time import perf_counter
from typing import Any

import uvicorn
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from lib.features import definitions
from lib.models.predictor import Predictor
from lib.serving import access, example, server_process
from lib.serving.access import Access
from lib.serving.endpoint import openapi
from lib.serving.endpoint.answers import (
    CSV,
    JSON,
    MAX_BODY,
    RequestError,
    answer_forecast,
    answer_forecasts,
    answer_pairs,
    answer_query,
    read_flag,
    read_query,
    read_rows,
)
from lib.serving.endpoint.http_limits import Connections, LimitedProtocol, Limits
from lib.serving.endpoint.own_rows import OwnRows
from lib.serving.live_model import NotMadeError, current_forecasts, current_model

RELOAD_SECONDS = 1.0  # between two looks at the files
MAX_WAITING = 32  # bodies that wait to be answered, one at a time; each may take `MAX_BODY` bytes
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_RETRY = {"retry-after": "5"}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]


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
        self._made, self._text = float("-inf"), b""
        self._requests, self._seconds = cache(self.requests.labels), cache(self.seconds.labels)  # labels() is slow
        self.loaded = Gauge("model_loaded", "1 for the model in use.", ["study", "digest"], registry=self.registry)

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answered request; method and path are ``other`` where this server does not know them."""
        self._requests(method, path, str(status)).inc()
        self._seconds(path).observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' format, at most a second old: making it takes as long as a hundred predictions."""
        if perf_counter() - self._made > 1.0:
            self._made, self._text = perf_counter(), generate_latest(self.registry)
        return self._text


class Handlers:
    """The routes' handlers."""

    def __init__(self, study: str, metrics: Metrics, token: bool) -> None:
        self.study = study
        self.current = current_model(study)
        self.forecasts = current_forecasts(study)
        self.metrics = metrics
        self.forecast_rows = OwnRows(study)
        self._document = json.dumps(openapi.document(token)).encode()
        # One body at a time: while Python reads JSON, nothing else of this process is answered.
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    def routes(self) -> list[Route]:
        """Every path with its handlers."""
        return [
            _route("/predict", self.predict, self.predict_many),
            _route("/forecast", self.forecast, self.forecast_own_rows),
            Route("/forecasts", self.list_forecasts),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.show_metrics),
            Route("/openapi.json", self.document),
            Route("/docs", self.docs),
            Route("/", self.root),
        ]

    async def predict(self, request: Request) -> Response:
        """Answer ``GET /predict``."""
        predictor = self.current.value  # once: a new one may be loaded at any moment
        answer = answer_query(predictor, request.scope["query_string"])
        return _json(answer.body, _about(predictor, answer.inside))

    async def predict_many(self, request: Request) -> Response:
        """Answer ``POST /predict``."""
        detail = read_flag(read_query(request.scope["query_string"], ["detail"]), "detail")
        predictor = self.current.value
        answer = await self._in_turn(request, lambda body: answer_pairs(predictor, body, detail))
        return _json(answer.body, _about(predictor, answer.inside))

    async def forecast(self, request: Request) -> Response:
        """Answer ``GET /forecast``."""
        return _json(answer_forecast(self.forecasts.value, request.scope["query_string"]))

    async def forecast_own_rows(self, request: Request) -> Response:
        """Answer ``POST /forecast``."""
        read_query(request.scope["query_string"], [])

        def answer(body: bytearray) -> bytes:
            return json.dumps({"forecasts": self.forecast_rows(read_rows(body))}).encode()

        return _json(await self._in_turn(request, answer))

    async def list_forecasts(self, request: Request) -> Response:
        """Answer ``GET /forecasts``."""
        accept = ",".join(request.headers.getlist("accept")).lower()
        media_type = CSV if CSV in accept else JSON
        answer = answer_forecasts(self.forecasts.value, request.scope["query_string"], media_type)
        file_name = {"content-disposition": 'attachment; filename="forecasts.csv"'} if media_type == CSV else {}
        return Response(answer, headers={"vary": "accept", **file_name}, media_type=media_type)

    async def health(self, _: Request) -> Response:
        """Answer ``GET /health``."""
        return _json(b'{"status": "ok"}')

    async def ready(self, _: Request) -> Response:
        """Answer ``GET /ready``."""
        problems = [current.problem for current in (self.current, self.forecasts) if current.problem]
        found = {"status": "ready", "study": self.study, "model": self.current.value.information}
        return _json(json.dumps({**found, "problems": problems}).encode())

    async def show_metrics(self, _: Request) -> Response:
        """Answer ``GET /metrics``."""
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def document(self, _: Request) -> Response:
        """Answer ``GET /openapi.json``."""
        return _json(self._document)

    async def docs(self, _: Request) -> Response:
        """Answer ``GET /docs``."""
        average, median = (definitions.BY_NAME[name] for name in definitions.INPUTS)
        page = Template(Path(__file__).with_name("docs.html").read_text(encoding="utf-8"))
        filled = {f"average_{field}": value for field, value in vars(average).items()}
        filled |= {f"median_{field}": value for field, value in vars(median).items()}
        query = definitions.EXAMPLE_QUERY
        with suppress(NotMadeError):
            bounds = self.current.value.information["range"]
            query, shown = example.query(bounds), example.values(bounds)
            filled |= {"average_example": shown[average.name], "median_example": shown[median.name]}
        return HTMLResponse(page.safe_substitute(filled, query=escape(query)))

    async def root(self, _: Request) -> Response:
        """Answer ``GET /``."""
        return RedirectResponse("docs")

    async def _in_turn(self, request: Request, answer: Callable[[bytearray], Any]) -> Any:
        """What ``answer`` makes of the request's body, in a thread, when all earlier bodies have been answered."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise RequestError(
                    "too_large", ["body"], f"the body is over {MAX_BODY} bytes; send fewer pairs or rows", status=413
                )
        if self._waiting >= MAX_WAITING:
            raise HTTPException(503, "too many requests with a body at once; try again", {"retry-after": "1"})
        self._waiting += 1
        try:
            async with self._turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await asyncio.to_thread(answer, body)
        finally:
            self._waiting -= 1

    def refresh(self) -> None:
        """Load what a run has written since the last time."""
        if self.current.refresh():
            self.metrics.loaded.clear()
            self.metrics.loaded.labels(self.study, self.current.value.information["digest"]).set(1)
        self.forecasts.refresh()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Load everything, and again what changes while the server runs."""

        async def keep_current() -> None:
            while True:
                await asyncio.sleep(RELOAD_SECONDS)
                # In a thread: a file system that hangs must not stop answers from memory.
                await asyncio.to_thread(self.refresh)

        self.refresh()
        task = asyncio.create_task(keep_current())
        try:
            yield
        finally:
            task.cancel()


def _route(path: str, get: Handler, post: Handler) -> Route:
    """One route for both methods: of two, Starlette would name the first one's methods alone in a 405."""

    async def handle(request: Request) -> Response:
        return await (post if request.scope["method"] == "POST" else get)(request)

    return Route(path, handle, methods=["GET", "POST"])


def _json(body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    return Response(body, status, headers, "application/json")


def _about(predictor: Predictor, inside: bool) -> dict[str, str]:
    """The headers that tell which model answered, and whether it knows inputs like these."""
    return {
        "x-model-digest": predictor.information["digest"],
        "x-in-training-range": "true" if inside else "false",
    }


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _json(error.body, status=error.status)


async def _not_made(_: Request, error: Exception) -> Response:
    return _json(json.dumps({"detail": str(error)}).encode(), _RETRY, 503)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json(json.dumps({"detail": error.detail}).encode(), dict(error.headers or {}), error.status_code)


class Service:
    """The whole endpoint as an ASGI application: who may ask, the routes, and their counts."""

    def __init__(self, study: str, access: Access) -> None:
        self.access = access
        self.metrics = Metrics()
        self.handlers = Handlers(study, self.metrics, access.required)
        self.current = self.handlers.current
        routes = self.handlers.routes()
        errors = {RequestError: _refused, NotMadeError: _not_made, HTTPException: _http_error}
        self.app = Starlette(routes=routes, exception_handlers=errors, lifespan=self.handlers.lifespan)
        self.app.router.redirect_slashes = False
        self._paths = {route.path for route in routes}
        self._is_known_host = lru_cache(256)(access.is_known_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        status = 500

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append(_NOSNIFF)
            await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal or self.app)(scope, receive, send_safely)
        except ClientDisconnect:
            status = 499  # as nginx counts a client that went away
        finally:
            # Only known names become labels, or anyone could fill the memory with them.
            method, path = scope["method"], scope["path"]
            self.metrics.count(
                method if method in ("GET", "POST", "HEAD") else "other",
                path if path in self._paths else "other",
                status,
                perf_counter() - started,
            )

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is not looked at; None for one that is."""
        sent: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name == b"host" and name in sent:
                return _json(b'{"detail": "more than one Host header"}', status=400)
            sent[name] = value.decode("latin-1")
        if not self._is_known_host(sent.get(b"host", "")):
            detail = "the Host header is not a name of this server; add it with: bash serve.sh --allow-host NAME"
            return _json(json.dumps({"detail": detail}).encode(), status=421)
        if not self.access.required:
            return None
        peer = (scope.get("client") or ("",))[0]
        address = self.access.address(peer, sent.get(b"x-forwarded-for", ""))
        if self.access.allows(address, sent.get(b"authorization", "")):
            return None
        headers = {"www-authenticate": "Bearer"}
        detail = "this server asks for a token: Authorization: Bearer ..."
        if wait := self.access.guesses.wait(address):
            headers["retry-after"] = str(int(wait) + 1)
            detail += f"; after wrong tokens, the next one is checked in {int(wait) + 1} s"
        return _json(json.dumps({"detail": detail}).encode(), headers, 401)


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped: ``python -m lib.serving.endpoint.app [STUDY] [--host HOST] [--port PORT]``."""
    options = access.server_parser("lib.serving.endpoint.app", __doc__, 8000).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="api: %(message)s")
    open_files = server_process.raise_descriptor_limit()
    limits = Limits(connections=min(Limits.connections, open_files // 4))
    uvicorn.run(
        Service(options.study, Access.from_options(options)),
        host=options.host,
        port=options.port,
        http=partial(LimitedProtocol, connections=Connections(limits)),  # type: ignore[arg-type]
        ws="none",
        backlog=min(2048, open_files // 2),  # all may be accepted before the oldest connections are closed
        timeout_graceful_shutdown=5,
        proxy_headers=False,  # whose X-Forwarded-For is believed is for `Access` to say, not for the address it comes from
        log_level="error",  # every malformed request is a warning: anyone could fill the disk
        access_log=False,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
