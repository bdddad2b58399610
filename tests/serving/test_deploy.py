"""The deployment: two endpoints and two dashboards behind Debian's nginx, and files that say what the code says."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import httpx
import psutil
import pytest
import yaml
from playwright.sync_api import expect
from serving_study import free_port, make_study, running, wait_for
from test_dashboard import OPEN, VOLUME
from tools import chromium, need

from lib import paths
from lib.models.predictor import Predictor

pytestmark = pytest.mark.xdist_group("deploy")  # one site for all

DEPLOY = paths.ROOT / "deploy"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
GOOD = "vol_moving_avg=12345&adj_close_rolling_med=25"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Nginx with deploy/nginx.conf before two of each; its URL, the servers' URLs and the study."""
    need("nginx", NGINX)
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("STUDY_OUTPUTS", str(folder / "outputs"))
        study = make_study(folder / "outputs")
        servers = {
            module: [
                stack.enter_context(running(module, port=free_port(), log=folder / f"{module}-{n}")) for n in range(2)
            ]
            for module in ("lib.serving.endpoint.app", "lib.serving.dashboard.server")
        }
        port = free_port()
        text = (DEPLOY / "nginx.conf").read_text()
        for name, module in (
            ("api:8000", "lib.serving.endpoint.app"),
            ("dashboard:8866", "lib.serving.dashboard.server"),
        ):
            line = re.search(rf"server {name}(.*?;)", text)
            addresses = [url.removeprefix("http://") for url in servers[module]]
            text = text.replace(line[0], "\n".join(f"server {address}{line[1]}" for address in addresses))
        text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("/tmp/nginx", f"{folder}/nginx")
        configuration = folder / "nginx.conf"
        configuration.write_text(text)
        checked = subprocess.run([NGINX, "-t", "-c", configuration], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        with (folder / "nginx.log").open("wb") as log:
            process = subprocess.Popen([NGINX, "-c", configuration, "-g", "daemon off;"], stderr=log, stdout=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _up(url))
            yield SimpleNamespace(url=url, servers=servers, study=study)
        finally:
            process.terminate()
            process.wait(30)


def _up(url):
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def counted(url):
    """How many predictions the endpoint at ``url`` has answered."""
    found = re.search(
        r'http_requests_total\{method="GET",path="/predict",status="200"\} (\S+)', httpx.get(f"{url}/metrics").text
    )
    return float(found[1]) if found else 0.0


def visitors(url):
    return httpx.get(f"{url}/health").json()["visitors"]


def test_both_endpoints_answer_as_one(site):
    prediction = Predictor.load(site.study.grid).predict(12345.0, 25.0)
    for _ in range(40):
        assert httpx.get(f"{site.url}/predict?{GOOD}").json() == prediction
    assert all(counted(url) > 5 for url in site.servers["lib.serving.endpoint.app"])
    assert httpx.get(f"{site.url}/predict?vol_moving_avg=x").status_code == 422
    assert httpx.post(f"{site.url}/predict", json=[[12345, 25]]).json() == [prediction]
    assert httpx.post(f"{site.url}/predict", content=b" " * 1_100_000).status_code == 413
    assert "<h1>The endpoint</h1>" in httpx.get(f"{site.url}/docs").text


def test_reports_are_on_the_same_origin(site):
    answer = httpx.get(f"{site.url}/reports/", follow_redirects=True)
    assert "The run" in answer.text
    assert str(answer.url).startswith(site.url)
    assert httpx.get(f"{site.url}/reports/secret.txt").status_code == 403


def test_visitors_stay_with_their_dashboard(site):
    """Several visitors, each with a page, an edit and a websocket, from one address; both dashboards get some."""
    predictor = Predictor.load(site.study.grid)
    with chromium() as browser:
        for number in range(4):
            page = browser.new_context().new_page()
            page.goto(site.url, timeout=OPEN)
            page.wait_for_selector("[data-prediction]", timeout=OPEN)
            page.get_by_label(VOLUME).fill(str(10_000 + number))
            price = float(page.get_by_label("Median adjusted close, dollars").input_value())
            prediction = predictor.predict(10_000.0 + number, price)
            expect(page.locator("[data-prediction]")).to_have_attribute("data-prediction", str(prediction))
            assert page.locator("#ended").is_hidden()
        assert sum(visitors(url) for url in site.servers["lib.serving.dashboard.server"]) == 4
    wait_for(lambda: sum(visitors(url) for url in site.servers["lib.serving.dashboard.server"]) == 0)


def test_other_sites_are_refused_behind_nginx_too(site):
    assert httpx.get(site.url, headers={"Origin": "https://other.example"}).status_code == 403
    answer = httpx.get(f"{site.url}/reports/index.html", headers={"Origin": site.url})
    assert answer.status_code == 200


def test_one_endpoint_may_fail(site):
    """Last: it ends one of the endpoints."""
    port = int(site.servers["lib.serving.endpoint.app"][0].rpartition(":")[2])
    [process] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "lib.serving.endpoint.app" in (process.info["cmdline"] or []) and str(port) in process.info["cmdline"]
    ]
    process.kill()
    for _ in range(20):
        assert httpx.get(f"{site.url}/predict?{GOOD}").status_code == 200


def test_files_name_what_exists():
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]]
    assert copied and all((paths.ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in (paths.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all(name.split("/")[0] in kept for name in copied)
    assert re.search(r"^USER study$", dockerfile, re.MULTILINE)
    assert "--require-hashes" in dockerfile
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"api", "dashboard", "nginx"}
    nginx = (DEPLOY / "nginx.conf").read_text()
    for name, port in (("api", 8000), ("dashboard", 8866)):
        assert f"server {name}:{port} " in nginx
        assert services[name]["command"][2] in ("lib.serving.endpoint.app", "lib.serving.dashboard.server")
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"]


def test_the_bare_machine_knows_the_steps_of_the_image():
    script = (DEPLOY / "bare_machine.sh").read_text()
    cases = script[script.index("case $step in") : script.index("is not known here")]
    known = set(re.findall(r"\b[A-Z]{3,}\b", "\n".join(re.findall(r"^    (\S[^)]*)\)", cases, re.MULTILINE))))
    assert set(re.findall(r"^([A-Z]+) ", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)) == known
    subprocess.run(["bash", "-n", DEPLOY / "bare_machine.sh"], check=True)


def test_serving_needs_nothing_that_the_image_leaves_out():
    dockerfile = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    [removed] = re.findall(r"pip uninstall --yes ([^&]+)&&", dockerfile)
    packages = (paths.ROOT / "requirements.lock").read_text() + (paths.LIB / "installer.txt").read_text()
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==", packages, re.MULTILINE)
    assert set(removed.split()) <= set(locked)
    modules = {"scikit-learn": "sklearn", "polars-runtime-32": "polars"}
    names = [modules.get(name, name.replace("-", "_")) for name in removed.split()]
    code = f"import sys\nfor name in {names!r}: sys.modules[name] = None\n"
    code += "import lib.serving.endpoint.app, lib.serving.dashboard.page, lib.serving.dashboard.server, lib.serving.dashboard.forkserver, lib.serving.launch, ipykernel.kernelapp"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
