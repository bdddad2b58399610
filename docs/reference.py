"""Write what the documentation takes from the code: docs/reference.md, and the rooms in docs/architecture.md.

``python -m docs.reference``; tests/test_docs.py holds that it was run. It also takes the README's table of predictors from the
sample study, if that has been run.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib import __main__ as command_line
from lib import cache, params, paths, prices, sums, walk_forward
from lib.features import SCHEMA as FEATURES_SCHEMA
from lib.files import write_atomically

PAGE = Path(__file__).with_suffix(".md")
ARCHITECTURE = PAGE.with_name("architecture.md")
ROOMS = "<!-- rooms: made by python -m docs.reference -->\n", "<!-- end of rooms -->"

README = paths.ROOT / "README.md"
PREDICTORS = "<!-- model: made by python -m docs.reference -->\n", "<!-- end of model -->"
SPLITS = {
    ("chronological", 0): "last fifth of the dates",
    ("random", 0): "random fifth of the rows",
    ("symbol", 0): "symbols held out",
    ("chronological", 1): "last dates, features of the evening before",
}
SHOWN = ("moving average", "scaled average", "last value", "reference forest", "model", "oracle")

# What a column holds, with its unit.
COLUMNS = {
    "Symbol": "the ticker: the file's name without `.csv` and without a leading `_`",
    "Security Name": "from the metadata, by `NASDAQ Symbol`, then by `Symbol`; null where it has none",
    "Date": "the trading day",
    "Open": "dollars",
    "High": "dollars",
    "Low": "dollars",
    "Close": "dollars, adjusted for splits",
    "Adj Close": "dollars, adjusted for splits and dividends",
    "Volume": "shares",
    "vol_moving_avg": "shares a day: mean of Volume over the window; null while it is not whole",
    "adj_close_rolling_med": "dollars: median of Adj Close over the window; null while it is not whole",
    "file": "the raw file, within the archive",
    "line": "line of the raw file, the header being 1; null for a file without rows",
    "reason": "why it was set aside, and what is allowed",
    "raw": "the line as it is in the file",
    "symbol": "the ticker",
    "security_name": "from the metadata",
    "bytes": "size of the raw file",
    "blake3": "digest of the raw file, as `b3sum` gives it",
    "rows_read": "lines with data; always rows_kept + rows_quarantined",
    "rows_kept": "rows in prices",
    "rows_quarantined": "rows in quarantine",
    "refused": "why the file was set aside whole; null where it was not",
    "first_date": "of the rows kept",
    "last_date": "of the rows kept",
    "dates_out_of_order": "rows dated before the row above them; kept, and sorted",
    "adj_close_not_positive": "odd but possible: kept",
    "high_below_low": "odd but possible: kept",
    "zero_volume": "days without a trade: kept",
    "forecast": "shares a day: the mean over the horizon",
    "low": "shares a day: the lower end of the 80 % range",
    "high": "shares a day: its upper end",
    "as_of": "the last day that the forecast is made from",
    "for_from": "the first session that it is for",
    "for_to": "the last one",
    "horizon": "sessions that it is the mean of",
    "ratio": "forecast / vol_moving_avg",
    "stale": "whether as_of is older than the archive's last date",
    "predictor": "whose error it is: `model`, `linear`, or a baseline",
    "grouping": "what the rows are grouped by: `all`, `year`, `quarter`, `decile`, `weekday`, `special`, or `ape` (bins of |error| / Volume)",
    "key": "the group",
    "rows": "forecasts in it",
    "error": "shares: sum of |forecast - Volume|",
    "inside": "forecasts whose range holds the Volume",
    "pinball": "shares: sum of the pinball losses of the range's ends",
}
DATASETS = {
    "prices": prices.SCHEMA,
    "features": FEATURES_SCHEMA,
    "quarantine": prices.QUARANTINE_SCHEMA,
    "files": prices.FILES_SCHEMA,
    "walk_forward": walk_forward.WALK_FORWARD_SCHEMA,
    "forecasts": walk_forward.FORECAST_SCHEMA,
    "forecast_sums": sums.SCHEMA,
}
VARIABLES = {
    "PYTHON": "the interpreter that `.venv` is made with",
    "STUDY_OUTPUTS": "another place for `outputs/`",
    "SERVE_TOKEN": "asks visitors and programs for this token",
    "SERVE_API_URL": "the endpoint's address as the dashboard shows it to visitors, behind a proxy",
    "JAVA_HOME": "the Java that Spark runs on, 17 or newer",
    "PYSPARK_PYTHON": "the Python of Spark's workers, on a cluster",
    "SPARK_CONF_DIR": "the folder of a cluster's `spark-defaults.conf`",
}


# What has no docstring.
PLACES = {
    "run_all.sh": "Run a study; a thin start of `python -m lib run`.",
    "serve.sh": "Serve a study; a thin start of `python -m lib serve`.",
    "run_tests.sh": "Format, lint, types, and every test.",
    "notebooks/": "The stages and the dashboard, stored without outputs.",
    "params/": "One commented YAML file a study.",
    "lib/bootstrap.sh": "Makes `.venv` from the lock, or does nothing when it is that already.",
    "lib/lock.sh": "Compiles `pyproject.toml` into `requirements.lock`.",
    "lib/templates/": "The pages of reports, dashboard and API.",
    "benchmarks/": "A synthetic archive of Kaggle's shape, and this project beside its peers.",
    "deploy/": "A container image, a compose file and nginx's settings.",
    "docs/": "These pages.",
    "tests/": "Mirrors `lib`; beside it whole runs, kills, a browser, and these pages' commands.",
}


def rooms() -> str:
    """The table of rooms: each module of lib by its docstring's first line, and the other places."""
    described = dict(PLACES)
    for module in sorted(paths.LIB.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
        if docstring:
            described[f"lib/{module.name}"] = docstring.splitlines()[0].replace("``", "`")
    return "\n".join(_table(("room", "what it is"), [(f"`{name}`", what) for name, what in described.items()])) + "\n"


def predictors(metrics: Mapping[str, Any]) -> str:
    """The table of predictors, from what a study's metrics.json holds: errors as multiples of the moving average's."""
    errors = {
        (line["predictor"], line["split"], line["horizon"]): line["relative_mae"]
        for line in [*metrics["headline"], *metrics["comparisons"]]
    }
    lines = [["predictor", *SPLITS.values()], ["---", *["---:"] * len(SPLITS)]]
    for predictor in SHOWN:
        stars = "**" if predictor == "model" else ""
        cells = [predictor, *(f"{errors[predictor, *split]:.4f}" for split in SPLITS)]
        lines.append([f"{stars}{cell}{stars}" for cell in cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def between(page: str, marks: tuple[str, str], text: str) -> str:
    """``page`` with ``text`` between two of its lines."""
    before, _, rest = page.partition(marks[0])
    return before + marks[0] + text + marks[1] + rest.partition(marks[1])[2]


def text() -> str:
    """The page."""
    parser = command_line._parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    return "\n".join(
        [
            "# Reference",
            "",
            "Made from the code by `python -m docs.reference`; a test holds that it is up to date.",
            "",
            "[Commands](#commands) · [Params](#params) · [Outputs](#outputs) · [Columns](#columns) · [Environment](#environment)",
            "",
            "## Commands",
            *(line for name in ("run", "serve", "compare", "lock") for line in _command(commands[name])),
            f"`bash run_all.sh` ends with {command_line.EXIT_CODES.partition(': ')[2].replace(chr(10), ' ')}.",
            "",
            "## Params",
            "",
            "Every key may be left out. An unknown key, a wrong type or a value out of range stops the run before anything starts, "
            "with the file, the line and what is allowed.",
            "",
            params.table(),
            "",
            "## Outputs",
            "",
            "In `outputs/STUDY/`. Datasets are plain folders of Parquet files: "
            '`pandas.read_parquet("outputs/sample/features")`. A part is named after its content, a symbol is never in two '
            "parts, and parts are in order of Symbol and Date.",
            "",
            *_table(("path", "made by", "what"), _outputs()),
            "",
            "## Columns",
            *(line for name, schema in DATASETS.items() for line in _columns(name, schema)),
            "",
            "## Environment",
            "",
            *_table(("variable", "what it sets"), [(f"`{name}`", about) for name, about in VARIABLES.items()]),
            "",
        ]
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _command(parser: argparse.ArgumentParser) -> list[str]:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        values = action.metavar or (None if action.nargs == 0 else action.dest.upper())
        spelt = " ".join(values) if isinstance(values, tuple) else values or ""
        about = (action.help or "") % {**vars(action), "prog": parser.prog}
        rows.append((f"`{' '.join(filter(None, [*action.option_strings[:1], spelt]))}`", about))
    return ["", f"### `{parser.prog}`", "", str(parser.description), "", *_table(("argument", "what"), rows), ""]


def _outputs() -> Iterable[tuple[str, str, str]]:
    study = paths.StudyPaths("STUDY")
    makers = {name: stage for stage, names in cache.OUTPUTS.items() for name in names}
    for name, member in vars(paths.StudyPaths).items():
        if not isinstance(member, property):
            continue
        path: Path = getattr(study, name)
        if path != study.folder and not path.name.startswith("."):
            parent = next((maker for other, maker in makers.items() if getattr(study, other) in path.parents), "")
            relative = path.relative_to(study.folder).as_posix() + ("" if path.suffix else "/")
            yield f"`{relative}`", makers.get(name, parent) or "the run", (member.__doc__ or "").strip()


def _columns(name: str, schema: pa.Schema) -> list[str]:
    shown = [field for field in schema if name != "features" or field not in prices.SCHEMA]
    rows = [(f"`{field.name}`", str(field.type).replace("[day]", ""), COLUMNS[field.name]) for field in shown]
    first = ["All columns of prices, then", ""] if len(shown) < len(schema) else []
    return ["", f"### {name}", "", *first, *_table(("column", "type", "what"), rows)]


if __name__ == "__main__":
    write_atomically(PAGE, text())
    write_atomically(ARCHITECTURE, between(ARCHITECTURE.read_text(encoding="utf-8"), ROOMS, rooms()))
    measured = paths.StudyPaths("sample").metrics
    if measured.exists():
        table = predictors(json.loads(measured.read_text(encoding="utf-8")))
        write_atomically(README, between(README.read_text(encoding="utf-8"), PREDICTORS, table))
