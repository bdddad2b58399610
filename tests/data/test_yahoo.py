"""Yahoo's prices, kept and brought up to date: frames as yfinance returns them, and its own client against a local server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pandas as pd
import pytest

from lib.data import sources, yahoo
from lib.data.members import ArchiveError
from lib.paths import StudyPaths

START = "2021-01-04"


class Market:
    """What Yahoo would answer: closes by day, and how much later dividends and splits have lowered them."""

    def __init__(self, symbols, days):
        self.symbols, self.days = symbols, pd.bdate_range(START, periods=days)
        self.factor = dict.fromkeys(symbols, 1.0)
        self.split = dict.fromkeys(symbols, 1.0)
        self.asked = []
        self.failing = 0  # so many answers fail
        self.broken = set()  # symbols that always do

    def frame(self, symbol):
        close = pd.Series(range(100, 100 + len(self.days)), self.days, dtype=float) / self.split[symbol]
        frame = pd.DataFrame({"Open": close, "High": close + 1, "Low": close - 1, "Close": close})
        frame["Adj Close"] = close * self.factor[symbol]
        frame["Volume"] = 1000
        return frame

    def __call__(self, symbol, first):
        self.asked.append((symbol, first))
        if self.failing or symbol in self.broken:
            self.failing = max(self.failing - 1, 0)
            raise ConnectionError("no network")
        if symbol not in self.symbols:
            raise yahoo.NoRowsError(f"{symbol}: possibly delisted")
        return self.frame(symbol)[first:]


def update(folder, market, symbols=("AAPL", "MSFT")):
    waits = []
    return yahoo.update(folder, symbols, START, market, waits.append), waits


def lines(folder, symbol):
    return (folder / "stocks" / f"{symbol}.csv").read_text().splitlines()


def test_a_later_run_asks_for_new_days_and_again_for_the_last_five(tmp_path):
    market = Market(["AAPL", "MSFT"], 20)
    assert update(tmp_path, market)[0] == ["Yahoo: 2 of 2 symbols have new rows"]
    assert lines(tmp_path, "AAPL")[:2] == [
        "Date,Open,High,Low,Close,Adj Close,Volume",
        "2021-01-04,100.0,101.0,99.0,100.0,100.0,1000",
    ]
    market.days = pd.bdate_range(START, periods=23)
    update(tmp_path, market)
    assert market.asked[2:] == [(symbol, str(market.days[15].date())) for symbol in ("AAPL", "MSFT")]
    assert len(lines(tmp_path, "AAPL")) == 24


@pytest.mark.parametrize("event", ["dividend", "split"])
def test_a_dividend_or_split_since_fetches_that_symbol_anew(event, tmp_path):
    market = Market(["AAPL", "MSFT"], 20)
    update(tmp_path, market)
    (market.factor if event == "dividend" else market.split)["MSFT"] = 0.98 if event == "dividend" else 2
    sentences, _ = update(tmp_path, market)
    assert "downloaded again after a split or dividend: MSFT" in sentences
    assert market.asked[-1] == ("MSFT", START)
    adjusted = pd.read_csv(tmp_path / "stocks" / "MSFT.csv", float_precision="round_trip")["Adj Close"]
    assert adjusted.tolist() == market.frame("MSFT")["Adj Close"].tolist()


def test_without_a_network_what_was_kept_is_used_and_that_is_said(tmp_path):
    market = Market(["AAPL", "MSFT"], 20)
    update(tmp_path, market)
    before = lines(tmp_path, "AAPL")
    market.failing = 100
    sentences, waits = update(tmp_path, market)
    assert (
        "returned no rows for 2 symbols (ConnectionError: no network); their cached rows are used instead"
        in sentences[-1]
    )
    assert lines(tmp_path, "AAPL") == before
    assert len(waits) == 3 and waits[0] < waits[1] < waits[2]  # each wait is longer than the one before


def test_a_failure_now_and_then_is_tried_again(tmp_path):
    market = Market(["AAPL", "MSFT"], 20)
    market.failing = 3
    sentences, waits = update(tmp_path, market)
    assert sentences == ["Yahoo: 2 of 2 symbols have new rows"] and len(waits) == 2


def test_a_symbol_that_yahoo_does_not_have_stops_the_run(tmp_path):
    with pytest.raises(ArchiveError, match="no prices for NOPE, neither downloaded nor cached"):
        update(tmp_path, Market(["AAPL"], 5), ("AAPL", "NOPE"))


def test_many_symbols_are_asked_for_with_a_pause_now_and_then(tmp_path):
    symbols = [f"S{number}" for number in range(120)]
    market = Market(symbols, 3)
    _, waits = update(tmp_path, market, symbols)
    assert len(market.asked) == 120 and waits == [1.0, 1.0]


def test_one_symbol_that_fails_costs_the_others_nothing(tmp_path):
    symbols = [f"S{number}" for number in range(20)]
    market = Market(symbols, 20)
    update(tmp_path, market, symbols)
    market.days, market.broken, market.asked = pd.bdate_range(START, periods=21), {"S3", "S4"}, []
    sentences, waits = update(tmp_path, market, symbols)
    assert sentences[0] == "Yahoo: 18 of 20 symbols have new rows" and "returned no rows for 2 symbols" in sentences[1]
    assert len(market.asked) == 20 + 3 * 2 and len(waits) == 3
    assert [len(lines(tmp_path, symbol)) for symbol in ("S2", "S3")] == [22, 21]


def test_without_any_answer_few_are_asked_and_all_are_said_to_have_failed(tmp_path):
    symbols = [f"S{number}" for number in range(200)]
    market = Market(symbols, 20)
    update(tmp_path, market, symbols)
    market.failing, market.asked = 1000, []
    sentences, _ = update(tmp_path, market, symbols)
    assert "returned no rows for 200 symbols" in sentences[-1] and len(market.asked) == 4 * 5


def test_rows_are_days_of_the_exchange_with_a_price():
    flat = Market(["7203.T"], 5).frame("7203.T")
    rows = yahoo.rows_of(flat)
    assert rows["Date"].tolist()[:2] == ["2021-01-04", "2021-01-05"]
    for zone in ("America/New_York", "Asia/Tokyo"):
        pd.testing.assert_frame_equal(yahoo.rows_of(flat.set_axis(flat.index.tz_localize(zone))), rows)
    adjusted = yahoo.rows_of(flat.drop(columns="Adj Close"))
    assert adjusted["Adj Close"].tolist() == adjusted["Close"].tolist()
    half = flat.copy()
    half.iloc[2, 0] = None
    assert len(yahoo.rows_of(half)) == 4
    assert yahoo.rows_of(pd.DataFrame()).empty


def test_symbols_come_from_a_list_or_a_file(tmp_path):
    assert yahoo.read_symbols(["aapl", "TRUE", "AAPL"], []) == ["AAPL", "TRUE"]
    (tmp_path / "mine.txt").write_text("aapl\n\nBRK-B  # Berkshire\nON\n")
    assert yahoo.read_symbols(["mine.txt"], [tmp_path]) == ["AAPL", "BRK-B", "ON"]
    with pytest.raises(ArchiveError, match=r"archive\.symbols names none"):
        yahoo.read_symbols([], [])
    with pytest.raises(ArchiveError, match=r"missing.txt cannot be read"):
        yahoo.read_symbols(["missing.txt"], [tmp_path])


def test_what_is_kept_is_an_archive(outputs):
    study = StudyPaths("mine")
    update(study.archive, Market(["AAPL", "PRN"], 20), ("AAPL", "PRN"))
    archive = sources.open_archive("yahoo", study)
    assert [file.symbol for file in archive.files] == ["AAPL", "PRN"]
    assert all(file.plan is None for file in archive.files)  # as Kaggle has them


@pytest.fixture
def chart_server(monkeypatch):
    """Yahoo's chart endpoint, played on this machine; yfinance is told its address."""
    days = pd.bdate_range(START, periods=10)
    asked = []
    failures = {"MSFT": 1}  # the first answer about it is no JSON

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlparse(self.path)
            asked.append(url.path)
            query = parse_qs(url.query)
            body = b"crumb"
            symbol = url.path.rpartition("/")[2]
            if failures.get(symbol):
                failures[symbol] -= 1
                body = b"<html>Bad Gateway</html>"
            elif "/chart/" in url.path and symbol == "NOPE":
                error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
                body = json.dumps({"chart": {"result": None, "error": error}}).encode()
            elif "/chart/" in url.path:
                first = int(query.get("period1", ["0"])[0])
                stamps = [int(day.timestamp()) + 14 * 3600 + 1800 for day in days if day.timestamp() + 86400 > first]
                closes = [100.0 + number for number in range(len(days) - len(stamps), len(days))]
                quote = {name: closes for name in ("open", "high", "low", "close")} | {"volume": [1000] * len(closes)}
                meta = {
                    "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY",
                    "exchangeTimezoneName": "America/New_York", "timezone": "EST", "gmtoffset": -18000, "dataGranularity": "1d",
                    "range": "", "validRanges": ["1d", "max"], "priceHint": 2, "regularMarketPrice": 1.0, "regularMarketTime": stamps[-1],
                    "currentTradingPeriod": {
                        name: {"timezone": "EST", "start": 0, "end": 0, "gmtoffset": -18000} for name in ("pre", "regular", "post")
                    },
                }  # fmt: skip
                result = {
                    "meta": meta,
                    "timestamp": stamps,
                    "indicators": {"quote": [quote], "adjclose": [{"adjclose": closes}]},
                }
                body = json.dumps({"chart": {"result": [result], "error": None}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    import yfinance
    from yfinance import const, data

    for module in (const, yfinance.base, yfinance.scrapers.history, yfinance.multi):
        if hasattr(module, "_BASE_URL_"):
            monkeypatch.setattr(module, "_BASE_URL_", address)
    monkeypatch.setattr(data.YfData, "_get_cookie_and_crumb", lambda self, *_, **__: ("crumb", "basic"))
    yield asked
    server.shutdown()
    thread.join()


def test_yfinance_itself_reads_a_server_that_plays_yahoo(chart_server, tmp_path):
    waits = []
    sentences = yahoo.update(tmp_path / "archive", ["AAPL", "MSFT"], START, sleep=waits.append)
    assert sentences == ["Yahoo: 2 of 2 symbols have new rows"] and len(waits) == 1  # a bad answer about MSFT
    assert any(path.endswith("/AAPL") for path in chart_server)
    assert lines(tmp_path / "archive", "MSFT")[1:3] == [
        "2021-01-04,100.0,100.0,100.0,100.0,100.0,1000",
        "2021-01-05,101.0,101.0,101.0,101.0,101.0,1000",
    ]


def test_what_yahoo_says_of_an_unknown_symbol_is_passed_on(chart_server, tmp_path):
    with pytest.raises(ArchiveError, match=r"no prices for NOPE, neither downloaded nor cached \(.*NOPE"):
        yahoo.update(tmp_path, ["AAPL", "NOPE"], START, sleep=lambda seconds: None)
