"""What an attacker on the loopback device does to the dashboard's server, and to the other visitors: each limit, from outside."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import socket
import sys
import uuid
from types import SimpleNamespace

import httpx
import psutil
import pytest
from attacker import BINARY, CHUNK, ROW, TEXT, Line, Target, states, states_again, upload
from serving_study import free_port, make_study, running, wait_for

from benchmarks.serving import Visitor, kernels, message
from lib.serving.access import FREE_GUESSES
from lib.serving.dashboard.kernel_messages import V1
from lib.serving.dashboard.voila_patches import MAX_LINES

pytestmark = pytest.mark.xdist_group("attacks")  # one server for all

GROWTH = 100 * 2**20  # bytes that an attack may add to the server, whatever it sends
PER_ADDRESS = 3


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A dashboard with room for six sessions, three of one address, behind a proxy at 127.0.0.1."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(folder / "outputs"))
        make_study(folder / "outputs")
        port = free_port()
        options = ["--max-visitors", "6", "--max-per-address", str(PER_ADDRESS), "--proxy", "127.0.0.1"]
        options += ["--allow-host", "study.example.org"]
        with running("hasty_dashboard", *options, port=port, log=folder / "log") as url:
            [process] = [one for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or [])]
            site = SimpleNamespace(url=url, process=process, target=Target(url), log=folder / "log")
            with as_before(site):
                yield site


@contextlib.contextmanager
def as_before(site):
    """See that another visitor afterwards finds the site as it was."""
    before = site.process.memory_info().rss
    yield
    gc.collect()  # an attack that was cut off is in cycles, with its connections: they end with it, as an attacker's do with his process
    asyncio.run(use(site.url, "192.0.2.99"))
    wait_for(lambda: not kernels(site.process), 90)
    assert site.process.memory_info().rss - before < GROWTH


@pytest.fixture
def attacked(site):
    """The site, for a test that leaves something behind which must not stay."""
    with as_before(site):
        yield site


async def peak(process, attack, seconds=None):
    """The most bytes that a process gained while an attack ran, which is cut off after ``seconds``."""
    before = most = process.memory_info().rss
    task = asyncio.create_task(attack)
    until = asyncio.get_running_loop().time() + (seconds or 1e9)
    while not task.done() and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.1)
        most = max(most, process.memory_info().rss)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await task
    return most - before


async def use(url, address):
    """Be a visitor from ``address`` who gets a prediction."""
    async with httpx.AsyncClient(headers={"X-Forwarded-For": address}) as client:
        visitor = Visitor(url, client)
        await visitor.open()
        assert await visitor.type("12345") > 0
        await visitor.close()


def ask(site, path="/", **headers):
    return httpx.get(
        site.url + path, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=60
    )


async def closed(line):
    """Whether the server closes the line; what it has sent until then is thrown away."""
    async with asyncio.timeout(60):
        await line.drain()
        return True


def test_malformed_messages_close_the_line(attacked):
    malformed = {
        "parts": ((16_000_000).to_bytes(4, "big"), BINARY, ""),
        "parts of v1": ((2**40).to_bytes(8, "little"), BINARY, V1),
        "huge JSON": (b"[" + b"[]," * 3_000_000 + b"[]]", TEXT, ""),
        "deep JSON": (b'{"a":' * 100_000, TEXT, ""),
        "channel": (json.dumps(message("comm_msg", {"comm_id": "x"}, channel="iopub")).encode(), TEXT, ""),
        "not UTF-8": (b"\xff" * 100, TEXT, ""),
    }

    async def attack():
        kernel = await attacked.target.session()
        page = await Line.open(attacked.target, kernel)  # keeps the kernel
        for name, (sent, opcode, protocol) in malformed.items():
            line = await Line.open(attacked.target, kernel, protocol)
            await line.send(sent, opcode)
            assert await closed(line), name
        page.writer.close()

    assert asyncio.run(peak(attacked.process, attack())) < GROWTH


def test_a_visitor_who_never_reads_is_dropped(attacked):
    async def attack():
        line = await Line.open(attacked.target, await attacked.target.session())
        control = uuid.uuid4().hex
        await upload(line, await states(line, control), b"1,2\n" * 2**20)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(120):
                while True:
                    await line.send(states_again(control))
        assert await closed(line)

    asyncio.run(attack())


def test_a_busy_kernel_is_sent_no_more(attacked):
    """Twenty files of 10 MB for a kernel that is stopped: the visitor must wait, not the server's memory."""

    async def attack():
        line = await Line.open(attacked.target, await attacked.target.session())
        widgets = await states(line, uuid.uuid4().hex)
        [kernel] = kernels(attacked.process)
        kernel.suspend()

        async def send():
            for _ in range(20):
                await upload(line, widgets, b"1,2\n" * (10 * 2**18))

        assert await peak(attacked.process, send(), 4) < GROWTH
        kernel.resume()
        line.writer.transport.abort()

    asyncio.run(attack())


def test_an_error_of_a_kernel_is_kept_to_itself(attacked):
    """A text that is a list: ipywidgets prints a traceback, and goes on."""

    async def attack():
        line = await Line.open(attacked.target, await attacked.target.session())
        widgets = await states(line, uuid.uuid4().hex)
        field = next(name for name, one in widgets.items() if one["model_name"] == "TextModel")
        data = {"method": "update", "state": {"value": [1]}, "buffer_paths": []}
        for _ in range(3):
            await line.send(json.dumps(message("comm_msg", {"comm_id": field, "data": data})).encode())
        async with asyncio.timeout(15):
            assert await states(line, uuid.uuid4().hex) == widgets
        line.writer.transport.abort()

    asyncio.run(attack())


def test_few_large_messages_are_received_at_once(attacked):
    """Eight lines of two sessions, each with 11 MB of a message that never ends."""

    async def fill(line):
        for number in range(176):
            await line.send(CHUNK, BINARY if number == 0 else 0, final=False)

    async def attack():
        sessions = [await attacked.target.session() for _ in range(2)]
        lines = [await Line.open(attacked.target, kernel) for kernel in sessions for _ in range(4)]  # which stay open
        await asyncio.gather(*(fill(line) for line in lines))
        await asyncio.sleep(3600)

    gained = asyncio.run(peak(attacked.process, attack(), 6))
    assert 2 * 11 * 2**20 < gained < 6 * 11 * 2**20


def test_a_page_is_told_that_its_kernel_needed_too_much_memory(attacked):
    """The attacker asks for the results of a large file faster than they can be sent."""

    async def attack():
        async with httpx.AsyncClient(headers={"X-Forwarded-For": "192.0.2.98"}) as client:
            bystander = Visitor(attacked.url, client)
            await bystander.open()
            kernel_id = await attacked.target.session()
            line = await Line.open(attacked.target, kernel_id)
            control = uuid.uuid4().hex
            widgets = await states(line, control)
            ended = asyncio.create_task(line.drain())
            await upload(line, widgets, ROW * 170_000)
            with contextlib.suppress(ConnectionError):
                while not ended.done():
                    await line.send(states_again(control))
            await ended
            answer = await client.get(f"{attacked.url}/session/{kernel_id}")
            assert answer.status_code == 404
            assert "needs more than 256 MB of memory" in answer.text and "Reload the page" in answer.text
            assert await bystander.type("777") > 0
            await bystander.close()

    # What it waits to send waits in its own process, not in the one of all.
    assert asyncio.run(peak(attacked.process, attack())) < 1.5 * GROWTH


def test_one_kernel_has_few_lines(attacked):
    async def attack():
        kernel = await attacked.target.session()
        lines = [await Line.open(attacked.target, kernel) for _ in range(MAX_LINES)]
        assert await closed(await Line.open(attacked.target, kernel))
        for line in lines:
            line.writer.close()

    asyncio.run(attack())


def test_one_address_gets_its_share_of_the_sessions(attacked):
    async def attack():
        async with httpx.AsyncClient(timeout=120) as client:

            async def get(address):
                return (await client.get(attacked.url, headers={"X-Forwarded-For": address})).status_code

            answers = await asyncio.gather(*(get("192.0.2.1") for _ in range(PER_ADDRESS + 4)))
            assert sorted(answers) == [200] * PER_ADDRESS + [429] * 4
            # The addresses that a visitor claims to have, before the one that the proxy saw, do not count.
            assert await get("203.0.113.5, 192.0.2.1") == 429
            assert await get("2001:db8::1") == 200
            refused = await client.get(attacked.url, headers={"X-Forwarded-For": "192.0.2.1"})
            assert "Too many sessions" in refused.text

    asyncio.run(attack())


def test_a_crowd_of_idle_connections_is_refused_but_not_the_others(attacked):
    if sys.platform != "linux":
        pytest.skip("needs a second loopback address")
    host, port = attacked.url.removeprefix("http://").split(":")
    opened = [socket.create_connection((host, int(port)), source_address=("127.0.0.2", 0)) for _ in range(400)]
    with contextlib.ExitStack() as stack:
        for one in opened:
            stack.callback(one.close)
        wait_for(lambda: len(attacked.process.net_connections("tcp")) <= 300)
        assert ask(attacked, "/health").status_code == 200
        with (
            pytest.raises(httpx.HTTPError),
            httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as client,
        ):
            client.get(f"{attacked.url}/health", timeout=5)
        assert attacked.process.num_fds() < 400


def test_answers_that_nobody_reads_do_not_pile_up(attacked):
    """Requests for 160 MB, one behind the other, on lines that are never read: each waits until the answer before it has gone."""
    request = f"GET /voila/static/voila.js HTTP/1.1\r\nHost: {attacked.target.host}\r\n\r\n".encode()

    async def attack():
        lines = [await attacked.target.connect() for _ in range(4)]
        for _, writer in lines:
            writer.transport.pause_reading()
            writer.write(request * 2000)
        await asyncio.sleep(3600)

    assert asyncio.run(peak(attacked.process, attack(), 6)) < GROWTH


def test_headers_and_bodies_have_limits(site):
    long = "x" * 20_000
    assert ask(site, "/health", X_Long=long[:1000]).status_code == 200
    for head in (f"X-Long: {long}", f"Content-Length: {10**9}"):
        host, port = site.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as one:
            one.sendall(f"POST /login HTTP/1.1\r\nHost: {host}\r\n{head}\r\n\r\n".encode())
            answer = one.recv(1000)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example:80", "192.0.2.1"])
def test_another_name_is_refused(site, host):
    for path in ("/", "/health", "/reports/index.html", "/static/dashboard.js", "/nowhere"):
        answer = ask(site, path, Host=host)
        assert answer.status_code == 421, path
        assert "--allow-host" in answer.text


def test_its_own_names_are_answered(site):
    for host in ("localhost", "127.0.0.1:1234", "[::1]:80", "study.example.org", "Study.Example.Org:8866"):
        assert ask(site, "/health", Host=host).status_code == 200


def test_a_good_bye_to_an_ended_session_is_no_error(site):
    page = ask(site)
    xsrf = {"_xsrf": page.cookies["_xsrf"]}
    for _ in range(2):
        kernel = page.text.split('"kernelId": "')[1].split('"')[0]
        answer = httpx.post(
            f"{site.url}/voila/api/shutdown/{kernel}", params=xsrf, cookies=dict(page.cookies), timeout=60
        )
        assert answer.status_code == 204
    assert "ends after ten minutes" in ask(site, f"/session/{kernel}").text


def test_browsers_keep_the_front_end(site):
    page = ask(site).text
    script = page.split('rel="preload" as="script" href="')[1].split('"')[0]
    assert "immutable" in ask(site, script).headers["cache-control"]


def test_a_log_of_the_same_error_is_short(site):
    """Each of these requests once made a line."""
    before = site.log.stat().st_size
    for number in range(200):
        ask(site, f"/nowhere/{number}")
        ask(site, "/health", Host="attacker.example")
    assert site.log.stat().st_size - before < 5000


def test_guesses_of_the_token_have_to_wait(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    make_study(tmp_path / "outputs")
    token = {"Authorization": "Bearer right"}
    with running(
        "lib.serving.dashboard.server",
        "--proxy",
        "127.0.0.1",
        port=free_port(),
        log=tmp_path / "log",
        SERVE_TOKEN="right",
    ) as url:

        def status(path="/health", address="192.0.2.1", **headers):
            answer = httpx.get(url + path, headers={"X-Forwarded-For": address, **headers})
            return answer.status_code, int(answer.headers.get("retry-after", 0))

        # In a header, in the address, and in the form.
        assert status(Authorization="Bearer wrong") == (403, 0)
        assert status("/health?token=wrong") == (403, 0)
        with httpx.Client(headers={"X-Forwarded-For": "192.0.2.1"}) as client:
            client.get(f"{url}/login")
            form = {"password": "wrong", "_xsrf": client.cookies["_xsrf"]}
            assert client.post(f"{url}/login", data=form).status_code == 401
            assert FREE_GUESSES == 3
            answer = client.post(f"{url}/login", data=form)
            assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        code, wait = status(**token)
        assert code == 429 and wait >= 1  # not even the right one
        assert status(address="192.0.2.2", **token) == (200, 0)


def test_a_kernel_that_computes_ends_with_its_killed_server(tmp_path, monkeypatch):
    """Its own thread, which looks for its parent, gets no turn."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    make_study(tmp_path / "outputs")
    port = free_port()
    with running("lib.serving.dashboard.server", port=port, log=tmp_path / "log") as url:
        [process] = [one for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or [])]
        asyncio.run(Target(url).session())
        [kernel] = kernels(process)
        kernel.send_signal(signal.SIGSTOP)
        process.kill()
        wait_for(lambda: not kernel.is_running())
