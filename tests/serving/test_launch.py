"""serve.sh's supervisor: both processes or none, and a word about why not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from serving_study import free_port, make_study, wait_for, write_three_forecasts

from lib import paths
from lib.serving import launch
from lib.study.served import is_served


def serve(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "lib", "serve", *arguments],
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


@pytest.fixture
def ports():
    return [f"--api-port={free_port()}", f"--dashboard-port={free_port()}"]


@pytest.fixture
def served(outputs, ports):
    """A served small study: the process, once it is ready, its URLs by name, and all processes that it started."""
    make_study(outputs)
    process = serve("sample", *ports)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    urls = dict(re.findall(r"^  (\S+) .*?(http\S+)$", "".join(lines), re.MULTILINE))
    assert set(urls) == {"dashboard", "reports", "predict", "API"}, "".join(lines)
    httpx.get(urls["dashboard"], timeout=60)  # a visitor, whose kernel must end too
    children = psutil.Process(process.pid).children(recursive=True)
    yield process, urls, children
    for one in [*children, process]:
        if one.poll() is None if isinstance(one, subprocess.Popen) else one.is_running():
            one.kill()
    process.wait()


def gone(processes):
    return all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in processes)


def test_the_address_of_a_forecast_is_printed_where_there_is_one(outputs):
    study = paths.StudyPaths("mine")
    study.folder.mkdir(parents=True)
    assert launch._forecast_line("mine", "http://127.0.0.1:8000") == ""
    write_three_forecasts(study.forecasts_csv)
    assert launch._forecast_line("mine", "http://127.0.0.1:8000").endswith(":8000/forecast?symbol=AAPL\n")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_everything(served, signum):
    process, urls, children = served
    assert len(children) >= 4  # endpoint, dashboard, fork server, kernel
    answer = httpx.get(urls["predict"])
    assert (answer.status_code, answer.headers["x-in-training-range"]) == (200, "true")
    assert "The run" in httpx.get(urls["reports"], follow_redirects=True).text
    assert is_served(paths.StudyPaths("sample"))
    process.send_signal(signum)
    assert process.wait(60) == 0
    wait_for(lambda: gone(children))
    assert not is_served(paths.StudyPaths("sample"))


@pytest.mark.parametrize("module", ["lib.serving.endpoint.app", "lib.serving.dashboard.server"])
def test_when_one_dies_the_other_stops_and_the_exit_code_says_so(served, module):
    process, _, children = served
    [victim] = [child for child in children if module in child.cmdline()]
    victim.kill()
    assert process.wait(60) == 1
    assert "exited unexpectedly" in process.stdout.read()
    wait_for(lambda: gone(children))


def test_killed_it_takes_all_along(served):
    """Nobody is left to end the others: each notices by itself."""
    process, _, children = served
    process.kill()
    wait_for(lambda: gone(children))


def test_without_a_model_says_which_command_makes_one(outputs, ports):
    (outputs / "other").mkdir(parents=True)
    process = serve("other", *ports)
    assert process.wait(60) == 1
    output = process.stdout.read()
    assert "bash run_all.sh other" in output
    assert "bash serve.sh other --run" in output


def test_a_run_that_fails_is_not_served(outputs, ports):
    process = serve("no-such-study", "--run", *ports)
    assert process.wait(60) == 2
    assert "there is no study 'no-such-study' to run: params/no-such-study.yaml does not exist" in process.stdout.read()


def test_a_study_that_is_none_is_not_told_to_be_run(outputs, ports):
    for given in ("sampel", "params/sampel.yaml"):
        process = serve(given, *ports)
        assert process.wait(60) == 2
        assert process.stdout.read() == "serve: there is no study 'sampel'; did you mean 'sample'?\n"


def test_a_params_file_names_its_study(outputs, tmp_path, ports):
    given = str(tmp_path / "other.yaml")
    Path(given).touch()
    process = serve(given, *ports)
    assert process.wait(60) == 1
    assert f"bash run_all.sh {given}" in process.stdout.read()
    make_study(outputs, "other")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # It has a model now: what is wrong is the port.
        process = serve(given, f"--api-port={listener.getsockname()[1]}", ports[1])
        assert process.wait(60) == 1
    assert "--api-port chooses another" in process.stdout.read()


@pytest.mark.parametrize("which", [0, 1])
def test_a_taken_port_is_said_so(outputs, ports, which):
    make_study(outputs)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        option, number = ports[which].partition("=")[0], listener.getsockname()[1]
        process = serve("sample", ports[1 - which], f"{option}={number}")
        assert process.wait(60) == 1
    message = f"serve: cannot listen on port {number} of 127.0.0.1: Address already in use; {option} chooses another\n"
    assert process.stdout.read() == message


def test_serve_sh_is_the_same_command(outputs):
    done = subprocess.run(
        ["bash", paths.ROOT / "serve.sh", "kaggle"], env={**os.environ}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "bash run_all.sh kaggle" in done.stderr
