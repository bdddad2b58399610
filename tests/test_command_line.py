"""The command line: which words it takes, and what it says of others."""

from __future__ import annotations

import pytest

from lib import __main__ as command_line


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
    said = capsys.readouterr().err
    assert said.startswith(f"usage: {usage} ")
    assert f"{usage}: error: " in said and reason in said


def test_a_param_may_be_one_word_or_two():
    options = command_line._parsed(["run", "mine", "-p", "features.window=20", "-p", "archive.source", "a=b"])
    assert options.overrides == [["features.window", "20"], ["archive.source", "a=b"]]
    assert options.studies == ["mine"]
