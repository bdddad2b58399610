"""Executed notebooks, as artifacts: what differs between two runs of the same, and between machines, is taken out."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib import paths
from lib.study import cache

# Colours, movements of the cursor, titles and links, as terminals take them: ECMA-48, and xterm's OSC.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
# A cell's own file, whose folder is named after the kernel's process.
_CELL = re.compile(r"[\w.~/-]*/ipykernel_\d+/\d+\.py")


def normalised(notebook: Any) -> Any:
    """Take from an executed notebook, in place, what differs between two runs of the same: times, paths of this machine."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    notebook.metadata = without_paths(notebook.metadata)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell.metadata = without_paths(cell.metadata)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
            # Who computed, and on how many cores, makes no difference to anything else here.
            lines = cell.source.splitlines(keepends=True)
            cell.source = "".join(line for line in lines if line.partition(" = ")[0] not in cache.COMPUTE)
        if cell.cell_type == "code":
            cell.outputs = [without_paths(output) for output in _joined(cell.outputs)]
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with what was printed in one piece: ipykernel sends a text in several when the machine is busy."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def without_paths(value: Any) -> Any:
    """Cut the folders of this machine from all texts in ``value``, keys among them, but not from the bytes of pictures.

    The escapes that colour a terminal are cut first: in front of a path they hide where it begins.

    Parameters
    ----------
    value : str, dict or list, or any other, which stays as it is
        A dict or a list may hold more of them; a dict is changed in place.
    """
    if isinstance(value, str):
        return _without_paths(value)
    if isinstance(value, dict):
        for key in list(value):
            held = value.pop(key)
            picture = key.startswith("image/") and key != "image/svg+xml"
            value[_without_paths(key)] = held if picture else without_paths(held)
        return value
    return [without_paths(item) for item in value] if isinstance(value, list) else value


def _without_paths(text: str) -> str:
    text = _CELL.sub("cell", _ESCAPES.sub("", text))
    named = {f"{paths.outputs()}/": "outputs/", f"{paths.ROOT}/": "", str(paths.ROOT): "."}
    if archive := os.environ.get("STUDY_ARCHIVE"):
        named[archive] = Path(archive).name
    named[f"{tempfile.gettempdir()}/"] = "$TMPDIR/"
    for whole, short in _path_patterns(tuple(named.items()), _home()):
        text = short.join(whole.split(text))
    return text


@functools.lru_cache(maxsize=1)  # a notebook has hundreds of texts
def _path_patterns(named: tuple[tuple[str, str], ...], home: str) -> list[tuple[re.Pattern[str], str]]:
    """What finds the folders of this machine, however they are written, and what an artifact calls them."""
    found = []
    for path, short in _shortened_paths(dict(named), home):
        # A whole path: neither the end of a longer one, unless an option's letter stands before it, nor the beginning of another.
        behind = "" if path.endswith("/") else r"(?![\w-]|\.\w)"
        for written in dict.fromkeys((path, quote(path), html.escape(path), json.dumps(path)[1:-1])):
            whole = rf"(?:(?<![\w.~-])|(?<=[\s\"'(\[,]-\w)){re.escape(written)}{behind}"
            found.append((re.compile(whole), short))
    return found


def _shortened_paths(folders: dict[str, str], home: str) -> Iterator[tuple[str, str]]:
    """Folders of this machine, and what an artifact calls them; the longer before those that hold them."""
    for short, names in {"python/": ("stdlib", "platstdlib"), "site-packages/": ("purelib", "platlib")}.items():
        folders |= {f"{sysconfig.get_path(name)}/": short for name in names}
    for executable in (sys.executable, os.path.realpath(sys.executable)):
        folders[executable] = "python"
    if home:
        folders[home] = "~"
    for path in sorted(folders, key=len, reverse=True):
        yield path, folders[path]
        if home and path.startswith(f"{home}/"):  # as IPython writes it in a traceback
            yield f"~{path.removeprefix(home)}", folders[path]


def _home() -> str:
    """The user's folder; empty where there is none, or it is the root, as some containers have it."""
    try:
        return str(Path.home()) if len(Path.home().parts) > 1 else ""
    except RuntimeError:
        return ""
