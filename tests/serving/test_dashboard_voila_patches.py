"""The patches of Voilà, Jupyter and Tornado that need no server to be seen; test_attacks.py has those that do."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from types import SimpleNamespace

import pytest
import tornado.httpserver
import tornado.testing
import tornado.web
import tornado.websocket
from jupyter_server.base.websocket import WebSocketMixin
from tornado.ioloop import IOLoop
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from benchmarks.serving import message
from lib.serving.dashboard import voila_patches
from lib.serving.dashboard.voila_patches import (
    MAX_PENDING,
    PINGS,
    Channel,
    Connection,
    Exporter,
    Page,
    Protocol,
    cookie_secret,
)


class Echo(tornado.websocket.WebSocketHandler):
    """A handler whose connections have our protocol."""

    def get_websocket_protocol(self):
        protocol = super().get_websocket_protocol()
        return protocol and Protocol(self, False, protocol.params)

    async def on_message(self, message):
        await self.write_message(str(len(message)))


def with_echo(function):
    """Run a coroutine function with the URL of an `Echo` server."""

    async def run():
        server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Echo)]))
        listening, port = tornado.testing.bind_unused_port()
        server.add_socket(listening)
        try:
            return await function(f"ws://127.0.0.1:{port}/")
        finally:
            server.stop()

    return asyncio.run(run())


def test_frames_wait_their_turn(monkeypatch):
    """The first ones of a connection at once, the others as fast as they may."""
    waits = []
    monkeypatch.setattr(voila_patches, "FRAMES_AT_ONCE", 10)
    monkeypatch.setattr(voila_patches, "monotonic", lambda: 0.0)
    sleep = asyncio.sleep

    async def wait(seconds):
        waits.append(round(seconds * voila_patches.FRAMES_PER_SECOND))
        await sleep(0)

    async def send(url):
        line = await tornado.websocket.websocket_connect(url)
        monkeypatch.setattr(voila_patches.asyncio, "sleep", wait)
        for _ in range(15):
            await line.write_message("abc")
            assert await line.read_message() == "3"
        line.close()

    with_echo(send)
    assert [one for one in waits if one][:5] == [1, 2, 3, 4, 5]


def test_only_large_messages_take_turns(monkeypatch):
    """One at a time here: the second waits until the first has come; small ones and pings never do."""
    large = "x" * (voila_patches.SMALL + 1)

    async def send(url):
        monkeypatch.setattr(Protocol, "_large", asyncio.Semaphore(1))
        first, second = [await tornado.websocket.websocket_connect(url) for _ in range(2)]
        await first.protocol._write_frame(False, 0x1, large.encode())  # a part of a message
        while not Protocol._large.locked():
            await asyncio.sleep(0)
        await second.write_message(large)
        for _ in range(5):
            small = await tornado.websocket.websocket_connect(url)
            await small.write_message("abc")
            assert await small.read_message() == "3"
        await first.protocol._write_frame(True, 0x0, b"end")
        assert await first.read_message() == str(len(large) + 3)
        assert await second.read_message() == str(len(large))
        while Protocol._large.locked():
            await asyncio.sleep(0)
        # A line that closes in the middle gives its turn back.
        await first.protocol._write_frame(False, 0x1, large.encode())
        while not Protocol._large.locked():
            await asyncio.sleep(0)
        first.protocol._abort()
        while Protocol._large.locked():
            await asyncio.sleep(0)

    with_echo(send)


def test_a_broken_line_leaves_no_message(monkeypatch):
    """The error of a connection that was reset holds no frames, whose variables would be the message that was being sent."""
    streams = []

    async def send_large(self, message):
        streams.append(self.ws_connection.stream)
        self.write_message(bytes(9 * 2**20), binary=True).add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )

    async def leave(url):
        monkeypatch.setattr(Echo, "on_message", send_large)
        line = await tornado.websocket.websocket_connect(url)
        line.protocol.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await line.write_message("abc")
        async with asyncio.timeout(30):
            while not streams:
                await asyncio.sleep(0.01)
            line.protocol._abort()  # a reset
            while not streams[0].closed():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)

    with_echo(leave)
    assert isinstance(streams[0].error, ConnectionResetError)
    assert streams[0].error.__traceback__ is None


@pytest.mark.parametrize(("quiet", "stays"), [(1, True), (2, True), (4, False)])
def test_a_line_that_answers_pings_stays(quiet, stays):
    """At the first ping nothing can have been answered yet; Jupyter counts from the opening."""

    async def turn():
        closed, sent = [], []
        now = IOLoop.current().time()
        interval = PINGS["ws_ping_interval"]
        line = SimpleNamespace(
            ping_interval=interval, ping_timeout=PINGS["ws_ping_timeout"], ping_callback=None, log=SimpleNamespace(warning=print),
            ws_connection=SimpleNamespace(client_terminated=False), ping=sent.append, close=lambda: closed.append(True),
            last_ping=now - interval / 1000 - 0.01, last_pong=now - quiet * interval / 1000 - 0.01,
        )  # fmt: skip
        WebSocketMixin.send_ping(line)
        return not closed and sent == [b""]

    assert asyncio.run(turn()) == stays


def test_a_kernel_that_says_much_lets_others_go_first(monkeypatch):
    """A large message is followed by a rest, a small one by the next at once; a stream that closes meanwhile stays closed."""
    monkeypatch.setattr(voila_patches, "LARGE_PER_SECOND", 100 * voila_patches.SMALL)

    async def say(size, closes=False):
        done = []
        stream = SimpleNamespace(
            stop_on_recv=lambda: done.append("stop"), on_recv_stream=done.append, closed=lambda: closes
        )
        voila_patches.rest_after(stream, size, "go on")
        at_once = list(done)
        await asyncio.sleep(0.1)
        return at_once, done

    assert asyncio.run(say(voila_patches.SMALL)) == ([], [])
    assert asyncio.run(say(voila_patches.SMALL + 1)) == (["stop"], ["stop", "go on"])
    assert asyncio.run(say(voila_patches.SMALL + 1, closes=True)) == (["stop"], ["stop"])


def test_templates_are_compiled_once():
    """Each page has its own environment, and they share the code."""
    compiled = []
    for _ in range(2):
        environment = Exporter(template_name="lab")._create_environment()
        environment.compile = lambda *arguments, compile=environment.compile, **options: (  # type: ignore[method-assign]
            compiled.append(1) or compile(*arguments, **options)
        )
        environment.get_template("index.html.j2")
    assert len(compiled) == 1


def channel():
    """A line without a server."""
    made = Channel.__new__(Channel)
    made.application = SimpleNamespace(settings=PINGS)
    made.request = SimpleNamespace(headers={"Sec-WebSocket-Version": "13"})
    made.unread = deque()
    made.ws_connection = None
    return made


def test_tornado_sends_no_pings_of_its_own():
    assert (
        VoilaKernelWebsocketHandler.get_websocket_protocol(channel()).params.ping_interval == PINGS["ws_ping_interval"]
    )
    assert channel().get_websocket_protocol().params.ping_interval is None


def test_a_line_holds_little_that_is_unread(monkeypatch):
    """What a visitor is reading may be large; behind it little may wait, and the line closes."""

    async def write():
        line, dropped = channel(), []
        line.drop = lambda: dropped.append(True)
        monkeypatch.setattr(VoilaKernelWebsocketHandler, "write_message", lambda *_: asyncio.Future())
        for size in (4 * voila_patches.MAX_UNREAD, voila_patches.MAX_UNREAD, 1):
            line.write_message(bytes(size))
        assert not dropped
        with pytest.raises(tornado.websocket.WebSocketClosedError):
            line.write_message(b"1")
        assert dropped

    asyncio.run(write())


def test_a_page_that_never_comes_ends(monkeypatch):
    """Voilà's heartbeat goes on for ever; ours ends with what to do."""

    class Stuck(Page):
        request = SimpleNamespace(remote_ip="127.0.0.1")
        kernel_manager = SimpleNamespace(asked_by=lambda _: None)

        def __init__(self):
            self.written = []

        async def get_generator(self):
            while True:
                await asyncio.sleep(0.01)
                yield "heartbeat"

        def write(self, text):
            self.written.append(text)

        async def flush(self):
            pass

    monkeypatch.setattr(voila_patches, "OPEN_SECONDS", 0.05)
    page = Stuck()
    asyncio.run(asyncio.wait_for(Page.get.__wrapped__(page), 30))
    assert page.written[0] == "heartbeat" and page.written[-1].startswith("<")


def test_processes_with_the_same_token_accept_each_others_cookies():
    assert cookie_secret("right") == cookie_secret("right") != cookie_secret("wrong")
    assert b"right" not in cookie_secret("right")


def test_a_line_that_breaks_while_the_kernel_is_busy_ends():
    """Tornado reads on, and learns that the line is over, only when its last message is handed on; a stopped kernel takes none."""
    asked = json.dumps(message("comm_info_request", {}))

    async def wait():
        handler = SimpleNamespace(ws_connection=object())
        pending = dict.fromkeys(map(str, range(MAX_PENDING)), 1)
        connection = SimpleNamespace(
            room=asyncio.Event(), _pending=pending, _broken=False, subprotocol=None, websocket_handler=handler
        )
        connection.line_is_broken = lambda: Connection.line_is_broken(connection)
        handler.connection = connection
        waiting = asyncio.create_task(Connection.receive(connection, asked))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        Protocol._forget_message(SimpleNamespace(stream=SimpleNamespace(error=None), handler=handler))
        async with asyncio.timeout(5):
            await waiting
        assert len(connection._pending) == MAX_PENDING

    asyncio.run(wait())
