"""Write what the documentation takes from the code: docs/reference.md, and the table of modules in docs/architecture.md.

``python -m docs.reference``; tests/test_docs.py holds that it was run. It also takes the README's tables of results from the
sample study, if that is finished, and was run with the params of its file.
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
from lib import params, paths
from lib.data import layouts, schema
from lib.evaluation import judge, latest, sums
from lib.features import definitions, summary
from lib.features.windows import SCHEMA as FEATURES_SCHEMA
from lib.files import write_atomically
from lib.models.registry import MODELS, settings_of
from lib.stages import STAGES
from lib.study import reproduce
from lib.study.errors import StudyError

PAGE = Path(__file__).with_suffix(".md")
ARCHITECTURE = PAGE.with_name("architecture.md")
OWN_DATA = PAGE.with_name("own-data.md")
MODULES = "<!-- modules: made by python -m docs.reference -->\n", "<!-- end of modules -->"

README = paths.ROOT / "README.md"
LAYOUTS = "<!-- layouts: made by python -m docs.reference -->\n", "<!-- end of layouts -->"
PREDICTORS = "<!-- model: made by python -m docs.reference -->\n", "<!-- end of model -->"
FORECASTS = "<!-- forecasts: made by python -m docs.reference -->\n", "<!-- end of forecasts -->"
FORECAST_BASELINES = (
    *("30-day average", "best multiple of the average", "last value", "mean of 5 days"),
    *("two-feature model", "best multiple of the exponential mean", "linear"),
)
SPLITS = {
    ("chronological", 0): "last fifth of the dates",
    ("random", 0): "random fifth of the rows",
    ("symbol", 0): "symbols held out",
    ("chronological", 1): "last dates, features of the evening before",
}
SHOWN = ("moving average", "scaled average", "last value", "reference forest", "model", "oracle")

# What a column holds, with its unit.
COLUMNS = {
    "Symbol": "the ticker: the file's name without `.csv`, and without the `_` before a name that Windows reserves; escapes stand for what cannot be shown",
    "Security Name": "from the metadata, by `NASDAQ Symbol`, then by `Symbol`; null where it has none",
    "Date": "the trading day",
    "Open": "dollars",
    "High": "dollars",
    "Low": "dollars",
    "Close": "dollars; adjusted for splits where the source has it so",
    "Adj Close": "dollars; adjusted for splits and dividends where the source has it so, otherwise Close",
    "Volume": "shares",
    **{one.name: f"{one.unit}: {one.text}; null while it is not whole" for one in definitions.DAILY},
    "file": "the raw file, within the archive",
    "line": "line of the raw file, the header being 1; null for a file without rows",
    "code": "the kind of reason, to count by: `null_value`, `repeated_date`, `wrong_header` and so on",
    "reason": "why it was set aside, and what is allowed",
    "raw": "the line as it is in the file",
    "symbol": "the ticker",
    "security_name": "from the metadata",
    "bytes": "size of the raw file",
    "blake3": "digest of the raw file, as `b3sum` gives it",
    "rows_read": "lines with data; always rows_kept + rows_quarantined",
    "rows_kept": "rows in prices",
    "rows_quarantined": "rows in quarantine",
    "rows_repeated": "of those, rows whose date comes again further down in the file",
    "refused": "why the file was set aside entirely; null where it was not",
    "commonest_reason": "of its rows in quarantine; null where there is none",
    "example": "the line and text of the first row quarantined for it",
    "first_date": "of the rows kept",
    "last_date": "of the rows kept",
    "zero_volume": "days without a trade; this and the next are odd, but kept",
    "adj_close_not_positive": "rows",
    "price_not_positive": "rows whose Open, High, Low or Close is 0 or less; Yahoo has no Open for many old days, but a 0",
    "high_below_low": "rows",
    "outside_range": "rows whose Open or Close is outside Low to High, by more than a tenth of a percent and half a cent",
    "price_jump": "rows whose Close is 50 times that of the day before and after, or a fiftieth, or whose High is 50 times the Low",
    "date_gap": "rows more than 31 days after the row before: a gap, or a date in the future",
    "date_before_exchanges": "rows before 1792-05-17, when New York's exchange was founded",
    "dates_out_of_order": "rows dated before the row above them; kept, and sorted",
    "no_last_newline": "1 where the last line has no newline: as some programs write it, or cut off",
    "cut_volume": "1 where such a last line has a volume below a fifth of the median of the 30 before it",
    "contradictions": "rows whose prices contradict each other: High below Low, outside the range, or a volume as Adj Close",
    "contradiction": "the first such row, where they are too many: the run stops",
    "layout": "what the file was recognised as, by its header",
    "adj_close": "`its own` column, or `Close` where the layout has none",
    "volumes_rounded": "volumes with a fraction, rounded by `archive.volume: rounded`",
    "counted": "what the rows are counted by: `ratio` (Volume / vol_moving_avg), `pair` (of features), `both features`, `null out of place`",
    "bin": "the index of the bin, as `lib/features/counts.py` has them",
    "count": "rows in it",
    "forecast": "shares a day: the mean over the horizon",
    "low": "shares a day: the lower end of the 80 % range",
    "high": "shares a day: its upper end",
    "as_of": "the last day that the forecast is made from",
    "for_from": "the first session that it is for",
    "for_to": "the last one",
    "horizon": "sessions that it is the mean of",
    "ratio": f"forecast / {definitions.VOLUME_AVERAGE.name}",
    "stale": "whether as_of is older than the archive's last date",
    "judged": f"whether the symbol has the {definitions.AVERAGE_ROWS} days of prices from which on forecasts were tested",
    "predictor": "whose error it is: `model`, `linear`, or a baseline",
    "grouping": "what the rows are grouped by: `all`, `year`, `quarter`, `decile`, `weekday`, `special`, `history`, or `ape` (bins of |error| / Volume)",
    "key": "the group; of `history`: 0 below 63 rows, 1 below 126, 2 below 252, 3 below 504, 4 the rest",
    "rows": "forecasts in it",
    "error": "shares: sum of |forecast - Volume|",
    "squared": "Sum of the squares of prediction - Volume, shares²",
    "evenings": f"rows of that date whose symbol has {definitions.AVERAGE_ROWS} rows by then: what forecasts are fitted on",
    "inside": "forecasts whose range holds the Volume",
    "pinball": "shares: sum of the pinball losses of the range's ends",
}
OF_FORECASTS = {
    definitions.VOLUME_AVERAGE.name: f"shares a day: mean Volume of the symbol's last {definitions.AVERAGE_ROWS} rows, or of as many as it has, "
    "whatever features.window is",
    "forecast": "shares a day: the mean over the horizon; as likely to be exceeded as not, so that sums of forecasts run low",
    "ratio": f"forecast / {definitions.VOLUME_AVERAGE.name}; null where that is 0",
}
DATASETS = {
    "prices": schema.PRICES,
    "features": FEATURES_SCHEMA,
    "recent": FEATURES_SCHEMA,
    "feature_counts": summary.COUNTS,
    "date_counts": summary.DATE_COUNTS,
    "quarantine": schema.QUARANTINE,
    "files": schema.FILES,
    "walk_forward": judge.WALK_FORWARD_SCHEMA,
    "forecasts": latest.SCHEMA,
    "forecast_sums": sums.SCHEMA,
}
VARIABLES = {
    "PYTHON": "the interpreter that `.venv` is made with",
    "STUDY_VENV": "another folder for the environment, `.venv`",
    "STUDY_OUTPUTS": "another folder for `outputs/`",
    "SERVE_TOKEN": "asks visitors and programs for this token",
    "SERVE_API_URL": "the endpoint's address as the dashboard shows it to visitors, behind a proxy",
    "JAVA_HOME": "the Java that Spark runs on, 17 or newer",
    "PYSPARK_PYTHON": "the Python of Spark's workers, on a cluster",
    "AWS_ENDPOINT_URL": "object storage with S3's interface that is not Amazon's; credentials: [spark.md](spark.md#object-storage)",
    "SPARK_CONF_DIR": "the folder of a cluster's `spark-defaults.conf`",
}


# What has no docstring.
FOLDERS = {
    "run_all.sh": "Run a study; a thin start of `python -m lib run`.",
    "serve.sh": "Serve a study; a thin start of `python -m lib serve`.",
    "run_tests.sh": "Format, lint, types, and every test.",
    "notebooks/": "The stages and the dashboard, stored without outputs.",
    "params/": "One commented YAML file a study.",
    "outputs/": "One folder a study; git ignores what is in it.",
    "lib/bootstrap.sh": "Makes `.venv` from the lock, or does nothing when it is that already.",
    "lib/checks.sh": "Format, lint, types, layers, and notebooks without outputs: what must hold before a commit.",
    "lib/lock.sh": "Compiles `pyproject.toml` into `requirements.lock`.",
    "benchmarks/": "A synthetic archive of Kaggle's shape, and this project beside its peers.",
    "deploy/": "A container image, a compose file and nginx's settings.",
    "docs/": "These pages.",
    "tests/": "Mirrors `lib`; beside it whole runs, kills, a browser, and these pages' commands.",
}


def modules() -> str:
    """The table of modules: each module of lib by its docstring's first line, and the other files and folders."""
    described = dict(FOLDERS)
    for module in sorted(paths.LIB.rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
        if docstring:
            described[module.relative_to(paths.ROOT).as_posix()] = docstring.splitlines()[0].replace("``", "`")
    return "\n".join(_table(("module", "what it is"), [(f"`{name}`", what) for name, what in described.items()])) + "\n"


def layout_table() -> str:
    """The table of layouts: what each is called, and what it gives."""
    head = ("`archive.layout`", "who writes it", "symbol", "dates", "order", "adjusted", "missing")
    rows = (
        (
            f"`{entry.name}`",
            entry.title,
            entry.symbol.replace("<", "\\<"),
            entry.dates,
            entry.order,
            entry.adjusted,
            entry.missing,
        )
        for entry in layouts.LAYOUTS
    )
    return "\n".join(_table(head, rows)) + "\n"


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


def forecasts(metrics: Mapping[str, Any]) -> str:
    """The table of forecasts, from what a study's forecast_metrics.json holds: errors as multiples of the 30-day average's."""
    horizons = metrics["horizons"]
    names = {"1": "next session", **{days: f"next {days} sessions" for days in horizons if days != "1"}}
    lines = [["forecast of", *(names[days] for days in horizons)], ["---", *["---:"] * len(horizons)]]
    for name in FORECAST_BASELINES:
        lines.append([name, *(f"{found['baselines'][name]['relative_mae']:.3f}" for found in horizons.values())])
    lines.append(["**forecast**", *(f"**{found['relative_mae']:.3f}**" for found in horizons.values())])
    lines.append(["share of days in its 80 % range", *(f"{found['coverage']:.3f}" for found in horizons.values())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def between(page: str, marks: tuple[str, str], text: str) -> str:
    """``page`` with ``text`` between two of its lines."""
    before, _, rest = page.partition(marks[0])
    return before + marks[0] + text + marks[1] + rest.partition(marks[1])[2]


def text() -> str:
    """The page."""
    _, commands = command_line.parsers()
    return "\n".join(
        [
            "# Reference",
            "",
            "Made from the code by `python -m docs.reference`; a test holds that it is up to date.",
            "",
            "[Commands](#commands) · [Params](#params) · [Outputs](#outputs) · [Columns](#columns) · [Environment](#environment)",
            "",
            "## Commands",
            *(line for name in ("run", "serve", "forecast", "compare", "lock") for line in _command(commands[name])),
            f"`bash run_all.sh` ends with {command_line.EXIT_CODES.partition(': ')[2].replace(chr(10), ' ')}.",
            "",
            "## Params",
            "",
            "Every key may be left out. An unknown key, a wrong type or a value out of range stops the run before anything starts, "
            "with the file, the line and what is allowed.",
            "",
            *_table(("key", "allowed", "default", "meaning"), param_rows()),
            "",
            "`train.settings` holds parameters of the model's own, by name, such as `-p train.settings.groups 20`:",
            "",
            *_table(("model", "setting", "allowed", "default"), _setting_rows()),
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
            *(line for name, columns in DATASETS.items() for line in _columns(name, columns)),
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
        written = " ".join(values) if isinstance(values, tuple) else values or ""
        about = (action.help or "") % {**vars(action), "prog": parser.prog}
        rows.append((f"`{' '.join(filter(None, [*action.option_strings[:1], written]))}`", about))
    return ["", f"### `{parser.prog}`", "", str(parser.description), "", *_table(("argument", "what"), rows), ""]


def _outputs() -> Iterable[tuple[str, str, str]]:
    study = paths.StudyPaths("STUDY")
    makers = {name: stage for stage, row in STAGES.items() for name in row.makes}
    for name, member in vars(paths.StudyPaths).items():
        if not isinstance(member, property):
            continue
        path: Path = getattr(study, name)
        if path != study.folder and not path.name.startswith("."):
            parent = next((maker for other, maker in makers.items() if study.artifact(other) in path.parents), "")
            relative = path.relative_to(study.folder).as_posix() + ("" if path.suffix else "/")
            yield f"`{relative}`", makers.get(name, parent) or "the run", (member.__doc__ or "").strip()
    for name, stage in makers.items():  # those that no module but the stage's own reads
        if not isinstance(vars(paths.StudyPaths).get(name), property):
            yield f"`{name}`", stage, STAGES[stage].question


def param_rows() -> Iterable[tuple[str, str, str, str]]:
    """Each param: key, type and range, default, meaning."""
    for section in params.Params.model_fields:
        for key, field in params.section_class(section).model_fields.items():
            yield f"`{section}.{key}`", params.allowed_values(field), _default(field), str(field.description)


def _setting_rows() -> Iterable[tuple[str, str, str, str]]:
    for model in MODELS:
        for name, field in settings_of(model).model_fields.items():
            yield f"`{model}`", f"`{name}`", params.allowed_values(field), _default(field)


def _default(field: Any) -> str:
    return f"`{'null' if field.default is None else field.default}`"


def _columns(name: str, columns: pa.Schema) -> list[str]:
    shown = [field for field in columns if name != "features" or field not in schema.PRICES]
    meaning = COLUMNS | OF_FORECASTS if name == "forecasts" else COLUMNS
    rows = [(f"`{field.name}`", str(field.type).replace("[day]", ""), meaning[field.name]) for field in shown]
    first = ["All columns of prices, then", ""] if len(shown) < len(columns) else []
    return ["", f"### {name}", "", *first, *_table(("column", "type", "what"), rows)]


if __name__ == "__main__":
    write_atomically(PAGE, text())
    write_atomically(OWN_DATA, between(OWN_DATA.read_text(encoding="utf-8"), LAYOUTS, layout_table()))
    write_atomically(ARCHITECTURE, between(ARCHITECTURE.read_text(encoding="utf-8"), MODULES, modules()))
    sample = paths.StudyPaths("sample")
    try:
        reproduce.results(sample.name, params.load(paths.params_file(sample.name)))
    except StudyError as error:
        print(f"README.md keeps its tables of results. {error}")
    else:
        for measured, marks, table in (
            (sample.metrics, PREDICTORS, predictors),
            (sample.forecast_metrics, FORECASTS, forecasts),
        ):
            rows = table(json.loads(measured.read_text(encoding="utf-8")))
            write_atomically(README, between(README.read_text(encoding="utf-8"), marks, rows))
