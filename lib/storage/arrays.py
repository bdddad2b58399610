"""Small named arrays in one file, in the safetensors format: a JSON header, then the numbers as they are in memory.

Nothing is compressed and nothing is stamped, so that the same arrays are the same bytes under every Python; a file cannot
carry code. Reading needs NumPy alone. https://github.com/huggingface/safetensors
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray


def to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's content.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Numbers and bools of any shape. Text: see `text_to_array`.

    Examples
    --------
    >>> from_bytes(to_bytes({"a": np.arange(3)}))["a"]
    array([0, 1, 2])
    """
    # Contiguous, since safetensors writes memory as it lies there.
    return safetensors.numpy.save({name: np.asarray(values, order="C") for name, values in arrays.items()})


def from_bytes(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file that was read; they cannot be written to.

    Raises
    ------
    ValueError
        Not such a file, cut short, or with numbers of a type that NumPy does not have.
    """
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, OverflowError) as error:
        raise ValueError(f"not a safetensors file: {error}") from None


@contextmanager
def opened(path: Path) -> Iterator[Callable[..., NDArray[Any]]]:
    """Give a function from an array's name, and perhaps a slice of its rows, to that array; nothing else of the file is read.

    Raises
    ------
    ValueError
        Not such a file, or it has no such array.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            yield lambda name, rows=None: file.get_slice(name)[rows] if rows else file.get_tensor(name)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: {error}") from None


def text_to_array(text: str) -> NDArray[np.uint8]:
    """Text as an array of its UTF-8 bytes."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_to_text(values: NDArray[Any]) -> str:
    """The text that `text_to_array` took; raises UnicodeDecodeError, a ValueError, where it is none."""
    return values.tobytes().decode()
