"""A whole study, through its real notebooks, of an archive in which whatever may be odd is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
import pytest
from raw_archives import FEW_FITS, HEADER, metadata_csv, price_csv, price_rows

from lib import paths
from lib.__main__ import main
from lib.serving import symbol_forecasts
from lib.stages import STAGES
from lib.storage.dataset import open_dataset

pytestmark = pytest.mark.xdist_group("odd archive")  # one study for all
ROW = ",1,2,0.5,1.5,1.5,100"
ODD = {
    "stocks/EMPTY.csv": "",
    "stocks/HEADER.csv": HEADER + "\n",
    "stocks/NULLS.csv": HEADER + "\n" + "2001-01-02,,,,,,\n" * 3,
    "stocks/OTHER.csv": "When,How much\n2001-01-02,1\n",
    "stocks/SHORT.csv": 5,
    "stocks/NAN.csv": 60,
    "stocks/_PRN.csv": price_csv("PRN", 40),
    "stocks/LAST.csv": f"{HEADER}\n9999-12-31{ROW}\n",
    "etfs/FIRST.csv": f"{HEADER}\n0020-01-02{ROW}\n",
    "etfs/WINDOWS.csv": price_csv("WINDOWS", 50).replace("\n", "\r\n"),
    # The longest of all, with a volume at the end of what 64 bits hold.
    "stocks/HUGE.csv": "\n".join([HEADER, *price_rows("HUGE", 400)[:200], f"2050-01-03{ROW[:-3]}9223372036854775807"])
    + "\n"
    + "\n".join(f"2051-{day // 28 + 1:02}-{day % 28 + 1:02}{ROW}" for day in range(300))
    + "\n",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The finished study."""
    from raw_archives import write_archive

    base = tmp_path_factory.mktemp("odd")
    names = [
        ("NAN", "Not a\tnumber,\nInc.", "NAN"),
        ("SHORT", "", ""),
        ("GONE", "Gone Inc.", "GONE"),
        ("", "Nobody", ""),
    ]
    # A folder may be called as a source of archives is.
    location = write_archive(base / "data" / "kaggle", ODD, metadata_csv(names))
    (location / "stocks" / "README.txt").write_text("not prices")
    (base / "odd.yaml").write_text(f"archive:\n  source: {location}\ningest:\n  max_quarantined_share: 0.5\n{FEW_FITS}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(base / "outputs"))
        command = [sys.executable, "-m", "lib", "run", str(base / "odd.yaml")]
        done = subprocess.run(command, cwd=paths.ROOT, env=os.environ, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        yield paths.StudyPaths("odd")


def test_it_runs_to_the_end(study):
    assert all(study.report(stage).exists() for stage in STAGES)
    prices = set(open_dataset(study.prices).read(["Symbol"])["Symbol"].to_pylist())
    assert prices == {"SHORT", "NAN", "PRN", "LAST", "FIRST", "WINDOWS", "HUGE"}
    metrics = json.loads(study.metrics.read_text())
    assert metrics["mae"] == metrics["mae_moving_average"] == 0  # the last 300 days have one volume


def test_the_report_says_what_could_not_be_used(study):
    notebook = nbformat.read(study.notebook("01_ingest"), as_version=4)
    texts = [
        output.get("data", {}).get("text/markdown", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    summary = next(text for text in texts if "The study has" in text)
    assert "from 0020-01-02 to 9999-12-31" in summary
    assert "**4 of 11 files could not be used at all**" in summary


def test_every_forecast_is_read_by_terminal_page_and_server(study, capsys):
    forecast = set(open_dataset(study.forecasts).read(["Symbol"])["Symbol"].to_pylist())
    assert {"SHORT", "FIRST"} <= forecast  # of fewer rows than the average has
    table = symbol_forecasts.load(study.folder / "forecasts.csv")
    assert set(table.symbols) == forecast
    assert main(["forecast", "SHORT", "--study", "odd"]) == 0
    volumes = open_dataset(study.prices).read(["Symbol", "Volume"]).to_pandas().query("Symbol == 'SHORT'")["Volume"]
    assert table.symbols["SHORT"].vol_moving_avg == volumes.mean()
    assert "SHORT" in capsys.readouterr().out
    page = study.index.read_text(encoding="utf-8")
    assert "How many shares will trade next" in page and all(f">{symbol}<" in page for symbol in forecast)
