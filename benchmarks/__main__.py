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

from benchmarks import growth, pipeline, prediction, usual
from benchmarks.accounting import Usage
from benchmarks.agreement import Agreement, Difference
from benchmarks.pipeline import OURS, Extent, Result, markdown
from lib import paths, plots, provenance
from lib.files import write_atomically

RESULTS = paths.ROOT / "benchmarks" / "RESULTS.md"
README = paths.ROOT / "README.md"
BEGIN, END = "<!-- results: made by python -m benchmarks -->\n", "<!-- end of results -->"
USUAL_MOST = Fraction(1, 10)  # of the archive; all of it would take the usual solution an hour

Found = Mapping[str, Any]  # what a part kept


@dataclass(frozen=True)
class Part:
    """One measurement.

    Parameters
    ----------
    title : str
    command : callable
        From the fraction of the archive to what follows ``python -m benchmarks.``; ``{to}`` stands for the file of
        results without its suffix.
    section : callable
        From what was found to Markdown.
    """

    title: str
    command: Callable[[Fraction], list[str]]
    section: Callable[[Found], str]


def pipeline_section(found: Found) -> str:
    """All contestants' seconds, memory and ratios."""
    return (
        f"{_extent(found)}. Every contestant makes the same two datasets, prices and features, each stage as a process of its "
        "own, one contestant after the other; then every value is compared with ours. Ours also checks each row, keeps what it "
        "refuses, digests what it reads and writes, and can go on after a kill.\n\n"
        + markdown(pipeline.table(read_results(found)))
    )


def usual_section(found: Found) -> str:
    """Ours beside the usual solution."""
    return (
        f"{_extent(found)}. From CSV files to a saved model, beside pandas in a pool of processes, Spark's window functions with "
        "`percentile_approx`, and a random forest of 25 trees on a tenth of the rows "
        "([usual_peer.py](peers/usual_peer.py)). Our model is fitted on all rows.\n\n"
        f"{_numbers(usual.table(usual.usages_of(found)))}\n{usual.summary(found)}\n"
    )


def growth_section(found: Found) -> str:
    """The table of sizes and its figure."""
    measured = growth.read(found)
    alt = growth.figure(measured).get_label()
    return f"Sizes are multiples of Kaggle's archive.\n\n{_numbers(growth.table(measured))}\n![{alt}](growth.png)\n"


def training_section(found: Found) -> str:
    """As benchmarks.training says it."""
    return str(found["markdown"])


def prediction_section(found: Found) -> str:
    """The table of one row, and the sentence about many."""
    return f"{_numbers(prediction.table(found))}\n{prediction.many(found)}\n"


def serving_section(found: Found) -> str:
    """The endpoint's and the dashboard's figures."""
    lines = [["server", "requests/s", "p50 ms", "p99 ms", "errors"]]
    if one := found.get("endpoint"):
        for name, title in (("ours", "ours, one core"), ("plain_fastapi_route", "a plain FastAPI route, one core")):
            lines.append(_load(title, max(one[name], key=lambda load: load["requests_a_second"])))
    if one := found.get("beside"):
        lines.append(_load("ours, beside an idle dashboard", one["alone"]))
        lines.append(_load("ours, while ten dashboards open", one["while_ten_open"]))
    text = "`GET /predict` under wrk, 8 connections, with the sample study's model; best of three.\n\n" + markdown(
        lines
    )
    if one := found.get("dashboards"):
        text += (
            f"\nThe dashboard is usable, its first prediction shown, {one['one_ready_s']:.2f} s after it is asked for; of twenty "
            f"asked for at once, the last after {one['twenty_ready_s']:.2f} s. An edit is answered in {one['edit_ms']['p50']:.1f} ms "
            f"(p99 {one['edit_ms']['p99']:.1f} ms). A visitor's kernel holds at most {one['largest_kernel']['pss_mb']} MB of its own.\n"
        )
    if one := found.get("sessions"):
        text += (
            f"\nAfter {one['opened']} sessions, opened and closed, {one['kernels_left']} kernels are left, and the server holds "
            f"{one['server_rss_mb']['after_all']} MB, where it held {one['server_rss_mb']['after_10']} MB after ten of them.\n"
        )
    return text


PARTS = {
    "pipeline": Part(
        "Prices and features, beside other software",
        lambda fraction: ["pipeline", "--fraction", str(fraction), "--to", "{to}"],
        pipeline_section,
    ),
    "usual": Part(
        "From the archive to a model, beside the usual solution",
        lambda fraction: ["usual", "--fraction", str(min(fraction, USUAL_MOST)), "--to", "{to}"],
        usual_section,
    ),
    "growth": Part(
        "Growth",
        lambda fraction: [
            *("growth", "--to", "{to}", "--sizes"),
            *(str(Fraction(size) * fraction) for size in growth.SIZES),
        ],
        growth_section,
    ),
    "training": Part(
        "Training",
        lambda fraction: ["training", "--fraction", str(fraction), "--to", "{to}"],
        training_section,
    ),
    "prediction": Part("One prediction", lambda _: ["prediction", "--to", "{to}"], prediction_section),
    "serving": Part("The server", lambda _: ["serving", "--output", "{to}.json"], serving_section),
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
        "code": provenance.code_digest()[:12],
    }
    content = {"about": about, "found": json.loads(found.read_text(encoding="utf-8"))}
    if (text := to.with_suffix(".md")).exists():
        content["found"]["markdown"] = text.read_text(encoding="utf-8")
        text.unlink()
    write_atomically(file, json.dumps(content, indent=1) + "\n")
    found.unlink()
    return True


def machine() -> dict[str, Any]:
    """What everything was measured on; no name of a host."""
    return {"processor": _processor(), **{key: value for key, value in pipeline.machine().items() if key != "load"}}


def results(kept: Mapping[str, Found]) -> str:
    """The text of RESULTS.md.

    Parameters
    ----------
    kept : mapping of str to mapping
        What each part kept, by the part's name: ``about`` and ``found``.

    Returns
    -------
    str
    """
    lines = ["# Results", ""]
    lines += [
        "Made by `python -m benchmarks`, which measures all of this anew on your machine. Read the ratios first: "
    ]
    lines[-1] += "seconds differ from machine to machine.\n"
    lines += [summary(kept)]
    for name, part in PARTS.items():
        lines += [f"## {part.title}\n"]
        if name not in kept:
            lines += ["Not measured.\n"]
            continue
        about = kept[name]["about"]
        lines += [part.section(kept[name]["found"])]
        lines += [
            f"Measured on {about['date']}, code {about['code']}, load before it {about['load']}: "
            f"`python -m benchmarks.{' '.join(about['command'])}`\n".replace(" --to {to}", "").replace(
                " --output {to}.json", ""
            )
        ]
    machines = {json.dumps(one["about"]["machine"]): one["about"]["machine"] for one in kept.values()}
    lines += ["## Machine and versions\n"]
    lines += [_machine(one) for one in machines.values()]
    return "\n".join(lines)


def summary(kept: Mapping[str, Found]) -> str:
    """The ratios that matter most, as Markdown: the head of RESULTS.md, and the README's table.

    Parameters
    ----------
    kept : mapping of str to mapping
        As for `results`; lines whose part is missing are left out.

    Returns
    -------
    str
    """
    lines = [["ours / it; below 1, ours takes less", "time", "CPU time", "peak memory"]]
    facts = []
    found = {name: one["found"] for name, one in kept.items()}
    if "pipeline" in found:
        all_results = {result.name: result for result in read_results(found["pipeline"])}
        ours = all_results.pop(OURS)
        for name, other in all_results.items():
            ratios = [_ratio(ours, other)]
            if name in (pipeline.UNCHANGED, pipeline.CHANGED):
                again = "nothing" if name == pipeline.UNCHANGED else "one file"
                facts.append(
                    f"A run after which {again} has changed takes {other.wall() / ours.wall():.2f} of the first."
                )
            else:
                lines.append([f"prices and features: {name}", *ratios[0]])
        facts.insert(
            0,
            f"{_extent(found['pipeline'])} to prices and features in {ours.wall():.1f} s, at most {ours.memory / 1e9:.2f} GB "
            "of memory.",
        )
    if "usual" in found:
        _, *stages = usual.table(usual.usages_of(found["usual"]))
        fraction = kept["usual"]["about"]["command"][2]
        lines.append([f"archive to model, {fraction} of Kaggle's: the usual solution", *stages[-1][3:]])
        facts.append(usual.summary(found["usual"]))
    if "growth" in found:
        measured = growth.read(found["growth"])
        (_, small, first), (_, large, last) = measured[0], measured[-1]
        times = [sum(usage.wall for usage in usages.values()) for usages in (first, last)]
        memory = [max(usage.memory for usage in usages.values()) for usages in (first, last)]
        facts.append(
            f"{large.rows / small.rows:.1f} times the rows take {times[1] / times[0]:.1f} times the time and "
            f"{memory[1] / memory[0]:.2f} times the memory."
        )
    if "prediction" in found:
        ours_one, *_, forest = found["prediction"]["one"].values()
        facts.append(f"One prediction takes {1e6 * ours_one:.1f} µs, {ours_one / forest:.2g} of a random forest's.")
    if "serving" in found and "endpoint" in found["serving"]:
        endpoint = found["serving"]["endpoint"]
        best = max(endpoint["ours"], key=lambda load: load["requests_a_second"])
        facts.append(
            f"`/predict` answers {best['requests_a_second']:,.0f} requests a second on one core (p99 {best['p99_ms']:.1f} ms), "
            f"{endpoint['ratio']:.1f} times a plain FastAPI route."
        )
    if "serving" in found and "dashboards" in found["serving"]:
        facts.append(f"The dashboard is usable after {found['serving']['dashboards']['one_ready_s']:.2f} s.")
    host = next(iter(kept.values()))["about"]["machine"] if kept else machine()
    where = f"{host['cores']} cores ({host['processor']}) with {host['memory'] / 2**30:.0f} GiB of memory"
    trial = _fraction(kept) != 1
    about = f"a trial with {_fraction(kept)} of an archive of Kaggle's size" if trial else "an archive of Kaggle's size"
    return f"{about[0].upper()}{about[1:]}, on {where}:\n\n{_numbers(lines)}\n" + "".join(
        f"- {fact}\n" for fact in facts
    )


def read_results(found: Found) -> list[Result]:
    """The pipeline's results that were kept as JSON."""
    return [
        Result(
            one["name"],
            {stage: [Usage(**usage) for usage in usages] for stage, usages in one["usages"].items()},
            one["bytes"],
            {
                stage: Agreement(
                    **{
                        **agreement,
                        "missing_symbols": tuple(agreement["missing_symbols"]),
                        "differences": {
                            name: Difference(**difference) for name, difference in agreement["differences"].items()
                        },
                    }
                )
                for stage, agreement in one["agreements"].items()
            },
        )
        for one in found["results"]
    ]


def into_readme(text: str, block: str) -> str:
    """The README's ``text`` with ``block`` between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md has no {BEGIN.strip()} ... {END}; put both lines where the table shall be")
    return f"{before}{BEGIN}{block}{END}{after}"


def _numbers(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns but the first are numbers."""
    return markdown(lines).replace("| ---: | --- |", "| ---: | ---: |")


def _fraction(kept: Mapping[str, Found]) -> Fraction:
    command = kept["pipeline"]["about"]["command"] if "pipeline" in kept else ["", "--fraction", "1"]
    return Fraction(command[2])


def _ratio(ours: Result, other: Result) -> list[str]:
    pairs = (ours.wall(), other.wall()), (ours.cpu(), other.cpu()), (ours.memory, other.memory)
    return [f"{mine / theirs:.2f}" for mine, theirs in pairs]


def _load(title: str, load: Mapping[str, float]) -> list[str]:
    return [
        title,
        f"{load['requests_a_second']:,.0f}",
        f"{load['p50_ms']:.2f}",
        f"{load['p99_ms']:.2f}",
        f"{load['errors']:.0f}",
    ]


def _extent(found: Found) -> str:
    extent = Extent(**found["archive"])
    return f"{extent.files:,} files, {extent.rows:,} rows, {extent.bytes / 1e9:.2f} GB of CSV"


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
    if {"prediction", "serving"} & set(names) and not paths.StudyPaths("sample").grid.exists():
        console.rule("the sample study, for prediction and serving")
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
    if "serving" in options.only and not shutil.which("wrk"):
        parser.error("wrk is not installed (Debian: apt-get install wrk); --only can leave out serving")
    options.keep.mkdir(parents=True, exist_ok=True)
    _need_sample(options.only, console)
    succeeded = [measure(name, options.fraction, options.keep, options.again, console) for name in options.only]
    kept = {name: one for name in PARTS if (one := _read(options.keep / f"{name}.json")) is not None}
    if "growth" in kept:
        png = plots.png(growth.figure(growth.read(kept["growth"]["found"])))
        write_atomically(options.results.with_name("growth.png"), png)
    write_atomically(options.results, results(kept))
    if options.results == RESULTS:
        write_atomically(README, into_readme(README.read_text(encoding="utf-8"), summary(kept)))
    console.print(f"written: {options.results.name}")
    return 0 if all(succeeded) else 1


if __name__ == "__main__":
    sys.exit(main())
