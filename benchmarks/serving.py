"""The server under load: ``python -m benchmarks.serving [STUDY]``, about three minutes. Needs wrk, on Linux.

- *endpoint*: requests a second and latencies through one process on one core, beside the same prediction in a plain FastAPI
  route, run in turn; and 100,000 different answers, whose sum is the model's.
- *beside*: the endpoint's latencies while ten dashboards open at once.
- *dashboards*: twenty opened at once by visitors that speak the page's protocol, as their browsers run on machines of their own:
  seconds until each has the number that it asked for, and each kernel's memory; then the time of one edit.
- *sessions*: two hundred opened and closed; what is left of them.

Times on a busy machine say little: read them beside the load, which is printed, and beside each other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import websockets
from numpy.typing import NDArray

from lib import paths
from lib.inputs import INPUTS
from lib.predictor import Predictor

CONNECTIONS = 8
VOLUME = "Volume moving average, shares a day"  # the field's label
QUERY = "vol_moving_avg=12345&adj_close_rolling_med=25"


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def server(module: str, *arguments: str, core: int | None = None) -> Iterator[tuple[str, psutil.Process]]:
    """Run ``python -m MODULE``, on one core where said; gives its URL and its process."""
    port = free_port()
    command = [sys.executable, "-m", module, *arguments, "--port", str(port)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    with subprocess.Popen(command, cwd=paths.ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/health").status_code == 200:
                        break
                time.sleep(0.1)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def wrk(url: str, seconds: int) -> dict[str, float]:
    """Load ``url`` through `CONNECTIONS` connections: requests a second, p50 and p99 in milliseconds, errors."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def latency(share: str) -> float:
        found = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)\b", text)
        assert found is not None, text
        return float(found[1]) * units[found[2]]

    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    assert rate is not None, text
    return {
        "requests_a_second": float(rate[1]),
        "p50_ms": latency("50"),
        "p99_ms": latency("99"),
        "errors": int(errors[1]) if errors else 0,
    }


async def ask_all(url: str, volumes: NDArray[np.float64], prices: NDArray[np.float64]) -> int:
    """The sum of the endpoint's answers to every pair, asked through `CONNECTIONS` connections."""
    address = httpx.URL(url)

    async def part(start: int) -> int:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        total = 0
        for volume, price in zip(
            volumes[start::CONNECTIONS].tolist(), prices[start::CONNECTIONS].tolist(), strict=True
        ):
            target = f"/predict?{INPUTS[0]}={volume!r}&{INPUTS[1]}={price!r}".replace("+", "%2B")
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head)
            assert head.startswith(b"HTTP/1.1 200") and found is not None, head
            total += int(await reader.readexactly(int(found[1])))
        writer.close()
        return total

    return sum(await asyncio.gather(*(part(start) for start in range(CONNECTIONS))))


class Visitor:
    """Opens a dashboard and uses its form, in the protocol of the page's own scripts."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.client = client
        self.kernel = ""
        self._session = uuid.uuid4().hex

    async def open(self) -> None:
        """Ask for the page, connect to its kernel, and fetch the widgets."""
        page = (await self.client.get(self.url, timeout=120)).text
        found = re.search(r'"kernelId": "([\w-]+)"', page)
        assert found is not None, page[-500:]
        self.kernel = found[1]
        address = f"{self.url.replace('http', 'ws', 1)}/api/kernels/{self.kernel}/channels?session_id={self._session}"
        self._line = await websockets.connect(address, max_size=None, open_timeout=120)
        control = uuid.uuid4().hex
        await self._send("comm_open", {"comm_id": control, "target_name": "jupyter.widget.control", "data": {}})
        await self._send("comm_msg", {"comm_id": control, "data": {"method": "request_states"}})
        states = (await self._receive(lambda content: content["comm_id"] == control))["data"]["states"]
        self._field = next(name for name, one in states.items() if one["state"].get("description") == VOLUME)
        self._result = next(name for name, one in states.items() if "result" in one["state"].get("_dom_classes", ()))

    async def type(self, text: str) -> int:
        """Put ``text`` into the first field; the number that the page then shows."""
        state = {"method": "update", "state": {"value": text}, "buffer_paths": []}
        await self._send("comm_msg", {"comm_id": self._field, "data": state})
        content = await self._receive(
            lambda content: (
                content["comm_id"] == self._result and "data-prediction" in content["data"]["state"]["value"]
            )
        )
        found = re.search(r'data-prediction="(\d+)"', content["data"]["state"]["value"])
        assert found is not None
        return int(found[1])

    async def close(self) -> None:
        """Close the tab: the line closes, without a good-bye."""
        await self._line.close()

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "username": "",
            "session": self._session,
            "version": "5.3",
        }
        metadata = {"version": "1.0.0"}
        message = {"header": header, "parent_header": {}, "metadata": metadata, "content": content, "channel": "shell"}
        await self._line.send(json.dumps({**message, "buffers": []}))

    async def _receive(self, wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while True:
                message = json.loads(await self._line.recv())
                if message["msg_type"] == "comm_msg" and wanted(message["content"]):
                    return message["content"]


async def open_many(url: str, count: int) -> tuple[list[Visitor], list[float]]:
    """Open ``count`` dashboards at once; the visitors, and the seconds until each had its number."""
    started = time.perf_counter()
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
        visitors = [Visitor(url, client) for _ in range(count)]

        async def use(visitor: Visitor) -> float:
            await visitor.open()
            await visitor.type("12345")
            return time.perf_counter() - started

        return visitors, list(await asyncio.gather(*(use(visitor) for visitor in visitors)))


def memory(process: psutil.Process) -> dict[str, int]:
    """Resident and proportional memory of a process, in MB."""
    full = process.memory_full_info()
    return {"rss_mb": round(full.rss / 1e6), "pss_mb": round(getattr(full, "pss", full.rss) / 1e6)}


def kernels(dashboard: psutil.Process) -> list[psutil.Process]:
    """The kernels of a dashboard: children of its fork server."""
    return [kernel for fork_server in dashboard.children() for kernel in fork_server.children()]


def endpoint(study: str) -> dict[str, Any]:
    """Throughput of one process on one core, beside a plain FastAPI route; and the sum of 100,000 answers."""
    found: dict[str, Any] = {"ours": [], "plain_fastapi_route": []}
    with (
        server("lib.api", study, core=0) as (ours, _),
        server("benchmarks.peers.plain_endpoint", study, core=0) as (peer, _),
    ):
        for _ in range(3):
            found["ours"].append(wrk(f"{ours}/predict?{QUERY}", 4))
            found["plain_fastapi_route"].append(wrk(f"{peer}/predict?{QUERY}", 4))
        best = [max(run["requests_a_second"] for run in found[name]) for name in ("ours", "plain_fastapi_route")]
        found["ratio"] = round(best[0] / best[1], 2)
        random = np.random.default_rng(1)
        volumes, prices = np.exp(random.uniform(0, 30, 100_000)), np.exp(random.uniform(-3, 9, 100_000))
        predictor = Predictor.load(paths.StudyPaths(study).grid)
        answered = asyncio.run(ask_all(ours, volumes, prices))
        found["sums_equal"] = answered == int(predictor.predict(volumes, prices).sum())
    return found


def beside(study: str) -> dict[str, Any]:
    """The endpoint's latencies, alone and while ten dashboards open."""
    with server("lib.api", study) as (api, _), server("lib.dashboard_server", study) as (dashboard, _):
        asyncio.run(_open_and_close(dashboard, 1))
        alone = wrk(f"{api}/predict?{QUERY}", 5)

        async def both() -> tuple[dict[str, float], list[float]]:
            load = asyncio.create_task(asyncio.to_thread(wrk, f"{api}/predict?{QUERY}", 8))
            await asyncio.sleep(0.5)
            seconds = await _open_and_close(dashboard, 10)
            return await load, seconds

        while_opening, seconds = asyncio.run(both())
    return {"alone": alone, "while_ten_open": while_opening, "ten_ready_s": round(max(seconds), 2)}


async def _open_and_close(url: str, count: int) -> list[float]:
    visitors, seconds = await open_many(url, count)
    for visitor in visitors:
        await visitor.close()
    return seconds


def dashboards(study: str) -> dict[str, Any]:
    """Twenty opened at once, one opened alone, and an edit."""
    with server("lib.dashboard_server", study) as (url, process):

        async def measure() -> dict[str, Any]:
            first = (await _open_and_close(url, 1))[0]
            single = sorted([(await _open_and_close(url, 1))[0] for _ in range(5)])[2]
            visitors, seconds = await open_many(url, 20)
            held = [memory(kernel) for kernel in kernels(process)]
            edits = []
            for value in range(200):
                started = time.perf_counter()
                await visitors[0].type(str(10_000 + value))
                edits.append((time.perf_counter() - started) * 1e3)
            for visitor in visitors:
                await visitor.close()
            return {
                "first_ready_s": round(first, 2),
                "one_ready_s": round(single, 2),
                "twenty_ready_s": round(max(seconds), 2),
                "kernels": len(held),
                "largest_kernel": {name: max(one[name] for one in held) for name in ("rss_mb", "pss_mb")},
                "server": memory(process),
                "edit_ms": {
                    "p50": round(float(np.quantile(edits, 0.5)), 1),
                    "p99": round(float(np.quantile(edits, 0.99)), 1),
                },
            }

        return asyncio.run(measure())


def sessions(study: str, count: int = 200) -> dict[str, Any]:
    """Open and close ``count`` sessions, ten at a time; what the server holds before and after."""
    with server("lib.dashboard_server", study) as (url, process):
        asyncio.run(_open_and_close(url, 10))
        time.sleep(5)
        after: list[int] = []
        files: list[int] = []
        for _ in range(count // 10):
            asyncio.run(_open_and_close(url, 10))
            time.sleep(0.5)
            after.append(memory(process)["rss_mb"])
            files.append(process.num_fds())
        time.sleep(6)
        fork_server = process.children()[0]
        return {
            "opened": count,
            "kernels_left": len(kernels(process)),
            "server_rss_mb": {
                "after_10": after[0],
                "after_100": after[len(after) // 2 - 1],
                "after_all": memory(process)["rss_mb"],
            },
            "open_files": {"after_10": files[0], "after_all": process.num_fds()},
            "fork_server": memory(fork_server),
        }


PARTS = {"endpoint": endpoint, "beside": beside, "dashboards": dashboards, "sessions": sessions}


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description="The server under load.")
    parser.add_argument("study", nargs="?", default="sample", help="a study that has been run (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone")
    parser.add_argument("--output", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not installed (Debian: apt-get install {tool})")
    found: dict[str, Any] = {"cores": os.cpu_count()}
    for name in options.only or PARTS:
        load = os.getloadavg()[0]
        found[name] = {"load_before": round(load, 1), **PARTS[name](options.study)}
        print(json.dumps({name: found[name]}), flush=True)
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
