"""What one client sends, leaves unfinished or leaves unread: a limit for each, and an answer for everyone else."""

from __future__ import annotations

import socket
import threading
from functools import partial

import pytest
import uvicorn
from serving_study import wait_for

from lib.serving.endpoint.http_limits import Connections, LimitedProtocol, Limits

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = 16_000_000  # bytes of an answer that no socket buffer takes whole


async def app(scope, receive, send):
    """Answers GET / at once, GET /large with `LARGE` bytes, and a POST with its body's length."""
    body = b"ok"
    if scope["path"] == "/large":
        body = bytes(LARGE)
    if scope["method"] == "POST":
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length, more = length + len(message["body"]), message["more_body"]
        body = str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def serve():
    """Start a server with these limits, in a thread; gives what opens a connection to it."""
    started = []

    def start(**limits):
        connections = Connections(Limits(**limits))
        protocol = partial(LimitedProtocol, connections=connections)
        config = uvicorn.Config(
            app, port=0, http=protocol, ws="none", lifespan="off", log_level="critical", timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        opened = []
        started.append((server, thread, opened))
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]

        def connect(sent=b""):
            opened.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            opened[-1].sendall(sent)
            return opened[-1]

        connect.connections = connections
        return connect

    yield start
    for server, thread, opened in started:
        for connection in opened:
            connection.close()
        server.should_exit = True
        thread.join()


def read_all(connection):
    """Everything until the server closes; what a reset leaves of it counts too."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionError:
        pass
    return found


def send_until_closed(connection, piece, most=400):
    """Send ``piece`` again and again; how often until the server has closed."""
    for count in range(most):
        try:
            connection.sendall(piece)
        except ConnectionError:
            return count
    return most


def status(answer):
    return int(answer.split(b" ", 2)[1])


def test_answers_one_request_after_the_other(serve):
    connection = serve()()
    for request, body in ((GET, b"ok"), (POST + b"Content-Length: 3\r\n\r\nabc", b"3"), (GET, b"ok")):
        connection.sendall(request)
        answer = connection.recv(1000)
        assert status(answer) == 200
        assert answer.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (b"GET /?" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"\r\n" * 20_000, 431),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 101, 431),
        (CHUNKED + b"0\r\n" + b"x: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"junk\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\n\r\n", 400),
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab", 400),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 3000000\r\n\r\n" + b"a" * 2_100_000, 413),
    ],
    ids=[
        "header without end", "long header", "many headers", "long line", "empty lines", "many trailers", "long trailer",
        "no HTTP", "HTTP/2", "CONNECT", "upgrade with body", "two lengths", "body",
    ],
)  # fmt: skip
def test_refuses_what_is_too_much_or_no_request(serve, sent, expected):
    answer = read_all(serve()(sent))
    assert status(answer) == expected
    assert b'{"detail": "' in answer
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET / HTTP/1.1\r\nx: ", b"a" * 65_536),
        (CHUNKED, b"10000\r\n" + b"a" * 65_536 + b"\r\n"),
        (GET.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), b"10000\r\n" + b"a" * 65_536 + b"\r\n"),
        (CHUNKED, b"1\r\na\r\n" * 10_000),
        (CHUNKED + b"1;", b"a" * 65_536),
        (CHUNKED + b"0\r\nx: ", b"a" * 65_536),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), b"a" * 65_536),
    ],
    ids=["header", "body", "body of a GET", "small chunks", "chunk extension", "trailer", "upgrade"],
)
def test_closes_on_what_never_ends(serve, start, piece):
    assert send_until_closed(serve()(start), piece) < 400


@pytest.mark.parametrize("sent", [b"GET / HTT", POST + b"Content-Length: 9\r\n\r\nabc"], ids=["head", "body"])
def test_gives_an_unfinished_request_up(serve, sent):
    assert status(read_all(serve(request_seconds=0.2)(sent))) == 408


def test_a_request_that_grows_slowly_is_not_given_more_time(serve):
    connection = serve(request_seconds=0.2)(b"GET / HTTP/1.1\r\n")
    wait_for(lambda: send_until_closed(connection, b"a: b\r\n", 1) == 0)


def test_closes_a_connection_without_a_request(serve):
    assert read_all(serve(request_seconds=0.2)()) == b""


def test_a_new_connection_is_answered_at_the_cost_of_the_oldest_idle_one(serve):
    connect = serve(connections=8)
    connections = [connect() for _ in range(8)]
    wait_for(lambda: len(connect.connections._open) == 8)
    connections[0].sendall(GET)
    assert status(connections[0].recv(1000)) == 200  # it was served last, so that it goes last
    for _ in range(7):
        assert status(connect(GET).recv(1000)) == 200
    assert [read_all(connection) for connection in connections[1:]] == [b""] * 7
    connections[0].sendall(GET)
    assert status(connections[0].recv(1000)) == 200


def test_answers_as_many_pipelined_requests_as_are_allowed_then_closes(serve):
    answers = read_all(serve(pipelined=4)(GET * 1000))
    assert 1 <= answers.count(b"200 OK") <= 6
    assert answers.endswith(b"ok")


def test_an_upgrade_is_answered_in_http_and_closed(serve):
    asked = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    answer = read_all(serve()(asked + b"\x81\x05hello"))
    assert status(answer) == 200
    assert b"connection: close" in answer


def test_unread_answers_are_dropped_before_they_fill_the_memory(serve):
    connect = serve(held=40_000_000)
    large = GET.replace(b"/ ", b"/large ")
    unread = [connect(large) for _ in range(12)]
    assert status(connect(GET).recv(1000)) == 200
    held = [one.held() for one in connect.connections._open]
    assert sum(held) <= 40_000_000
    # The last one to ask gets its answer whole.
    body = read_all(connect(large.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))).partition(b"\r\n\r\n")[2]
    assert len(body) == LARGE
    assert len(read_all(unread[0])) < LARGE


def test_a_client_that_never_reads_is_closed(serve):
    connect = serve(answer_seconds=0.2)
    connection = connect(GET.replace(b"/ ", b"/large "))
    wait_for(lambda: connect.connections._open)
    wait_for(lambda: not connect.connections._open)
    assert len(read_all(connection)) < LARGE


def test_unfinished_bodies_are_dropped_before_they_fill_the_memory(serve):
    connect = serve(held=5_000_000)
    unfinished = [connect(POST + b"Content-Length: 1900000\r\n\r\n" + b"a" * 1_800_000) for _ in range(8)]
    assert status(connect(POST + b"Content-Length: 200000\r\n\r\n" + b"a" * 200_000).recv(1000)) == 200
    assert sum(one.held() for one in connect.connections._open) <= 5_000_000
    assert read_all(unfinished[0]) == b""


def test_connections_that_ended_are_forgotten(serve):
    connect = serve()
    for _ in range(20):
        connection = connect(GET)
        connection.recv(1000)
        connection.close()
    wait_for(lambda: not connect.connections._open)
