"""The two inputs of a prediction, as people and programs write them."""

from __future__ import annotations

import math
import re

INPUTS = ("vol_moving_avg", "adj_close_rolling_med")
MAX_CHARACTERS = 64  # of one number; no number needs more

# ASCII decimals, as JSON and CSV write them: float() would also take "1_000", "infinity" and other scripts' digits.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class InputError(ValueError):
    """Text that is not a number an input can be; ``str()`` says it in full.

    Parameters
    ----------
    kind : str
        A short name of what is wrong.
    message : str
        What is wrong and what is allowed.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def number(name: str, text: str) -> float:
    """The number that an input's text means.

    Parameters
    ----------
    name : str
        The input, for the error.
    text : str
        What was written.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    InputError
        The text is empty, too long, not a decimal number, or too large for a float.

    Examples
    --------
    >>> number("vol_moving_avg", "1.5e3")
    1500.0
    >>> number("vol_moving_avg", "1,500")
    Traceback (most recent call last):
    lib.inputs.InputError: vol_moving_avg must be a decimal number, such as 12345 or 25.5
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError("too_long", f"{name} has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if not text:
        raise InputError("empty", f"{name} is empty; a decimal number is needed, such as 12345 or 25.5")
    if not _NUMBER.fullmatch(text):
        raise InputError("not_a_number", f"{name} must be a decimal number, such as 12345 or 25.5")
    value = float(text)
    if not math.isfinite(value):
        raise InputError("not_finite", f"{name} is too large for a floating-point number")
    return value
