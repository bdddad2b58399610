"""The command line: which words it takes, and what it says of others."""

from __future__ import annotations

import pytest

from lib import __main__ as command_line
from lib import files, paths


@pytest.mark.parametrize(
    ("words", "usage", "reason"),
    [
        ("run --bogus", "bash run_all.sh", "unrecognized arguments: --bogus"),
        ("run -p features.window", "bash run_all.sh", "argument -p: expected 2 arguments"),
        ("serve --nope", "bash serve.sh", "unrecognized arguments: --nope"),
        ("compare", "python -m lib compare", "the following arguments are required: STUDY"),
        ("lock --x", "python -m lib lock", "unrecognized arguments: --x"),
        ("walk", "python -m lib", "invalid choice: 'walk'"),
    ],
)
def test_a_wrong_word_shows_the_usage_of_the_command_typed(words, usage, reason, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(words.split())
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"usage: {usage} ")
    assert f"{usage}: error: " in message and reason in message


def test_a_param_may_be_one_word_or_two():
    options = command_line._parsed(["run", "mine", "-p", "features.window=20", "-p", "archive.source", "a=b"])
    assert options.overrides == [["features.window", "20"], ["archive.source", "a=b"]]
    assert options.studies == ["mine"]


def test_prices_in_the_place_of_a_study_are_told_from_one(tmp_path, capsys, monkeypatch):
    (tmp_path / "prices.csv").write_text("Date,Open\n" + "2020-01-02,1\n" * 10_000)
    for given in (tmp_path / "prices.csv", tmp_path):
        assert command_line.main(["run", str(given)]) == 2
        message = capsys.readouterr().err
        assert len(message) < 1000 and f"bash run_all.sh --look {given} --as NAME" in message
    monkeypatch.setenv("STUDY_CALLER", str(tmp_path))
    assert command_line.main(["run", "prices.csv"]) == 2
    assert "bash run_all.sh --look prices.csv --as NAME" in capsys.readouterr().err
    (tmp_path / "sample").mkdir()
    assert command_line._params_path("sample", tmp_path) == paths.params_file("sample"), (
        "a study is meant, not this folder"
    )
    for words in (["a" * 252], ["sample", "--as", "a" * 252], ["sample", "--as", "x/sample"]):
        assert command_line.main(["run", *words]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    longest = tmp_path / f"{'a' * 250}.yaml"
    longest.touch()
    assert command_line._params_path(str(longest), tmp_path) == longest
    (tmp_path / "study.yaml").write_text("prices " * 10_000)
    assert command_line.main(["run", str(tmp_path / "study.yaml")]) == 2
    message = capsys.readouterr().err
    assert len(message) < 1000 and "where sections such as `features:` are expected" in message


def test_a_study_that_is_none_names_the_nearest_that_can_be_run(outputs, tmp_path, capsys, monkeypatch):
    files.write_atomically(tmp_path / "params" / "kaggle.yaml", "")
    files.write_atomically(tmp_path / "params" / "sample.yaml", "")
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (outputs / "yff-copy").mkdir(parents=True)  # made by --as: it has no params file
    for given, reason in [
        ("sampel", "did you mean 'sample'?"),
        ("yff-copi", "the studies are kaggle, sample"),
        ("yff-copy", "the studies are kaggle, sample"),
    ]:
        assert command_line.main(["run", given]) == 2
        message = capsys.readouterr().err
        assert message == f"error: there is no study {given!r} to run: params/{given}.yaml does not exist; {reason}\n"


@pytest.mark.parametrize("content", [None, "", "Datum,Preis\n2020-01-02,1\n"])
def test_a_look_at_what_cannot_be_read_is_refused_and_writes_nothing(tmp_path, capsys, monkeypatch, content):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    if content is not None:
        (tmp_path / "archive").mkdir()
        (tmp_path / "archive" / "prices.csv").write_text(content)
    assert command_line.main(["run", "--look", str(tmp_path / "archive"), "--as", "own"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and "wrote" not in printed.out
    assert not (tmp_path / "params").exists()


def test_a_copy_says_of_which_study(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["run", "--as", "own"])
    message = capsys.readouterr().err
    assert "bash run_all.sh sample --as own" in message and "--look PATH --as own" in message
