"""Progress of long work: a bar with rate and time left in a terminal, nothing in a log."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs.

    Parameters
    ----------
    title : str
        What is being done.
    total : int
        How much there is to do.
    unit : str
        Of what, such as ``rows``.

    Yields
    ------
    callable
        Takes how much more was done.
    """
    with contextlib.ExitStack() as stack:
        console = Console(file=sys.stderr)
        if terminal := os.environ.get("STUDY_TERMINAL"):
            # In a kernel: the terminal of the command that runs the study.
            with contextlib.suppress(OSError):
                console = Console(file=stack.enter_context(Path(terminal).open("w")), force_terminal=True)
        yield from _bar(console, title, total, unit)


def _bar(console: Console, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=total, rate="")

        def advance(amount: int) -> None:
            shown.advance(task, amount)
            speed = shown.tasks[0].speed
            if speed:
                shown.update(task, rate=f"{speed:,.0f} {unit}/s")

        yield advance
