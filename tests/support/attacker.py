"""An attacker of the dashboard, on the loopback device, who need not keep to the protocol of its pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
import uuid
from typing import Any

from benchmarks.serving import message

CHUNK = b"x" * 2**16
ROW = b"123456,25" + b" " * 50 + b"\n"  # of a file; its results are four times as large as without the blanks
TEXT, BINARY = 0x1, 0x2


class Target:
    """A server under attack."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = url.removeprefix("http://")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.host.split(":")
        return await asyncio.open_connection(host, int(port), limit=2**26)

    async def session(self) -> str:
        """Open a page without a browser: its kernel's id."""
        reader, writer = await self.connect()
        writer.write(f"GET / HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())
        found = re.search(rb'"kernelId": "([\w-]+)"', await reader.read(-1))
        writer.close()
        if found is None:
            raise ConnectionError("no page")
        return found[1].decode()


class Line:
    """A websocket to a kernel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, target: Target, kernel: str, subprotocol: str = "") -> Line:
        reader, writer = await target.connect()
        protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        writer.write(
            f"GET /api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex} HTTP/1.1\r\nHost: {target.host}\r\n{protocol}"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(head.decode())
        return cls(reader, writer)

    async def send(self, payload: bytes, opcode: int = TEXT, final: bool = True) -> None:
        """Send one frame."""
        head = struct.pack("!BBQ", (0x80 if final else 0) | opcode, 0x80 | 127, len(payload))
        self.writer.write(head + bytes(4) + payload)  # a mask of zeros leaves the payload as it is
        await self.writer.drain()

    async def drain(self) -> None:
        """Read until the server closes the line, and keep nothing."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(2**20):
                pass


async def states(line: Line, control: str) -> dict[str, Any]:
    """Ask for all widgets, as a page does, through a new comm of that id; the widgets' states by their ids."""
    opening = {"comm_id": control, "target_name": "jupyter.widget.control", "data": {}}
    await line.send(json.dumps(message("comm_open", opening)).encode())
    await line.send(states_again(control))
    while True:
        kind, size = await line.reader.readexactly(2)
        if size > 125:  # then it says in how many bytes the size follows
            size = int.from_bytes(await line.reader.readexactly(2 if size == 126 else 8))
        payload = await line.reader.readexactly(size)
        if kind & 15 == TEXT and b'"states"' in payload:
            return json.loads(payload)["content"]["data"]["states"]


def states_again(control: str) -> bytes:
    """A further request for all widgets, through the comm that `states` opened."""
    return json.dumps(message("comm_msg", {"comm_id": control, "data": {"method": "request_states"}})).encode()


async def upload(line: Line, widgets: dict[str, Any], content: bytes) -> None:
    """Put a file into the page's upload field."""
    name = next(name for name, one in widgets.items() if one["model_name"] == "FileUploadModel")
    value = [{"name": "x.csv", "type": "text/csv", "size": len(content), "last_modified": 0}]
    data = {"method": "update", "state": {"value": value}, "buffer_paths": [["value", 0, "content"]]}
    whole = message("comm_msg", {"comm_id": name, "data": data})
    del whole["buffers"]
    text = json.dumps(whole).encode()
    await line.send(struct.pack("!3I", 2, 12, 12 + len(text)) + text + content, BINARY)
