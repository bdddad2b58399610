"""Results under a digest of what they were made from: a later run loads them in place of making them again.

They lie on the disk of whoever runs the study, as the records of its stages do. A file's name says its key and the digest of its bytes, so one that
was damaged, or not written to its end, is not taken.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from lib import files
from lib.compute.engine import Engine

Task = TypeVar("Task")
_SUFFIX = ".kept"


def map_kept(
    make: Callable[..., Sequence[bytes]],
    tasks: Sequence[Task],
    keys: Sequence[Sequence[str]],
    engine: Engine,
    folder: Path | None,
    shared: Any = None,
) -> Iterator[list[bytes]]:
    """The results of each task, in order: those that are kept are loaded, the others made and kept.

    Parameters
    ----------
    make : callable
        Called with the tuple of a task and the indices of the results wanted of it, and ``shared``; returns those results. See `Engine.map`.
    keys : sequence of sequence of str
        For each task the keys of its results.
    folder : pathlib.Path or None
        Where results are kept; other files there are deleted. None: no cache, all results are made.
    """
    there = _intact(folder) if folder else {}
    wanted = [tuple(index for index, key in enumerate(each) if key not in there) for each in keys]
    missing = [(task, some) for task, some in zip(tasks, wanted, strict=True) if some]
    making = engine.map_in_order(make, missing, shared)
    for each, some in zip(keys, wanted, strict=True):
        made = dict(zip(some, next(making), strict=True)) if some else {}
        if folder:
            for index, content in made.items():
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{each[index]}-{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
                path.write_bytes(content)
                there[each[index]] = path
        yield [made[index] if index in made else there[key].read_bytes() for index, key in enumerate(each)]
    if folder:
        for path in set(folder.glob("*")) - {there[key] for each in keys for key in each}:
            path.unlink()


def _intact(folder: Path) -> dict[str, Path]:
    named = ((path, path.stem.partition("-")) for path in folder.glob(f"*{_SUFFIX}"))
    return {key: path for path, (key, _, sha256) in named if files.sha256(path) == sha256}


def digest(*values: Any) -> str:
    """SHA-256 of values, the same in every process: 64 hex digits.

    Parameters
    ----------
    *values
        Text, numbers, arrays; functions by name, and `functools.partial` of them; what has a method ``arrays``; dataclasses, mappings, sequences and
        sets of all these.

    Raises
    ------
    TypeError
        A value is of another kind.

    Examples
    --------
    >>> digest({"a": np.arange(3)}) == digest({"a": np.arange(3)}) != digest({"a": np.arange(4)})
    True
    """
    found = hashlib.sha256()
    for piece in _pieces(values):
        found.update(piece)
    return found.hexdigest()


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    """The bytes that tell one value from any other."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"{value.dtype} {value.shape}\n".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif hasattr(value, "arrays"):
        yield from _pieces((type(value).__qualname__, value.arrays()))
    elif value is None or isinstance(value, str | bytes | int | float | np.generic):
        yield f"{type(value).__name__} {value!r}\n".encode()
    elif isinstance(value, functools.partial):
        yield from _pieces(("partial", value.func, value.args, value.keywords))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _pieces(
            (type(value).__qualname__, {name.name: getattr(value, name.name) for name in dataclasses.fields(value)})
        )
    elif isinstance(value, Mapping):
        yield from _pieces(("mapping", *value.items()))
    elif isinstance(value, set | frozenset):
        yield from _pieces(("set", *sorted(value)))
    elif isinstance(value, list | tuple):
        yield f"{len(value)} values\n".encode()
        for each in value:
            yield from _pieces(each)
    elif callable(value) and "<" not in getattr(value, "__qualname__", "<"):
        yield f"{value.__module__} {value.__qualname__}\n".encode()
    else:
        raise TypeError(f"no digest of a {type(value).__name__}")


def table_to_bytes(table: pa.Table) -> bytes:
    """A table as an Arrow stream, compressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table_from_bytes(content: bytes) -> pa.Table:
    """The table of an Arrow stream."""
    return pa.ipc.open_stream(content).read_all()
