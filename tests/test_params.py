"""A params file is checked whole, and its errors say where, what and what instead."""

from __future__ import annotations

import pytest

from lib import __main__ as command_line
from lib import params, paths
from lib.params import Params, ParamsError
from lib.stages import STAGES


@pytest.fixture
def load(tmp_path):
    """Load a params file with this text."""

    def load(text, *overrides):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return params.load(path, overrides)

    return load


@pytest.mark.parametrize("text", ["", "# nothing\n", "features:\n", "features: null\n", "~", "archive: {}\n"])
def test_what_is_not_said_has_its_default(load, text):
    assert load(text) == Params()


def test_values_are_read_by_the_type_of_their_key(load):
    read = load(
        "archive:\n  source: NO\nfeatures:\n  window: 20\n  min_periods: 1\ningest:\n  max_quarantined_share: 1e-3\n"
        "train:\n  horizon: 1\n  model: forest\n"
    )
    assert read.archive.source == "NO"
    assert (read.features.window, read.features.min_periods) == (20, 1)
    assert read.ingest.max_quarantined_share == 0.001
    assert (read.train.horizon, read.train.model) == (1, "forest")


@pytest.mark.parametrize("ticker", ["ON", "TRUE", "NAN", "NULL", "1e5", "0123", "2020-01-02"])
def test_text_stays_text(load, ticker):
    assert load(f"archive:\n  source: {ticker}\n").archive.source == ticker


@pytest.mark.parametrize("null", ["null", "~", "", "None"])
def test_null_is_a_value_where_it_is_allowed(load, null):
    assert load(f"features:\n  min_periods: {null}\n").features.min_periods is None
    with pytest.raises(ParamsError, match=r"features.window is"):
        load(f"features:\n  window: {null}\n")


BAD = {
    "misspelt key": (
        "features:\n  windw: 20\n",
        "line 2: unknown key 'features.windw'; did you mean 'features.window'?",
    ),
    "misspelt section": ("featurs:\n  window: 20\n", "line 1: unknown section 'featurs'; did you mean 'features'?"),
    "unknown section": ("zzz:\n  a: 1\n", "line 1: unknown section 'zzz'; known: archive, compute, ingest, features"),
    "key of another section": (
        "train:\n  window: 20\n",
        "line 2: unknown key 'train.window'; it belongs to 'features.wi",
    ),
    "quoted number": ('features:\n  window: "20"\n', "features.window is the string '20', where a number is expected"),
    "word for a number": (
        "features:\n  window: many\n",
        "features.window is 'many'; allowed: a whole number, at least 1",
    ),
    "fraction": ("features:\n  window: 2.5\n", "features.window is '2.5'; allowed: a whole number"),
    "window 0": ("features:\n  window: 0\n", "features.window is '0'; allowed: a whole number, at least 1"),
    "negative window": ("features:\n  window: -3\n", "features.window is '-3'; allowed: a whole number, at least 1"),
    "too large": ("features:\n  window: 99999999999999999999\n", "at most 10000"),
    "true for a number": ("features:\n  window: true\n", "features.window is 'true'; allowed: a whole number"),
    "nan": (
        "ingest:\n  max_quarantined_share: .nan\n",
        "max_quarantined_share is '.nan'; allowed: a number, at least 0",
    ),
    "nan by name": ("train:\n  test_share: nan\n", "train.test_share is 'nan'; allowed: a number, above 0, below 1"),
    "infinite": ("train:\n  test_share: inf\n", "train.test_share is 'inf'; allowed: a number, above 0, below 1"),
    "unknown choice": ("compute:\n  engine: sparc\n", "compute.engine is 'sparc'; allowed: `local` or `spark`"),
    "number out of a choice": ("train:\n  horizon: 2\n", "train.horizon is '2'; allowed: `0` or `1`"),
    "empty text": ("archive:\n  source: ''\n", "archive.source is ''; allowed: text"),
    "min_periods above window": (
        "features:\n  window: 20\n  min_periods: 25\n",
        "min_periods is 25, more than window, 20",
    ),
    "duplicate key": ("features:\n  window: 20\n  window: 30\n", "line 3: features.window is given twice"),
    "duplicate section": ("train:\n  seed: 1\ntrain:\n  seed: 2\n", "line 3: section 'train' is given twice"),
    "list for a value": ("features:\n  window: [20]\n", "features.window is a list; one value is expected"),
    "keys for a value": ("features:\n  window:\n    a: 1\n", "features.window is nested keys; one value is expected"),
    "value for a section": ("features: 20\n", "found '20', where keys of features"),
    "a list": ("- features\n", "found a list, where sections such as `features:`"),
    "a word": ("features\n", "found 'features', where sections such as `features:`"),
    "a list for a section": ("[features]: 20\n", "found a list as a key, where sections such as `features:`"),
    "a mapping for a key": ("features:\n  {window: 1}: 20\n", "found nested keys as a key, where keys of features"),
    "tab": ("features:\n\twindow: 20\n", "mine.yaml, line 2, column 1: not YAML: a tab"),
    "colon in a value": (
        "archive:\n  source: a: b\n",
        "line 2, column 12: not YAML: this does not fit what precedes it",
    ),
    "an escape beyond Unicode": ('archive:\n  source: "\\U99999999"\n', "mine.yaml: not YAML: "),
    "open bracket": (
        "forecast:\n  horizons: [1, 5\n",
        "line 2, column 13: not YAML: a quotation mark, bracket or brace opened here",
    ),
    "open quotation mark": (
        "archive:\n  source: 'a\n",
        "line 2, column 11: not YAML: a quotation mark, bracket or brace opened here",
    ),
    "indented otherwise": (
        "archive:\n  source: a\n layout: b\n",
        "line 3, column 2: not YAML: this does not fit what precedes it; check the indentation",
    ),
    "two documents": ("---\ntrain: {}\n---\ntrain: {}\n", "not YAML"),
    "NUL": ("\x00", "not YAML"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_an_error_names_the_file_and_what_is_wrong(load, text, message):
    with pytest.raises(ParamsError) as caught:
        load(text)
    assert message in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_every_bad_value_is_named_at_once(load):
    with pytest.raises(ParamsError) as caught:
        load("features:\n  window: 0\ntrain:\n  seed: -1\n")
    assert [line.split(" is ")[0].split(", ")[1] for line in str(caught.value).splitlines()] == [
        "line 2: features.window",
        "line 4: train.seed",
    ]


SETTINGS = {
    "unknown": ("group: 20", "line 3: ratio_by_quantile has no setting 'train.settings.group'; did you mean 'groups'?"),
    "nothing near": ("zzz: 20", "has no setting 'train.settings.zzz'; known: groups, interval_level"),
    "set elsewhere": ("random_state: 20", "has no setting 'train.settings.random_state'; it is 'train.seed'"),
    "too small": (
        "groups: 0",
        "line 3: train.settings.groups is 0; allowed: a whole number, at least 1, at most 1000",
    ),
    "no number": ("interval_level: all", "train.settings.interval_level is 'all'; allowed: a number, above 0, below 1"),
    "list": ("groups: [3]", "line 3: train.settings.groups is a list; one value is expected"),
    "twice": ("groups: 3\n    groups: 4", "train.settings.groups is given twice; keep one"),
}


@pytest.mark.parametrize(("text", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_setting_is_checked_against_the_estimators_signature(load, text, message):
    with pytest.raises(ParamsError) as caught:
        load(f"train:\n  settings:\n    {text}\n")
    assert message in str(caught.value)


def test_settings_are_those_of_the_model_that_is_chosen(load):
    assert load("train:\n  settings:\n    groups: 20\n").train.settings == {"groups": 20}
    forest = load(
        "train:\n  model: forest\n", ("train.settings.n_estimators", "7"), ("train.settings.sample_share", "1e-1")
    )
    assert forest.train.settings == {"n_estimators": 7, "sample_share": 0.1}
    for text in ("{}", "null", ""):
        assert load(f"train:\n  settings: {text}\n") == Params()
    with pytest.raises(ParamsError, match=r"-p train\.settings\.groups: forest has no setting"):
        load("train:\n  model: forest\n", ("train.settings.groups", "7"))
    with pytest.raises(ParamsError, match=r"found '3', where settings of the model"):
        load("train:\n  settings: 3\n")
    with pytest.raises(ParamsError, match=r"name the setting: -p train\.settings\.NAME VALUE"):
        load("", ("train.settings", "7"))


def test_an_override_wins_over_the_file(load):
    assert load("features:\n  window: 10\n", ("features.window", "20")).features.window == 20
    assert load("", ("features.window", "20"), ("features.min_periods", "")).features.window == 20
    assert load("", ("train.horizon", "1")).train.horizon == 1


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("features.windw", "20", "-p features.windw: unknown key 'features.windw'; did you mean 'features.window'?"),
        ("window", "20", "-p window: keys are written section.key; did you mean 'features.window'?"),
        ("features", "20", "-p features: keys are written section.key"),
        ("features.window.x", "20", "-p features.window.x: unknown key"),
        ("train.window", "20", "it belongs to 'features.window'"),
        ("features.window", "0", "-p features.window: features.window is '0'; allowed: a whole number, at least 1"),
        ("features.window", "true", "-p features.window: features.window is 'true'"),
        ("features.min_periods", "40", "min_periods is 40, more than window, 30"),
        ("", "", "keys are written section.key"),
    ],
)
def test_a_bad_override_is_named_as_it_was_typed(load, key, text, message):
    with pytest.raises(ParamsError) as caught:
        load("", (key, text))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(ParamsError, match=r"no such params file; the studies in params/ are: .*sample"):
        params.load(tmp_path / "mine.yaml")


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"archive:\n  source: caf\xe9\n")
    with pytest.raises(ParamsError, match=r"mine.yaml: cannot be read as a UTF-8 text file"):
        params.load(tmp_path / "mine.yaml")
    with pytest.raises(ParamsError, match=r"cannot be read"):
        params.load(tmp_path)


@pytest.mark.parametrize("name", ["-x.yaml", ".yaml", "a b.yaml", "é.yaml", "a'b.yaml"])
def test_a_study_has_a_name_fit_for_a_folder(tmp_path, name):
    with pytest.raises(ParamsError, match="rename the file"):
        params.study_name(tmp_path / name)
    assert params.study_name(tmp_path / "my-study_2.x.yaml") == "my-study_2.x"


@pytest.mark.parametrize("path", sorted(paths.PARAMS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_params_file_of_the_repository_loads(path):
    assert isinstance(params.load(path), Params)
    assert params.study_name(path) == path.stem


def test_a_notebook_gets_every_key_of_its_sections():
    for stage, row in STAGES.items():
        keys = [key for section in row.params for key in type(getattr(Params(), section)).model_fields]
        assert list(params.stage_parameters(Params(), stage, "s")) == ["study", *keys]
        assert len(set(keys)) == len(keys), f"{stage}: two sections share a key"


def test_the_command_line_takes_an_override_as_two_words():
    options = command_line._parsed(["run", "-p", "features.window", "20", "-p", "train.seed", "7"])
    assert options.overrides == [["features.window", "20"], ["train.seed", "7"]]


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("True", True), ("FALSE", False)])
def test_a_switch_is_true_or_false(load, text, value):
    assert load(f"archive:\n  follow_links: {text}\n").archive.follow_links is value
    with pytest.raises(ParamsError, match=r"archive\.follow_links is 'yes'; allowed: true or false"):
        load("archive:\n  follow_links: yes\n")


def test_one_column_is_named_on_the_command_line(load):
    assert load("", ("archive.columns.Close", "settle, last")).archive.columns == {"Close": "settle, last"}
    both = load("archive:\n  columns: {Close: last, Date: day}\n", ("archive.columns.Close", "settle"))
    assert both.archive.columns == {"Close": "settle", "Date": "day"}
    text = load("", ("archive.columns", "{Close: last}"), ("archive.columns.Volume", "6"))
    assert text.archive.columns == {"Close": "last", "Volume": "6"}
    [(ending, chosen)] = params.grid([("archive.columns.Close", "settle, last")])
    assert ending == "" and chosen == [("archive.columns.Close", "settle, last")]


@pytest.mark.parametrize("text", ["day_first", "'day_first'", '"day_first"'])
def test_a_word_may_stand_in_quotes_where_null_is_allowed_too(load, text):
    assert load(f"archive:\n  dates: {text}\n").archive.dates == "day_first"
