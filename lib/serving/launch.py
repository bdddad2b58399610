"""``serve.sh``: the endpoint and the dashboard, started together and stopped together.

Two processes, because rendering a page keeps Voilà's event loop busy: `/predict` answers beside it, not inside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from lib import paths
from lib.features.definitions import EXAMPLE_QUERY
from lib.serving import access, example
from lib.serving.symbol_forecasts import ForecastsError, load
from lib.study import served

START_SECONDS = 60  # a process that does not answer by then has failed
STOP_SECONDS = 8  # what a process may take to end by itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``serve`` to ``parser``."""
    parser.add_argument("study", nargs="?", default="sample", help="the study to serve (default: %(default)s)")
    parser.add_argument("--run", action="store_true", help="run the study first when it has no model yet")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: every one (default: %(default)s)"
    )
    parser.add_argument("--api-port", type=int, default=8000, help="port of the endpoint (default: %(default)s)")
    parser.add_argument("--dashboard-port", type=int, default=8866, help="port of the dashboard (default: %(default)s)")
    parser.add_argument(
        "--max-visitors", type=int, default=64, help="dashboard sessions at once (default: %(default)s)"
    )
    access.add_arguments(parser)


def main(options: argparse.Namespace) -> int:
    """Serve a study until Ctrl-C or a SIGTERM ends the program, with exit code 0.

    Returns
    -------
    int
        1 when there is no model, when a port is taken, or when either process exited unexpectedly; 2 when there is no such study.
    """
    name = paths.named_study(options.study)
    if not paths.StudyPaths(name).grid.exists():
        if not options.run:
            if unknown := paths.no_study(options.study):
                _say(unknown)
                return 2
            _say(f"study {options.study} has no model yet; make one first: bash run_all.sh {options.study}")
            _say(f"or do both at once: bash serve.sh {options.study} --run")
            return 1
        if run := subprocess.call([sys.executable, "-m", "lib", "run", options.study], cwd=paths.ROOT):
            return run
    api, dashboard = ("api", options.api_port), ("dashboard", options.dashboard_port)
    api_url = f"http://{_reachable(options.host)}:{options.api_port}"
    # What the dashboard tells a visitor to ask: a server that listens on every address is reached by the visitor's own name for it.
    shown_url = f"http://{{host}}:{options.api_port}" if options.host in ("0.0.0.0", "::") else api_url
    common = [name, "--host", options.host]
    common += [f"--allow-host={host}" for host in options.allow_host] + [f"--proxy={proxy}" for proxy in options.proxy]
    visitors = ["--max-visitors", str(options.max_visitors)]
    commands = {
        api: ["lib.serving.endpoint.app", *common, "--port", str(options.api_port)],
        dashboard: ["lib.serving.dashboard.server", *common, "--port", str(options.dashboard_port), *visitors],
    }
    for server, port in (api, dashboard):
        if reason := _taken(options.host, port):
            _say(f"cannot listen on port {port} of {options.host}: {reason}; --{server}-port chooses another")
            return 1
    # Each in a session of its own: Ctrl-C reaches this process alone, which ends them in order.
    processes: dict[str, subprocess.Popen] = {}
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _stop)
    serving = contextlib.ExitStack()
    try:
        serving.enter_context(served.serving(paths.StudyPaths(name)))
        for (server, _), command in commands.items():
            environment = {"SERVE_API_URL": shown_url, **os.environ}
            # Their standard input ends with this process, however it does, and they with their standard input.
            processes[server] = subprocess.Popen(
                [sys.executable, "-m", "lib.serving.server_process", *command],
                cwd=paths.ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        for server, port in (api, dashboard):
            if not _wait_until_ready(processes, server, _reachable(options.host), port):
                return 1
        dashboard_url = f"http://{_reachable(options.host)}:{options.dashboard_port}"
        print(
            f"ready: study {name}\n"
            f"  dashboard  {dashboard_url}/\n"
            f"  reports    {dashboard_url}/reports/\n"
            f"{_forecast_line(name, api_url)}"
            f"  predict    {api_url}/predict?{_example(name)}\n"
            f"  API pages  {api_url}/docs\n"
            "Ctrl-C stops both.",
            flush=True,
        )
        while True:
            if ended := _ended(processes):
                _say(f"the {ended} exited unexpectedly, exit code {processes[ended].returncode}; stopping the other")
                return 1
            time.sleep(0.25)
    finally:
        _end(list(processes.values()))
        serving.close()


def _forecast_line(study: str, api_url: str) -> str:
    """Where one symbol's forecasts are; nothing for a study without any."""
    with contextlib.suppress(ForecastsError):
        if table := load(paths.StudyPaths(study).forecasts_csv):
            return f"  forecast   {api_url}/forecast?symbol={quote(next(iter(table.symbols)))}\n"
    return ""


def _example(study: str) -> str:
    """The query that is printed; the contract's own where the model cannot be read, as the endpoint then says."""
    from lib.models.predictor import Predictor

    try:
        return example.query(Predictor.load(paths.StudyPaths(study).grid).information["range"])
    except (OSError, ValueError):
        return EXAMPLE_QUERY


def _say(text: str) -> None:
    print(f"serve: {text}", file=sys.stderr, flush=True)


def _stop(signum: int, frame: object) -> None:
    # Once: a second Ctrl-C must not break off the end that the first began.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(0)


def _reachable(host: str) -> str:
    """The address to ask at, for a process that listens on ``host``."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _taken(host: str, port: int) -> str:
    """Why nothing can listen there; empty when something can."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ""
    except (OSError, OverflowError) as error:
        # Python adds "(while attempting to bind on address ...)", which the message says already.
        return (getattr(error, "strerror", None) or str(error)).partition(" (while ")[0]


def _ended(processes: dict[str, subprocess.Popen]) -> str | None:
    return next((name for name, process in processes.items() if process.poll() is not None), None)


def _wait_until_ready(processes: dict[str, subprocess.Popen], name: str, host: str, port: int) -> bool:
    """Wait until ``name`` answers; False, with a message, when one of the processes ends first or time is up."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if ended := _ended(processes):
            _say(f"the {ended} did not start, exit code {processes[ended].returncode}; its message is above")
            return False
        if _answers(host, port):
            return True
        time.sleep(0.1)
    _say(f"the {name} did not answer on port {port} within {START_SECONDS} s")
    return False


def _answers(host: str, port: int) -> bool:
    connection = HTTPConnection(host.strip("[]"), port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status in (200, 401, 403)  # the latter two ask for the token
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
