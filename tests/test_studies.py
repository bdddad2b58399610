"""A study's datasets as frames: what pandas reads of the whole, cut to what was asked for."""

from __future__ import annotations

import datetime
import importlib.util
import re

import pandas as pd
import pytest
from tools import need

from lib import paths, studies
from lib.storage.dataset import DatasetError


@pytest.fixture
def whole(sample_study) -> pd.DataFrame:
    frame = pd.read_parquet(sample_study.features)
    return frame.assign(Date=pd.to_datetime(frame["Date"]))


def test_all_of_it_is_what_pandas_reads(whole):
    frame = studies.features("sample")
    assert str(frame["Date"].dtype).startswith("datetime64")
    pd.testing.assert_frame_equal(frame.astype(object), whole.astype(object))
    assert list(studies.prices("sample").columns) == list(frame.columns[:9])


def test_columns_symbols_and_days(whole):
    columns = ["Date", "vol_moving_avg"]
    frame = studies.features("sample", columns, ["IBM", "FB"], "2012-05-01", datetime.date(2012, 12, 31))
    chosen = whole[whole["Symbol"].isin(["IBM", "FB"]) & whole["Date"].between("2012-05-01", "2012-12-31")]
    assert 200 < len(frame) < 400
    pd.testing.assert_frame_equal(frame.astype(object), chosen[columns].reset_index(drop=True).astype(object))
    # The first and the last day are among them, and a plain comparison works.
    ibm = studies.features("sample", symbols="IBM", start="2012-05-01", end="2012-05-01")
    assert ibm["Date"].tolist() == [pd.Timestamp("2012-05-01")]
    assert (frame["Date"] >= "2012-05-01").all()


@pytest.mark.parametrize("tool", ["polars", "duckdb"])
def test_other_tools_read_it_as_the_page_says(whole, sample_study, tool, monkeypatch, capsys):
    need(tool, importlib.util.find_spec(tool) is not None)
    page = (paths.ROOT / "docs/data-frames.md").read_text(encoding="utf-8")
    [code] = re.findall(rf"```python\n((?:(?!```).)*import {tool}\n.*?)```", page, re.DOTALL)
    monkeypatch.chdir(sample_study.folder.parents[1])
    outputs = sample_study.folder.parent.name
    exec(code.replace("outputs/", f"{outputs}/"), {})
    output = capsys.readouterr().out
    later = whole[whole["Date"] >= "2013-02-01"]
    assert all(symbol in output for symbol in later["Symbol"].unique()) and "GOOG" in output


def test_the_page_says_which_tools_are_not_in_the_environment():
    page = (paths.ROOT / "docs/data-frames.md").read_text(encoding="utf-8")
    assert "`pip install polars duckdb`" in page
    [run] = re.findall(
        r"^# group: run$(.*?)^# group: ", paths.LOCK.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert "\npandas==" in run and not re.search(r"^(polars|duckdb)==", run, re.MULTILINE)


def test_what_is_not_there_is_named(sample_study):
    with pytest.raises(KeyError, match=r"no symbol 'IBMM' in .*; did you mean 'IBM'\?"):
        studies.features("sample", symbols=["IBM", "IBMM"])
    with pytest.raises(KeyError, match=r"no symbol 'aapl' in .*; did you mean 'AAPL'\?"):
        studies.prices("sample", symbols=["aapl"])
    with pytest.raises(KeyError, match=r"no symbol 'QQQQQQ' in [^;]*$"):
        studies.prices("sample", symbols=["QQQQQQ"])
    with pytest.raises(KeyError, match=r"no column .Close .; there are Symbol, .*; did you mean 'Close'"):
        studies.prices("sample", ["Close "])
    with pytest.raises(DatasetError, match=r"^there is no study 'sampel'; did you mean 'sample'\?$"):
        studies.features("sampel")
    with pytest.raises(
        DatasetError, match=r"study 'kaggle' has no results in .*; make them with: bash run_all.sh kaggle"
    ):
        studies.features("kaggle")


@pytest.mark.parametrize("read", [studies.features, studies.prices])
def test_an_unknown_column_is_told_with_all_that_there_are(sample_study, read):
    all_columns = ", ".join(read("sample", symbols=["IBM"]).columns)
    with pytest.raises(KeyError) as error:
        read("sample", ["Dat"])
    assert error.value.args == (f"no column 'Dat'; there are {all_columns}; did you mean 'Date'?",)
    with pytest.raises(KeyError) as error:
        read("sample", ["weekday_zzz"])
    assert error.value.args == (f"no column 'weekday_zzz'; there are {all_columns}",)


@pytest.mark.parametrize("argument", ["start", "end"])
@pytest.mark.parametrize("day", ["01.02.2013", "2013-02-30", ""])
def test_what_is_no_day_is_told_with_its_argument(sample_study, argument, day):
    with pytest.raises(ValueError, match=rf"^{argument} is '{day}'; allowed: a day of the calendar as YYYY-MM-DD$"):
        studies.prices("sample", symbols=["IBM"], **{argument: day})
