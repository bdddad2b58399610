"""Which code decides a result: imports are followed, and who computes is left out."""

from __future__ import annotations

import pytest

from lib import code, paths


@pytest.fixture
def package(tmp_path):
    """A small lib: a imports b, b imports c inside a function; d is imported by nobody."""
    (tmp_path / "a.py").write_text("from lib import b\n")
    (tmp_path / "b.py").write_text("def f():\n    from lib.c import g\n    return g\n")
    (tmp_path / "c.py").write_text("import json\n")
    (tmp_path / "d.py").write_text("from lib import a\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from lib import a", ["a.py", "b.py", "c.py"]),
        ("import lib.b", ["b.py", "c.py"]),
        ("from lib.c import g", ["c.py"]),
        ("from lib.c import *\nimport os", ["c.py"]),
        ("from lib import d", ["a.py", "b.py", "c.py", "d.py"]),
        ("import json", []),
    ],
)
def test_imports_are_followed(package, text, names):
    assert [path.name for path in code.imported_modules(text, package)] == names


def test_who_computes_is_no_part_of_what_is_computed():
    modules = code.imported_modules("import lib.data.ingest")
    assert paths.LIB / "storage" / "dataset.py" in modules
    assert not any(path.is_relative_to(paths.LIB / "compute") for path in modules)


def test_packages_are_empty_so_that_imports_can_be_followed():
    packages = [path for path in paths.LIB.rglob("__init__.py")]
    assert len(packages) > 10
    assert [path for path in packages if path.read_text()] == []


def test_other_code_and_other_params_have_other_digests(monkeypatch, tmp_path):
    (tmp_path / "m.py").write_text("a = 1\n")
    monkeypatch.setattr(paths, "LIB", tmp_path)
    monkeypatch.setattr(code, "imported_modules", lambda _: [tmp_path / "m.py"])
    seen = {code.digest("lib.m", {"window": 1}), code.digest("lib.m", {"window": 2})}
    (tmp_path / "m.py").write_text("a = 2\n")
    assert len({*seen, code.digest("lib.m", {"window": 1})}) == 3
