"""Every measurement in one go: ``python -m benchmarks`` writes benchmarks/RESULTS.md, its figure and the README's table.

Each part runs as a command of its own, and what it found is kept in ``outputs/.benchmarks``: a run that was broken off, or
of which one part failed, goes on where it stopped, and parts that were measured in the same way before are not measured again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import growth, harness, pipeline, serving, study, usual
from benchmarks.harness import markdown
from benchmarks.pipeline import OURS, Extent, Result
from lib import paths
from lib.figures import style
from lib.files import write_atomically
from lib.stages import STAGES
from lib.study import record

RESULTS = paths.ROOT / "benchmarks" / "RESULTS.md"
README = paths.ROOT / "README.md"
BEGIN, END = "<!-- results: made by python -m benchmarks -->\n", "<!-- end of results -->"
USUAL_MOST = Fraction(1, 10)  # of the archive: all of it would take the usual solution too long

Found = Mapping[str, Any]  # what a part kept


@dataclass(frozen=True)
class Part:
    """One measurement.

    Parameters
    ----------
    command : callable
        From the fraction of the archive to what follows ``python -m benchmarks.``. ``{to}`` stands for the file of results
        without its suffix: the command writes a table to ``{to}.md`` and everything to ``{to}.json``.
    """

    title: str
    about: str
    command: Callable[[Fraction], list[str]]


PARTS = {
    "study": Part(
        "The whole study, stage by stage",
        "As a user runs it: each stage's notebook is executed, with its checks, figures and page. Then the whole again, after nothing, one file, and every file "
        "has changed; and with one more day in every file as `run.retrain: weekly` has it, where models are not fitted anew but once a week.",
        lambda fraction: ["study", "--fraction", str(fraction), "--to", "{to}"],
    ),
    "usual": Part(
        "From the archive to a model, beside the usual solution",
        "The usual solution is pandas in a pool of processes, Spark's window functions with `percentile_approx`, and a random "
        "forest of 25 trees on a tenth of the rows ([usual_peer.py](peers/usual_peer.py)). Ours is the whole study as a user runs it, with its checks, figures "
        "and pages; our model is fitted on half a million rows at most, drawn by a hash.",
        lambda fraction: ["usual", "--fraction", str(min(fraction, USUAL_MOST)), "--to", "{to}"],
    ),
    "pipeline": Part(
        "Prices and features, beside other software",
        "Every contestant makes the same two datasets, prices and features, each stage as a process of its own, one contestant "
        "after the other; then every value is compared with ours. Ours also checks each row, keeps what it refuses, digests "
        "what it reads and writes, and can go on after a kill.",
        lambda fraction: ["pipeline", "--fraction", str(fraction), "--rounds", "1", "--to", "{to}"],
    ),
    "growth": Part(
        "Growth",
        "The whole study on archives of different sizes, as multiples of Kaggle's.\n\n"
        "![Seconds and peak memory over the archive's rows; the table below has the figures](growth.png)",
        lambda fraction: [
            *("growth", "--to", "{to}", "--sizes"),
            *(str(Fraction(size) * fraction) for size in growth.SIZES),
        ],
    ),
    "forecasting": Part(
        "The next day's volume, beside other forecasters",
        "Fitted once on what came before the sample study's last year, and judged on that year, each beside ours on the same rows.",
        lambda _: ["forecasting", "--to", "{to}"],
    ),
    "serving": Part(
        "The server",
        "With the sample study's model; how: [the server under load](../docs/server-under-load.md).",
        lambda _: ["serving", "--to", "{to}"],
    ),
}


def measure(name: str, fraction: Fraction, keep: Path, again: bool, console: Console) -> bool:
    """Measure one part, unless it was measured in the same way before; whether it succeeded."""
    command = PARTS[name].command(fraction)
    file = keep / f"{name}.json"
    if not again and (kept := _read(file)) is not None and kept["about"]["command"] == command:
        console.print(f"{name}: measured on {kept['about']['date']}; --again measures it anew")
        return True
    console.rule(name)
    load = round(os.getloadavg()[0], 1)
    to = keep / f"new-{name}"
    done = subprocess.call(
        [sys.executable, "-m", f"benchmarks.{command[0]}", *(word.format(to=to) for word in command[1:])],
        cwd=paths.ROOT,
    )
    found = to.with_suffix(".json")
    if done or not found.exists():
        console.print(f"{name} failed, exit code {done}; the same command tries it again", style="bold red")
        return False
    about = {
        "command": command,
        "date": f"{datetime.date.today()}",
        "load": load,
        "machine": machine(),
        "code": record.code_digest()[:12],
    }
    text = to.with_suffix(".md")
    content = {
        "about": about,
        "found": json.loads(found.read_text(encoding="utf-8")),
        "text": text.read_text(encoding="utf-8"),
    }
    write_atomically(file, json.dumps(content, indent=1) + "\n")
    found.unlink()
    text.unlink()
    return True


def machine() -> dict[str, Any]:
    """What everything was measured on; no name of a host."""
    return {"processor": _processor(), **{key: value for key, value in harness.machine().items() if key != "load"}}


def results(kept: Mapping[str, Found]) -> str:
    """The text of RESULTS.md."""
    lines = [
        "# Results\n",
        "Made by `python -m benchmarks`, which measures all of this anew on your machine. Read the ratios first: "
        "seconds differ from machine to machine.\n",
        summary(kept),
    ]
    for name, part in PARTS.items():
        lines += [f"## {part.title}\n"]
        if name not in kept:
            lines += ["Not measured.\n"]
            continue
        about = kept[name]["about"]
        lines += [f"{part.about}\n", kept[name]["text"]]
        lines += [
            f"Measured on {about['date']}, code {about['code']}, load before it {about['load']}: "
            f"`python -m benchmarks.{' '.join(about['command'])}`\n".replace(" --to {to}", "")
        ]
    machines = {json.dumps(one["about"]["machine"]): one["about"]["machine"] for one in kept.values()}
    lines += ["## Machine and versions\n"]
    lines += [_machine(one) for one in machines.values()]
    return "\n".join(lines)


def summary(kept: Mapping[str, Found]) -> str:
    """The ratios that matter most, as Markdown: the head of RESULTS.md, and the README's table; lines whose part is missing are left out."""
    lines = [["ours / it; below 1, ours takes less", "time", "CPU time", "peak memory"]]
    lead, facts = "", []
    found = {name: one["found"] for name, one in kept.items()}
    if "study" in found:
        usages = study.usages_of(found["study"])["ours"]
        whole = usages[study.WHOLE]
        lead = (
            f"The whole study, from {found['study']['archive']['files']:,} files to forecasts and reports: {whole.wall:.0f} s ("
            + ", ".join(f"{name} {usage.wall:.0f}" for name, usage in usages.items() if name in STAGES)
            + f"), at most {whole.memory / 1e9:.2f} GB; again with nothing changed "
            f"{usages[study.UNCHANGED].wall:.0f} s, one file {usages[study.ONE_FILE].wall:.0f} s, every file a day longer {usages[study.EVERY_FILE].wall:.0f} s, "
            f"or {usages[study.DAILY].wall:.0f} s on the days between two weekly trainings (`run.retrain: weekly`).\n\n"
        )
    if "usual" in found:
        _, *stages = usual.table(study.usages_of(found["usual"]))
        fraction = kept["usual"]["about"]["command"][2]
        ratios = next(line[4:] for line in stages if line[0] == usual.ALL)
        title = f"archive to model with checks, figures and pages, {fraction} of Kaggle's: the usual solution"
        lines.append([title, ratios[0], "", ratios[1]])
        facts.append(usual.summary(found["usual"]))
    if "pipeline" in found:
        others, read = pipeline.read(found["pipeline"]), Extent(**found["pipeline"]["archive"])
        ours = others.pop(OURS)
        lines += [[f"prices and features: {name}", *_ratio(ours, other)] for name, other in others.items()]
        facts.append(
            f"{read.files:,} files, {read.rows:,} rows, {read.bytes / 1e9:.2f} GB of CSV to prices and features in {ours.wall():.1f} s, at most "
            f"{ours.memory / 1e9:.2f} GB of memory."
        )
    if "growth" in found:
        measured = growth.read(found["growth"])
        (_, small, first), (_, large, last) = measured[0], measured[-1]
        less, more = (usages[study.WHOLE] for usages in (first, last))
        facts.append(
            f"The whole study of {large.rows / small.rows:.1f} times the rows takes {more.wall / less.wall:.1f} times the time and "
            f"{more.memory / less.memory:.2f} times the memory."
        )
    served = found.get("serving", {}).get("parts", {})
    if endpoint := served.get("endpoint"):
        best = max(endpoint["ours"], key=lambda load: load["requests_a_second"])
        facts.append(
            f"`/predict` answers {best['requests_a_second']:,.0f} requests a second on one core (p99 {best['p99_ms']:.1f} ms), "
            f"{endpoint['ratio']:.1f} times a plain FastAPI route; one prediction itself takes {endpoint['microseconds']['predict']:.1f} µs."
        )
    if dashboards := served.get("dashboards"):
        facts.append(
            f"The dashboard shows its first prediction after {dashboards['one_ready_s']:.1f} s, and to the last of twenty visitors at "
            f"once after {dashboards['twenty_ready_s']:.1f} s."
        )
    host = next(iter(kept.values()))["about"]["machine"] if kept else machine()
    where = f"{host['cores']} cores ({host['processor']}) with {host['memory'] / 2**30:.0f} GiB of memory"
    table = markdown(lines).replace("| ---: | --- |", "| ---: | ---: |")  # its last column is numbers, too
    trial = _fraction(kept) != 1
    about = f"a trial with {_fraction(kept)} of an archive of Kaggle's size" if trial else "an archive of Kaggle's size"
    return f"{about[0].upper()}{about[1:]}, on {where}.\n\n{lead}{table}\n" + "".join(f"- {fact}\n" for fact in facts)


def into_readme(text: str, block: str) -> str:
    """The README's ``text`` with ``block`` between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md has no {BEGIN.strip()} ... {END}; put both lines where the table shall be")
    return f"{before}{BEGIN}{block}{END}{after}"


def _fraction(kept: Mapping[str, Found]) -> Fraction:
    return Fraction(kept["pipeline"]["about"]["command"][2] if "pipeline" in kept else 1)


def _ratio(ours: Result, other: Result) -> list[str]:
    pairs = (ours.wall(), other.wall()), (ours.cpu(), other.cpu()), (ours.memory, other.memory)
    return [f"{mine / theirs:.2f}" for mine, theirs in pairs]


def _machine(about: Mapping[str, Any]) -> str:
    first = {"processor": "processor", "cores": "cores", "system": "system", "python": "Python"}
    rows = [("what", "value"), *((title, str(about[key])) for key, title in first.items())]
    rows.insert(3, ("memory", f"{about['memory'] / 2**30:.1f} GiB"))
    rows += [(key, str(value)) for key, value in about.items() if key not in {*first, "memory"}]
    return markdown(rows)


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _read(file: Path) -> Found | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _need_sample(names: Iterable[str], console: Console) -> None:
    """Run the sample study when a part needs its model and there is none."""
    if {"forecasting", "serving"} & set(names) and not paths.StudyPaths("sample").grid.exists():
        console.rule("the sample study, for forecasting and serving")
        subprocess.run([sys.executable, "-m", "lib", "run", "sample"], cwd=paths.ROOT, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fraction",
        type=Fraction,
        default=Fraction(1),
        help="size of the synthetic archive, as a part of Kaggle's (default: 1; 1/20 is a quick try)",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure these parts alone")
    parser.add_argument("--again", action="store_true", help="measure parts that have been measured, too")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="another file for the results; the README is then left alone"
    )
    parser.add_argument("--keep", type=Path, default=paths.outputs() / ".benchmarks", help="what is kept of each part")
    options = parser.parse_args(arguments)
    console = Console()
    for tool in serving.TOOLS if "serving" in options.only else ():
        if not shutil.which(tool):
            parser.error(f"{tool} is not installed (Debian: {serving.INSTALL}); --only can leave out serving")
    options.keep.mkdir(parents=True, exist_ok=True)
    _need_sample(options.only, console)
    succeeded = [measure(name, options.fraction, options.keep, options.again, console) for name in options.only]
    kept = {name: one for name in PARTS if (one := _read(options.keep / f"{name}.json")) is not None}
    if "growth" in kept:
        png = style.png(growth.figure(growth.read(kept["growth"]["found"])))
        write_atomically(options.results.with_name("growth.png"), png)
    write_atomically(options.results, results(kept))
    if options.results == RESULTS:
        write_atomically(README, into_readme(README.read_text(encoding="utf-8"), summary(kept)))
    console.print(f"written: {options.results.name}")
    return 0 if all(succeeded) else 1


if __name__ == "__main__":
    sys.exit(main())
