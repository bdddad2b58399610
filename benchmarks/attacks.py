"""Attacks on the servers, each in turn and all at once: ``python -m benchmarks.attacks [STUDY] [--seconds 60] [--to FILE]``.

They are bounded, and go to servers that this starts on the loopback device. Attackers have addresses of their own, 127.0.0.2 and on, as on the
Internet; where there are none (macOS) they share the bystanders', and its limits. Meanwhile the endpoint's `/predict` and `/health` are asked
forty times a second, and one visitor uses the dashboard. Shown for each attack: the latencies beside those without an attack, the most memory that
any process took, and what is left of it afterwards.

Needs a study that has been run. Run it with and without ``--token``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console

from benchmarks.harness import machine, print_table
from benchmarks.serving import Visitor, free_port, kernels, message
from lib import paths
from lib.features.definitions import EXAMPLE_QUERY
from lib.files import write_atomically
from lib.serving.dashboard.kernel_messages import V1

CHUNK = b"x" * 2**16
ROW = b"123456,25" + b" " * 50 + b"\n"  # of a file; its results are four times as large as without the blanks
PING, TEXT, BINARY = 0x9, 0x1, 0x2


@dataclass
class Target:
    """A server under attack."""

    url: str
    token: str = ""
    source: str = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"

    @property
    def headers(self) -> str:
        """What each request of an attacker who knows the token brings."""
        host = self.url.removeprefix("http://")
        return f"Host: {host}\r\n" + (f"Authorization: Bearer {self.token}\r\n" if self.token else "")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection from the attacker's address."""
        host, port = self.url.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port), local_addr=(self.source, 0), limit=2**26)

    async def ask(self, path: str) -> bytes:
        """The whole answer to one ``GET``."""
        reader, writer = await self.connect()
        writer.write(f"GET {path} HTTP/1.1\r\n{self.headers}Connection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
        return answer

    async def session(self) -> str:
        """Open a page without a browser: its kernel's id."""
        found = re.search(rb'"kernelId": "([\w-]+)"', await self.ask("/"))
        if found is None:
            raise ConnectionError("no page")
        return found[1].decode()


class Line:
    """A websocket to a kernel, of an attacker who need not keep to the protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, target: Target, kernel: str, subprotocol: str = "") -> Line:
        """Connect to a kernel."""
        reader, writer = await target.connect()
        protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        writer.write(
            f"GET /api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex} HTTP/1.1\r\n{target.headers}{protocol}"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(head.decode())
        return cls(reader, writer)

    async def send(self, payload: bytes, opcode: int = TEXT, final: bool = True, claimed: int | None = None) -> None:
        """Send one frame; ``claimed`` is the length that it says it has."""
        length = len(payload) if claimed is None else claimed
        # A mask of zeros leaves the payload as it is.
        self.writer.write(struct.pack("!BBQ", (0x80 if final else 0) | opcode, 0x80 | 127, length) + bytes(4) + payload)
        await self.writer.drain()

    async def closed(self) -> bytes:
        """Read until the server closes the line; what it sent."""
        try:
            return await self.reader.read(-1)
        except ConnectionError:
            return b""

    async def drain(self) -> None:
        """Read until the server closes the line, and keep nothing."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(2**20):
                pass


def binary(whole: dict[str, Any], buffers: Sequence[bytes]) -> bytes:
    """A message with buffers, in the older format."""
    parts = [json.dumps({name: part for name, part in whole.items() if name != "buffers"}).encode(), *buffers]
    offsets = np.cumsum([4 * (len(parts) + 1), *(len(part) for part in parts[:-1])]).tolist()
    return struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def v1(whole: dict[str, Any], buffers: Sequence[bytes] = ()) -> bytes:
    """A message in the newer format."""
    names = ("header", "parent_header", "metadata", "content")
    parts = [whole["channel"].encode(), *(json.dumps(whole[name]).encode() for name in names), *buffers]
    offsets = np.cumsum([8 * (len(parts) + 2), *(len(part) for part in parts)]).tolist()
    return struct.pack(f"<{len(parts) + 2}Q", len(parts) + 1, *offsets) + b"".join(parts)


def states_again(control: str) -> bytes:
    """A further request for all widgets, through the comm that `states` opened."""
    return json.dumps(message("comm_msg", {"comm_id": control, "data": {"method": "request_states"}})).encode()


async def states(line: Line, control: str) -> dict[str, Any]:
    """Ask for all widgets, as a page does; the widgets' states by their ids."""
    await line.send(
        json.dumps(
            message("comm_open", {"comm_id": control, "target_name": "jupyter.widget.control", "data": {}})
        ).encode()
    )
    await line.send(states_again(control))
    while True:
        head = await line.reader.readexactly(2)
        size = head[1] & 127
        size = {126: lambda b: struct.unpack("!H", b)[0], 127: lambda b: struct.unpack("!Q", b)[0]}[size](
            await line.reader.readexactly(2 if size == 126 else 8)
        ) if size > 125 else size  # fmt: skip
        payload = await line.reader.readexactly(size)
        if head[0] & 15 == TEXT and b'"states"' in payload:
            found: dict[str, Any] = json.loads(payload)["content"]["data"]["states"]
            return found


# The attacks: each goes on until it is cancelled. The server may close any connection, and is then tried again.

Attack = Callable[[Target], Awaitable[None]]


async def wrong_counts(target: Target) -> None:
    """Messages of a few bytes that claim millions of parts, in both formats."""
    kernel = await target.session()
    for claim, protocol in ((struct.pack("!i", 16_000_000), ""), (struct.pack("<Q", 2**40), V1)):
        line = await Line.open(target, kernel, protocol)
        for _ in range(8):
            await line.send(claim, BINARY)
        await line.closed()


async def large_json(target: Target) -> None:
    """Text of 11 MB: a million lists, and 100,000 of them inside each other."""
    kernel = await target.session()
    for text in (b"[" + b"[]," * 3_500_000 + b"[]]", b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        line = await Line.open(target, kernel)
        await line.send(text)
        await line.closed()


async def many_frames(target: Target) -> None:
    """Pings and small messages, as fast as the server takes them."""
    line = await Line.open(target, await target.session())
    small = json.dumps(message("kernel_info_request", {})).encode()
    while True:
        await line.send(b"", PING)
        await line.send(small.replace(b'"msg_id": "', b'"msg_id": "' + os.urandom(4).hex().encode()))


async def unfinished_messages(target: Target) -> None:
    """Eight lines of two sessions, each with 11 MB of a message that never ends."""
    sessions = [await target.session() for _ in range(2)]
    lines = [await Line.open(target, kernel) for kernel in sessions for _ in range(4)]

    async def fill(line: Line) -> None:
        for number in range(176):
            await line.send(CHUNK, BINARY if number == 0 else 0, final=False)

    await asyncio.gather(*(fill(line) for line in lines))
    await asyncio.sleep(3600)


async def never_reads(target: Target) -> None:
    """A file of 10 MB, and then requests for all states, which hold its results, whose answers nobody reads."""
    kernel = await target.session()
    line = await Line.open(target, kernel)
    control = uuid.uuid4().hex
    widgets = await states(line, control)
    await upload(line, widgets, ROW * 170_000)
    while True:
        await line.send(states_again(control))


async def upload(line: Line, widgets: dict[str, Any], content: bytes) -> None:
    """Put a file into the page's upload field."""
    name = next(name for name, one in widgets.items() if one["model_name"] == "FileUploadModel")
    value = [{"name": "x.csv", "type": "text/csv", "size": len(content), "last_modified": 0}]
    data = {"method": "update", "state": {"value": value}, "buffer_paths": [["value", 0, "content"]]}
    await line.send(binary(message("comm_msg", {"comm_id": name, "data": data}), [content]), BINARY)


async def much_memory(target: Target) -> None:
    """A file of 10 MB, and requests for its results, faster than they are sent: of a kernel's memory."""
    kernel = await target.session()
    line = await Line.open(target, kernel)
    control = uuid.uuid4().hex
    widgets = await states(line, control)
    ended = asyncio.create_task(line.drain())
    await upload(line, widgets, ROW * 170_000)
    while not ended.done():
        await line.send(states_again(control))


async def pages(target: Target) -> None:
    """Nothing but ``GET /``, eight at a time: a session each."""
    await asyncio.gather(*(target.ask("/") for _ in range(8)))


async def idle_connections(target: Target) -> None:
    """Fifteen hundred connections that say nothing, or the beginning of a request."""
    opened = []
    for number in range(1500):
        with contextlib.suppress(OSError):
            reader, writer = await target.connect()
            if number % 2:
                writer.write(b"GET /health HTTP/1.1\r\nX-")
            opened.append((reader, writer))
    await asyncio.sleep(30)
    for _, writer in opened:
        writer.close()


async def endless_headers(target: Target) -> None:
    """Headers, request lines and bodies without an end."""
    starts = (
        b"GET /health HTTP/1.1\r\nX-Long: ",
        b"GET /",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n",
    )

    async def fill(start: bytes) -> None:
        _, writer = await target.connect()
        with contextlib.suppress(OSError):
            writer.write(start)
            for _ in range(1000):
                writer.write(CHUNK)
                await writer.drain()
        writer.close()

    await asyncio.gather(*(fill(start) for start in starts))


async def unread_answers(target: Target) -> None:
    """Requests sent one behind the other, of pages and files, whose answers nobody reads."""
    opened = []
    for path in ("/health", "/reports/index.html", "/predict?" + EXAMPLE_QUERY, "/voila/static/voila.js"):
        reader, writer = await target.connect()
        opened.append((reader, writer))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = f"GET {path} HTTP/1.1\r\n{target.headers}\r\n".encode()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(3):
                for _ in range(20_000):
                    writer.write(request)
                    await writer.drain()
    for _, writer in opened:
        writer.transport.abort()


async def pipelined(target: Target) -> None:
    """Sixteen connections with a thousand requests each, one behind the other, and answers that are read."""

    async def fill() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await target.connect()
                writer.write(f"GET /predict?{EXAMPLE_QUERY} HTTP/1.1\r\n{target.headers}\r\n".encode() * 1000)
                while await reader.read(2**16):
                    pass
                writer.close()

    await asyncio.gather(*(fill() for _ in range(16)))


async def wrong_items(target: Target) -> None:
    """Four bodies of a megabyte in which every item is wrong, and four that are right and as large as they may be."""
    pairs = b"[" + b",".join([b"[123456.5,25.5]"] * 10_000) + b"]"

    async def post(body: bytes) -> None:
        reader, writer = await target.connect()
        head = f"POST /predict HTTP/1.1\r\n{target.headers}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.read(-1)
        writer.close()

    await asyncio.gather(*(post(body) for body in [b"[" + b"[]," * 333_000 + b"[]]", pairs] * 4))


async def guesses(target: Target) -> None:
    """Wrong tokens, as fast as they are answered."""
    other = Target(target.url, uuid.uuid4().hex, target.source)
    await asyncio.gather(*(other.ask("/health") for _ in range(8)))


ON_BOTH: tuple[Attack, ...] = (idle_connections, endless_headers, unread_answers, guesses)
ON_ENDPOINT: tuple[Attack, ...] = (pipelined, wrong_items)
ON_DASHBOARD: tuple[Attack, ...] = (
    wrong_counts, large_json, many_frames, unfinished_messages, never_reads, much_memory, pages,
)  # fmt: skip


async def repeat(attack: Attack, target: Target, seconds: float) -> None:
    """Run an attack, again whenever it ends or is cut off, for some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(OSError, EOFError):
                    await attack(target)
                await asyncio.sleep(0.05)


# What is measured meanwhile


@dataclass
class Measured:
    """What one attack did to everybody else."""

    latencies: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    def row(self, name: str) -> dict[str, Any]:
        """One line of the table: milliseconds and MB."""
        shown: dict[str, Any] = {"attack": name}
        for what, found in self.latencies.items():
            shown[f"{what}_p99_ms"] = round(float(np.quantile(found, 0.99)) * 1000, 1) if found else None
            shown[f"{what}_failed"] = self.failed.get(what, 0)
        return {**shown, **{f"{what}_mb": peak for what, peak in self.peaks.items()}}


@dataclass
class Servers:
    """The two servers, and the processes whose memory counts."""

    api: str
    dashboard: str
    processes: dict[str, psutil.Process]
    token: str


@contextlib.contextmanager
def servers(study: str, token: str) -> Iterator[Servers]:
    """Run both servers on ports of their own."""
    urls, processes = {}, {}
    environment = {**os.environ, **({"SERVE_TOKEN": token} if token else {})}
    with contextlib.ExitStack() as stack:
        for name, module in (("endpoint", "lib.serving.endpoint.app"), ("dashboard", "lib.serving.dashboard.server")):
            port = free_port()
            command = [sys.executable, "-m", module, study, "--port", str(port)]
            process = subprocess.Popen(command, cwd=paths.ROOT, env=environment, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            urls[name], processes[name] = f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        for url in urls.values():
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"{url}/health")
                    break
                time.sleep(0.1)
        yield Servers(urls["endpoint"], urls["dashboard"], processes, token)


@contextlib.asynccontextmanager
async def watched(running: Servers) -> AsyncIterator[Measured]:
    """Ask both servers as bystanders do, and look at memory, while the body runs."""
    found = Measured({name: [] for name in ("predict", "health", "edit")})
    headers = {"Authorization": f"Bearer {running.token}"} if running.token else {}
    bystander = set(kernels(running.processes["dashboard"]))

    async def ask(client: httpx.AsyncClient, name: str, path: str) -> None:
        while True:
            started = time.perf_counter()
            try:
                answer = await client.get(f"{running.api}{path}", headers=headers, timeout=10)
                found.failed[name] = found.failed.get(name, 0) + (answer.status_code != 200)
            except httpx.HTTPError:
                found.failed[name] = found.failed.get(name, 0) + 1
            found.latencies[name].append(time.perf_counter() - started)
            await asyncio.sleep(0.05)

    async def edit(visitor: Visitor) -> None:
        number = 0
        while True:
            number += 1
            started = time.perf_counter()
            try:
                await visitor.type(str(10_000 + number))
            except Exception:
                found.failed["edit"] = found.failed.get("edit", 0) + 1
                return
            found.latencies["edit"].append(time.perf_counter() - started)
            await asyncio.sleep(0.25)

    async def look() -> None:
        while True:
            now = {name: [process] for name, process in running.processes.items()}
            now["bystander's kernel"] = [
                kernel for kernel in kernels(running.processes["dashboard"]) if kernel in bystander
            ]
            now["attacker's kernel"] = [
                kernel for kernel in kernels(running.processes["dashboard"]) if kernel not in bystander
            ]
            for name, processes in now.items():
                for process in processes:
                    with contextlib.suppress(psutil.Error):
                        peak = round(process.memory_info().rss / 1e6)
                        found.peaks[name] = max(found.peaks.get(name, 0), peak)
            await asyncio.sleep(0.2)

    async with httpx.AsyncClient(headers=headers) as client:
        visitor = Visitor(running.dashboard, client, running.token)
        await visitor.open()
        bystander = set(kernels(running.processes["dashboard"])) - bystander
        tasks = [
            asyncio.create_task(one)
            for one in (
                ask(client, "predict", f"/predict?{EXAMPLE_QUERY}"),
                ask(client, "health", "/health"),
                edit(visitor),
                look(),
            )
        ]
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Exception):
                await visitor.close()


async def left(running: Servers, seconds: float = 60.0) -> dict[str, Any]:
    """What remains: sessions, connections and MB, at the latest after ``seconds``, sooner when nothing does."""
    dashboard = running.processes["dashboard"]
    deadline = time.monotonic() + seconds
    while kernels(dashboard) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    await asyncio.sleep(2)
    return {
        "kernels_left": len(kernels(dashboard)),
        "connections_left": sum(len(one.net_connections("tcp")) - 1 for one in running.processes.values()),
        **{f"{name}_mb_left": round(one.memory_info().rss / 1e6) for name, one in running.processes.items()},
    }


def every_attack(endpoint: str, dashboard: str) -> list[tuple[str, str]]:
    """The name of each attack, and the URL that it goes to, for each server that it is for."""
    both = [(attack.__name__, url) for attack in ON_BOTH for url in (endpoint, dashboard)]
    both += [(attack.__name__, endpoint) for attack in ON_ENDPOINT]
    return both + [(attack.__name__, dashboard) for attack in ON_DASHBOARD]


async def carry_out(attacks: Sequence[tuple[str, str]], token: str, seconds: float) -> None:
    """Run attacks at the same time, in this process, each from an address of its own where there are several."""
    known = {attack.__name__: attack for attack in (*ON_BOTH, *ON_ENDPOINT, *ON_DASHBOARD)}
    sources = [f"127.0.0.{number}" if sys.platform == "linux" else "127.0.0.1" for number in range(2, 2 + len(attacks))]
    tasks = [
        repeat(known[name], Target(url, token, source), seconds)
        for (name, url), source in zip(attacks, sources, strict=True)
    ]
    await asyncio.gather(*tasks)


async def measure(running: Servers, each: float, together: float, only: str = "") -> list[dict[str, Any]]:
    """No attack, each in turn, and all at once."""
    rows = []

    async def one(name: str, attacks: Sequence[tuple[str, str]], seconds: float) -> None:
        async with watched(running) as found:
            if attacks:
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.attacks",
                    "--token",
                    running.token,
                    "--seconds",
                    str(seconds),
                ]
                attacker = await asyncio.create_subprocess_exec(
                    *command, "--carry-out", json.dumps(attacks), cwd=paths.ROOT
                )
                await attacker.wait()
            else:
                await asyncio.sleep(seconds)
        rows.append({**found.row(name), **await left(running)})
        print(json.dumps(rows[-1]), flush=True)

    every = [attack for attack in every_attack(running.api, running.dashboard) if only in ("", "all", attack[0])]
    await one("none", [], each)
    for name, url in [] if only == "all" else every:
        await one(f"{name} on the {'endpoint' if url == running.api else 'dashboard'}", [(name, url)], each)
    if only in ("", "all"):
        await one("all at once", every, together)
    return rows


def main() -> int:
    """Attack, and print what that did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="sample")
    parser.add_argument("--each", type=float, default=5, help="seconds of each attack (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="seconds of all at once (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="NAME", help="this attack alone; 'all' is all at once alone")
    parser.add_argument("--token", default="", help="let the servers ask for this token; the attacker knows it")
    parser.add_argument("--to", type=Path, help="write what was found to this file, as JSON")
    parser.add_argument("--carry-out", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.carry_out:
        asyncio.run(carry_out(options.carry_out, options.token, options.seconds))
        return 0
    with servers(options.study, options.token) as running:
        rows = asyncio.run(measure(running, options.each, options.seconds, options.only))
    names = list(rows[-1])
    print_table(Console(), "attacks", [names, *([str(row.get(name, "")) for name in names] for row in rows)])
    if options.to:
        write_atomically(options.to, json.dumps({"machine": machine(), "attacks": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
