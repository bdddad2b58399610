"""uvicorn's HTTP protocol with limits on what one client sends, leaves unfinished or leaves unread.

uvicorn 0.54 has no setting for these with httptools: ``h11_max_incomplete_event_size`` is h11's alone, and
``limit_concurrency`` answers everyone 503 while idle connections stay (https://www.uvicorn.org/settings/#resource-limits). So
`LimitedProtocol` extends its class for httptools (uvicorn/protocols/http/httptools_impl.py).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CHUNK = 65_536  # bytes; what uvicorn itself holds of a body before it stops reading


@dataclass(frozen=True)
class Limits:
    """What connections may cost together and each; sizes in bytes."""

    head: int = 16_384  # request line and headers, trailers included
    headers: int = 100
    body: int = 2_000_000  # a body as sent, chunk sizes included, whether anyone reads it or not
    pipelined: int = 4  # requests that wait for the answer to an earlier one of their connection
    connections: int = 512
    held: int = 32_000_000  # of all connections: unfinished requests and unread answers
    request_seconds: float = 15.0  # from the opening, or from the last answer, to the end of a request
    answer_seconds: float = 60.0  # to make an answer, and for the client to read it
    linger_seconds: float = 1.0  # to read a refusal


class Connections:
    """All open connections, the one whose client was served or greeted longest ago first."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[LimitedProtocol, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: LimitedProtocol) -> None:
        """Take a new connection, at the cost of the oldest one that waits for a request when there are too many."""
        if len(self._open) >= self.limits.connections:
            waiting = (one for one in self._open if not one.is_answering())
            self.abort(next(waiting, next(iter(self._open))))
        self._open[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_later(1.0, self._close_late, connection.loop)

    def renew(self, connection: LimitedProtocol) -> None:
        """Make ``connection`` the youngest."""
        if self._open.pop(connection, connection) is None:
            self._open[connection] = None

    def remove(self, connection: LimitedProtocol) -> None:
        """Forget a connection that was lost."""
        self._open.pop(connection, None)

    def abort(self, connection: LimitedProtocol) -> None:
        """End a connection at once: closing it would wait until the client has read everything."""
        self.remove(connection)
        connection.transport.abort()

    def relieve(self) -> None:
        """End the oldest of the connections that hold memory, until all together hold no more than is allowed."""
        total = sum(one.held() for one in self._open)
        for one in list(self._open):
            if total <= self.limits.held:
                return
            if held := one.held():
                total -= held
                self.abort(one)

    def _close_late(self, loop: asyncio.AbstractEventLoop) -> None:
        for one in list(self._open):
            one.close_if_late()
        self._timer = loop.call_later(1.0, self._close_late, loop) if self._open else None


class LimitedProtocol(HttpToolsProtocol):
    """One connection, within `Limits`."""

    def __init__(self, *, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._connections = connections
        self._limits = connections.limits
        self._since = self.loop.time()
        self._received = 0  # bytes of the unfinished request
        self._in_head = True
        self._head = 0  # bytes of its headers and trailers
        self._refused = False
        self._refusal = (400, "this is not a valid HTTP request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection."""
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting it."""
        super().connection_lost(exc)
        # uvicorn cancels this timer only when there was no error, and until it ends it holds all that belongs to the request.
        self._unset_keepalive_if_required()
        self._connections.remove(self)

    def is_answering(self) -> bool:
        """Whether a whole request has no whole answer yet."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def held(self) -> int:
        """Bytes that this connection makes the process hold."""
        return self._received + self.transport.get_write_buffer_size()

    def close_if_late(self) -> None:
        """End the connection when its client takes longer than is allowed."""
        busy = self.is_answering() or self.transport.get_write_buffer_size() > 0
        allowed = self._limits.answer_seconds if busy else self._limits.request_seconds
        if self._refused and not busy:
            allowed = self._limits.linger_seconds
        if self.loop.time() - self._since <= allowed:
            return
        if busy or self.transport.is_closing() or self._refused or not self._received:
            self._connections.abort(self)
        else:
            self.refuse(408, f"the request was not complete after {self._limits.request_seconds:g} s")

    def refuse(self, status: int, message: str) -> None:
        """Answer an unfinished request with ``status``, read nothing more, and close.

        Requests before it on the same connection get their answers first, and it gets none.
        """
        self._refused = True
        cycle = self.cycle
        if self.is_answering():
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if cycle is not None and not cycle.response_complete:  # its handler waits for the rest of the body
            if cycle.response_started:
                self._connections.abort(self)
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._unset_keepalive_if_required()
        body = json.dumps({"detail": message}).encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        # Closing with bytes unread would reset the connection, and the client might never see why.
        self.transport.write_eof()
        self._renew()

    def _reject(self, status: int, message: str) -> None:
        # In a callback of the parser: raising is the only way to stop it.
        self._refusal = (status, message)
        raise ValueError(message)

    def _renew(self) -> None:
        self._since = self.loop.time()
        self._connections.renew(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the client has sent too much."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._refused:
            if self._received > 2 * self._limits.body:
                self._connections.abort(self)
            return
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._in_head and self._received > self._limits.head:
            self.refuse(431, f"the request's head is longer than {self._limits.head} bytes")
        elif self._received > self._limits.body:
            self.refuse(413, f"the request is longer than {self._limits.body} bytes")
        elif self._received > CHUNK:
            self._connections.relieve()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not take, with the reason that a callback gave."""
        self.refuse(*self._refusal)

    def on_message_begin(self) -> None:
        """Begin with a new head."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request line."""
        super().on_url(url)
        if len(self.url) > self._limits.head:
            self._reject(414, f"the request line is longer than {self._limits.head} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after a chunked body."""
        super().on_header(name, value)
        self._head += len(name) + len(value)
        if len(self.headers) > self._limits.headers:
            self._reject(431, f"the request has more than {self._limits.headers} headers")
        if self._head > self._limits.head:
            self._reject(431, f"the request's headers are longer than {self._limits.head} bytes")

    def on_headers_complete(self) -> None:
        """Start the answer, or queue it behind the one before."""
        if len(self.pipeline) >= self._limits.pipelined:
            self._reject(429, "too many requests before the first one's answer")
        upgrade = self.parser.should_upgrade()
        if upgrade and self.parser.get_method() not in (b"GET", b"HEAD"):
            self._reject(400, "this server speaks HTTP/1.1 alone: a body may not follow an Upgrade header")
        super().on_headers_complete()
        self._in_head = False
        if upgrade:
            # What follows may be in the other protocol: the request is answered as it is, and the connection closed.
            self.cycle.keep_alive = False
            self._refused = True

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        super().on_message_complete()
        self._in_head, self._received = True, 0
        self._renew()

    def on_response_complete(self) -> None:
        """Take the end of an answer."""
        super().on_response_complete()
        self._renew()
        # uvicorn has just resumed reading. uvloop 0.23 (libuv 1.52) accepts one connection in each turn of the loop, so that
        # reading in vain would keep new ones waiting (uv__server_io, https://github.com/libuv/libuv/blob/v1.52.1/src/unix/stream.c).
        if self._refused and not self.transport.is_closing():
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Stop answers until the client has read those it was sent."""
        super().pause_writing()
        self._connections.relieve()
