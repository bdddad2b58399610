"""How a run ends that cannot start or go on: a message for the user, and an exit code."""

from __future__ import annotations

# Exit codes.
FAILED = 1  # a stage failed, or the disk did
REFUSED = 2  # params, the archive or the command are wrong, or outputs cannot be written
LOCKED = 3  # the study is already running


class StudyError(RuntimeError):
    """A run that cannot start or go on: what is wrong and what to do, and the exit code, `FAILED`, `REFUSED` or `LOCKED`."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
