"""The server under load: ``python -m benchmarks.serving [STUDY] --to FILE``, about four minutes.

Needs wrk and Chromium, on Linux, and a study that has been run.

- *endpoint*: requests a second and latencies through one process on one core, beside the same prediction in a plain FastAPI
  route, run in turn; where the time goes; and 100,000 different answers, whose sum is the model's.
- *beside*: the endpoint's latencies while ten dashboards open at once.
- *dashboards*: twenty opened at once by visitors that speak the page's protocol, as their browsers run on machines of their own:
  seconds until each has the number that it asked for, and each kernel's memory.
- *screen*: one page in a real browser: until it is there, and from an edit to the number on the screen.
- *sessions*: two hundred opened and closed; what is left of them.

Times on a busy machine say little: read them beside the load, which is printed, and beside each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import timeit
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import psutil
import websockets
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright
from rich.console import Console

from benchmarks.harness import command_line, keep, machine, markdown, print_table
from lib import paths
from lib.features.definitions import EXAMPLE_QUERY, INPUTS
from lib.models.predictor import Predictor
from lib.serving.dashboard.voila_patches import LEFT_SECONDS
from lib.serving.endpoint.answers import answer_query

CONNECTIONS = 8
VOLUME = "Volume moving average, shares a day"  # the field's label


@contextlib.contextmanager
def server(module: str, *arguments: str, core: int | None = None) -> Iterator[tuple[str, psutil.Process]]:
    """Run ``python -m MODULE``, on one core where said; gives its URL and its process."""
    with socket.socket() as listener:  # for a port on which nothing listens now
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
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


def message(kind: str, content: dict[str, Any], channel: str = "shell", session: str = "") -> dict[str, Any]:
    """A kernel message of the older format, with an id of its own."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": session, "version": "5.3"}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {"version": "1.0.0"},
        "content": content,
        "channel": channel,
        "buffers": [],
    }


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
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head)
            assert head.startswith(b"HTTP/1.1 200") and found is not None, head
            total += int(await reader.readexactly(int(found[1])))
        writer.close()
        return total

    return sum(await asyncio.gather(*(part(start) for start in range(CONNECTIONS))))


class Visitor:
    """Opens a dashboard and uses its form, in the protocol of the page's own scripts."""

    def __init__(self, url: str, client: httpx.AsyncClient, token: str = "") -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = client
        self.kernel = ""
        self._session = uuid.uuid4().hex

    async def open(self) -> None:
        """Ask for the page, connect to its kernel, and fetch the widgets."""
        page = (await self.client.get(self.url, headers=self._headers, timeout=120)).text
        found = re.search(r'"kernelId": "([\w-]+)"', page)
        assert found is not None, page[-500:]
        self.kernel = found[1]
        address = f"{self.url.replace('http', 'ws', 1)}/api/kernels/{self.kernel}/channels?session_id={self._session}"
        self._line = await websockets.connect(
            address, max_size=None, open_timeout=120, additional_headers=self._headers
        )
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
        await self._line.send(json.dumps(message(kind, content, session=self._session)))

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
    """A process's memory in MB: its own (USS), with its share of what others use too (PSS), and with all of that (RSS)."""
    full = process.memory_full_info()
    return {f"{name}_mb": round(getattr(full, name) / 1e6) for name in ("uss", "pss", "rss")}


def kernels(dashboard: psutil.Process) -> list[psutil.Process]:
    """The kernels of a dashboard: children of its fork server."""
    return [kernel for fork_server in dashboard.children() for kernel in fork_server.children()]


def endpoint(study: str) -> dict[str, Any]:
    """Throughput of one process on one core, beside a plain FastAPI route; and the sum of 100,000 answers."""
    found: dict[str, Any] = {"ours": [], "plain_fastapi_route": []}
    with (
        server("lib.serving.endpoint.app", study, core=0) as (ours, _),
        server("benchmarks.peers.plain_endpoint", study, core=0) as (peer, _),
    ):
        for _ in range(3):
            found["ours"].append(wrk(f"{ours}/predict?{EXAMPLE_QUERY}", 4))
            found["plain_fastapi_route"].append(wrk(f"{peer}/predict?{EXAMPLE_QUERY}", 4))
        best = [max(run["requests_a_second"] for run in found[name]) for name in ("ours", "plain_fastapi_route")]
        found["ratio"] = round(best[0] / best[1], 2)
        random = np.random.default_rng(1)
        volumes, prices = np.exp(random.uniform(0, 30, 100_000)), np.exp(random.uniform(-3, 9, 100_000))
        predictor = Predictor.load(paths.StudyPaths(study).grid)
        answered = asyncio.run(ask_all(ours, volumes, prices))
        found["sums_equal"] = answered == int(predictor.predict(volumes, prices).sum())
    found["microseconds"] = {
        "load": _microseconds(lambda: Predictor.load(paths.StudyPaths(study).grid), 20),
        "predict": _microseconds(lambda: predictor.predict(12345.0, 25.0), 20_000),
        "answer": _microseconds(lambda: answer_query(predictor, EXAMPLE_QUERY.encode()), 20_000),
        "request": round(1e6 / best[0], 1),
    }
    return found


def _microseconds(action: Any, times: int) -> float:
    """The least mean of five series: other work on the machine only adds."""
    return round(min(timeit.repeat(action, repeat=5, number=times)) / times * 1e6, 2)


def beside(study: str) -> dict[str, Any]:
    """The endpoint's latencies, alone and while ten dashboards open."""
    with (
        server("lib.serving.endpoint.app", study) as (api, _),
        server("lib.serving.dashboard.server", study) as (dashboard, _),
    ):
        asyncio.run(_open_and_close(dashboard, 1))
        alone = wrk(f"{api}/predict?{EXAMPLE_QUERY}", 5)

        async def both() -> tuple[dict[str, float], list[float]]:
            load = asyncio.create_task(asyncio.to_thread(wrk, f"{api}/predict?{EXAMPLE_QUERY}", 8))
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
    """Twenty opened at once, and one opened alone."""
    with server("lib.serving.dashboard.server", study) as (url, process):

        async def measure() -> dict[str, Any]:
            first = (await _open_and_close(url, 1))[0]
            single = sorted([(await _open_and_close(url, 1))[0] for _ in range(5)])[2]
            visitors, seconds = await open_many(url, 20)
            held = [memory(kernel) for kernel in kernels(process)]
            for visitor in visitors:
                await visitor.close()
            return {
                "first_ready_s": round(first, 2),
                "one_ready_s": round(single, 2),
                "twenty_ready_s": round(max(seconds), 2),
                "kernels": len(held),
                "largest_kernel": {name: max(one[name] for one in held) for name in held[0]},
                "server": memory(process),
            }

        return asyncio.run(measure())


# Types into the field as a person does, and resolves with the milliseconds until the frame that shows another prediction.
EDIT = """([label, text]) => new Promise((resolve) => {
  const field = [...document.querySelectorAll("label")].find((one) => one.textContent === label).parentElement
    .querySelector("input");
  const result = document.querySelector(".result");
  const shown = () => result.querySelector("[data-prediction]")?.dataset.prediction;
  const before = shown();
  const started = performance.now();
  new MutationObserver((_, observer) => {
    if (shown() === undefined || shown() === before) return;
    observer.disconnect();
    requestAnimationFrame(() => resolve(performance.now() - started));
  }).observe(result, { childList: true, subtree: true });
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
})"""


def screen(study: str) -> dict[str, Any]:
    """One page in a real browser: seconds until its first prediction, and milliseconds from an edit to the screen."""
    with server("lib.serving.dashboard.server", study) as (url, _), sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page()
        opened = []
        for _ in range(3):
            started = time.perf_counter()
            page.goto(url, timeout=120_000)
            page.get_by_role("tab", name="Predict").click(timeout=120_000)
            page.wait_for_selector("[data-prediction]", timeout=120_000)
            opened.append(round(time.perf_counter() - started, 2))
        edits = [page.evaluate(EDIT, [VOLUME, str(1_000_000 + 1_000 * number)]) for number in range(200)]
        browser.close()
    p50, p99 = (round(float(np.quantile(edits, share)), 1) for share in (0.5, 0.99))
    return {"opened_s": opened, "edit_ms": {"p50": p50, "p99": p99}}


def sessions(study: str, count: int = 200) -> dict[str, Any]:
    """Open and close ``count`` sessions, ten at a time; what the server holds after the first ten, half of them, and all."""
    held: list[int] = []
    files: list[int] = []
    with server("lib.serving.dashboard.server", study) as (url, process):
        for tens in (1, count // 20 - 1, count // 20):
            for _ in range(tens):
                asyncio.run(_open_and_close(url, 10))
                time.sleep(0.5)
            time.sleep(LEFT_SECONDS + 2)  # until the last of them have ended
            held.append(memory(process)["rss_mb"])
            files.append(process.num_fds())
        return {
            "opened": count,
            "kernels_left": len(kernels(process)),
            "server_rss_mb": {"after_10": held[0], "after_100": held[1], "after_all": held[2]},
            "open_files": {"after_10": files[0], "after_all": files[2]},
            "fork_server": memory(process.children()[0]),
        }


PARTS = {"endpoint": endpoint, "beside": beside, "dashboards": dashboards, "screen": screen, "sessions": sessions}
TOOLS = ("wrk", "taskset", "chromium")
INSTALL = "apt-get install wrk chromium util-linux"


def table(found: dict[str, Any]) -> list[list[str]]:
    """The measurements as rows of text, a header first: what, how much, and what was promised.

    Examples
    --------
    >>> table({"screen": {"opened_s": [2.1, 1.2, 1.3], "edit_ms": {"p50": 15.2, "p99": 31.0}}})[1:]
    [['a page in a browser: first prediction', '2.1 s, then 1.2 s', ''], ['from an edit to the screen', \
'15.2 ms; p99 31.0 ms', '50 ms']]
    """
    lines = [["what", "measured", "promised"]]
    if part := found.get("endpoint"):
        best = max(part["ours"], key=lambda run: run["requests_a_second"])
        spent = part["microseconds"]
        lines += [
            ["/predict, one process on one core", f"{best['requests_a_second']:,.0f} requests/s", "5,000 or more"],
            [f"its p99 at {CONNECTIONS} connections", f"{best['p99_ms']:,.1f} ms", "20 ms"],
            ["beside a plain FastAPI route", f"{part['ratio']} times its requests/s", ""],
            ["sum of 100,000 answers is the model's", "yes" if part["sums_equal"] else "no", "yes"],
            ["of one request: the lookup", f"{spent['predict']:.2g} of {spent['request']:.3g} µs", ""],
            ["reading its query", f"{spent['answer'] - spent['predict']:.2g} µs", ""],
            ["loading the model", f"{spent['load'] / 1e3:.2g} ms", ""],
        ]
    if part := found.get("beside"):
        p99 = f"{part['while_ten_open']['p99_ms']:,.1f} ms; alone {part['alone']['p99_ms']:,.1f} ms"
        lines.append(["/predict's p99 while ten dashboards open", p99, "50 ms"])
    if part := found.get("dashboards"):
        held = part["largest_kernel"]
        lines += [
            ["twenty dashboards at once: the last has its number", f"{part['twenty_ready_s']:.1f} s", "12 s"],
            ["one alone", f"{part['one_ready_s']:.1f} s; the server's first {part['first_ready_s']:.1f} s", ""],
            [
                "largest of twenty kernels",
                f"{held['pss_mb']} MB PSS; {held['uss_mb']} USS; {held['rss_mb']} RSS",
                "80 MB",
            ],
        ]
    if part := found.get("screen"):
        first, *later = part["opened_s"]
        lines += [
            ["a page in a browser: first prediction", f"{first:.1f} s, then {min(later):.1f} s", ""],
            ["from an edit to the screen", f"{part['edit_ms']['p50']} ms; p99 {part['edit_ms']['p99']} ms", "50 ms"],
        ]
    if part := found.get("sessions"):
        held, files = part["server_rss_mb"], part["open_files"]
        grown = f"{held['after_10']}, {held['after_100']}, {held['after_all']} MB"
        lines += [
            [f"kernels left of {part['opened']} sessions", str(part["kernels_left"]), "none"],
            ["the server after 10, 100, all of them", grown, "no growth"],
            ["its open files after 10 and all", f"{files['after_10']}, {files['after_all']}", "no growth"],
        ]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when the endpoint's answers are not the model's, or a session is left."""
    parser = command_line("serving", __doc__)
    parser.add_argument("study", nargs="?", default="sample", help="a study that has been run (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure these parts alone")
    options = parser.parse_args(arguments)
    if not paths.StudyPaths(options.study).grid.exists():
        parser.error(f"study {options.study} has no model yet; make one with: bash run_all.sh {options.study}")
    for tool in TOOLS:
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not installed (Debian: {INSTALL})")
    console = Console(width=None if sys.stdout.isatty() else 120)
    about = machine()
    found: dict[str, Any] = {}
    for name in options.only:
        load = psutil.getloadavg()[0]
        with console.status(name):
            found[name] = {"load_before": round(load, 1), **PARTS[name](options.study)}
        console.print(f"{name}: done, load before it {load:.1f}")
    title = f"study {options.study}, {about['cores']} cores"
    lines = table(found)
    print_table(console, title, lines)
    loads = ", ".join(f"{part['load_before']}" for part in found.values())
    text = f"{title}; load before each part {loads}\n\n{markdown(lines)}"
    keep(options.to, text, {"machine": about, "parts": found})
    wrong = not found.get("endpoint", {}).get("sums_equal", True) or found.get("sessions", {}).get("kernels_left", 0)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
