"""Progress of long work: a bar with rate and time left in a terminal, nothing in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs, and give a function that takes how much more was done."""
    terminal = os.environ.get("STUDY_TERMINAL")  # in a kernel: the terminal of the command that runs the study
    if not (terminal or sys.stderr.isatty()):
        yield lambda amount: None
        return
    # Imported only here: workers, which import this module too, start a fifth sooner without.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    with ExitStack() as stack:
        console = Console(file=sys.stderr)
        if terminal:
            with suppress(OSError):
                console = Console(file=stack.enter_context(Path(terminal).open("w")), force_terminal=True)
        shown = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = shown.add_task(title, total=total, rate="")

        def advance(amount: int) -> None:
            shown.advance(task, amount)
            speed = shown.tasks[0].speed
            if speed:
                shown.update(task, rate=f"{speed:,.0f} {unit}/s")

        yield advance
