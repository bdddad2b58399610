"""What a part costs the process that hands out the work, whatever the parts hold: its seconds and memory with thousands of tiny parts.

``python -m benchmarks.driver --to FILE``. Each symbol is a part of its own, so the rest of the work is small; the difference between the two numbers of parts is
the driver's share of each stage, and says from how many parts on it would be the limit of a cluster.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks import archive
from benchmarks.harness import command_line, keep, machine, markdown, print_table
from lib import paths
from lib.compute.engine import Engine
from lib.data.ingest import ingest
from lib.data.sources import open_archive
from lib.evaluation import evaluate, plan, sample, walk_forward
from lib.evaluation.rows import split_at
from lib.features.build import build_features
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.storage import dataset

ROWS = 300  # a symbol, of daily prices
PARTS = (1000, 10_000)
HEADER = ("stage", "driver ms a part", "driver MB a 1,000 parts")


@dataclass(frozen=True)
class Cost:
    """What a stage has cost the driver: its own CPU seconds, workers left out, and its resident memory after it, in bytes."""

    cpu: float
    memory: int


def write_symbols(folder: Path, count: int) -> None:
    """An archive of ``count`` short files."""
    content = archive.content(archive.Security("stocks", "S", "S", None, ROWS, 0, (0, 0, 0)))
    (folder / "stocks").mkdir(parents=True)
    for number in range(count):
        (folder / "stocks" / f"S{number:06}.csv").write_bytes(content)


def costs(parts: int, engine: Engine, work: Path) -> dict[str, Cost]:
    """Run the work of the five stages, without their notebooks, on ``parts`` parts."""
    os.environ["STUDY_OUTPUTS"] = str(work / "outputs")
    study = paths.StudyPaths("driver")
    write_symbols(work / "archive", parts)
    dataset.cut.__defaults__ = (1,)  # a part a symbol
    found = {}

    def measured(stage: str, task: Callable[[], object]) -> None:
        before = _cpu()
        task()
        found[stage] = Cost(_cpu() - before, psutil.Process().memory_info().rss)

    def train_and_evaluate() -> None:
        features = dataset.open_dataset(study.features)
        drawn = sample.draw_rows(features, (0,), engine)[0]
        first = drawn.days[int(0.8 * len(drawn.days))]
        train = drawn.rows.chosen(~split_at(drawn.days, first).test(drawn.rows))
        model = RatioByQuantile().fit(train.features, train.volume)
        evaluate.evaluate(features, model, evaluate.Settings(0, first, seeds=1, forest_trees=2), engine)

    measured("01", lambda: ingest(open_archive(str(work / "archive"), study), study, engine=engine))
    measured("02", lambda: build_features(study, engine=engine))
    measured("03, 04", train_and_evaluate)
    measured("05", lambda: walk_forward.make_forecasts(study, plan.Settings(training_rows=20_000), engine=engine))
    return found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table(few: dict[str, Cost], many: dict[str, Cost], more: int) -> list[list[str]]:
    """The costs of each of ``more`` parts as rows of text, a header first.

    Examples
    --------
    >>> table({"01": Cost(1.0, 10**8)}, {"01": Cost(4.0, 3 * 10**8)}, 1000)[1]
    ['01', '3.00', '200']
    """
    lines = [list(HEADER)]
    for stage, cost in many.items():
        cpu, memory = cost.cpu - few[stage].cpu, cost.memory - few[stage].memory
        lines.append([stage, f"{1000 * cpu / more:.2f}", f"{memory / 1e6 / more * 1000:.0f}"])
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command_line("driver", __doc__)
    parser.add_argument("--parts", nargs=2, type=int, default=PARTS, help="the two numbers of parts")
    parser.add_argument("--engine", choices=("local", "spark"), default="local")
    options = parser.parse_args(arguments)
    console = Console()
    found = []
    for parts in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            found.append(costs(parts, Engine(options.engine), Path(folder)))
    lines = table(found[0], found[1], options.parts[1] - options.parts[0])
    title = f"{options.parts[1]:,} parts, engine {options.engine}"
    print_table(console, title, lines)
    keep(options.to, f"{title}\n\n{markdown(lines)}", {"machine": machine(), "parts": options.parts, "costs": found})


if __name__ == "__main__":
    main()
