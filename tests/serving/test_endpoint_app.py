"""The endpoint: what it answers, what it refuses, and that neither load nor a new model disturbs it."""

from __future__ import annotations

import asyncio
import csv
import datetime
import io
import json
import threading
from types import SimpleNamespace

import httpx
import numpy as np
import papermill
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving_study import free_port, make_study, running, wait_for, write_grid, write_three_forecasts

from lib import paths
from lib.models.predictor import Predictor
from lib.serving.access import Access
from lib.serving.endpoint import app
from lib.serving.endpoint.answers import MAX_BODY, MAX_PAIRS
from lib.serving.endpoint.app import MAX_WAITING, Service
from lib.storage import arrays

GOOD = "vol_moving_avg=12345&adj_close_rolling_med=25"


class Client:
    """Asks a `Service` without a socket between."""

    def __init__(self, service):
        self.service = service
        service.handlers.refresh()

    def __call__(self, path, method="GET", **options):
        async def ask():
            transport = httpx.ASGITransport(self.service, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())


def echoing(access):
    """A service whose forecast of a symbol's own rows says what it was given."""
    service = Service("sample", access)
    service.handlers.forecast_rows = lambda rows: [
        {"horizon": 1, "forecast": rows[-1]["Volume"], "as_of": str(rows[-1]["Date"])}
    ]
    return service


def own_rows(count=30, **changed):
    """A symbol's own rows, as a program sends them; ``changed`` is put into the last one."""
    days = [datetime.date(2013, 1, 1) + datetime.timedelta(day) for day in range(count)]
    prices = dict.fromkeys(("Open", "High", "Low", "Close", "Adj Close"), 20.5)
    rows = [{"Date": str(day), **prices, "Volume": 1000 + index} for index, day in enumerate(days)]
    rows[-1].update(changed)
    return rows


@pytest.fixture
def study(outputs):
    study = make_study(outputs)
    write_three_forecasts(study.forecasts_csv)
    return study


@pytest.fixture
def ask(study):
    return Client(echoing(Access("")))


@pytest.fixture
def predictor(study):
    return Predictor.load(study.grid)


def test_answers_the_bare_integer(ask, predictor):
    answer = ask(f"/predict?{GOOD}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == str(predictor.predict(12345.0, 25.0))


@pytest.mark.parametrize("volume", ["12345", "12345.0", "1.2345e4", "1.2345e%2B4", "%2B12345", "0012345", "12345."])
def test_takes_every_way_to_write_a_decimal(ask, predictor, volume):
    answer = ask(f"/predict?vol_moving_avg={volume}&adj_close_rolling_med=25")
    assert answer.json() == predictor.predict(12345.0, 25.0)


def test_takes_floats_and_a_negative_price(ask, predictor):
    assert ask("/predict?vol_moving_avg=12345.678&adj_close_rolling_med=-0.5").json() == predictor.predict(
        12345.678, -0.5
    )


def test_gives_details(ask, predictor):
    low, high = predictor.predict_interval(12345.0, 25.0)
    assert ask(f"/predict?{GOOD}&detail=true").json() == {
        "prediction": predictor.predict(12345.0, 25.0),
        "interval": [low, high],
        "interval_level": 0.8,
        "in_training_range": True,
        "horizon": 0,
        "for": "the day the average ends on",
        "model_digest": predictor.information["digest"],
    }
    assert ask(f"/predict?{GOOD}&detail=false").json() == predictor.predict(12345.0, 25.0)
    assert ask("/predict?vol_moving_avg=1&adj_close_rolling_med=25&detail=1").json()["in_training_range"] is False


WRONG = [
    "",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "1e309",
    "-1",
    "-1e-9",
    "1e16",
    "abc",
    "1_000",
    "1,000",
    "0x10",
    "true",
]
WRONG += ["１２", "1%00", "12 345", "%F0", "1" * 10_240, "0" * 10_240 + "1", "--1", "1e", "."]


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:12] or "empty")
def test_refuses_by_name_what_is_no_allowed_number(ask, text):
    answer = ask(f"/predict?vol_moving_avg={text}&adj_close_rolling_med=25")
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["query", "vol_moving_avg"]
    assert problem["msg"].startswith("vol_moving_avg")
    assert len(answer.content) < 1_000


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("", "vol_moving_avg"),
        ("vol_moving_avg=1", "adj_close_rolling_med"),
        ("adj_close_rolling_med=1", "vol_moving_avg"),
        (f"{GOOD}&vol_moving_avg=12345", "vol_moving_avg"),
        (f"{GOOD}&adj_close_rolling_med=1", "adj_close_rolling_med"),
        (f"{GOOD}&detail=perhaps", "detail"),
        (f"{GOOD}&detial=true", "detial"),
        ("vol_moving_avg=1&adj_close_rolling_med=NaN", "adj_close_rolling_med"),
        ("vol_moving_avg=1&adj_close_rolling_med=1e309", "adj_close_rolling_med"),
        (f"{GOOD}&{'x' * 10_240}=1", "x" * 64),
    ],
    ids=["none", "one", "other", "twice", "price twice", "flag", "typo", "price NaN", "price 1e309", "10 kB name"],
)
def test_names_the_parameter_that_is_missing_repeated_or_unknown(ask, query, location):
    answer = ask(f"/predict?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", location]


def test_predicts_many_in_order(ask, predictor):
    pairs = [[float(volume), 3.5 * index] for index, volume in enumerate(np.geomspace(1, 1e9, 500).tolist())]
    volumes, prices = np.array(pairs).T
    assert ask("/predict", "POST", json=pairs).json() == predictor.predict(volumes, prices).tolist()
    detailed = ask("/predict?detail=true", "POST", json=pairs).json()
    assert [one["prediction"] for one in detailed] == predictor.predict(volumes, prices).tolist()
    assert [one["in_training_range"] for one in detailed] == predictor.in_training_range(volumes, prices).tolist()


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ("[[1, 2], [-1, 2]]", ["body", 1, "vol_moving_avg"]),
        ("[[1, 2], [1, NaN]]", ["body", 1, "adj_close_rolling_med"]),
        ("[[1, 2], [1, 1e999]]", ["body", 1, "adj_close_rolling_med"]),
        ('[[1, 2], ["1", 2]]', ["body", 1, "vol_moving_avg"]),
        ("[[1, 2], [true, 2]]", ["body", 1, "vol_moving_avg"]),
        ("[[1, 2], [1]]", ["body", 1, "adj_close_rolling_med"]),
        ("[[1, 2], [1, 2, 3]]", ["body", 1]),
        ("[1, 2]", ["body", 0]),
        ('{"pairs": [[1, 2]]}', ["body"]),
        ('[[1, 2], {"vol_moving_avg": 1}]', ["body", 1]),
        ('[[1, 2], [{"a": 1, "a": 2}, 1]]', ["body"]),
        (f"[[1, 2], [1, {'1' * 400}]]", ["body", 1, "adj_close_rolling_med"]),
        (f"[[1, 2], [1, {'1' * 5000}]]", ["body"]),
        (b"\xff", ["body"]),
        ("[]", ["body"]),
        ("", ["body"]),
        ("[[1, 2]", ["body"]),
        ("[" * 50_000, ["body"]),
        ("[" + "[]," * 330_000 + "[]]", ["body"]),
        (json.dumps([[1, 2]] * (MAX_PAIRS + 1)), ["body"]),
    ],
    ids=lambda value: value[:14] if isinstance(value, str) else "",
)
def test_names_the_pair_that_is_wrong(ask, body, location):
    answer = ask("/predict", "POST", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == location


@pytest.mark.parametrize("body", ['{"vol_moving_avg": 1, "adj_close_rolling_med": 2}', '[{"vol_moving_avg": 1}]'])
def test_says_which_shape_is_wanted_where_objects_came(ask, body):
    message = ask("/predict", "POST", content=body).json()["detail"][0]["msg"]
    assert message.startswith("found an object; send a list of pairs, such as [[12345, 25]")


def test_says_whether_the_inputs_lie_in_the_training_range(ask):
    inside, outside = "vol_moving_avg=12345&adj_close_rolling_med=25", "vol_moving_avg=12345&adj_close_rolling_med=900"
    assert ask(f"/predict?{inside}").headers["x-in-training-range"] == "true"
    assert ask(f"/predict?{outside}").headers["x-in-training-range"] == "false"
    assert ask("/predict", "POST", json=[[12345, 25]]).headers["x-in-training-range"] == "true"
    assert ask("/predict", "POST", json=[[12345, 25], [12345, 900]]).headers["x-in-training-range"] == "false"


def test_forecasts_a_symbol(ask):
    found = ask("/forecast?symbol=AAPL").json()
    assert (found["symbol"], [one["horizon"] for one in found["forecasts"]]) == ("AAPL", [1, 5, 21])
    assert [one["forecast"] for one in ask("/forecast?symbol=AAPL&horizon=5").json()["forecasts"]] == [900_000]
    assert ask("/forecast?symbol=aapl").json() == found
    assert {one["symbol"] for one in ask("/forecasts?symbols=aapl,true").json()} == {"AAPL", "TRUE"}


@pytest.mark.parametrize(
    ("query", "status", "name", "message"),
    [
        ("forecast", 422, "symbol", "symbol is missing"),
        ("forecast?symbol=appl", 404, "symbol", "there is no forecast of this symbol; the nearest are AAPL"),
        (
            "forecast?symbol=AAPL&horizon=2",
            404,
            "horizon",
            "there are no forecasts for this horizon; there are for 1, 5, 21",
        ),
        ("forecast?symbol=AAPL&symbol=AAPL", 422, "symbol", "symbol is given more than once"),
        ("forecast?ticker=AAPL", 422, "ticker", "unknown parameter; the parameters are symbol, horizon"),
        ("forecasts?symbols=AAPL,TRU", 404, "symbols", "there is no forecast of this symbol; the nearest are TRUE"),
        ("forecasts?min_ratio=1,2", 422, "min_ratio", "min_ratio must be a decimal number, such as 12345 or 25.5"),
        ("forecasts?horizon=05", 422, "horizon", "horizon must be a whole number of sessions ahead, 1 to 999"),
    ],
)
def test_names_what_is_wrong_with_a_question_for_forecasts(ask, query, status, name, message):
    answer = ask(f"/{query}")
    [problem] = answer.json()["detail"]
    assert (answer.status_code, problem["loc"], problem["msg"]) == (status, ["query", name], message)


def test_lists_forecasts_as_json_or_csv(ask):
    rows = ask("/forecasts?horizon=1&min_ratio=0.95").json()
    assert [row["symbol"] for row in rows] == ["TRUE", "ZED"]
    answer = ask("/forecasts?symbols=ZED,AAPL", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["Symbol"] for row in csv.DictReader(io.StringIO(answer.text))] == ["AAPL"] * 3 + ["ZED"] * 3


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/csv, application/json;q=0.5", "text/csv; charset=utf-8"),
    ],
)
def test_gives_csv_to_who_names_it(ask, accept, given):
    headers = {} if accept is None else {"accept": accept}
    assert ask("/forecasts", headers=headers).headers["content-type"] == given


def test_says_which_command_makes_forecasts(ask, study):
    study.forecasts_csv.unlink()
    ask = Client(Service("sample", Access("")))
    for path in ("/forecast?symbol=AAPL", "/forecasts"):
        answer = ask(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "bash run_all.sh sample" in answer.json()["detail"]


def test_takes_over_new_forecasts_and_keeps_the_old_ones_beside_a_damaged_file(ask, study):
    write_three_forecasts(study.forecasts_csv, share=2.0)
    ask.service.handlers.refresh()
    assert ask("/forecast?symbol=AAPL&horizon=1").json()["forecasts"][0]["forecast"] == 1_800_000
    assert ask("/ready").json()["problems"] == []
    study.forecasts_csv.write_text(study.forecasts_csv.read_text()[:-40])
    ask.service.handlers.refresh()
    assert ask("/forecast?symbol=AAPL&horizon=1").json()["forecasts"][0]["forecast"] == 1_800_000
    assert ask("/ready").json()["problems"] == [
        "forecasts.csv: line 10: 8 cells; the header has 13; make it again: bash run_all.sh sample. What was loaded before stays in use"
    ]


def test_forecasts_own_rows(ask):
    answer = ask("/forecast", "POST", json=own_rows(400))
    assert answer.json() == {"forecasts": [{"horizon": 1, "forecast": 1399, "as_of": "2014-02-04"}]}


@pytest.mark.parametrize(
    ("rows", "where", "message"),
    [
        (own_rows(29), ["body"], "found 29 rows; send a list of 30 to 400 objects with the keys Date, Open,"),
        (own_rows(401), ["body"], "found 401 rows"),
        ({"rows": []}, ["body"], "found an object"),
        ([[1]] * 30, ["body", 0], "found a list"),
        (own_rows(Date="2013-02-30"), ["body", 29, "Date"], "Date must be a day of the calendar as YYYY-MM-DD"),
        (own_rows(Date="2013-W05-3"), ["body", 29, "Date"], "Date must be a day"),
        (own_rows(Volume=1.5), ["body", 29, "Volume"], "Volume must be a whole number from 0 to 1e+15"),
        (own_rows(Volume=-1), ["body", 29, "Volume"], "Volume must be"),
        (own_rows(Volume=True), ["body", 29, "Volume"], "Volume must be"),
        (own_rows(Open="1"), ["body", 29, "Open"], "Open must be a number to 1e+15"),
        (own_rows(Close=10**400), ["body", 29, "Close"], "Close must be"),
        (own_rows(extra=1), ["body", 29, "extra"], "unknown key"),
        ([*own_rows(29), {"Date": "2014-01-01"}], ["body", 29, "Open"], "Open is missing"),
    ],
)
def test_names_the_row_and_field_that_is_wrong(ask, rows, where, message):
    answer = ask("/forecast", "POST", json=rows)
    [problem] = answer.json()["detail"]
    assert (answer.status_code, problem["loc"]) == (422, where)
    assert problem["msg"].startswith(message)


@pytest.mark.parametrize("text", ["NaN", "1e400", '"2013-01-30", "Date": "2013-01-31"'])
def test_refuses_numbers_that_are_none_and_keys_given_twice(ask, text):
    body = json.dumps(own_rows(High="HIGH")).replace('"HIGH"', text)
    assert ask("/forecast", "POST", content=body).status_code == 422


def test_names_the_methods_of_a_path(ask):
    for method, path, allowed in (
        ("POST", "/forecasts", {"GET", "HEAD"}),
        ("PUT", "/forecast", {"GET", "HEAD", "POST"}),
    ):
        answer = ask(path, method, json=own_rows())
        assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, allowed)


def test_its_document_names_every_operation_and_the_token(study):
    for token, security in (("", []), ("correct horse", [{"token": []}])):
        ask = Client(echoing(Access(token)))
        document = ask("/openapi.json", headers={"authorization": "Bearer correct horse"}).json()
        names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
        assert sorted(names) == [
            "forecast", "forecastRows", "forecasts", "health", "metrics", "predict", "predictMany", "ready"
        ]  # fmt: skip
        assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        assert document["security"] == security


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "study.example"])
def test_answers_to_its_own_names(study, host):
    ask = Client(Service("sample", Access(hosts=["study.example"])))
    assert ask("/health", headers={"host": host}).status_code == 200


def test_is_not_reached_by_another_s_name(ask):
    answer = ask(f"/predict?{GOOD}", headers={"host": "attacker.example"})
    assert answer.status_code == 421
    assert "--allow-host" in answer.json()["detail"]
    twice = [("host", "localhost"), ("host", "attacker.example")]
    assert ask("/health", headers=twice).status_code == 400


def test_says_how_long_a_guesser_waits(study):
    ask = Client(Service("sample", Access("correct horse")))
    for _ in range(4):
        answer = ask("/health", headers={"authorization": "Bearer wrong"})
        assert answer.status_code == 401
    answer = ask("/health", headers={"authorization": "Bearer correct horse"})
    assert (answer.status_code, answer.headers["retry-after"]) == (401, "1")


def test_limits_the_bodies_that_wait(ask):
    ask.service.handlers._waiting = MAX_WAITING
    answer = ask("/predict", "POST", json=[[1, 2]])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert ask(f"/predict?{GOOD}").status_code == 200


def test_limits_the_size_of_a_post(ask):
    answer = ask("/predict", "POST", content=b" " * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert "fewer pairs" in answer.json()["detail"][0]["msg"]


def test_says_which_command_makes_a_model(outputs):
    ask = Client(Service("sample", Access("")))
    assert ask("/health").json() == {"status": "ok"}
    for answer in (ask(f"/predict?{GOOD}"), ask("/ready"), ask("/predict", "POST", json=[[1, 2]])):
        assert answer.status_code == 503
        assert "bash run_all.sh sample" in answer.json()["detail"]
        assert answer.headers["retry-after"]


def test_takes_over_a_new_model(ask, study, predictor):
    assert ask(f"/predict?{GOOD}").headers["x-model-digest"] == predictor.information["digest"]
    write_grid(study.grid, share=0.5)
    assert ask.service.current.refresh()
    new = Predictor.load(study.grid)
    answer = ask(f"/predict?{GOOD}")
    assert answer.headers["x-model-digest"] == new.information["digest"] != predictor.information["digest"]
    assert answer.json() == new.predict(12345.0, 25.0) != predictor.predict(12345.0, 25.0)
    assert not ask.service.current.refresh()


@pytest.mark.parametrize("damage", [b"", b"no table", None], ids=["empty", "text", "gone"])
def test_keeps_the_model_in_use_when_its_file_is_damaged(ask, study, predictor, damage):
    study.grid.unlink()
    if damage is not None:
        study.grid.write_bytes(damage)
    assert not ask.service.current.refresh()
    assert ask(f"/predict?{GOOD}").json() == predictor.predict(12345.0, 25.0)


def test_a_malformed_model_is_refused_and_ready_says_so(ask, study, predictor, caplog):
    content = study.grid.read_bytes()
    held = arrays.from_bytes(content)
    study.grid.write_bytes(arrays.to_bytes(held | {"point": -held["point"]}))
    assert not ask.service.current.refresh()
    answer = ask("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["model"]["digest"] == predictor.information["digest"]
    message = "model/grid.safetensors: not a model table: point holds a number that is not from 0 to 1000"
    assert answer.json()["problems"][0].startswith(message)
    assert message in caplog.text
    assert ask(f"/predict?{GOOD}").json() == predictor.predict(12345.0, 25.0)

    fresh = Client(Service("sample", Access("")))
    assert fresh("/ready").status_code == 503
    assert message in fresh("/ready").json()["detail"]

    study.grid.write_bytes(content)
    assert ask.service.current.refresh()
    assert ask("/ready").json()["problems"] == []


def test_is_closed_without_the_token(study):
    ask = Client(Service("sample", Access("correct horse")))
    assert ask(f"/predict?{GOOD}", headers={"authorization": "Bearer correct horse"}).status_code == 200
    paths = ["/", f"/predict?{GOOD}", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/nowhere"]
    for path in paths:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic correct horse"},
            {"cookie": "a=b"},
        ):
            answer = ask(path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    assert ask("/predict", "POST", json=[[1, 2]]).status_code == 401


def test_takes_a_token_of_any_letters(study):
    token = "ein längerer Text"
    ask = Client(Service("sample", Access(token)))
    assert ask(f"/predict?{GOOD}", headers={"authorization": f"Bearer {token}".encode()}).status_code == 200
    assert ask(f"/predict?{GOOD}", headers={"authorization": "Bearer ein langerer Text"}).status_code == 401


@pytest.mark.parametrize("many", [False, True], ids=["GET", "POST"])
def test_the_header_names_the_model_that_answered(ask, predictor, many, monkeypatch):
    """Also when another model is loaded between the answer and its header."""
    digest, current = predictor.information["digest"], ask.service.current
    old = current.value

    def answer_and_swap(answer):
        def swapped(used, *rest):
            assert used is old
            answered = answer(used, *rest)
            current._value = SimpleNamespace(information={"digest": "another"})
            return answered

        return swapped

    name = "answer_pairs" if many else "answer_query"
    monkeypatch.setattr(app, name, answer_and_swap(getattr(app, name)))
    answer = ask("/predict", "POST", json=[[12345, 25]]) if many else ask(f"/predict?{GOOD}")
    assert answer.status_code == 200
    assert answer.headers.get_list("x-model-digest") == [digest]


def test_counts_requests_without_letting_names_pile_up(ask):
    for path in (f"/predict?{GOOD}", f"/predict?{GOOD}", "/predict?vol_moving_avg=x", "/a", "/b", "/health"):
        ask(path)
    text = ask("/metrics").text
    assert 'http_requests_total{method="GET",path="/predict",status="200"} 2.0' in text
    assert 'http_requests_total{method="GET",path="/predict",status="422"} 1.0' in text
    assert 'http_requests_total{method="GET",path="other",status="404"} 2.0' in text
    assert 'http_request_seconds_count{path="/predict"} 3.0' in text


def test_pages_ask_no_other_host(ask):
    page = ask("/docs").text
    assert "<h1>The endpoint</h1>" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert ask("/").headers["location"] == "docs"


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "wrong"])
def test_keeps_its_schema(study, mode):
    """Requests made from the OpenAPI schema: none is answered by a 5xx, or by anything that the schema doesn't say."""
    service = echoing(Access(hosts=["testserver"]))
    service.handlers.refresh()
    schema = schemathesis.openapi.from_asgi("/openapi.json", service)
    kept = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.path in ("/health", "/ready", "/metrics"):
            continue  # they take nothing that could be wrong

        @settings(
            max_examples=80 if operation.path == "/predict" else 15,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            case.call_and_validate(checks=kept)
            tried.append((case.method, case.path))

        check()
    paths = ("/predict", "/forecast")
    assert {("GET", "/forecasts"), *((method, path) for method in ("GET", "POST") for path in paths)} <= set(tried)
    assert len(tried) > 100


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A live server of a small study: its URL and the study's paths."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(folder / "outputs"))
        study = make_study(folder / "outputs")
        with running("lib.serving.endpoint.app", port=free_port(), log=folder / "api.log") as url:
            yield url, study


def test_answers_of_many_at_once_are_the_model_s(server):
    url, study = server
    predictor = Predictor.load(study.grid)
    random = np.random.default_rng(7)
    volumes, prices = np.exp(random.uniform(5, 20, 2_000)), np.exp(random.uniform(0, 7, 2_000))
    answers = np.zeros(len(volumes), dtype="int64")

    def part(start):
        with httpx.Client(base_url=url) as client:
            for index in range(start, len(volumes), 8):
                query = {
                    "vol_moving_avg": repr(float(volumes[index])),
                    "adj_close_rolling_med": repr(float(prices[index])),
                }
                answers[index] = client.get("/predict", params=query).json()

    threads = [threading.Thread(target=part, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(answers, predictor.predict(volumes, prices))


def test_live_server_takes_over_a_new_model(server):
    url, study = server
    write_grid(study.grid, share=0.7)
    digest = Predictor.load(study.grid).information["digest"]
    wait_for(lambda: httpx.get(f"{url}/predict?{GOOD}").headers["x-model-digest"] == digest)
    wait_for(lambda: f'model_loaded{{digest="{digest}",study="sample"}} 1.0' in httpx.get(f"{url}/metrics").text)


def test_the_tour_runs(server, tmp_path):
    url, _ = server
    papermill.execute_notebook(
        paths.NOTEBOOKS / "api_tour.ipynb",
        tmp_path / "tour.ipynb",
        {"url": url, "requests": 200},
        cwd=paths.ROOT,
        progress_bar=False,
    )
