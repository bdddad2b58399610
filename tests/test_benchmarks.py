"""The synthetic archive is what it says and the same everywhere; the accounting counts; all contestants agree."""

from __future__ import annotations

import doctest
import hashlib
import importlib.util
import io
import json
import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tools import need

from benchmarks import __main__ as everything
from benchmarks import accounting, agreement, archive, driver, growth, pipeline, study, usual
from lib.stages import STAGES

SMALL = Fraction(1, 250)


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "small"
    archive.write(folder, SMALL)
    return folder


@pytest.mark.parametrize("module", [accounting, archive, driver, growth, pipeline, study, usual])
def test_examples(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# The archive


def test_archive_has_kaggles_shape():
    listed = archive.securities(Fraction(1))
    stocks = [security for security in listed if security.folder == "stocks"]
    assert (len(stocks), len(listed) - len(stocks)) == (5884, 2165)
    assert sum(security.rows for security in listed) == 28_150_000
    assert sum(security.null_rows for security in listed) == 683
    assert len({security.symbol for security in listed}) == 8049
    assert {security.file_name for security in listed} >= {"stocks/AGM-A.csv", "stocks/_PRN.csv", "stocks/LGF.B.csv"}
    assert 10 < sum(security.name is None for security in listed) < 100


def test_a_fraction_is_a_part_of_the_whole_and_has_its_mix():
    whole = archive.securities(Fraction(1))
    tenth = archive.securities(Fraction(1, 10))
    assert set(tenth) < set(whole)
    assert sum(security.rows for security in tenth) == pytest.approx(2_815_000, rel=0.03)
    assert sum(security.null_rows for security in tenth) == pytest.approx(68, rel=0.1)


def test_a_multiple_repeats_the_shape_with_other_symbols():
    listed = archive.securities(Fraction(5, 2))
    assert len({security.symbol for security in listed}) == len(listed) == 8049 * 2 + 2942 + 1082
    assert len({security.file_name for security in listed}) == len(listed)
    first, again = listed[20], listed[8049 + 20]
    assert first.rows == again.rows
    assert archive.content(first) != archive.content(again)


def test_a_fraction_must_be_positive():
    with pytest.raises(ValueError, match="fraction is 0; a number above 0"):
        archive.securities(Fraction(0))


def test_bytes_are_the_same_on_every_machine():
    listed = archive.securities(Fraction(1))
    digest = hashlib.sha256()
    for security in [*listed[:12], *listed[-3:]]:
        digest.update(archive.content(security))
    digest.update(archive.metadata(listed))
    assert digest.hexdigest() == "2ae9a217c0c9f7bc1f46b40194a63d8b47a605a35828629572f3b52114a1e9f6"


def test_files_are_as_pandas_writes_them(small_archive):
    with_nulls = 0
    for path in small_archive.glob("*/*.csv"):
        content = path.read_bytes()
        frame = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
        assert frame.to_csv(index=False, lineterminator="\n").encode() == content, path.name
        nulls = frame["Close"].isna()
        assert (frame["Volume"].dtype == np.float64) == bool(nulls.any())
        assert frame.loc[nulls].drop(columns="Date").isna().all(axis=None)
        assert frame["Date"].is_monotonic_increasing and frame["Date"].is_unique
        with_nulls += bool(nulls.any())
    assert with_nulls >= 1


def test_values_are_plausible(small_archive):
    tables = [pyarrow.csv.read_csv(path).to_pandas().dropna() for path in sorted(small_archive.glob("*/*.csv"))]
    frame = pd.concat(tables)
    prices = frame[["Open", "High", "Low", "Close", "Adj Close"]]
    assert (prices.astype(np.float32).astype(np.float64) == prices).all(axis=None), "float32 values, printed as float64"
    assert (frame["High"] >= frame["Low"]).all() and (frame["Adj Close"] > 0).all()
    volume = frame["Volume"]
    assert 0.02 < (volume == 0).mean() < 0.12
    assert volume.max() > 100 * volume.median()


def test_metadata_name_all_but_a_few_symbols():
    listed = archive.securities(Fraction(1, 50))
    frame = pd.read_csv(io.BytesIO(archive.metadata(listed)), keep_default_na=False)
    named = {security.symbol: security for security in listed if security.name is not None}
    assert frame["Symbol"].tolist() == sorted(named)
    assert 0 < len(listed) - len(named) < 10
    row = frame.set_index("Symbol").loc["AGM$A"]
    assert (row["NASDAQ Symbol"], row["ETF"]) == ("AGM-A", "N")
    assert frame["Security Name"].str.contains(",").any()


def test_all_files_are_there_and_nothing_is_left_beside_them(small_archive):
    listed = archive.securities(SMALL)
    written = {path.relative_to(small_archive).as_posix() for path in small_archive.rglob("*") if path.is_file()}
    assert written == {archive.METADATA, *(security.file_name for security in listed)}
    assert (small_archive / archive.METADATA).read_bytes() == archive.metadata(listed)
    assert list(small_archive.parent.iterdir()) == [small_archive]


def test_an_archive_is_not_written_over(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="exists already; remove it"):
        archive.write(tmp_path / "there", SMALL)


# The accounting


def test_accounting_adds_up_all_processes():
    burn = "import time\nwhile time.process_time() < 0.5: pass\n"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); {burn}"
    usage = accounting.measure([sys.executable, "-c", child.replace("; import", "\nimport")])
    assert usage.cpu >= 1.0
    assert usage.processes == 2


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
def test_accounting_counts_a_process_that_outlives_its_parent():
    burn = "import time\nheld = bytearray(150_000_000)\nwhile time.process_time() < 0.5: pass\n"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    usage = accounting.measure([sys.executable, "-c", parent])
    assert usage.cpu >= 0.5
    assert usage.memory >= 150_000_000


def test_accounting_counts_a_process_that_nobody_waits_for():
    # A little more than a second, as the kernel counts in hundredths.
    burn = "import time\nwhile time.process_time() < 1.05: pass\ntime.sleep(1)\n"
    parent = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as Spark's Python daemon does
other = subprocess.Popen([sys.executable, "-c", {burn!r}])
while other.poll() is None: time.sleep(0.1)
"""
    usage = accounting.measure([sys.executable, "-c", parent])
    assert usage.cpu >= 1.0


def test_accounting_adds_up_memory():
    child = "held = bytearray(100_000_000); print(flush=True); input()"
    parent = f"""
import subprocess, sys, time
held = bytearray(100_000_000)
other = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
other.stdout.readline()
time.sleep(3)
other.communicate(b"\\n")
"""
    usage = accounting.measure([sys.executable, "-c", parent])
    assert 200_000_000 <= usage.memory < 400_000_000


def test_accounting_shows_what_a_failing_command_said():
    with pytest.raises(accounting.CommandError, match=r"exit code 3(.|\n)*it broke"):
        accounting.measure([sys.executable, "-c", "import sys; print('it broke'); sys.exit(3)"])


# The comparison


@pytest.fixture
def features():
    return pa.table(
        {
            "Symbol": ["A", "A", "B"],
            "Security Name": ["Aa", "Aa", None],
            "Date": pa.array([-5, 1, 1], pa.int32()).cast(pa.date32()),
            **{name: [0.1, 0.2, 0.3] for name in ("Open", "High", "Low", "Close", "Adj Close")},
            "Volume": pa.array([1, 2, 2**60], pa.int64()),
            "vol_moving_avg": [None, 1.5, None],
            "adj_close_rolling_med": [None, 0.15, None],
        }
    )


def compared(tmp_path: Path, reference: pa.Table, other: pa.Table) -> agreement.Agreement:
    for name, table in (("reference", reference), ("other", other)):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part-0.parquet")
    return agreement.compare(tmp_path / "reference", tmp_path / "other", agreement.FEATURES)


def changed(table: pa.Table, name: str, values: list) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, name, pa.array(values, table.schema.field(name).type))


def test_equal_datasets_agree(tmp_path, features):
    found = compared(tmp_path, features, features)
    assert found.complete and found.same
    assert str(found) == "every value equal to the bit"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Open", [np.nextafter(0.1, 1), 0.2, 0.3]),
        ("Volume", [1, 2, 2**60 + 1]),
        ("Security Name", ["Aa", "Aa", ""]),
        ("adj_close_rolling_med", [None, 0.15, float("nan")]),
        ("adj_close_rolling_med", [0.1, 0.15, None]),
        ("vol_moving_avg", [None, 1.5000001, None]),
    ],
)
def test_one_other_value_is_found(tmp_path, features, name, values):
    found = compared(tmp_path, features, changed(features, name, values))
    assert found.complete and not found.same
    assert list(found.differences) == [name]
    assert found.differences[name].beyond == 1


def test_a_mean_may_be_an_ulp_beside(tmp_path, features):
    found = compared(tmp_path, features, changed(features, "vol_moving_avg", [None, np.nextafter(1.5, 2), None]))
    assert found.same
    assert found.differences["vol_moving_avg"].rows == 1


def test_missing_extra_and_unsorted_rows_are_counted(tmp_path, features):
    other = pa.concat_tables([changed(features, "Symbol", ["C", "A", "A"]).slice(0, 1), features.slice(1, 1)])
    found = compared(tmp_path, features, other)
    assert (found.missing, found.extra, found.missing_symbols, found.is_sorted) == (2, 1, ("B",), False)
    assert found.same, "the one row that both have is the same"
    assert "2 rows missing (all of B); 1 rows too many; not sorted" in str(found)


# The contestants


def contest(small_archive: Path, tmp_path: Path, *names: str) -> dict[str, pipeline.Result]:
    console = Console(file=io.StringIO())
    _, results = pipeline.run(small_archive, names, 1, console, tmp_path)
    return {result.name: result for result in results}


@pytest.mark.parametrize("package", ["Polars", "DuckDB"])
def test_peers_agree_on_every_value(small_archive, tmp_path, package):
    need(package, importlib.util.find_spec(package.lower()) is not None)
    for name, result in contest(small_archive, tmp_path, package, f"{package} tuned").items():
        for stage, found in result.agreements.items():
            # DuckDB's tuned prices are sorted by the next stage.
            complete = found.complete or (name, stage, found.missing, found.extra) == ("DuckDB tuned", "prices", 0, 0)
            assert complete and found.same, f"{name}, {stage}: {found}"


def test_spark_agrees_on_every_value_it_reads(small_archive, tmp_path, monkeypatch):
    need("java", shutil.which("java") is not None)
    # Of a few seconds' work, half would go into compiling it well.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    result = contest(small_archive, tmp_path, "PySpark")["PySpark"]
    for found in result.agreements.values():
        assert found.same and not found.extra, str(found)
        assert found.missing_symbols == ("PRN",), "Spark takes _PRN.csv for a hidden file"


def test_the_pipeline_writes_its_table(small_archive, tmp_path, monkeypatch, capsys):
    need("polars", importlib.util.find_spec("polars") is not None)
    monkeypatch.setattr(
        sys, "argv", ["pipeline", "--archive", str(small_archive), "--only", "Polars", "--to", str(tmp_path / "found")]
    )
    assert pipeline.main() == 0
    text = (tmp_path / "found.md").read_text()
    assert agreement.EQUAL in text
    found = json.loads((tmp_path / "found.json").read_text())
    assert [result["name"] for result in found["results"]] == ["ours", "Polars"]
    assert found["results"][1]["agreements"] == dict.fromkeys(pipeline.STAGES, agreement.EQUAL)
    assert str(tmp_path) not in text + json.dumps(found)


# Beside the usual solution, and all in one go


def test_medians_that_differ_from_the_usual_solutions_are_counted(tmp_path, features):
    with_medians = changed(features, "adj_close_rolling_med", [None, 0.15, 0.3])
    usuals = changed(features, "adj_close_rolling_med", [0.1, 0.1, 0.3])
    for name, table in (("ours", with_medians), ("usual", usuals)):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part-0.parquet")
    # The first row's window is not whole: a choice, and no difference.
    assert usual._medians(tmp_path / "ours", tmp_path / "usual") == {"compared": 2, "different": 1}


@pytest.fixture
def two_parts(monkeypatch):
    """One part that can be measured in a moment, and one that cannot."""
    broken = everything.Part("Broken", "It is.", lambda _: ["nothing"])
    command = ["pipeline", "--fraction", "1/1000", "--only", "ours", "--to", "{to}"]
    small = replace(everything.PARTS["pipeline"], command=lambda _: command)
    monkeypatch.setattr(everything, "PARTS", {"broken": broken, "pipeline": small})


def test_all_in_one_go_keeps_what_was_measured(two_parts, tmp_path, capfd):
    need("polars", importlib.util.find_spec("polars") is not None)
    keep, results = tmp_path / "keep", tmp_path / "RESULTS.md"
    readme = everything.README.read_text()
    arguments = ["--only", "broken", "pipeline", "--keep", str(keep), "--results", str(results)]
    assert everything.main(arguments) == 1
    assert "broken failed, exit code 1" in capfd.readouterr().out
    text = results.read_text()
    assert "## Broken\n\nNot measured." in text
    assert "| ours |" in text and "Measured on" in text and str(tmp_path) not in text
    kept = (keep / "pipeline.json").stat().st_mtime_ns
    assert everything.main(arguments[:1] + arguments[2:]) == 0
    assert "--again measures it anew" in capfd.readouterr().out
    assert (keep / "pipeline.json").stat().st_mtime_ns == kept
    assert results.read_text() == text
    assert everything.README.read_text() == readme, "other results are not the README's"


def kept_run() -> dict:
    """What parts keep, made up: ours takes 1 s and 1 GB, the other 4 s and 2 GB; twice the rows take twice the time."""
    about = {"command": ["", "--fraction", "1/4"], "date": "2026-01-01", "load": 0.1, "code": "abc"}
    about["machine"] = {"processor": "P", "cores": 2, "memory": 2**34, "system": "Linux", "python": "3.12"}
    extents = [{"files": 10, "rows": rows, "bytes": 10**9} for rows in (1_000_000, 2_000_000)]

    def usage(wall, memory):
        return {"wall": wall, "cpu": wall, "memory": memory, "processes": 1}

    results = [
        {
            "name": name,
            "usages": {stage: [usage(wall, memory)] for stage in pipeline.STAGES},
            "bytes": 1,
            "agreements": {},
        }
        for name, wall, memory in [("ours", 1, 10**9), ("PySpark", 4, 2 * 10**9)]
    ]
    sizes = [
        {"size": size, "archive": extent, "usages": dict.fromkeys([*STAGES, study.WHOLE], usage(wall, 10**9))}
        for size, extent, wall in zip(("1", "2"), extents, (1, 2), strict=True)
    ]
    one = {"wall": 3, "cpu": 5, "memory": 10**9, "processes": 2}
    runs = [*STAGES, study.WHOLE, study.UNCHANGED, study.ONE_FILE, study.EVERY_FILE, study.DAILY]
    ours = {name: one | {"wall": 15} if name == study.WHOLE else one for name in runs}
    usuals = dict.fromkeys(usual.MODEL_STAGES.values(), one | {"wall": 30})
    found = {
        "study": {"archive": extents[0], "usages": {"ours": ours}},
        "usual": {
            "usages": {"ours": ours, "usual": usuals},
            "model_bytes": {"ours": 10**5, "usual": 10**8},
            "medians": {"compared": 100, "different": 76},
        },
        "pipeline": {"archive": extents[0], "results": results},
        "growth": {"sizes": sizes},
    }
    return {name: {"about": about, "found": one, "text": f"the text of {name}\n"} for name, one in found.items()}


def test_results_say_ratios_first():
    text = everything.results(kept_run())
    summary = everything.summary(kept_run())
    assert summary in text
    assert "A trial with 1/4 of an archive of Kaggle's size, on 2 cores (P) with 16 GiB of memory." in summary
    assert summary.index(
        "The whole study, from 10 files to forecasts and reports: 15 s (01_ingest 3, "
    ) < summary.index("|")
    assert "the usual solution | 0.10 |  | 1.00 |" in summary
    assert "| prices and features: PySpark | 0.25 | 0.25 | 0.50 |" in summary
    assert "- The whole study of 2.0 times the rows takes 2.0 times the time and 1.00 times the memory." in summary
    assert text.index("the text of pipeline") > text.index(summary)


def test_the_growth_is_a_figure_with_a_text():
    figure = growth.figure(growth.read(kept_run()["growth"]["found"]))
    assert "Seconds rise from 1.0 to 2.0; peak memory goes from 1.00 to 1.00 GB" in figure.get_label()
    assert len(figure.axes) == 2


def test_the_readme_takes_the_summary_between_its_markers():
    text = f"head\n{everything.BEGIN}old\n{everything.END}\ntail\n"
    assert everything.into_readme(text, "new\n") == f"head\n{everything.BEGIN}new\n{everything.END}\ntail\n"
    with pytest.raises(ValueError, match="md has no"):
        everything.into_readme("head", "new")
