"""The params model: what a study may set, with types, units, defaults and errors that say what to do.

A params file is YAML with one section a stage. Text becomes a value by the type of its key alone, so a ticker
called ``ON``, ``TRUE`` or ``NAN`` stays a ticker and ``1e-3`` is a number, whatever YAML makes of them.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lib import paths
from lib.models.registry import ELSEWHERE, MODELS, settings_of
from lib.stages import STAGES
from lib.text import shortened


class ParamsError(ValueError):
    """A params file, or a ``-p``, that the model does not allow."""


class Section(BaseModel):
    """A group of keys; unknown keys are refused and values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, strict=True)


class Archive(Section):
    """The raw archive."""

    source: str = Field(
        "sample",
        min_length=1,
        description="Where the raw prices are: `sample` (real prices that come with the packages), `kaggle` (downloaded "
        "once), `yahoo` (`archive.symbols`, downloaded and kept up to date), or the path of a folder, .zip, .tar or file of "
        "daily prices (relative paths start at the repository); `s3://bucket/prefix`, `gs://...`, `abfs://...`: a prefix, .zip or "
        "file on object storage.",
    )
    follow_links: bool = Field(
        False,
        description="Read files and folders outside the archive, too, that links in it lead to. Only for an archive that you "
        "trust: a link can lead to any file that you may read.",
    )
    only_files: str = Field(
        "", description="Read only price files whose path in the archive matches this pattern, such as `*/nasdaq/*`."
    )
    layout: str = Field(
        "", description="The layout to use where a header fits several; their names are in docs/own-data.md."
    )
    columns: dict[str, str] = Field(
        {},
        description="Which column holds what, by its name or its number from 1, where the names are not known: "
        '`{Close: settle, Volume: lots}`; nothing, as in `{Symbol: ""}`, says that no column is.',
    )
    dates: Literal["day_first", "month_first", "year_first"] | None = Field(
        None,
        description="What comes first in dates such as 01/02/2021 or 24/01/02, where no date of the archive shows it.",
    )
    decimal: Literal["point", "comma"] | None = Field(
        None, description="The decimal mark, where numbers such as 1,234 leave it open."
    )
    volume: Literal["whole", "rounded"] = Field(
        "whole",
        description="Volumes with a fraction are set aside (`whole`), or rounded, half to even, and counted (`rounded`).",
    )
    volume_unit: float = Field(
        1.0,
        gt=0,
        le=1e9,
        description="What counts as 1 of Volume: 0.001 counts thousandths, for markets that trade fractions.",
    )
    symbols: list[str] = Field(
        [],
        description="With source `yahoo`: the symbols, as Yahoo has them, or one path of a text file of them, one a line.",
    )
    start: str = Field(
        "2000-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$", description="With source `yahoo`: the first day, YYYY-MM-DD."
    )


class Compute(Section):
    """Who computes."""

    engine: Literal["local", "spark"] = Field(
        "local", description="`local` worker processes, or `spark`. Both give identical output."
    )
    workers: int = Field(0, ge=0, le=1024, description="Worker processes of the local engine; 0: one a core.")
    spark_master: str = Field(
        "local[2]",
        min_length=1,
        description="Spark's master URL: `local[2]`, `spark://host:7077`, `yarn`, `k8s://...`.",
    )


class Ingest(Section):
    """01_ingest: raw files to prices."""

    max_quarantined_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="The run stops when more than this share of all raw rows is quarantined. Rows whose date comes again further "
        "down do not count, up to 5 % of a file.",
    )


class Features(Section):
    """02_features: prices to features."""

    window: int = Field(
        30, ge=1, le=10_000, description="Length of both windows, in rows (trading days) of one symbol."
    )
    min_periods: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Rows a window must hold to give a value; `null`: all of `window`, so that the first window - 1 rows of a "
        "symbol have none; 1: partial windows.",
    )

    @model_validator(mode="after")
    def _periods_fit_window(self) -> Features:
        if self.min_periods is not None and self.min_periods > self.window:
            raise ValueError(
                f"min_periods is {self.min_periods}, more than window, {self.window}; set it to null or 1..{self.window}"
            )
        return self


class Train(Section):
    """03_train: features to a model."""

    model: Literal[tuple(MODELS)] = Field(  # type: ignore[valid-type]
        "ratio_by_quantile",
        description="A name in `lib.models.registry`: `ratio_by_quantile` is the best multiple of the average in each tenth of the rows, `forest` a random forest.",
    )
    settings: dict[str, Any] = Field(
        {}, description="What the model's own parameters are, by name, where they are not their defaults: see below."
    )
    objective: Literal["absolute", "squared"] = Field(
        "absolute", description="The error to minimise: `absolute` (MAE) or `squared` (RMSE)."
    )
    horizon: Literal[0, 1] = Field(
        0, description="Trading days between the features and the Volume predicted: 0 (the reference definition) or 1."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of the dates, the last ones, held out for the test.")
    seed: int = Field(42, ge=0, le=2**32 - 1, description="Seed of every random choice.")


class Evaluate(Section):
    """04_evaluate: the model, judged."""

    random_test_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of the rows held out in the random split, and of the symbols in the split by symbol.",
    )
    seeds: int = Field(5, ge=1, le=100, description="Random splits that show how much chance there is in one of them.")
    forest_trees: int = Field(25, ge=1, le=1000, description="Trees of the reference forest.")
    forest_rows: int = Field(
        100_000,
        ge=1,
        le=1_000_000,
        description="Training rows that the reference forest is fitted on, at random, at most.",
    )


class Forecast(Section):
    """05_forecast: how many shares will trade, judged by walking forward."""

    calendar: str = Field(
        "XNYS",
        min_length=1,
        description="The exchange whose sessions the forecasts are for: a name of the package exchange_calendars, or `from_data`: the weekdays on "
        "which the archive has dates, without holidays. An archive whose dates are not that exchange's gets `from_data`.",
    )
    horizons: str = Field(
        "1,5,21",
        pattern=r"^1(,([2-9]|[1-5]\d|6[0-3]))*$",
        description="Sessions that a forecast is the mean of, at most 63, ascending from 1, with commas.",
    )
    model: Literal["boosting", "linear"] = Field(
        "boosting",
        description="`boosting`: gradient-boosted trees; `linear`: ridge regression on the same inputs, in a fraction of the time.",
    )
    training_rows: int = Field(
        150_000,
        ge=1000,
        le=10_000_000,
        description="About how many evenings a boosted model is fitted on, drawn by a hash of symbol and date; half as many at horizons beyond the first.",
    )
    refits: int = Field(
        4, ge=1, le=40, description="How often the models are refitted over the last fifth of the dates, at least."
    )

    @field_validator("calendar")
    @classmethod
    def _known_calendar(cls, name: str) -> str:
        if name not in ("XNYS", "from_data"):  # else the package, which takes half a second to import, is not needed
            from exchange_calendars import get_calendar_names

            if name not in (names := get_calendar_names()):
                raise ValueError(f"calendar is {name!r}{_nearest(name, ['from_data', *names])}")
        return name

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, text: str) -> str:
        horizons = [int(one) for one in text.split(",")]
        if horizons != sorted(set(horizons)):
            raise ValueError(f"horizons is {text!r}; write each once, in ascending order")
        return text


class Run(Section):
    """How the stages are run."""

    datasets: str | None = Field(
        None,
        pattern=r"^(s3|gs|abfss?)://[^/?#\s]+(/[^?#\s]*)?$",
        description="Where the datasets are: `null`: in the study's folder; or a prefix of object storage, such as "
        "`s3://bucket/prefix`, to which the study's name is added. Reports, models and records stay in the study's folder.",
    )
    stage_timeout: int = Field(7200, ge=1, description="Seconds one notebook cell may take.")
    retrain: Literal["always", "weekly", "monthly"] = Field(
        "always",
        description="When `03_train`, `04_evaluate` and `05_forecast` train and judge again because there are newer prices: `always`, "
        "or once the archive's last date is a week or a month after the one of their last run; until then the saved models forecast. "
        "Any other change runs them at once.",
    )


class Params(Section):
    """Everything a study sets."""

    archive: Archive = Archive()
    compute: Compute = Compute()
    ingest: Ingest = Ingest()
    features: Features = Features()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    forecast: Forecast = Forecast()
    run: Run = Run()


def stage_parameters(params: Params, stage: str, study: str) -> dict[str, Any]:
    """The values of a notebook's parameters cell.

    Returns
    -------
    dict
        ``study``, then every key of the stage's sections, in order.

    Examples
    --------
    >>> stage_parameters(Params(), "02_features", "sample")
    {'study': 'sample', 'engine': 'local', 'workers': 0, 'spark_master': 'local[2]', 'window': 30, 'min_periods': None}
    """
    values: dict[str, Any] = {"study": study}
    for section in STAGES[stage].params:
        values.update(getattr(params, section).model_dump())
    return values


def study_name(path: Path) -> str:
    """The name of the study that the params file ``path`` makes; raises `ParamsError` for a name unfit for a folder."""
    name = path.stem
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ParamsError(
            f"{path}: a study is named after its file, and {name!r} is not letters, digits, '_', '-' and '.'; rename the file"
        )
    return name


def load(path: Path, overrides: Iterable[tuple[str, str]] = ()) -> Params:
    """Read a params file.

    Parameters
    ----------
    path : pathlib.Path
        The YAML file. An empty one means every default.
    overrides : iterable of (str, str)
        ``("features.window", "20")``, as ``-p`` gives them; they win over the file.

    Raises
    ------
    ParamsError
        No such file; not YAML; an unknown key, a wrong type or a value out of range. It names the file, the line, the
        key, what was found and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in paths.PARAMS.glob("*.yaml")))
        raise ParamsError(f"{path}: no such params file; the studies in params/ are: {known}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read as a UTF-8 text file ({error})") from None
    for key, value in overrides:
        if not f"{key}{value}".isprintable():  # a byte that is no text, too
            raise ParamsError(f"-p {key!r} {value!r}: only printable characters are allowed")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML 6 lets through what `chr` says of an escape
        raise ParamsError(f"{path}{_yaml_fault(error)}") from None
    except RecursionError:
        raise ParamsError(f"{path}: nested too deeply; write sections, and keys in them: nothing deeper") from None

    values: dict[str, dict[str, Any]] = {}
    locations: dict[str, str] = {}
    if root is not None:
        for section_node, keys_node in _items(root, f"{path}", "sections such as `features:`"):
            section = section_node.value
            where = f"{path}, line {section_node.start_mark.line + 1}"
            if section not in Params.model_fields:
                raise ParamsError(f"{where}: unknown section {section!r}{_nearest(section, Params.model_fields)}")
            if section in values:
                raise ParamsError(f"{where}: section {section!r} is given twice; merge the two")
            values[section] = {}
            for key_node, value_node in _items(
                keys_node, f"{where}: {section}", f"keys of {section}, such as `key: value`"
            ):
                key = f"{section}.{key_node.value}"
                where = f"{path}, line {key_node.start_mark.line + 1}"
                if key in locations:
                    raise ParamsError(f"{where}: {key} is given twice; keep one")
                locations[key] = where
                field = _field(section, key_node.value, where)
                if key == "train.settings":
                    values[section]["settings"] = settings = {}
                    for name_node, text_node in _items(
                        value_node, f"{where}: train.settings", "settings of the model, such as `groups: 20`,"
                    ):
                        setting = f"{key}.{name_node.value}"
                        if setting in locations:
                            raise ParamsError(f"{where}: {setting} is given twice; keep one")
                        locations[setting] = f"{path}, line {name_node.start_mark.line + 1}"
                        settings[name_node.value] = _node_value(text_node, str, setting, locations[setting])
                else:
                    values[section][key_node.value] = _node_value(value_node, field.annotation, key, where)
    _set_overrides(values, locations, overrides)
    return _validated(values, locations, path)


def with_overrides(path: Path, overrides: Iterable[tuple[str, str]]) -> Params:
    """The defaults with what ``-p`` gives; ``path`` is what an error calls the file there is not yet."""
    values: dict[str, dict[str, Any]] = {}
    locations: dict[str, str] = {}
    _set_overrides(values, locations, overrides)
    return _validated(values, locations, path)


def _set_overrides(
    values: dict[str, dict[str, Any]], locations: dict[str, str], overrides: Iterable[tuple[str, str]]
) -> None:
    for key, text in overrides:
        section, _, name = key.partition(".")
        where = f"-p {key}"
        if section not in Params.model_fields or not name:
            raise ParamsError(f"{where}: keys are written section.key{_nearest(key, _all_keys())}")
        if key.startswith("train.settings."):
            values.setdefault(section, {}).setdefault("settings", {})[name.removeprefix("settings.")] = text
        elif key == "train.settings":
            raise ParamsError(f"{where}: name the setting: -p train.settings.NAME VALUE")
        elif key.startswith("archive.columns."):
            columns = _choice(dict[str, str], values.setdefault(section, {}).get("columns", {}))
            values[section]["columns"] = {**columns, name.removeprefix("columns."): text}
            key = "archive.columns"
        else:
            _field(section, name, where)
            values.setdefault(section, {})[name] = text
        locations[key] = where


_WITH_COMMAS = {
    "archive.source",
    "archive.only_files",
    "archive.columns",
    "archive.symbols",
    "compute.spark_master",
    "run.datasets",
    "forecast.horizons",
}


def grid(overrides: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """One set of overrides for each combination of the values that are lists, with what its study's name ends in.

    Parameters
    ----------
    overrides : sequence of (str, str)
        As ``-p`` gives them. A comma makes a list, except in the texts that may hold one themselves.

    Examples
    --------
    >>> list(grid([("features.window", "10,20"), ("train.seed", "1")]))
    [('-window-10', [('features.window', '10'), ('train.seed', '1')]), ('-window-20', [('features.window', '20'), ('train.seed', '1')])]
    """
    choices = [
        [text] if key in _WITH_COMMAS or key.startswith("archive.columns.") else text.split(",")
        for key, text in overrides
    ]
    for values in itertools.product(*choices):
        chosen = [(key, value.strip()) for (key, _), value in zip(overrides, values, strict=True)]
        several = [pair for pair, options in zip(chosen, choices, strict=True) if len(options) > 1]
        yield "".join(f"-{key.rpartition('.')[2]}-{value}" for key, value in several), chosen


def section_class(section: str) -> type[Section]:
    """The model of one section's keys."""
    annotation = Params.model_fields[section].annotation
    assert isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation


def _all_keys() -> list[str]:
    return [f"{section}.{key}" for section in Params.model_fields for key in section_class(section).model_fields]


def _nearest(found: str, known: Iterable[str], prefix: str = "") -> str:
    known = list(known)
    close = difflib.get_close_matches(found, known, n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _field(section: str, key: str, where: str) -> Any:
    fields = section_class(section).model_fields
    if key not in fields:
        elsewhere = [full for full in _all_keys() if full.endswith(f".{key}")]
        hint = f"; it belongs to {elsewhere[0]!r}" if elsewhere else _nearest(key, fields, f"{section}.")
        raise ParamsError(f"{where}: unknown key '{section}.{key}'{hint}")
    return fields[key]


def _yaml_fault(error: Exception) -> str:
    """Where a text is not YAML, and what may be wrong with it, without the parser's own words for its state."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f": not YAML: {' '.join(str(error).split())}"
    problem = error.problem or ""
    unclosed = "end of stream" in problem or "<stream end>" in problem
    mark = (error.context_mark if unclosed else None) or error.problem_mark
    if unclosed:
        reason = "a quotation mark, bracket or brace opened here is not closed"
    elif "cannot start any token" in problem:
        reason = "a tab, or a character that YAML reserves; indent with spaces, and put the value in quotes"
    else:
        reason = "this does not fit what precedes it; check the indentation, the colons, the quotation marks and the brackets here and above"
    return f", line {mark.line + 1}, column {mark.column + 1}: not YAML: {reason}"


def _items(node: yaml.Node, where: str, wanted: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise ParamsError(f"{where}: found {_shown(node)}, where {wanted} are expected")
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ParamsError(f"{where}: found {_shown(key)} as a key, where {wanted} are expected")
    return node.value


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(shortened(node.value, 80))
    return "a list" if isinstance(node, yaml.SequenceNode) else "nested keys"


def _node_value(node: yaml.Node, annotation: Any, key: str, where: str) -> Any:
    if get_origin(annotation) is list and isinstance(node, yaml.SequenceNode):
        return [_node_value(item, str, key, where) for item in node.value]
    if get_origin(annotation) is dict and isinstance(node, yaml.MappingNode):
        return {_node_value(name, str, key, where): _node_value(value, str, key, where) for name, value in node.value}
    if not isinstance(node, yaml.ScalarNode):
        raise ParamsError(f"{where}: {key} is {_shown(node)}; one value is expected")
    texts = any(
        kind is str
        or get_origin(kind) in (list, dict)
        or (get_origin(kind) is Literal and isinstance(get_args(kind)[0], str))
        for kind in (annotation, *get_args(annotation))
    )
    if node.style in ("'", '"') and not texts:
        raise ParamsError(
            f"{where}: {key} is the string {node.value!r}, where a number is expected; write it without quotes"
        )
    return node.value


def _validated(values: Mapping[str, Mapping[str, Any]], locations: Mapping[str, str], path: Path) -> Params:
    # Text to number here, not by pydantic: that takes 10_0, other scripts' digits and nan, and compares a Literal as it is.
    converted: dict[str, dict[str, Any]] = {}
    for section, keys in values.items():
        fields = section_class(section).model_fields
        converted[section] = {key: _choice(fields[key].annotation, value) for key, value in keys.items()}
    train = converted.get("train", {})
    model = train.get("model", Params().train.model)
    if train.get("settings") and model in MODELS:
        train["settings"] = _settings(model, train["settings"], locations)
    try:
        return Params.model_validate(converted)
    except ValidationError as error:
        messages = []
        for problem in error.errors(include_url=False):
            key = ".".join(str(part) for part in problem["loc"][:2])
            where = locations.get(key, str(path))
            if "." in key:
                section, _, name = key.partition(".")
                field = _field(section, name, where)
                messages.append(
                    f"{where}: {key} is {values[section][name]!r}; allowed: {allowed_values(field)}. {field.description}"
                )
            else:
                messages.append(f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}")
        raise ParamsError("\n".join(messages)) from None


_NUMBERS: dict[type[int] | type[float], re.Pattern[str]] = {
    int: re.compile(r"[+-]?(0|[1-9][0-9]*)"),
    float: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"),
}


def _settings(model: str, texts: Mapping[str, str], locations: Mapping[str, str]) -> dict[str, Any]:
    """The values of a model's own settings, by the types in its signature."""
    allowed = settings_of(model)
    for name in texts:
        if name not in allowed.model_fields:
            where = locations[f"train.settings.{name}"]
            hint = _nearest(name, allowed.model_fields)
            elsewhere = f"; it is {ELSEWHERE[name]!r}" if name in ELSEWHERE else hint
            raise ParamsError(f"{where}: {model} has no setting 'train.settings.{name}'{elsewhere}")
    values = {name: _choice(allowed.model_fields[name].annotation, text) for name, text in texts.items()}
    try:
        return allowed.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise ParamsError(
            "\n".join(
                f"{locations[key]}: {key} is {problem['input']!r}; allowed: {allowed_values(allowed.model_fields[key.rpartition('.')[2]])}"
                for problem in error.errors(include_url=False)
                for key in [f"train.settings.{problem['loc'][0]}"]
            )
        ) from None


def _choice(annotation: Any, value: Any) -> Any:
    if type(None) in get_args(annotation) and value in ("", "null", "~", "None"):
        return None
    if get_origin(annotation) is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == value), value)
    if annotation is bool:
        return {"true": True, "false": False}.get(value.lower(), value)
    for kind, written in _NUMBERS.items():
        if annotation is kind or kind in get_args(annotation):
            return kind(value) if written.fullmatch(value) and len(value) <= 40 else value
    if get_origin(annotation) is list and isinstance(value, str):
        return [item.strip() for item in value.strip("[] ").split(",") if item.strip()]
    if get_origin(annotation) is dict and isinstance(value, str):
        pairs = (pair.partition(":") for pair in value.strip("{} ").split(",") if pair.strip())
        return {name.strip(" \"'"): found.strip(" \"'") for name, _, found in pairs}
    return value


def allowed_values(field: Any) -> str:
    """What a key, or a model's setting, may be, in words."""
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is list:
        return "a list of texts"
    if get_origin(annotation) is dict:
        return "settings by name" if get_args(annotation)[1] is Any else "names and texts, `{Close: settle}`"
    options = [option for option in get_args(annotation) or (annotation,) if option is not type(None)]
    if get_origin(options[0]) is Literal:
        return " or ".join([*(f"`{choice}`" for choice in get_args(options[0])), "null"])
    kind = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[options[0]]
    bounds = {
        name: getattr(item, name) for item in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = f"at least {bounds['ge']}" if "ge" in bounds else f"above {bounds['gt']}" if "gt" in bounds else ""
    high = f"at most {bounds['le']}" if "le" in bounds else f"below {bounds['lt']}" if "lt" in bounds else ""
    null = "or null" if type(None) in get_args(annotation) else ""
    return ", ".join(part for part in (kind, low, high, null) if part)
