"""A whole study, through its real notebooks, of files that are called whatever Linux allows; and its dashboard."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata

import pyarrow.parquet as pq
import pytest
from odd_names import ODD, odd_names, write
from raw_archives import FEW_FITS

from lib import paths
from lib.features.recent_days import Symbols
from lib.serving.dashboard.page import Dashboard
from lib.serving.dashboard.symbol_search import label
from lib.stages import STAGES
from lib.storage.dataset import open_dataset
from lib.text import printable

pytestmark = pytest.mark.xdist_group("odd names")  # one study for all
COUNT = 200
# What no text that is shown may hold: characters that control a terminal or the direction of text, and half a character.
UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def unsafe(text: str) -> set[str]:
    return {character for character in text if unicodedata.category(character) in UNSAFE}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The finished study, what the run said, and the files' names."""
    base = tmp_path_factory.mktemp("odd-names")
    names = write(base / "archive", COUNT)
    (base / "archive" / "stocks" / "not\x1b[31mread\n.pdf").write_text("")
    (base / "archive" / "stocks" / "EMPTY\x1b[31m\n$_$[red].csv").write_text("")
    (base / "names.yaml").write_text(f"archive:\n  source: {base / 'archive'}\n{FEW_FITS}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(base / "outputs"))
        command = [sys.executable, "-m", "lib", "run", str(base / "names.yaml")]
        done = subprocess.run(command, cwd=paths.ROOT, env=os.environ, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        yield paths.StudyPaths("names"), done.stdout + done.stderr, names


def test_names_are_as_odd_as_they_can_be():
    names = odd_names(COUNT)
    assert len(set(names)) >= COUNT - 1
    content = b"".join(map(os.fsencode, names))
    assert set(content) == set(range(1, 256)) - {ord("/")}
    assert max(len(os.fsencode(name)) for name in names) == 255 - len(".csv")


def test_no_two_names_become_one():
    names = [*odd_names(10_000), "CON"]
    assert len({printable(name) for name in names}) == len(set(names))


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_shown_on_one_line_of_visible_characters(name):
    shown = printable(name)
    shown.encode()
    assert not unsafe(shown)
    assert shown == shown.strip() and "  " not in shown
    assert not unicodedata.category(shown[0]).startswith("M")


def test_every_file_is_a_symbol(study):
    paths_of_study, _, names = study
    read = [name for name in names if not name.startswith("__MACOSX")]
    symbols = open_dataset(paths_of_study.prices).read(["Symbol"])["Symbol"].unique().to_pylist()
    assert symbols == sorted(printable(name) for name in read)
    files = open_dataset(paths_of_study.files).read(["file"])["file"].to_pylist()
    empty = printable("stocks/EMPTY\x1b[31m\n$_$[red].csv")
    assert sorted(files) == sorted([empty, *(printable(f"stocks/{name}.csv") for name in read)])


def test_what_is_not_read_or_kept_is_named_on_the_terminal_and_in_the_report(study):
    paths_of_study, output, _ = study
    assert not unsafe(output.replace("\n", ""))
    report = paths_of_study.report("01_ingest").read_text(encoding="utf-8")
    for name in (printable("stocks/not\x1b[31mread\n.pdf"), printable("stocks/EMPTY\x1b[31m\n$_$[red].csv")):
        assert name in output
        assert name in report


def test_whatever_was_written_is_safe_to_show(study):
    paths_of_study, _, _ = study
    for stage in STAGES:
        assert paths_of_study.report(stage).exists()
    for path in paths_of_study.folder.rglob("*"):
        if path.suffix in {".html", ".json", ".jsonl", ".ipynb", ".md"}:
            text = path.read_text(encoding="utf-8")
            if path.suffix in {".json", ".ipynb"}:
                json.loads(text)
            assert not unsafe(re.sub(r"[\n\t]", "", text)), path
            assert not re.search(r"<script>alert|<img src=x", text), path
        elif path.suffix == ".parquet" and "features" not in path.parts:
            for column in ("Symbol", "file", "symbol"):
                if column in pq.read_schema(path).names:
                    assert not unsafe("".join(pq.read_table(path)[column].unique().to_pylist()))


def test_the_dashboard_lists_and_opens_each(study, monkeypatch):
    paths_of_study, _, names = study
    page = Dashboard("names").predict
    assert page.failure.value == ""
    symbols = Symbols(paths_of_study.symbols).names
    assert {printable(name) for name in names if not name.startswith("__MACOSX")} == symbols.keys()
    assert list(page.picker.field.options) == [label(*pair) for pair in symbols.items()]
    for symbol in symbols:
        page.picker.field.value = label(symbol, symbols[symbol])
        assert page.failure.value == ""
        assert not unsafe(page.chart_heading.value + page.chart.value.replace("\n", ""))
        assert page.picker.symbol == symbol
