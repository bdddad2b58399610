"""A look at an archive before a run, and the params file that it writes."""

from __future__ import annotations

import pytest
from layout_files import WRITERS, truth

from lib import __main__ as command_line
from lib import params, paths
from lib.data import look


def write(files, folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def lines_that_begin(found, beginning):
    return [line for line in found.lines if line.startswith(beginning)]


@pytest.mark.parametrize("name", ["nasdaq", "yfinance wide", "Parquet in hive folders", "polygon", "stooq bulk"])
def test_a_look_says_what_a_run_would_keep(name, tmp_path):
    files = WRITERS[name](truth())
    found = look.look(write(files.contents, tmp_path / "archive"))
    assert f"{len(files.rows):,} kept" in lines_that_begin(found, "dates: 2021-01-04 to 2021-02-26")[0]
    assert lines_that_begin(found, "symbols: 3 (AAPL, BRK.B, TRUE)")
    assert not lines_that_begin(found, "what follows is of a sample") and not lines_that_begin(
        found, "would be set aside"
    )


def test_what_would_be_set_aside_and_what_is_not_read_is_said_with_reasons(tmp_path):
    files = dict(WRITERS["yahoo"](truth()).contents)
    files["stocks/AAPL.csv"] += b"2021-03-01,1,2,x,1,1,5\n"
    files["notes.md"] = files["fundamentals.csv"] = b"a,b\n1,2\n"
    files["stocks/BAD.csv"] = b"Date,Open\n"
    found = look.look(write(files, tmp_path / "archive"))
    assert (
        "  unparsable value (1): stocks/AAPL.csv, line 42: unparsable value: Low is 'x'; '2021-03-01,1,2,x,1,1,5'"
        in found.lines
    )
    assert lines_that_begin(found, "not read: 2 other files") and lines_that_begin(
        found, "cannot be read: 1 price file"
    )
    assert lines_that_begin(found, "  fundamentals.csv: no columns of dates and prices")


def test_prices_too_short_for_a_study_are_said_to_be(tmp_path):
    files = WRITERS["yahoo"](truth()).contents
    short = {name: b"\n".join(content.split(b"\n")[:18]) + b"\n" for name, content in files.items()}
    found = look.look(write(short, tmp_path / "short"))
    assert "no symbol has more than 17 rows" in lines_that_begin(found, "too short: ")[0]
    assert not lines_that_begin(look.look(write(files, tmp_path / "whole")), "too short: ")


def test_a_sample_is_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "_MOST", 1000)
    found = look.look(write(WRITERS["yahoo"](truth()).contents, tmp_path / "archive"))
    assert lines_that_begin(found, "what follows is of a sample: the beginning of 3 of 3 files")
    assert "about 1" in lines_that_begin(found, "dates: ")[0]  # hundred and twenty rows


@pytest.mark.parametrize("name", ["investing", "cryptodatadownload"])
def test_the_params_file_it_writes_is_read_as_it_is(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    place = write(WRITERS[name](truth()).contents, tmp_path / "archive")
    assert command_line.main(["run", "--look", str(place), "--as", "mine"]) == 0
    section = params.load(tmp_path / "params" / "mine.yaml").archive
    assert section.source == str(place)
    assert section.volume == ("rounded" if name == "cryptodatadownload" else "whole")
    assert "run it: bash run_all.sh mine" in capsys.readouterr().out
    assert command_line.main(["run", "--look", str(place), "--as", "mine"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_refusal_is_what_a_look_says_with_the_key_to_set(tmp_path):
    text = b"Date,Open,High,Low,Close,Volume\n01/02/2021,1,1,1,1,5\n"
    found = look.look(write({"A.csv": text}, tmp_path / "archive"))
    assert "can be read day first or month first" in found.lines[0]
    assert found.params == {"dates": "day_first"}
