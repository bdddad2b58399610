"""POST /forecast answers from the study's saved forecasters, loads them when asked, and again when they change."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from serving_study import make_study

from lib import paths
from lib.features.sessions import calendar_for
from lib.models import forecaster
from lib.models.forecaster import Forecaster, Nothing, Ranges, Served
from lib.serving.access import Access
from lib.serving.endpoint.app import Service

DAYS = np.arange(15_000, 15_060)
ROWS = [
    {
        "Date": str(np.int64(day).astype("datetime64[D]")),
        **dict.fromkeys(("Open", "High", "Low", "Close", "Adj Close"), 20.5),
        "Volume": 1000,
    }
    for day in DAYS
]


def write_forecaster(study: paths.StudyPaths, centre: float) -> None:
    """A forecaster of the average times e to the ``centre``."""
    ranges = Ranges(centre, np.empty(0), np.empty((1, 0)), np.full((1, 1), -1.0), np.full((1, 1), 1.0))
    made = tuple(Forecaster(horizon, Nothing(), ranges) for horizon in (1, 5))
    forecaster.write_served(study.forecaster, Served(made, calendar_for("XNYS", DAYS.astype(np.int32)), {}))


def post(service: Service, rows: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(service, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/forecast", json=rows)

    return asyncio.run(ask())


@pytest.fixture
def study(outputs: Path) -> paths.StudyPaths:
    return make_study(outputs)


def test_it_loads_when_asked_and_again_when_the_file_changes(study: paths.StudyPaths) -> None:
    service = Service("sample", Access(""))
    missing = post(service, ROWS)
    assert missing.status_code == 503 and "bash run_all.sh sample" in missing.json()["detail"]
    for centre, expected in ((0.0, 1000), (np.log(2), 2000)):
        write_forecaster(study, centre)
        answers = post(service, ROWS).json()["forecasts"]
        assert [(one["horizon"], one["forecast"]) for one in answers] == [(1, expected), (5, expected)]
        assert answers[0]["for_from"] > ROWS[-1]["Date"]
    study.forecaster.write_bytes(b"damaged")
    assert post(service, ROWS).json()["forecasts"] == answers


def test_rows_come_in_any_order_and_one_a_day(study: paths.StudyPaths) -> None:
    write_forecaster(study, 0.0)
    service = Service("sample", Access(""))
    assert post(service, ROWS[::-1]).json() == post(service, ROWS).json()
    twice = post(service, [*ROWS[:-1], ROWS[3]])
    assert twice.status_code == 409
    assert twice.json()["detail"][0]["loc"] == ["body", 59, "Date"] and "row 3" in twice.json()["detail"][0]["msg"]


def test_rows_need_no_adjusted_close(study: paths.StudyPaths) -> None:
    write_forecaster(study, 0.0)
    service = Service("sample", Access(""))
    without = [{name: value for name, value in row.items() if name != "Adj Close"} for row in ROWS]
    assert post(service, without).json() == post(service, ROWS).json()
    no_close = [{name: value for name, value in row.items() if name != "Close"} for row in ROWS]
    assert post(service, no_close).json()["detail"][0]["loc"] == ["body", 0, "Close"]


@pytest.mark.parametrize(("last", "row"), [("2300-01-01", 59), ("9999-12-31", 59)])
def test_a_date_that_no_calendar_reaches_is_named(study: paths.StudyPaths, last: str, row: int) -> None:
    write_forecaster(study, 0.0)
    answer = post(Service("sample", Access("")), [*ROWS[:-1], ROWS[-1] | {"Date": last}])
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", row, "Date"]


def test_the_endpoint_starts_without_scikit_learn() -> None:
    program = (
        "import sys\nfrom lib.serving.endpoint.app import Service\nfrom lib.serving.access import Access\n"
        "Service('sample', Access(''))\n"
        "print(sorted({'sklearn', 'skops', 'scipy', 'pandas', 'pyarrow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
