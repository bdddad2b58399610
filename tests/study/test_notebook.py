"""What is taken out of executed notebooks: who computed, and every folder of this machine."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from lib import paths
from lib.study import notebook


def test_paths_are_cut_from_texts_and_from_nothing_else(monkeypatch):
    monkeypatch.setenv("STUDY_OUTPUTS", "/app/out")
    monkeypatch.setenv("STUDY_ARCHIVE", "/data/raw.zip")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(paths, "ROOT", Path("/app"))
    picture = {"image/png": "aGVs/app/bG8=", "text/plain": ["in /app/lib", "/app", "/myapp/app2 /application /app.old"]}
    assert notebook.without_paths(picture) == {
        "image/png": "aGVs/app/bG8=",
        "text/plain": ["in lib", ".", "/myapp/app2 /application /app.old"],
    }
    assert notebook.without_paths("/data/raw.zip: /app/out/s/x, /home/me/y") == "raw.zip: outputs/s/x, ~/y"
    monkeypatch.setenv("HOME", "/")  # as some containers have it
    assert notebook.without_paths("<td>1/2</td>") == "<td>1/2</td>"


def test_an_executed_notebook_does_not_tell_who_computed():
    cell = nbformat.v4.new_code_cell(
        'study = "s"\nengine = "spark"\nworkers = 1\nspark_master = "local[4]"\nwindow = 30\n',
        metadata={"tags": ["injected-parameters"]},
    )
    found = notebook.normalised(nbformat.v4.new_notebook(cells=[cell]))
    assert found.cells[0].source == 'study = "s"\nwindow = 30\n'


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[32m/app/lib/x.py\x1b[39m:3", "lib/x.py:3"),
        ("\x1b[38;5;28m/app\x1b[0m", "."),
        ("\x1b]8;;file:///app/lib/x.py\x1b\\x.py\x1b]8;;\x1b\\", "x.py"),
        ("\x1b]0;/app/title\x07text", "text"),
        ("gcc -I/app/include 'b/app'", "gcc -Iinclude 'b/app'"),
        ("File ~/proj/lib/x.py:3, in f", "File lib/x.py:3, in f"),
        ("file:///home/me/proj/lib/x.py", "file://lib/x.py"),
        ("/tmp/ipykernel_4711/123.py:1: UserWarning", "cell:1: UserWarning"),
        (f"{sysconfig.get_path('purelib')}/pandas/io.py", "site-packages/pandas/io.py"),
        (f"{sysconfig.get_path('stdlib')}/json/decoder.py", "python/json/decoder.py"),
        (sys.executable, "python"),
    ],
)
def test_no_folder_hides_from_the_cut(monkeypatch, text, left):
    monkeypatch.setenv("STUDY_OUTPUTS", "/app/out")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(paths, "ROOT", Path("/home/me/proj" if "proj" in text else "/app"))
    assert notebook.without_paths(text) == left


def test_a_folder_with_a_space_is_cut_as_links_and_pages_write_it(monkeypatch):
    monkeypatch.setattr(paths, "ROOT", Path("/data/my & folder"))
    for written in ("/data/my & folder/x", "/data/my%20%26%20folder/x", "/data/my &amp; folder/x"):
        assert notebook.without_paths(written) == "x"


def test_metadata_keys_and_svg_are_cut_too(monkeypatch):
    monkeypatch.setattr(paths, "ROOT", Path("/app"))
    output = nbformat.v4.new_output("display_data", data={"image/svg+xml": "<svg>/app/x</svg>", "image/png": "/app/x"})
    cell = nbformat.v4.new_code_cell("1", outputs=[output], metadata={"note": "/app/x"})
    widgets = {"state": {"/app/model": {"value": "/app/x"}}}
    found = notebook.normalised(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": widgets}))
    assert found.cells[0].outputs[0].data == {"image/svg+xml": "<svg>x</svg>", "image/png": "/app/x"}
    assert found.cells[0].metadata == {"note": "x"}
    assert found.metadata["widgets"] == {"state": {"model": {"value": "x"}}}


def test_what_was_printed_is_one_output_however_the_kernel_sent_it() -> None:
    outputs = [
        nbformat.v4.new_output("stream", name=name, text=text) for name, text in (("stdout", "a"), ("stdout", "\n"))
    ]
    outputs += [nbformat.v4.new_output("stream", name="stderr", text="b\n")]
    cell = nbformat.v4.new_code_cell("print()", outputs=outputs)
    found = notebook.normalised(nbformat.v4.new_notebook(cells=[cell])).cells[0].outputs
    assert [(output.name, output.text) for output in found] == [("stdout", "a\n"), ("stderr", "b\n")]
