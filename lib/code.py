"""Which code decides a result: the modules of ``lib`` that some code imports, and a digest of them."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib import files, paths

_CLASS_OF_LIB = re.compile(r"[\"'](lib(?:\.[a-z_]+)+)\.[A-Z]\w*[\"']")
_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


def imported_modules(code: str, lib: Path = paths.LIB) -> list[Path]:
    """The modules of ``lib`` that some code imports, and those that they import, and so on, in order of their names.

    ``lib/compute`` is left out: who computes does not change what is computed, which tests hold.

    Examples
    --------
    >>> [path.name for path in imported_modules("from lib import files")]
    ['files.py']
    """
    found: set[Path] = set()
    waiting = [path for name in _imports(code) if (path := _module_path(name, lib))]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [
                module for name in _imports(path.read_text(encoding="utf-8")) if (module := _module_path(name, lib))
            ]
    return sorted(found)


def digest(module: str, parameters: Mapping[str, Any]) -> str:
    """A digest, 64 hex digits, of what decides a part's bytes beside its input: a module (``lib.data.ingest``) and what it imports, parameters that JSON can hold, the packages' lock."""
    found = hashlib.sha256(f"{files.sha256(paths.LOCK)}\n{json.dumps(parameters, sort_keys=True)}\n".encode())
    for path in imported_modules(f"import {module}"):
        found.update(f"{path.relative_to(paths.LIB).as_posix()}\n{files.sha256(path)}\n".encode())
    return found.hexdigest()


@functools.cache  # most stages import most modules
def _imports(code: str) -> tuple[str, ...]:
    names: list[str] = _CLASS_OF_LIB.findall(code)  # as `lib.models.registry` names the models
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:  # statements alone: `ast.walk` takes ten times as long
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        waiting += (child for child in ast.iter_child_nodes(node) if isinstance(child, _STATEMENTS))
    return tuple(names)


def _module_path(name: str, lib: Path) -> Path | None:
    package, _, module = name.partition(".")
    path = lib / f"{module.replace('.', '/')}.py"
    return path if package == "lib" and path.is_file() and not module.startswith("compute.") else None
